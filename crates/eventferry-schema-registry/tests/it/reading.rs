//! Messages read where they are consumed.

use eventferry_core::{Event, MessageId, Serializer as _, StoredEvent, Timestamp};
use eventferry_schema_registry::{
    Framing, Part, PartSchema, ReadFaultKind, RegistryDeserializer, RegistrySerializer, SchemaType,
};

use crate::stub::Stub;
use crate::toy::{self, Toy};

#[tokio::test]
async fn what_was_written_is_read_back_whatever_the_format_and_the_framing() {
    for schema_type in [SchemaType::Avro, SchemaType::Protobuf, SchemaType::Json] {
        for framing in [Framing::Prefix, Framing::Header] {
            let stub = Stub::start();
            stub.latest("t-value", 7, schema_type.name(), &toy::schema("Order", &[]));
            let schema = PartSchema::new(Toy(schema_type)).framing(framing);
            let serializer = RegistrySerializer::builder(stub.registry()).values("t", schema).build();
            serializer.learn("t").await.unwrap();
            let event = Event::new("t", ("order", 1)).payload(r#"{"total":1}"#, "application/json");
            let row = StoredEvent { message_id: MessageId([1; 16]), event, enqueued_at: Timestamp(0) };
            let written = serializer.serialize(&row).unwrap();
            let reader = RegistryDeserializer::new(stub.registry()).format(Toy(schema_type));
            let headers: Vec<_> =
                written.headers.iter().map(|header| (header.name.as_str(), &header.value[..])).collect();
            let payload = written.payload.unwrap();
            let read = reader.read(Part::Value, headers.iter().copied(), &payload).await.unwrap();
            assert_eq!((&read.json[..], read.schema_type), (&br#"{"total":1}"#[..], schema_type));
            // The registry is not needed twice.
            stub.away(true);
            assert_eq!(reader.clone().read(Part::Value, headers, &payload).await.unwrap(), read);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_says_what_to_do_about_it() {
    let stub = Stub::start();
    stub.latest("t-value", 7, "JSON", &toy::schema("Order", &[]));
    stub.latest("a-value", 8, "AVRO", "{}");
    let reader = RegistryDeserializer::new(stub.registry()).format(Toy(SchemaType::Json));
    let fault = async |bytes: &[u8]| reader.read(Part::Value, [], bytes).await.unwrap_err();
    for (bytes, kind, says) in [
        (&b"{}"[..], ReadFaultKind::Foreign, "written without a schema registry"),
        (b"\0\0\0", ReadFaultKind::Foreign, "cut off"),
        (b"\0\0\0\0\x09|0|{}", ReadFaultKind::SchemaUnknown, "GET /schemas/ids/9"),
        (
            b"\0\0\0\0\x08|0|{}",
            ReadFaultKind::SchemaUnknown,
            "is AVRO, which this deserializer was not given",
        ),
        (b"\0\0\0\0\x07sesame", ReadFaultKind::Mismatch, "does not fit the schema with id 7"),
    ] {
        let fault = fault(bytes).await;
        assert_eq!(*fault.kind(), kind, "{fault}");
        assert!(fault.message().contains(says) && !fault.message().contains("sesame"), "{fault}");
    }
    stub.away(true);
    assert_eq!(*fault(b"\0\0\0\0\x0a").await.kind(), ReadFaultKind::Unavailable);
}
