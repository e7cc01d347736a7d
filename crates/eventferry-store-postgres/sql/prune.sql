-- purpose: remove old rows of the relays' own books.
-- index: position_pkey, position_read_window, beat_relay_at, anchor_pkey, intent_pkey.
SELECT eventferry.prune(), eventferry.prune_intents()
