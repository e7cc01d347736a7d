-- purpose: forget the oldest messages of a consumer, so many at most.
-- parameters: ?1 consumer; ?2 how old they are at least, in milliseconds; ?3 how many.
-- index: eventferry_inbox_by_age, then the primary key.
DELETE FROM eventferry_inbox WHERE consumer = ?1 AND message_id IN (
    SELECT message_id FROM eventferry_inbox
    WHERE consumer = ?1
        AND handled_at < CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000 - ?2 * 1000
    ORDER BY handled_at LIMIT ?3)
