-- purpose: the members of a JSON object as headers, in their order, repeated names included.
-- parameters: ?1 the object.
-- index: none; no table.
SELECT key,
       CASE type
           WHEN 'true' THEN 'true'
           WHEN 'false' THEN 'false'
           WHEN 'null' THEN NULL
           ELSE CAST(value AS TEXT)
       END
FROM json_each(?1)
