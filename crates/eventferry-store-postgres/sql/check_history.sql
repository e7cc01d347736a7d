-- purpose: say whether this is the cluster and timeline that the log was last read on; re-anchor it if restored.
SELECT verdict, system_identifier, timeline FROM eventferry.check_history()
