-- purpose: take from everybody but the schema's owner the right to write raw messages into the log.
SELECT eventferry.close_raw_messages()
