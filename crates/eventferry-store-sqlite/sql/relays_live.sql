-- purpose: how many relays live. For those that share lanes, without the others that wait for all of them: who would not
-- take a share has none.
-- parameters: :relay this one's name; :now microseconds since 1970; :whole whether it takes all lanes or none.
-- index: none; a row for each relay seen lately.
SELECT count(*)
FROM eventferry_relay
WHERE abs(:now - beat_at) < lease AND (:whole OR id = :relay OR NOT whole)
