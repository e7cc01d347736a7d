-- purpose: carry out what was committed, and forget the other intents.
-- $1 relay; $2-$3 lanes and epochs; $4 number and $5 nonce of the transaction committed last (null: none); $6 attempt.
-- index: lane_pkey, intent_pkey, position_pkey.
SELECT agreement, newest FROM eventferry.resolve($1, $2, $3, $4, $5, $6)
