-- Serve searches below a prefix of one, two or three labels: its items in insertion order, so that a page costs what
-- is on it, however many items lie below the prefix or beside it.
CREATE INDEX item_below_1 ON store.item ((namespace[1:1]), id);
CREATE INDEX item_below_2 ON store.item ((namespace[1:2]), id) WHERE cardinality(namespace) >= 2;
CREATE INDEX item_below_3 ON store.item ((namespace[1:3]), id) WHERE cardinality(namespace) >= 3;
-- Statistics of the expressions: without them the planner takes any prefix for one half per cent of the store.
ANALYZE store.item;

-- store.labels, matches, compares and meets stay for processes of the version before, which run on while this is
-- applied. Statements now have the conditions themselves: a function whose body has a subquery cannot be inlined, and
-- under custom plans its body is planned anew with every call, 100 µs each.
