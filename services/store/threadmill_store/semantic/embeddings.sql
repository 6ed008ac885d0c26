-- Statements on the table of vectors, which exists once an executor has told of an embedder. EMBEDDING stands for the
-- type that the vectors are compared as, such as vector(1536): the index is one of that very expression.

-- name: put_embedded_items(namespaces, keys, values, ttls, paths, embedder, owners, vectors)!
-- Writes items, as put_items does, together with their vectors; `owners` holds each vector's position among the items.
WITH given AS MATERIALIZED (
    SELECT
        nextval('store.item_id') AS id, ARRAY(SELECT json_array_elements_text(listed.namespace)) AS namespace,
        listed.key, listed.value, listed.ttl_minutes,
        CASE WHEN listed.paths IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(listed.paths)) END AS paths,
        listed.position
    FROM unnest(:namespaces::json[], :keys::text[], :values::json[], :ttls::double precision[], :paths::json[])
        WITH ORDINALITY AS listed(namespace, key, value, ttl_minutes, paths, position)
    ORDER BY listed.position
),
written AS (
    INSERT INTO store.item AS item (id, namespace, key, value, ttl_minutes, expires_at, index_paths, embedder_id)
    SELECT
        given.id, given.namespace, given.key, given.value, given.ttl_minutes,
        now() + given.ttl_minutes * interval '1 minute', given.paths, :embedder::int
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
        embedder_id = excluded.embedder_id
    RETURNING item.id, item.version, item.namespace, item.key
),
obsolete AS (
    DELETE FROM store.item_embedding
    USING written
    WHERE item_embedding.item_id = written.id
)
INSERT INTO store.item_embedding (item_id, version, embedder_id, position, embedding)
SELECT written.id, written.version, :embedder::int, found.position, found.embedding::vector
FROM unnest(:owners::int[], :vectors::text[]) WITH ORDINALITY AS found(owner, embedding, position)
JOIN given ON given.position = found.owner
JOIN written ON written.namespace = given.namespace AND written.key = given.key;

-- name: embed_items(ids, versions, embedder, owners, vectors)!
-- Gives items that nobody has changed meanwhile their vectors, and a new version, so that old and new never mix.
WITH given AS MATERIALIZED (
    SELECT listed.id, listed.version, listed.position
    FROM unnest(:ids::bigint[], :versions::bigint[]) WITH ORDINALITY AS listed(id, version, position)
),
embedded AS (
    UPDATE store.item
    SET embedder_id = :embedder::int, version = item.version + 1
    FROM given
    WHERE item.id = given.id AND item.version = given.version
    RETURNING item.id, item.version, given.position
),
obsolete AS (
    DELETE FROM store.item_embedding
    USING embedded
    WHERE item_embedding.item_id = embedded.id
)
INSERT INTO store.item_embedding (item_id, version, embedder_id, position, embedding)
SELECT embedded.id, embedded.version, :embedder::int, found.position, found.embedding::vector
FROM unnest(:owners::int[], :vectors::text[]) WITH ORDINALITY AS found(owner, embedding, position)
JOIN embedded ON embedded.position = found.owner;
