-- purpose: add a line to the audit table that is about no single parked event.
-- $1 who; $2 what; $3 why.
INSERT INTO eventferry.audit (who, what, why) VALUES ($1, $2, $3)
