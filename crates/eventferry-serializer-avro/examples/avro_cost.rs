//! What an event costs: `cargo run --release -p eventferry-serializer-avro --example avro_cost`.

use eventferry_serializer_avro::Avro;

#[path = "../../eventferry-schema-registry/tests/interop/cost.rs"]
mod cost;

const SCHEMA: &str = r#"{"type":"record","name":"Order","fields":[
        {"name":"id","type":"long"},{"name":"customer","type":"string"},
        {"name":"state","type":{"type":"enum","name":"State","symbols":["NEW","PAID"]}},
        {"name":"currency","type":"string"},
        {"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
        {"name":"note","type":["null","string"],"default":null},
        {"name":"created","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
            {"name":"sku","type":"string"},{"name":"name","type":"string"},{"name":"count","type":"int"},
            {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}}]}}},
        {"name":"express","type":"boolean"},{"name":"weight","type":"double"}]}"#;

fn main() {
    cost::print(&Avro, SCHEMA);
}
