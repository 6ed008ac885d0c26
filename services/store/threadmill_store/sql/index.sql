-- Which embedder is in use, and what still lacks its vectors.

-- name: current_index()^
-- No row: no executor was ever heard.
SELECT embedder.id, embedder.identity, embedder.dims, embedder.fields
FROM store.semantic_index
LEFT JOIN store.embedder ON embedder.id = semantic_index.embedder_id;

-- name: register_embedder(identity, dims, fields)$
-- Its id, new or old.
INSERT INTO store.embedder (identity, dims, fields)
VALUES (:identity::text, :dims::int, :fields::text[])
ON CONFLICT (identity) DO UPDATE SET identity = excluded.identity
RETURNING embedder.id;

-- name: use_embedder(embedder)!
INSERT INTO store.semantic_index (embedder_id)
VALUES (:embedder::int)
ON CONFLICT (sole) DO UPDATE SET embedder_id = excluded.embedder_id
WHERE semantic_index.embedder_id IS DISTINCT FROM excluded.embedder_id;

-- name: backlog(embedder, after, limit)
-- Live items whose present version this embedder has not seen, in the order of their ids.
SELECT item.id, item.version, item.value, item.index_paths
FROM store.item
WHERE item.id > :after::bigint
    AND item.embedder_id IS DISTINCT FROM :embedder::int
    AND (item.expires_at IS NULL OR item.expires_at > now())
ORDER BY item.id
LIMIT :limit::bigint;

-- name: begin_embedding(lock_class)$
-- Whether this session may embed what is left over: one in the whole cluster may.
SELECT pg_try_advisory_lock(:lock_class::int, 0);

-- name: end_embedding(lock_class)$
SELECT pg_advisory_unlock(:lock_class::int, 0);

-- name: forget_embeddings(after, limit)$
-- Makes items look as if nobody had embedded them, so that it is done again; answers the last id, null at the end.
-- Their vectors stay in use until then.
WITH chosen AS (
    SELECT item.id FROM store.item WHERE item.id > :after::bigint ORDER BY item.id LIMIT :limit::bigint
),
forgotten AS (
    UPDATE store.item SET embedder_id = NULL
    FROM chosen
    WHERE item.id = chosen.id AND item.embedder_id IS NOT NULL
)
SELECT max(chosen.id) FROM chosen;
