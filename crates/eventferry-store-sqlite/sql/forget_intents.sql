-- purpose: remove intents that every lane has settled.
-- parameters: ?1 the number below which they are.
-- index: the primary key.
DELETE FROM eventferry_intent WHERE number < ?1
