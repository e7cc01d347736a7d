-- purpose: note who did what that is about no single parked event, and why.
-- parameters: :now microseconds since 1970; :who; :why; :what was done.
-- index: none; a row goes to the table's end.
INSERT INTO eventferry_audit (at, who, why, what) VALUES (:now, :who, :why, :what)
