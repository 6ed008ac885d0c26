-- Searches in insertion order. SCOPE and INSERTION belong to the length of the prefix, MEETS to the operators of the
-- filter (see clauses.py); all that a client sends is a parameter.

-- name: search_items(prefix, limit, offset)
-- Live items below a prefix in insertion order.
SELECT
    item.id, item.namespace, item.key, item.value, item.created_at, item.updated_at,
    item.ttl_minutes IS NOT NULL AS expires
FROM store.item
WHERE SCOPE
    AND (item.expires_at IS NULL OR item.expires_at > now())
ORDER BY INSERTION
LIMIT nullif(:limit::bigint, 0) OFFSET :offset::bigint;

-- name: filter_items(prefix, contained, names, operands, limit, offset)
-- The same with conditions. Each row's JSON is parsed once for all of them; OFFSET keeps it from being folded into each.
SELECT
    item.id, item.namespace, item.key, item.value, item.created_at, item.updated_at,
    item.ttl_minutes IS NOT NULL AS expires
FROM store.item
CROSS JOIN LATERAL (SELECT item.value::jsonb AS document OFFSET 0) AS parsed
WHERE SCOPE
    AND (item.expires_at IS NULL OR item.expires_at > now())
    AND MEETS
ORDER BY INSERTION
LIMIT nullif(:limit::bigint, 0) OFFSET :offset::bigint;
