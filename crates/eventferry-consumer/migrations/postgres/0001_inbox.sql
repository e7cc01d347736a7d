-- purpose: the inbox: which messages a consumer has handled.
-- Runs in one transaction in any client; needs CREATE on the database, no superuser. PostgreSQL 14 to 18.

CREATE SCHEMA eventferry_inbox;
COMMENT ON SCHEMA eventferry_inbox IS 'messages that consumers have handled, so that none is handled twice';

CREATE TABLE eventferry_inbox.migration (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A row is added in the handler's own transaction and never updated. The key is what makes a second handler of a message
-- wait for the first.
CREATE TABLE eventferry_inbox.message (
    -- Who handled it: each consumer handles a message for itself.
    consumer   text NOT NULL CONSTRAINT consumer_is_named CHECK (consumer <> ''),
    message_id uuid NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, message_id)
);

-- The oldest of a consumer, for those that are forgotten.
CREATE INDEX message_by_age ON eventferry_inbox.message (consumer, handled_at);
