-- purpose: what becomes of parked events: when they are due, how they end, what people decide on them.
-- parameters: none; runnable in any client, from SQLite 3.38 on, after 0001_outbox.sql.
-- index: parked by place; unsettled ones also by lane, by aggregate, by the time at which they are due and by decision;
-- settled ones by when; all by message id. Figures and what is due cost nothing for what is settled.

-- How far the lane had ever been carried: between the position and this, its events may be parked already.
ALTER TABLE eventferry_lane ADD COLUMN reached INTEGER NOT NULL DEFAULT 0;
-- The last settlement, by a random number: when it is told again, it holds already.
ALTER TABLE eventferry_lane ADD COLUMN told INTEGER;
UPDATE eventferry_lane SET reached = position;

DROP INDEX eventferry_parked_lane;
ALTER TABLE eventferry_parked RENAME TO eventferry_parked_1;

-- Events that could not be shipped, and those of the same aggregate that wait behind them: full copies. A settled one
-- stays without its key, headers and payload until retention, so that a feed that goes back knows it.
CREATE TABLE eventferry_parked (
    -- Its place in the list: grows with each event parked, and is never given out again. Not the event's id, which
    -- another event may get when the outbox is filled from a copy.
    ordinal        INTEGER PRIMARY KEY AUTOINCREMENT,
    lane           INTEGER NOT NULL,
    -- Where it stands, or stood when it was settled.
    stage          TEXT    NOT NULL DEFAULT 'topic'
        CHECK (stage IN ('topic', 'dead_letter_topic', 'waiting', 'held')),
    -- How it ended; NULL: it is not settled.
    "end"          TEXT
        CHECK ("end" IN ('shipped', 'dead_lettered', 'discarded')),
    -- All times are microseconds since 1970.
    settled_at     INTEGER
        CHECK ((settled_at IS NULL) = ("end" IS NULL)),
    attempts       INTEGER NOT NULL DEFAULT 0,
    -- NULL: with the earlier ones of its aggregate, or never by itself. The first unsettled one of an aggregate that
    -- goes to a topic always has a time.
    due_at         INTEGER,
    -- What a person decided and no relay has carried out.
    decision       TEXT
        CHECK (decision IN ('retry', 'discard', 'release')),
    -- Why it was refused last; NULL: it only waits behind an earlier one of its aggregate.
    cause_class    TEXT,
    cause_message  TEXT,
    failed_at      INTEGER,
    parked_at      INTEGER NOT NULL,
    -- About how many bytes it takes in memory.
    size           INTEGER NOT NULL,
    -- The event, as in eventferry_outbox; its id is the one that it had when it was parked.
    id             INTEGER NOT NULL,
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

-- What an earlier version refused is due at once. The size is rounded up: a row in memory takes some 200 bytes beside
-- its columns, and headers take up to twice their text.
INSERT INTO eventferry_parked
    (lane, attempts, due_at, cause_class, cause_message, failed_at, parked_at, size, id, message_id, topic,
     aggregate_type, aggregate_id, "key", content_type, headers, "partition", enqueued_at, payload)
SELECT lane, refused IS NOT NULL,
       CASE WHEN refused IS NOT NULL OR first_id = id THEN parked_at END,
       CASE WHEN refused IS NOT NULL THEN 'Unrecorded' END, substr(refused, 1, 1000),
       CASE WHEN refused IS NOT NULL THEN parked_at END, parked_at,
       256 + length(CAST(topic || aggregate_type || aggregate_id || coalesce(content_type, '') AS BLOB))
           + length(CAST(coalesce("key", '') AS BLOB)) + 2 * length(CAST(coalesce(headers, '') AS BLOB))
           + length(CAST(coalesce(payload, '') AS BLOB)),
       id, message_id, topic, aggregate_type, aggregate_id, "key", content_type, headers, "partition", enqueued_at,
       payload
FROM (
    SELECT *, min(id) OVER (PARTITION BY lane, aggregate_type, aggregate_id) AS first_id FROM eventferry_parked_1
)
ORDER BY id;
DROP TABLE eventferry_parked_1;

-- The columns that say which rows are in an index come last in it, so that it is enough to look there.
CREATE INDEX eventferry_parked_lane ON eventferry_parked (lane, ordinal, settled_at) WHERE settled_at IS NULL;
CREATE INDEX eventferry_parked_aggregate
    ON eventferry_parked (lane, aggregate_type, aggregate_id, ordinal, settled_at)
    WHERE settled_at IS NULL;
CREATE INDEX eventferry_parked_due ON eventferry_parked (lane, stage, topic, due_at, settled_at, decision)
    WHERE settled_at IS NULL AND decision IS NULL AND due_at IS NOT NULL;
CREATE INDEX eventferry_parked_decision ON eventferry_parked (lane, ordinal)
    WHERE settled_at IS NULL AND decision IS NOT NULL;
CREATE INDEX eventferry_parked_settled ON eventferry_parked (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX eventferry_parked_message ON eventferry_parked (message_id);

-- When the first one of an aggregate is settled or removed, the next is due: also where a person does it in SQL.
CREATE TRIGGER eventferry_parked_next AFTER UPDATE OF settled_at ON eventferry_parked
WHEN OLD.settled_at IS NULL AND NEW.settled_at IS NOT NULL
BEGIN
    UPDATE eventferry_parked SET due_at = NEW.settled_at
    WHERE due_at IS NULL AND stage = 'topic' AND ordinal = (
        SELECT ordinal FROM eventferry_parked
        WHERE settled_at IS NULL AND lane = NEW.lane AND aggregate_type = NEW.aggregate_type
              AND aggregate_id = NEW.aggregate_id
        ORDER BY ordinal LIMIT 1
    );
END;
CREATE TRIGGER eventferry_parked_removed AFTER DELETE ON eventferry_parked
WHEN OLD.settled_at IS NULL
BEGIN
    UPDATE eventferry_parked SET due_at = OLD.parked_at
    WHERE due_at IS NULL AND stage = 'topic' AND ordinal = (
        SELECT ordinal FROM eventferry_parked
        WHERE settled_at IS NULL AND lane = OLD.lane AND aggregate_type = OLD.aggregate_type
              AND aggregate_id = OLD.aggregate_id
        ORDER BY ordinal LIMIT 1
    );
END;

-- Who decided what, and why. Nothing of ours removes a line.
CREATE TABLE eventferry_audit (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    who            TEXT    NOT NULL,
    why            TEXT    NOT NULL,
    -- 'retry', 'discard' or 'release' of one parked event; anything else is about none.
    what           TEXT    NOT NULL,
    ordinal        INTEGER,
    message_id     BLOB,
    topic          TEXT,
    aggregate_type TEXT,
    aggregate_id   TEXT
);
