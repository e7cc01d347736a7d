-- purpose: exactly-once delivery: what is settled when a transaction of the broker's is committed is written down before.
-- parameters: none; runnable in any client, from SQLite 3.38 on, after 0002_parked.sql.
-- index: intents by number, what they settle by number and place.

-- What the broker calls this outbox. A copy of the file has the same name, so that what is restored from it takes over.
CREATE TABLE eventferry_identity (
    is_here INTEGER PRIMARY KEY DEFAULT 1 CHECK (is_here = 1),
    outbox  TEXT    NOT NULL DEFAULT (lower(hex(randomblob(16))))
);
INSERT INTO eventferry_identity DEFAULT VALUES;

-- The last transaction all of whose intent for this lane is settled with its position, or was before.
ALTER TABLE eventferry_lane ADD COLUMN carries INTEGER NOT NULL DEFAULT 0;

-- Whether a relay takes all lanes or none.
ALTER TABLE eventferry_relay ADD COLUMN whole INTEGER NOT NULL DEFAULT 0;

-- One for each transaction of the broker's. Intents form a chain: `after` is the number of the one committed before, 0
-- before the first. The next one's statement removes those that every lane has settled, so there are two or three.
CREATE TABLE eventferry_intent (
    number INTEGER PRIMARY KEY,
    nonce  INTEGER NOT NULL,
    after  INTEGER NOT NULL
);

-- What is settled with a transaction, in its order. In rows, which any client can read: whoever mends a file sees what
-- a transaction stands for, and there is no format of its own to keep. Nothing, once it is carried out.
CREATE TABLE eventferry_intent_item (
    number   INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    lane     INTEGER NOT NULL,
    what     TEXT    NOT NULL
        CHECK (what IN ('position', 'park_refused', 'park_topic_held', 'park_behind', 'refused', 'postponed', 'retried',
                        'held', 'shipped', 'dead_lettered', 'discarded', 'decision_refused')),
    -- The position's or the event's id; for what is parked already, its place in the list.
    at       INTEGER NOT NULL,
    -- About how many bytes an event to park takes in memory.
    size     INTEGER,
    attempts INTEGER,
    -- What comes after a refusal.
    next     TEXT
        CHECK (next IN ('retry', 'wait', 'die')),
    -- Microseconds.
    pause    INTEGER,
    class    TEXT,
    message  TEXT,
    PRIMARY KEY (number, place)
) WITHOUT ROWID;
