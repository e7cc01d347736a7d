-- purpose: whether marks speak of another file: a lane or an intent is beyond every event, because ids have begun anew,
-- or an event that an intent parks is not in the outbox.
-- parameters: ?1 the last id given out.
-- index: the primary keys; 1,024 lanes at most, and two or three intents.
SELECT EXISTS (SELECT 1 FROM eventferry_lane WHERE position > ?1)
       OR EXISTS (SELECT 1 FROM eventferry_intent_item WHERE what = 'position' AND at > ?1)
       OR EXISTS (
           SELECT 1 FROM eventferry_intent_item AS item JOIN eventferry_lane AS lane ON lane.lane = item.lane
           WHERE item.what IN ('park_refused', 'park_topic_held', 'park_behind') AND item.at > lane.position
                 AND item.number > lane.carries AND NOT EXISTS (SELECT 1 FROM eventferry_outbox WHERE id = item.at)
       )
