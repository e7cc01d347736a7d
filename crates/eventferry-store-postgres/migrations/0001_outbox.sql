-- purpose: the outbox: an append-only log of events, who carries which lane of it, and how far each was carried.
-- Runs in one transaction in any client; needs CREATE on the database, no superuser. PostgreSQL 14 to 18.

CREATE SCHEMA eventferry;
COMMENT ON SCHEMA eventferry IS 'transactional outbox: see eventferry.enqueue()';

-- One row a migration that ran, so that a relay can tell an older or newer schema from its own.
CREATE TABLE eventferry.migration (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- CACHE 1: a session that took ids ahead would enqueue later events under smaller ids.
CREATE SEQUENCE eventferry.outbox_id AS bigint CACHE 1;

-- The first two bytes of SHA-256 over type, a zero byte and id, in UTF-8: the same in every store and version.
CREATE FUNCTION eventferry.lane_hash(aggregate_type text, aggregate_id text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('x' || encode(substr(sha256(
    convert_to(aggregate_type, 'UTF8') || '\x00'::bytea || convert_to(aggregate_id, 'UTF8')), 1, 2), 'hex')
)::bit(16)::integer;

-- How many slots the ring has, how long each is written to, in seconds, and which one a time falls into.
CREATE FUNCTION eventferry.slots() RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 8;
CREATE FUNCTION eventferry.slot_seconds() RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 900;
CREATE FUNCTION eventferry.slot_of(at timestamptz) RETURNS smallint LANGUAGE sql STABLE PARALLEL SAFE
RETURN ((floor(extract(epoch FROM at))::bigint / eventferry.slot_seconds()) % eventferry.slots())::smallint;

-- The log. Rows are added by applications and never updated or deleted; consumed slots are truncated.
CREATE TABLE eventferry.outbox (
    -- An event's transaction is always known before its id is given: see docs/postgres.md, windows.
    xid            xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id             bigint NOT NULL DEFAULT
                   CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('eventferry.outbox_id') END,
    lane_hash      integer NOT NULL GENERATED ALWAYS AS
                   (eventferry.lane_hash(aggregate_type, aggregate_id)) STORED,
    partition      integer CONSTRAINT partition_is_not_negative CHECK (partition >= 0),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    message_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    slot           smallint NOT NULL DEFAULT eventferry.slot_of(now()),
    topic          text NOT NULL
                   CONSTRAINT topic_has_1_to_249_characters CHECK (char_length(topic) BETWEEN 1 AND 249),
    aggregate_type text NOT NULL
                   CONSTRAINT aggregate_type_has_1_to_1024_bytes CHECK (octet_length(aggregate_type) BETWEEN 1 AND 1024),
    aggregate_id   text NOT NULL
                   CONSTRAINT aggregate_id_has_1_to_1024_bytes CHECK (octet_length(aggregate_id) BETWEEN 1 AND 1024),
    key            bytea,
    payload        bytea
                   CONSTRAINT payload_has_at_most_16_mib CHECK (octet_length(payload) <= 16777216),
    content_type   text,
    -- Name and value in turn, names in UTF-8: order, repeated names and bytes are kept.
    headers        bytea[]
                   CONSTRAINT headers_are_names_and_values CHECK (cardinality(headers) % 2 = 0)
) PARTITION BY LIST (slot);

CREATE TABLE eventferry.outbox_0 PARTITION OF eventferry.outbox FOR VALUES IN (0);
CREATE TABLE eventferry.outbox_1 PARTITION OF eventferry.outbox FOR VALUES IN (1);
CREATE TABLE eventferry.outbox_2 PARTITION OF eventferry.outbox FOR VALUES IN (2);
CREATE TABLE eventferry.outbox_3 PARTITION OF eventferry.outbox FOR VALUES IN (3);
CREATE TABLE eventferry.outbox_4 PARTITION OF eventferry.outbox FOR VALUES IN (4);
CREATE TABLE eventferry.outbox_5 PARTITION OF eventferry.outbox FOR VALUES IN (5);
CREATE TABLE eventferry.outbox_6 PARTITION OF eventferry.outbox FOR VALUES IN (6);
CREATE TABLE eventferry.outbox_7 PARTITION OF eventferry.outbox FOR VALUES IN (7);
ALTER TABLE eventferry.outbox ADD CONSTRAINT outbox_pkey PRIMARY KEY (id, slot);
CREATE INDEX outbox_xid_id ON eventferry.outbox (xid, id);

-- Which relay owns which lane. A row changes only when its owner does: locking it fences everybody else.
CREATE TABLE eventferry.lane (
    lane  integer PRIMARY KEY,
    owner text,
    epoch bigint NOT NULL DEFAULT 0
);

CREATE TABLE eventferry.relay (
    id         text PRIMARY KEY,
    first_seen timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Heartbeats are added, not updated: under an old snapshot, updated rows get slower with every update.
CREATE TABLE eventferry.beat (
    relay       text NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Until when this relay's leases last.
    until       timestamptz NOT NULL,
    incarnation uuid NOT NULL
);
CREATE INDEX beat_relay_at ON eventferry.beat (relay, at);

-- A span of the log: what is visible in `cur` and not in `prev`, read in the order of ids.
CREATE TABLE eventferry.read_window (
    id               uuid PRIMARY KEY,
    prev             pg_snapshot NOT NULL,
    cur              pg_snapshot NOT NULL,
    -- Below these ids there is nothing to find: of transactions begun after `prev`, and of those it saw running.
    floor            bigint NOT NULL,
    late_floor       bigint NOT NULL,
    -- Rows up to this id came from another cluster: their xids mean nothing here.
    restored_through bigint NOT NULL DEFAULT 0,
    opened_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- How far each lane was carried: up to and including `last_id` of a window. Added, not updated: the newest version counts.
CREATE TABLE eventferry.position (
    lane       integer NOT NULL,
    version    bigint NOT NULL,
    epoch      bigint NOT NULL,
    read_window uuid NOT NULL,
    last_id    bigint NOT NULL,
    settled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (lane, version)
);
CREATE INDEX position_read_window ON eventferry.position (read_window);

-- Pairs (xid, floor): every event of a transaction with a greater xid has a greater id.
CREATE TABLE eventferry.anchor (
    xid   xid8 PRIMARY KEY,
    floor bigint NOT NULL
);

-- Which cluster and timeline this log was read on; a change is a restore or a failover.
CREATE TABLE eventferry.history (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    system_identifier bigint NOT NULL,
    timeline          integer NOT NULL,
    since             timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Events that could not be shipped, and the later ones of their aggregates: full copies, so that the log goes on.
CREATE TABLE eventferry.parked (
    lane           integer NOT NULL,
    ordinal        bigint GENERATED ALWAYS AS IDENTITY,
    id             bigint NOT NULL,
    -- Why the broker refused it; null: it waits behind an earlier one of its aggregate.
    refused        text,
    parked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at     timestamptz NOT NULL,
    message_id     uuid NOT NULL,
    topic          text NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id   text NOT NULL,
    key            bytea,
    payload        bytea,
    content_type   text,
    headers        bytea[],
    partition      integer,
    PRIMARY KEY (lane, ordinal)
);
-- A message is parked once, however often its parking is told: by its id in the log, which a failover may give
-- out again, and its message id, which it may not.
CREATE UNIQUE INDEX parked_once ON eventferry.parked (lane, id, message_id);

INSERT INTO eventferry.read_window (id, prev, cur, floor, late_floor)
VALUES ('00000000-0000-0000-0000-000000000000', '1:1:', '1:1:', 0, 0);
INSERT INTO eventferry.lane (lane) SELECT generate_series(0, 63);
INSERT INTO eventferry.position (lane, version, epoch, read_window, last_id)
SELECT lane, 0, 0, '00000000-0000-0000-0000-000000000000', 9223372036854775807 FROM eventferry.lane;
