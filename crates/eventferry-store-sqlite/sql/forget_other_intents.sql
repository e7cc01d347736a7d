-- purpose: remove all intents but the one of the transaction committed last.
-- parameters: ?1 its number, or NULL for all.
-- index: none; there are two or three.
DELETE FROM eventferry_intent WHERE ?1 IS NULL OR number <> ?1
