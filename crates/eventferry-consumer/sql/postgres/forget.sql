-- purpose: forget the oldest messages of a consumer, so many at most; those that somebody else is just at are left out
-- (for which a role needs UPDATE).
-- parameters: $1 consumer; $2 how old they are at least, in seconds (double precision); $3 how many.
-- index: message_by_age; the rows by their place.
DELETE FROM eventferry_inbox.message WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM eventferry_inbox.message
    WHERE consumer = $1 AND handled_at < clock_timestamp() - make_interval(secs => $2)
    ORDER BY handled_at LIMIT $3 FOR UPDATE SKIP LOCKED))
