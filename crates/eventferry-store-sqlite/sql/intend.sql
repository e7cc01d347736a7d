-- purpose: write an intent down; run under the write lock, after every lane's fence.sql.
-- parameters: :number, :nonce of the transaction; :after the number of the one committed before.
-- index: the primary key.
INSERT INTO eventferry_intent (number, nonce, after) VALUES (:number, :nonce, :after)
