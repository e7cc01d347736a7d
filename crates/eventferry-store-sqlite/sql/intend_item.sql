-- purpose: write down one thing that is settled with a transaction.
-- parameters: :number of the transaction; :place in its order; the others as the columns.
-- index: the primary key.
INSERT INTO eventferry_intent_item (number, place, lane, what, at, size, attempts, next, pause, class, message)
VALUES (:number, :place, :lane, :what, :at, :size, :attempts, :next, :pause, :class, :message)
