-- purpose: the inbox: which messages a consumer has handled.
-- parameters: none; runnable in any client, from SQLite 3.38 on.
-- index: by consumer and message, which is the table itself; and by consumer and age, for those that are forgotten.

CREATE TABLE eventferry_inbox_migration (
    version    INTEGER PRIMARY KEY,
    applied_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)
);

-- A row is added in the handler's own transaction and never updated.
CREATE TABLE eventferry_inbox (
    -- Who handled it: each consumer handles a message for itself.
    consumer   TEXT    NOT NULL,
    message_id BLOB    NOT NULL,
    -- Microseconds since 1970, to the millisecond.
    handled_at INTEGER NOT NULL DEFAULT (CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000),
    PRIMARY KEY (consumer, message_id),
    CONSTRAINT eventferry_consumer_is_named
        CHECK (typeof(consumer) = 'text' AND length(consumer) > 0),
    CONSTRAINT eventferry_message_id_is_a_blob_of_16_bytes
        CHECK (typeof(message_id) = 'blob' AND length(message_id) = 16)
) WITHOUT ROWID;

CREATE INDEX eventferry_inbox_by_age ON eventferry_inbox (consumer, handled_at);
