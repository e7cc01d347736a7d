-- purpose: whether an event is parked or was. Not by its message id alone, which an application may give twice and a
-- replay of dead letters gives again; nor by its id, which a copy may not keep.
-- parameters: ?1 its message id; ?2 when it was enqueued; ?3 topic; ?4 aggregate type; ?5 aggregate id.
-- index: eventferry_parked_message.
SELECT EXISTS (
    SELECT 1 FROM eventferry_parked INDEXED BY eventferry_parked_message
    WHERE message_id = ?1 AND enqueued_at = ?2 AND topic = ?3 AND aggregate_type = ?4 AND aggregate_id = ?5
)
