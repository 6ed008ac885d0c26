-- Searches by meaning. EMBEDDING stands for the type that vectors are compared as, such as vector(1536): the index is
-- one of that very expression. SCOPE, INSERTION and MEETS are as in items.sql; WITHIN is
-- SCOPE without the order.

-- name: search_nearest(prefix, contained, names, operands, vector, embedder, candidates, limit, offset)
-- The page of the live items that meet all conditions, by the similarity of their nearest vector, as far as the index
-- tells: by so many of the nearest vectors. Every row also says how many vectors were found and how many items own
-- them; where nothing is on the page, one row says only that.
WITH nearest AS MATERIALIZED (
    SELECT
        item_embedding.item_id,
        (item_embedding.embedding::EMBEDDING <=> :vector::text::EMBEDDING) AS distance
    FROM store.item_embedding
    JOIN store.item ON item.id = item_embedding.item_id AND item.version = item_embedding.version
    CROSS JOIN LATERAL (SELECT item.value::jsonb AS document OFFSET 0) AS parsed
    WHERE item_embedding.embedder_id = :embedder::int
        AND WITHIN
        AND (item.expires_at IS NULL OR item.expires_at > now())
        AND MEETS
    ORDER BY item_embedding.embedding::EMBEDDING <=> :vector::text::EMBEDDING
    LIMIT :candidates::bigint
),
-- The distance to a vector of zeros is not a number.
ranked AS MATERIALIZED (
    SELECT nearest.item_id, 1 - min(nearest.distance) AS score
    FROM nearest
    WHERE nearest.distance <> 'NaN'
    GROUP BY nearest.item_id
),
page AS (
    SELECT ranked.item_id, ranked.score
    FROM ranked
    ORDER BY ranked.score DESC, ranked.item_id
    LIMIT :limit::bigint OFFSET :offset::bigint
)
SELECT
    (SELECT count(*) FROM nearest) AS vectors, (SELECT count(*) FROM ranked) AS items,
    item.id, item.namespace, item.key, item.value, item.created_at, item.updated_at,
    item.ttl_minutes IS NOT NULL AS expires, page.score
FROM (SELECT 1) AS sole
LEFT JOIN (page JOIN store.item ON item.id = page.item_id) ON true
ORDER BY page.score DESC NULLS LAST, item.id;

-- name: compare_all(prefix, contained, names, operands, vector, embedder, limit, offset)
-- The same by every vector below the prefix, and then the items without one in insertion order: those that may be on
-- the page, no more. Whether an item has a vector is a scalar subquery, which no planner makes a join that reads all
-- items first.
WITH ranked AS MATERIALIZED (
    SELECT
        item.id AS item_id,
        max(nullif(1 - (item_embedding.embedding::EMBEDDING <=> :vector::text::EMBEDDING), 'NaN')) AS score
    FROM store.item_embedding
    JOIN store.item ON item.id = item_embedding.item_id AND item.version = item_embedding.version
    CROSS JOIN LATERAL (SELECT item.value::jsonb AS document OFFSET 0) AS parsed
    WHERE item_embedding.embedder_id = :embedder::int
        AND WITHIN
        AND (item.expires_at IS NULL OR item.expires_at > now())
        AND MEETS
    GROUP BY item.id
),
unranked AS (
    SELECT item.id AS item_id
    FROM store.item
    CROSS JOIN LATERAL (SELECT item.value::jsonb AS document OFFSET 0) AS parsed
    WHERE SCOPE
        AND (item.expires_at IS NULL OR item.expires_at > now())
        AND (
            SELECT item_embedding.item_id
            FROM store.item_embedding
            WHERE item_embedding.item_id = item.id
                AND item_embedding.version = item.version
                AND item_embedding.embedder_id = :embedder::int
            LIMIT 1
        ) IS NULL
        AND MEETS
    ORDER BY INSERTION
    LIMIT CASE
        WHEN :limit::bigint > 0 THEN greatest(:offset::bigint + :limit::bigint - (SELECT count(ranked.score) FROM ranked), 0)
    END
),
page AS (
    SELECT chosen.item_id, chosen.score
    FROM (
        SELECT ranked.item_id, ranked.score FROM ranked
        UNION ALL
        SELECT unranked.item_id, NULL FROM unranked
    ) AS chosen
    ORDER BY chosen.score DESC NULLS LAST, chosen.item_id
    LIMIT nullif(:limit::bigint, 0) OFFSET :offset::bigint
)
SELECT
    item.id, item.namespace, item.key, item.value, item.created_at, item.updated_at,
    item.ttl_minutes IS NOT NULL AS expires, page.score
FROM page
JOIN store.item ON item.id = page.item_id
ORDER BY page.score DESC NULLS LAST, item.id;
