-- purpose: what the broker calls this outbox.
-- parameters: none.
-- index: none; one row.
SELECT outbox FROM eventferry_identity
