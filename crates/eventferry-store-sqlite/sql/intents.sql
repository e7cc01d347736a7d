-- purpose: all intents, the newest first.
-- parameters: none.
-- index: the primary key; there are two or three.
SELECT number, nonce, after FROM eventferry_intent ORDER BY number DESC
