-- purpose: what is settled with a transaction, in its order.
-- parameters: ?1 its number.
-- index: the primary key.
SELECT lane, what, at, size, attempts, next, pause, class, message
FROM eventferry_intent_item
WHERE number = ?1
ORDER BY place
