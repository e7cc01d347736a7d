-- purpose: a parked event was refused again. A refusal with fewer attempts than count comes late, and one that was
-- given up or is in the dead-letter topic never goes back.
-- parameters: :ordinal, :lane its place; :stage where it stands now; :attempts how many count; :due_at microseconds
-- since 1970, or NULL; :class, :message of the refusal; :now microseconds since 1970.
-- index: the primary key.
UPDATE eventferry_parked
SET stage = :stage, attempts = :attempts, due_at = :due_at, cause_class = :class, cause_message = :message,
    failed_at = :now
WHERE ordinal = :ordinal AND lane = :lane AND settled_at IS NULL AND stage IN ('topic', 'waiting')
      AND attempts <= :attempts
