//! What encoding and decoding an event of 300 bytes costs, for the examples of the formats.

use std::hint::black_box;
use std::time::Instant;

use eventferry_schema_registry::{Format, Schema as _, SchemaSource};

/// An order as applications send them: 300 bytes.
const JSON: &str = concat!(
    r#"{"id":9007199254740993,"customer":"c-81723","state":"PAID","currency":"EUR","total":"129.90","#,
    r#""note":null,"created":"2024-02-29T23:59:59.123Z","lines":["#,
    r#"{"sku":"SKU-000-1","name":"A pair of shoes","count":1,"price":"99.90"},"#,
    r#"{"sku":"SKU-000-2","name":"Laces, black","count":2,"price":"15.00"}],"#,
    r#""express":true,"weight":1.5}"#
);

/// Prints microseconds an event, the best of many short rounds, so that other programs do not count.
pub(crate) fn print(format: &impl Format, schema: &str) {
    const ROUNDS: u32 = 1000;
    const EVENTS: u32 = 500;
    let source = SchemaSource { text: schema.to_owned(), references: Vec::new() };
    let schema = format.compile(&source).unwrap_or_else(|fault| panic!("{fault}"));
    let encode = || schema.encode(None, black_box(JSON).as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
    let encoded = encode();
    let decode = || schema.decode(&encoded.message_indexes, black_box(&encoded.body));
    let best = |once: &dyn Fn()| {
        let rounds = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            (0..EVENTS).for_each(|_| once());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(EVENTS)
        });
        rounds.fold(f64::INFINITY, f64::min)
    };
    let name = format.schema_type().name();
    let (to, from) = (best(&|| drop(black_box(encode()))), best(&|| drop(black_box(decode()))));
    println!(
        "{name}: {} bytes of JSON, {} bytes; encode {to:.2} µs, decode {from:.2} µs",
        JSON.len(),
        encoded.body.len()
    );
}
