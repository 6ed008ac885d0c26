-- Single reads and writes have statements of their own: they are most of all calls, and cost half of what a batch of
-- one costs. Namespaces of several come as JSON, one for each: arrays of arrays of unequal length have no type.

-- name: get_item(namespace, key)^
SELECT
    item.id, item.namespace, item.key, item.value, item.created_at, item.updated_at,
    item.ttl_minutes IS NOT NULL AS expires
FROM store.item
WHERE item.namespace = :namespace::text[] AND item.key = :key::text
    AND (item.expires_at IS NULL OR item.expires_at > now());

-- name: get_items(namespaces, keys)
-- The live items among those wanted, each with its position in the arrays.
SELECT
    wanted.position,
    item.id, item.namespace, item.key, item.value, item.created_at, item.updated_at,
    item.ttl_minutes IS NOT NULL AS expires
FROM (
    SELECT ARRAY(SELECT json_array_elements_text(listed.namespace)) AS namespace, listed.key, listed.position
    FROM unnest(:namespaces::json[], :keys::text[]) WITH ORDINALITY AS listed(namespace, key, position)
    OFFSET 0
) AS wanted
JOIN store.item ON item.namespace = wanted.namespace AND item.key = wanted.key
WHERE item.expires_at IS NULL OR item.expires_at > now();

-- name: refresh_items(ids)!
-- Restarts the time to live of items that were read. A locked one is being written or refreshed by someone else,
-- which restarts it just as well: a read waits for nobody.
UPDATE store.item
SET expires_at = now() + ttl_minutes * interval '1 minute'
WHERE item.id IN (
    SELECT candidate.id FROM store.item AS candidate
    WHERE candidate.id = ANY(:ids::bigint[]) AND candidate.expires_at > now()
    FOR UPDATE SKIP LOCKED
);

-- name: lock_buckets(lock_class, buckets)$
-- Waits for other batches with several writes to the same buckets. Batches that lock in one order never deadlock.
SELECT count(pg_advisory_xact_lock(:lock_class::int, bucket)) FROM unnest(:buckets::int[]) AS bucket;

-- name: put_item(namespace, key, value, ttl, paths)!
-- Writes an item without vectors. An expired one that was not swept yet is as good as deleted: it starts anew.
INSERT INTO store.item AS item (namespace, key, value, ttl_minutes, expires_at, index_paths)
VALUES (
    :namespace::text[], :key::text, :value::text::json, :ttl::double precision,
    now() + :ttl * interval '1 minute', :paths::text[]
)
ON CONFLICT ON CONSTRAINT item_identity DO UPDATE SET
    id = CASE WHEN item.expires_at <= now() THEN excluded.id ELSE item.id END,
    created_at = CASE WHEN item.expires_at <= now() THEN now() ELSE item.created_at END,
    updated_at = now(),
    value = excluded.value,
    ttl_minutes = excluded.ttl_minutes,
    expires_at = excluded.expires_at,
    version = item.version + 1,
    index_paths = excluded.index_paths,
    embedder_id = excluded.embedder_id;

-- name: put_items(namespaces, keys, values, ttls, paths)!
-- The same for several, each at most once per statement. New ones get their ids in the order of the arrays; all are
-- locked in the order of their names, so that such statements never wait for each other in a circle.
WITH given AS MATERIALIZED (
    SELECT
        nextval('store.item_id') AS id, ARRAY(SELECT json_array_elements_text(listed.namespace)) AS namespace,
        listed.key, listed.value, listed.ttl_minutes,
        CASE WHEN listed.paths IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(listed.paths)) END AS paths
    FROM unnest(:namespaces::json[], :keys::text[], :values::json[], :ttls::double precision[], :paths::json[])
        WITH ORDINALITY AS listed(namespace, key, value, ttl_minutes, paths, position)
    ORDER BY listed.position
)
INSERT INTO store.item AS item (id, namespace, key, value, ttl_minutes, expires_at, index_paths)
SELECT
    given.id, given.namespace, given.key, given.value,
    given.ttl_minutes, now() + given.ttl_minutes * interval '1 minute', given.paths
FROM given
ORDER BY given.namespace, given.key COLLATE "C"
ON CONFLICT ON CONSTRAINT item_identity DO UPDATE SET
    id = CASE WHEN item.expires_at <= now() THEN excluded.id ELSE item.id END,
    created_at = CASE WHEN item.expires_at <= now() THEN now() ELSE item.created_at END,
    updated_at = now(),
    value = excluded.value,
    ttl_minutes = excluded.ttl_minutes,
    expires_at = excluded.expires_at,
    version = item.version + 1,
    index_paths = excluded.index_paths,
    embedder_id = excluded.embedder_id;

-- name: delete_items(namespaces, keys)!
DELETE FROM store.item
USING (
    SELECT ARRAY(SELECT json_array_elements_text(listed.namespace)) AS namespace, listed.key
    FROM unnest(:namespaces::json[], :keys::text[]) AS listed(namespace, key)
    OFFSET 0
) AS given
WHERE item.namespace = given.namespace AND item.key = given.key;

-- name: begin_sweep()$
-- Whether this transaction may sweep: one in the whole cluster may.
SELECT pg_try_advisory_xact_lock(hashtext('threadmill.store.sweep'));

-- name: sweep_items(limit)$
-- Deletes the longest expired items, at most so many, and answers how many it deleted.
WITH swept AS (
    DELETE FROM store.item
    WHERE item.id IN (
        SELECT expired.id FROM store.item AS expired
        WHERE expired.expires_at <= now()
        ORDER BY expired.expires_at
        LIMIT :limit::bigint
        FOR UPDATE SKIP LOCKED
    )
    RETURNING item.id
)
SELECT count(*) FROM swept;
