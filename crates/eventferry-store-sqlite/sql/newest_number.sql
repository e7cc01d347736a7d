-- purpose: the greatest number that was given to a transaction, 0 if none. A lane may know more than there are intents:
-- numbers given again would be less than what it carries, and pass for settled.
-- parameters: none.
-- index: the primary key's end; 1,024 lanes at most.
SELECT max(coalesce((SELECT max(number) FROM eventferry_intent), 0),
           coalesce((SELECT max(carries) FROM eventferry_lane), 0))
