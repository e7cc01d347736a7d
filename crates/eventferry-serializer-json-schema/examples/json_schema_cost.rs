//! What an event costs: `cargo run --release -p eventferry-serializer-json-schema --example json_schema_cost`.

use eventferry_serializer_json_schema::JsonSchema;

#[path = "../../eventferry-schema-registry/tests/interop/cost.rs"]
mod cost;

const SCHEMA: &str = r#"{"type":"object","required":["id","lines"],"properties":{
        "id":{"type":"integer"},"customer":{"type":"string"},
        "state":{"enum":["NEW","PAID"]},"currency":{"type":"string","maxLength":3},"total":{"type":"string"},
        "note":{"type":["string","null"]},"created":{"type":"string"},"lines":{"type":"array","items":{
            "type":"object","required":["sku","count"],"properties":{"sku":{"type":"string"},"name":{"type":"string"},
            "count":{"type":"integer","minimum":1},"price":{"type":"string"}},"additionalProperties":false}},
        "express":{"type":"boolean"},"weight":{"type":"number"}},"additionalProperties":false}"#;

fn main() {
    cost::print(&JsonSchema, SCHEMA);
}
