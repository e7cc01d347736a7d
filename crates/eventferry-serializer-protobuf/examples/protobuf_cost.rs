//! What an event costs: `cargo run --release -p eventferry-serializer-protobuf --example protobuf_cost`.

use eventferry_serializer_protobuf::Protobuf;

#[path = "../../eventferry-schema-registry/tests/interop/cost.rs"]
mod cost;

const SCHEMA: &str =
    "syntax = \"proto3\"; enum State { NEW = 0; PAID = 1; }
        message Order { int64 id = 1; string customer = 2; State state = 3; string currency = 4; string total = 5;
            optional string note = 6; string created = 7; repeated Line lines = 8; bool express = 9;
            double weight = 10; }
        message Line { string sku = 1; string name = 2; int32 count = 3; string price = 4; }";

fn main() {
    cost::print(&Protobuf, SCHEMA);
}
