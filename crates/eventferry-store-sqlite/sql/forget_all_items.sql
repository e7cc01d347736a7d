-- purpose: remove whatever intents would settle: it is carried out, or never will be.
-- parameters: none.
-- index: none; there are two or three intents.
DELETE FROM eventferry_intent_item
