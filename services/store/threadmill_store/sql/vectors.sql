-- Queries on the table that exists only where semantic search is configured (see vectors.py).

-- name: search_nearest(first, beyond, contained, conditions, vector, limit, offset)
-- Live items that meet all conditions: by the similarity of their nearest vector, those without one last. Exact:
-- every candidate is compared, so that filters and pages lose nothing.
SELECT
    item.id, item.namespace, item.key, item.value, item.created_at, item.updated_at,
    item.ttl_minutes IS NOT NULL AS expires, nearest.score
FROM store.item
CROSS JOIN LATERAL (
    -- The similarity to a vector of zeros is not a number, which would sort first.
    SELECT max(nullif(1 - (item_vector.embedding <=> :vector::text::vector), 'NaN')) AS score
    FROM store.item_vector
    WHERE item_vector.item_id = item.id
) AS nearest
WHERE item.namespace >= :first::text[] AND item.namespace < :beyond::text[]
    AND (item.expires_at IS NULL OR item.expires_at > now())
    AND item.value::jsonb @> :contained::text::jsonb
    AND store.meets(item.value::jsonb, :conditions::text::jsonb)
ORDER BY nearest.score DESC NULLS LAST, item.id
LIMIT nullif(:limit::bigint, 0) OFFSET :offset::bigint;

-- name: forget_vectors(ids)!
DELETE FROM store.item_vector WHERE item_id = ANY(:ids::bigint[]);

-- name: put_vectors(ids, paths, vectors)!
INSERT INTO store.item_vector (item_id, path, embedding)
SELECT given.id, given.path, given.vector::vector
FROM unnest(:ids::bigint[], :paths::text[], :vectors::text[]) AS given(id, path, vector)
ON CONFLICT (item_id, path) DO UPDATE SET embedding = excluded.embedding;
