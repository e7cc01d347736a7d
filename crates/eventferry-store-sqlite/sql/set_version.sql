-- purpose: note that a migration was applied.
-- parameters: ?1 its version.
-- index: none.
INSERT INTO eventferry_migration (version) VALUES (?1)
