-- purpose: say which cluster and timeline this is.
SELECT system_identifier, timeline FROM eventferry.current_history()
