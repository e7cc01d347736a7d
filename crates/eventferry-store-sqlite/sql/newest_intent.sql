-- purpose: the intent of the greatest number.
-- parameters: none.
-- index: the primary key's end.
SELECT number, nonce FROM eventferry_intent ORDER BY number DESC LIMIT 1
