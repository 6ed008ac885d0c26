-- An index row holds at most 2.7 kB, and a name may be longer: names are in order by their first 256 characters.
CREATE INDEX assistant_name_prefix ON runs.assistant (left(name, 256), assistant_id);
DROP INDEX runs.assistant_name;
