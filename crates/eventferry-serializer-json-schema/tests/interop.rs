//! Both ways with the official Python client, through the fixtures in `eventferry-schema-registry/tests/interop`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use eventferry_serializer_json_schema::JsonSchema;

#[path = "../../eventferry-schema-registry/tests/interop/fixtures.rs"]
mod fixtures;

#[test]
fn what_the_official_client_wrote_decodes_to_the_same_json() {
    fixtures::theirs_decode_here(&JsonSchema);
}

#[test]
fn what_we_write_the_official_client_has_decoded_to_the_same_value() {
    fixtures::ours_decode_there(&JsonSchema, env!("CARGO_TARGET_TMPDIR"));
}
