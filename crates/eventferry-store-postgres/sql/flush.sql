-- purpose: put the write-ahead log on disk, by a commit of our own.
SELECT eventferry.flush()
