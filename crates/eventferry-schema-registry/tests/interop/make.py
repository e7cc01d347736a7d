"""Makes official.json with the official Python client, and verifies what our formats wrote with it.

    python3 -m venv venv && venv/bin/pip install 'confluent-kafka[avro,protobuf,json,schemaregistry]' grpcio-tools
    venv/bin/python make.py                    # writes official.json
    venv/bin/python make.py --verify OURS...   # decodes what our tests wrote, and writes verified.json

README.md beside says when to do which.
"""

import datetime
import decimal
import hashlib
import importlib.metadata
import json
import os
import pathlib
import sys
import tempfile
import uuid

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc

HERE = pathlib.Path(__file__).parent
SCHEMAS = HERE / "schemas"
UTC = datetime.timezone.utc

# `json` is the value as our formats write it; `value` is what Python calls the same.
AVRO = [
    {
        "name": "avro",
        "schema": "order.avsc",
        "references": [],
        "json": '{"id":9007199254740993,"count":-3,"open":true,"ratio":0.1,"weight":1.5,"note":null,'
        '"label":"Grüße","state":"PAID","tags":["a","b"],"limits":{"eu":9223372036854775807},'
        '"raw":"\\u0000ÿ","hash":"abÿ\\u0001","price":"-12345678901234567890.50","tax":"0.07",'
        '"day":"2024-02-29","at":"2024-02-29T23:59:59.123Z","seen":"2024-02-29T23:59:59.123456Z",'
        '"opens":"08:30:00","token":"123e4567-e89b-12d3-a456-426614174000",'
        '"lines":[{"sku":"x","count":2,"parent":{"sku":"y","count":1,"parent":null}}],"pay":{"iban":"DE00"}}',
        "value": {
            "id": 9007199254740993,
            "count": -3,
            "open": True,
            "ratio": 0.1,
            "weight": 1.5,
            "note": None,
            "label": "Grüße",
            "state": "PAID",
            "tags": ["a", "b"],
            "limits": {"eu": 9223372036854775807},
            "raw": b"\x00\xff",
            "hash": b"ab\xff\x01",
            "price": decimal.Decimal("-12345678901234567890.50"),
            "tax": decimal.Decimal("0.07"),
            "day": datetime.date(2024, 2, 29),
            "at": datetime.datetime(2024, 2, 29, 23, 59, 59, 123000, UTC),
            "seen": datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, UTC),
            "opens": datetime.time(8, 30),
            "token": uuid.UUID("123e4567-e89b-12d3-a456-426614174000"),
            "lines": [{"sku": "x", "count": 2, "parent": {"sku": "y", "count": 1, "parent": None}}],
            "pay": {"iban": "DE00"},
        },
    },
    {
        "name": "avro-references",
        "schema": "sale.avsc",
        "references": [("com.shop.Currency", "currency.avsc"), ("com.shop.Money", "money.avsc")],
        "json": '{"price":{"amount":"12.50","currency":"EUR"},"tip":{"amount":"1.00","currency":"USD"}}',
        "value": {
            "price": {"amount": decimal.Decimal("12.50"), "currency": "EUR"},
            "tip": {"amount": decimal.Decimal("1.00"), "currency": "USD"},
        },
    },
    {"name": "avro-string", "schema": "string.avsc", "references": [], "json": '"plain"', "value": "plain"},
    {"name": "avro-bytes", "schema": "bytes.avsc", "references": [], "json": '"a\\u0000ÿ"', "value": b"a\x00\xff"},
]

PROTOBUF = [
    {
        "name": "protobuf",
        "schema": "order.proto",
        "references": [],
        "message": "shop.Order",
        "json": '{"id":"9007199254740993","count":-3,"big":"18446744073709551615","open":true,"ratio":0.1,"weight":1.5,'
        '"label":"Grüße","raw":"AP8=","state":"PAID","tags":["a","b"],"numbers":[1,-2,3],"limits":{"eu":"7"},'
        '"lines":[{"sku":"x","count":2}],"note":"","iban":"DE00","fixed":7,"signed":"-9"}',
    },
    {
        "name": "protobuf-nested",
        "schema": "order.proto",
        "references": [],
        "message": "shop.Outer.Second.Deep",
        "json": '{"text":"deep"}',
    },
    {
        "name": "protobuf-second",
        "schema": "order.proto",
        "references": [],
        "message": "shop.Line",
        "json": '{"sku":"x","count":2}',
    },
    {
        "name": "protobuf-references",
        "schema": "sale.proto",
        "references": [("shop/money.proto", "money.proto")],
        "message": "shop.Sale",
        "json": '{"price":{"units":"12","currency":"EUR"},"at":"2024-02-29T23:59:59.123Z","took":"1.500s",'
        '"more":{"a":[1.0,null,"x"]},"limit":"5"}',
    },
]

JSON_SCHEMA = [
    {
        "name": "json-schema",
        "schema": "order.json",
        "references": [],
        "value": {"z": 1, "id": 9007199254740993, "label": "Grüße", "lines": [{"sku": "x", "count": 2}]},
    },
    {
        "name": "json-schema-references",
        "schema": "sale.json",
        "references": [("money.json", "money.json")],
        "value": {"price": {"units": 12, "currency": "EUR"}, "tips": [{"units": 1, "currency": "USD"}]},
    },
]


