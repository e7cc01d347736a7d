-- purpose: a number that changes whenever another connection commits, for the cost of a look at the log's index.
-- parameters: none.
-- index: none.
PRAGMA data_version
