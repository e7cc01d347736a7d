-- purpose: have only one program at a time make the inbox; until the end of the transaction.
-- parameters: none; the key is `inbox` in ASCII, behind a byte of ours.
-- index: none.
SELECT pg_advisory_xact_lock(x'ef696e626f78'::bigint)
