-- purpose: the outbox and the books that relays keep about it.
-- parameters: none; runnable in any client, from SQLite 3.38 on, on a database in WAL mode.
-- index: outbox and parked by id; lane and relay by name; parked also by lane, for the list of what waits.

CREATE TABLE eventferry_migration (
    version    INTEGER PRIMARY KEY,
    applied_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)
);

-- What applications append. Topic, aggregate type, aggregate id and payload are enough; never give an id.
--
-- AUTOINCREMENT, because positions are ids: a plain INTEGER PRIMARY KEY starts at 1 again once retention has emptied
-- the table, below every position, and such events would never be shipped.
--
-- The checks run in the applications' own SQLite, so they use nothing younger than 3.38 (no octet_length), and are named
-- so that its error message says what to do.
-- The payload comes last, so that reading the others never walks its pages.
CREATE TABLE eventferry_outbox (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The same at every redelivery; a random one unless given.
    message_id     BLOB    NOT NULL DEFAULT (randomblob(16)),
    topic          TEXT    NOT NULL,
    -- The unit of order.
    aggregate_type TEXT    NOT NULL,
    aggregate_id   TEXT    NOT NULL,
    -- The message's key; NULL: the aggregate's id.
    "key"          BLOB,
    content_type   TEXT,
    -- Text: a JSON object such as {"tenant": "acme"}. Blob: for each header the length of its name as 4 bytes, the
    -- name, the length of its value as 4 bytes, the value; lengths big-endian.
    headers        BLOB,
    -- NULL: chosen from the key.
    "partition"    INTEGER,
    -- Microseconds since 1970, to the millisecond unless given.
    enqueued_at    INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    -- Text or blob; NULL is a tombstone.
    payload        BLOB,

    CONSTRAINT eventferry_message_id_is_a_blob_of_16_bytes
        CHECK (typeof(message_id) = 'blob' AND length(message_id) = 16),
    CONSTRAINT eventferry_topic_has_1_to_249_characters
        CHECK (typeof(topic) = 'text' AND length(topic) BETWEEN 1 AND 249),
    CONSTRAINT eventferry_aggregate_type_is_text_of_1_to_1024_bytes_without_zeros
        CHECK (typeof(aggregate_type) = 'text' AND length(CAST(aggregate_type AS BLOB)) BETWEEN 1 AND 1024
               AND instr(CAST(aggregate_type AS BLOB), x'00') = 0),
    CONSTRAINT eventferry_aggregate_id_is_text_of_1_to_1024_bytes_without_zeros
        CHECK (typeof(aggregate_id) = 'text' AND length(CAST(aggregate_id AS BLOB)) BETWEEN 1 AND 1024
               AND instr(CAST(aggregate_id AS BLOB), x'00') = 0),
    CONSTRAINT eventferry_key_is_a_blob_or_text
        CHECK (typeof("key") IN ('null', 'blob', 'text')),
    CONSTRAINT eventferry_content_type_is_text
        CHECK (typeof(content_type) IN ('null', 'text')),
    CONSTRAINT eventferry_headers_are_a_json_object_or_a_blob
        CHECK (typeof(headers) IN ('null', 'blob')
               OR (typeof(headers) = 'text' AND json_valid(headers) AND json_type(headers) = 'object')),
    CONSTRAINT eventferry_partition_is_a_number_from_0_to_2147483647
        CHECK (typeof("partition") IN ('null', 'integer') AND coalesce("partition", 0) BETWEEN 0 AND 2147483647),
    CONSTRAINT eventferry_enqueued_at_is_whole_microseconds
        CHECK (typeof(enqueued_at) = 'integer'),
    CONSTRAINT eventferry_payload_is_a_blob_or_text_of_at_most_16_MiB
        CHECK (typeof(payload) IN ('null', 'blob', 'text') AND length(CAST(coalesce(payload, '') AS BLOB)) <= 16777216)
);

-- An id chosen by hand may lie below the positions, and its event would never be shipped.
CREATE TRIGGER eventferry_outbox_id AFTER INSERT ON eventferry_outbox
WHEN NEW.id <= (SELECT seq FROM sqlite_sequence WHERE name = 'eventferry_outbox')
BEGIN
    SELECT RAISE(ABORT, 'eventferry_outbox: leave out the id, it is given out in the order of the events');
END;

-- Who owns a lane, and how far it was carried: the id of the last event settled in it, 0 before the first.
--
-- The position is a column and not a row appended for each settlement: SQLite keeps no old versions of a row, so an
-- update costs one page of the log however long others read, and all lanes fit on a page or two.
CREATE TABLE eventferry_lane (
    lane     INTEGER PRIMARY KEY,
    owner    TEXT,
    epoch    INTEGER NOT NULL DEFAULT 0,
    position INTEGER NOT NULL DEFAULT 0
);

-- 64 lanes, the default. Another number is given when the schema is applied, and stays.
INSERT INTO eventferry_lane (lane)
WITH RECURSIVE n (lane) AS (SELECT 0 UNION ALL SELECT lane + 1 FROM n WHERE lane < 63)
SELECT lane FROM n;

-- Relays and their heartbeats, in microseconds.
CREATE TABLE eventferry_relay (
    id          TEXT    PRIMARY KEY,
    -- Random for each process: tells two relays of one name apart.
    incarnation BLOB    NOT NULL,
    beat_at     INTEGER NOT NULL,
    lease       INTEGER NOT NULL
) WITHOUT ROWID;

-- Events that could not be shipped, and those of the same aggregate that wait behind them: full copies.
CREATE TABLE eventferry_parked (
    -- The event's id in the outbox.
    id             INTEGER PRIMARY KEY,
    lane           INTEGER NOT NULL,
    -- The broker's words; NULL: it waits behind an earlier event.
    refused        TEXT,
    parked_at      INTEGER NOT NULL,
    message_id     BLOB    NOT NULL,
    topic          TEXT    NOT NULL,
    aggregate_type TEXT    NOT NULL,
    aggregate_id   TEXT    NOT NULL,
    "key"          BLOB,
    content_type   TEXT,
    headers        BLOB,
    "partition"    INTEGER,
    enqueued_at    INTEGER NOT NULL,
    payload        BLOB
);

CREATE INDEX eventferry_parked_lane ON eventferry_parked (lane, id);
