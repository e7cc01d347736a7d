//! `#[derive(Event)]`: a struct says which event it is, and what does not fit is said where it is written.
//!
//! What is derived is `TypedEvent` of `eventferry::events`, and `IntoEvent` for the struct and a reference to it. The
//! attributes are described there too, at the derive.

mod attributes;
mod implementation;
mod limits;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct an event that can be enqueued: `TypedEvent` and `IntoEvent`.
///
/// The struct has named fields, no type parameters, and a `serde::Serialize` of its own. On the struct, in
/// `#[event(...)]`:
///
/// | attribute | meaning | default |
/// |---|---|---|
/// | `topic = "..."` | the broker's topic: 1 to 249 of letters, digits, `.`, `_` and `-` | must be given |
/// | `aggregate = "..."` | what kind of thing the event is about, 1 to 1024 bytes | must be given |
/// | `version = N` | the version of the payload's form, 1 or more | 1 |
/// | `name = "..."` | the event's name, sent as the header `event-type` | the struct's name |
/// | `content_type = "..."` | a JSON media type, such as `application/vnd.acme.order+json` | `application/json` |
/// | `schema` | its JSON Schema belongs to it, by `schemars::JsonSchema` (feature `events-schema`) | no |
/// | `avro = EXPR`, `protobuf = EXPR` | the text of another schema, such as `include_str!("order.avsc")` | none |
/// | `crate = "..."` | where `eventferry::events` is, if it has another name | `::eventferry::events` |
///
/// On fields: `#[event(aggregate_id)]` on exactly one, which says which aggregate it is by its `Display`; and
/// `#[event(key)]` on at most one, whose text is the message's key instead of the aggregate's id.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let derived = attributes::EventStruct::of(&input).map(|event| implementation::of(&input, &event));
    derived.unwrap_or_else(|error| error.to_compile_error()).into()
}