def deterministic_guids():
    """The client's registry in memory gives each schema a random GUID; here they are the same each time."""
    state = {"count": 0}

    def guid():
        state["count"] += 1
        return uuid.UUID(bytes=hashlib.sha256(str(state["count"]).encode()).digest()[:16], version=4)

    import confluent_kafka.schema_registry._sync.mock_schema_registry_client as mock

    mock.uuid = type("uuid", (), {"uuid4": staticmethod(guid)})


def text(name):
    return (SCHEMAS / name).read_text(encoding="utf-8")


def registered(client, case, kind):
    """The case's schema, with what it refers to registered."""
    references = []
    for name, file in case["references"]:
        client.register_schema(name, Schema(text(file), kind, references=list(references)))
        references.append(SchemaReference(name, name, 1))
    return Schema(text(case["schema"]), kind, references=references)


def protobuf_class(case):
    """The case's message, compiled by protoc."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, file in [(case["schema"], case["schema"]), *case["references"]]:
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text(file), encoding="utf-8")
        well_known = str(pathlib.Path(protoc.__file__).parent / "_proto")
        out = root / "out.bin"
        arguments = ["protoc", f"-I{root}", f"-I{well_known}", "--include_imports", f"-o{out}", case["schema"]]
        assert protoc.main(arguments) == 0
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(case["message"]))


def cases():
    """For each: the case, its value, and what makes serializers and deserializers of it."""
    for case in AVRO:
        def serializer(client, conf, case=case):
            return AvroSerializer(client, registered(client, case, "AVRO"), conf=conf)

        def deserializer(client):
            return AvroDeserializer(client)

        yield "AVRO", case, case["value"], serializer, deserializer
    for case in PROTOBUF:
        message = protobuf_class(case)
        value = json_format.Parse(case["json"], message())

        def serializer(client, conf, message=message):
            return ProtobufSerializer(message, client, {"use.deprecated.format": False, **conf})

        def deserializer(client, message=message):
            return ProtobufDeserializer(message, {"use.deprecated.format": False}, client)

        yield "PROTOBUF", case, value, serializer, deserializer
    for case in JSON_SCHEMA:
        case["json"] = json.dumps(case["value"], separators=(",", ":"), ensure_ascii=False)

        def serializer(client, conf, case=case):
            return JSONSerializer(registered(client, case, "JSON"), client, conf=conf)

        def deserializer(client, case=case):
            return JSONDeserializer(registered(client, case, "JSON"), schema_registry_client=client)

        yield "JSON", case, case["value"], serializer, deserializer


def framed(name, serializer, value, by_header):
    """The record's value and headers as the official serializer makes them, and the client that knows the schema."""
    client = SchemaRegistryClient.new_client({"url": f"mock://{name}-{by_header}"})
    conf = {"schema.id.serializer": header_schema_id_serializer} if by_header else {}
    context = SerializationContext("orders", MessageField.VALUE, headers=[])
    data = serializer(client, conf)(value, context)
    return client, data, context.headers


def make():
    made = []
    for kind, case, value, serializer, deserializer in cases():
        client, prefixed, _ = framed(case["name"], serializer, value, False)
        assert deserializer(client)(prefixed, SerializationContext("orders", MessageField.VALUE)) == value
        _, body, headers = framed(case["name"], serializer, value, True)
        assert prefixed.endswith(body)
        [(header, identity)] = headers
        made.append(
            {
                "name": case["name"],
                "format": kind,
                "schema": text(case["schema"]),
                "references": [{"name": name, "text": text(file)} for name, file in case["references"]],
                "message": case.get("message"),
                "json": case["json"],
                "prefixed": prefixed.hex(),
                "by_header": {"header": header, "identity": identity.hex(), "body": body.hex()},
            }
        )
    write("official.json", {"made_by": made_by(), "cases": made})


def verify(files):
    """Decodes, by the official deserializers, the bodies that our formats wrote behind the official prefix."""
    ours = {}
    for file in files:
        for line in pathlib.Path(file).read_text(encoding="utf-8").splitlines():
            name, body = line.split()
            ours[name] = bytes.fromhex(body)
    verified = []
    for _, case, value, serializer, deserializer in cases():
        client, prefixed, _ = framed(case["name"], serializer, value, False)
        _, body, _ = framed(case["name"], serializer, value, True)
        prefix = prefixed[: len(prefixed) - len(body)]
        own = ours.pop(case["name"])
        decoded = deserializer(client)(prefix + own, SerializationContext("orders", MessageField.VALUE))
        assert decoded == value, f"{case['name']}: {decoded!r}"
        print(f"{case['name']}: decoded to the same value")
        verified.append({"name": case["name"], "body": own.hex(), "is_the_same_as_theirs": own == body})
    assert not ours, f"no such cases: {sorted(ours)}"
    write("verified.json", {"verified_by": made_by(), "cases": verified})


def made_by():
    names = ["confluent-kafka", "fastavro", "protobuf", "jsonschema"]
    return {name: importlib.metadata.version(name) for name in names}


def write(name, content):
    (HERE / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + os.linesep, encoding="utf-8")


if __name__ == "__main__":
    deterministic_guids()
    if sys.argv[1:2] == ["--verify"]:
        verify(sys.argv[2:])
    else:
        make()
