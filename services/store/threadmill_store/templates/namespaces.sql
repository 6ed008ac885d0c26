-- name: list_namespaces(position, label, first, beyond, prefix, suffix, depth, limit, offset)
-- Namespaces of live items, sorted, cut to `depth` labels and then distinct. Walks the index from one namespace to
-- the next, whatever the number of items in each; after a match it leaps over all that would be cut to the same.
-- A label that is known beyond a wildcard (`label` at `position`, or null) lets it pass by many namespaces in one step.
-- The end is tested after the LIMIT 1 on purpose: within, a range without live items would be read to its end.
WITH RECURSIVE walk(bound, namespace, matched, count) AS (
    SELECT :first::text[] COLLATE "C", NULL::text[] COLLATE "C", false, 0::bigint
    UNION ALL
    SELECT
        store.following(step.namespace, CASE WHEN step.matched THEN :depth::int END),
        step.namespace,
        step.matched,
        walk.count + step.matched::int
    FROM walk
    CROSS JOIN LATERAL (
        SELECT item.namespace, MATCHES AS matched
        FROM store.item
        WHERE item.namespace >= walk.bound AND (item.expires_at IS NULL OR item.expires_at > now())
            AND (:position::int IS NULL OR item.namespace[:position::int] = :label::text)
        ORDER BY item.namespace
        LIMIT 1
    ) AS step
    WHERE step.namespace < :beyond::text[] AND walk.count < :offset::bigint + :limit::bigint
)
SELECT walk.namespace[1 : coalesce(:depth::int, cardinality(walk.namespace))] AS namespace
FROM walk
WHERE walk.matched
ORDER BY walk.namespace
LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: list_namespaces_ending(last, first, beyond, prefix, suffix, depth, limit, offset)
-- The same where the last label is known: among the few namespaces that end with it, whatever the number of others.
WITH RECURSIVE walk(bound, namespace, matched, count) AS (
    SELECT :first::text[] COLLATE "C", NULL::text[] COLLATE "C", false, 0::bigint
    UNION ALL
    SELECT
        store.following(step.namespace, CASE WHEN step.matched THEN :depth::int END),
        step.namespace,
        step.matched,
        walk.count + step.matched::int
    FROM walk
    CROSS JOIN LATERAL (
        SELECT item.namespace, MATCHES AS matched
        FROM store.item
        WHERE item.namespace[cardinality(item.namespace)] = :last::text
            AND item.namespace >= walk.bound AND (item.expires_at IS NULL OR item.expires_at > now())
        ORDER BY item.namespace
        LIMIT 1
    ) AS step
    WHERE step.namespace < :beyond::text[] AND walk.count < :offset::bigint + :limit::bigint
)
SELECT walk.namespace[1 : coalesce(:depth::int, cardinality(walk.namespace))] AS namespace
FROM walk
WHERE walk.matched
ORDER BY walk.namespace
LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: list_namespaces_nearly_ending(label, distance, first, beyond, prefix, suffix, depth, limit, offset)
-- The same where a label at a distance from the end is known. Reads the index in one go from one namespace that has it
-- to the next, instead of stepping through all.
WITH RECURSIVE walk(bound, namespace, matched, count) AS (
    SELECT :first::text[] COLLATE "C", NULL::text[] COLLATE "C", false, 0::bigint
    UNION ALL
    SELECT
        store.following(step.namespace, CASE WHEN step.matched THEN :depth::int END),
        step.namespace,
        step.matched,
        walk.count + step.matched::int
    FROM walk
    CROSS JOIN LATERAL (
        SELECT item.namespace, MATCHES AS matched
        FROM store.item
        WHERE item.namespace[cardinality(item.namespace) - :distance::int] = :label::text
            AND item.namespace >= walk.bound AND (item.expires_at IS NULL OR item.expires_at > now())
        ORDER BY item.namespace
        LIMIT 1
    ) AS step
    WHERE step.namespace < :beyond::text[] AND walk.count < :offset::bigint + :limit::bigint
)
SELECT walk.namespace[1 : coalesce(:depth::int, cardinality(walk.namespace))] AS namespace
FROM walk
WHERE walk.matched
ORDER BY walk.namespace
LIMIT :limit::bigint OFFSET :offset::bigint;
