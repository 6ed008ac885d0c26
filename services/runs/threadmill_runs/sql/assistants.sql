-- name: lock_announcements()!
-- One announcement at a time: each writes all graphs of its executor, and two that list them in another order would
-- wait for each other for ever.
SELECT pg_advisory_xact_lock(hashtextextended('runs.graph', 0));

-- name: see_executor(executor_id, graph_ids)!
INSERT INTO runs.executor (executor_id, graph_ids) VALUES (:executor_id, :graph_ids::text[])
ON CONFLICT (executor_id) DO UPDATE SET seen_at = now(), graph_ids = excluded.graph_ids;

-- name: forget_executors(executor_id, seconds)!
-- The one that has detached, and those that have not been seen for long.
DELETE FROM runs.executor
WHERE executor_id IN (
    SELECT executor_id FROM runs.executor
    WHERE executor_id = :executor_id OR seen_at < now() - :seconds::float8 * interval '1 second'
    ORDER BY executor_id
    FOR UPDATE SKIP LOCKED
);

-- name: upsert_graph(graph_id, executor_id, position, name, description, error)!
INSERT INTO runs.graph (graph_id, executor_id, position, name, description, error)
VALUES (:graph_id, :executor_id, :position, :name, :description, :error)
ON CONFLICT (graph_id) DO UPDATE
SET executor_id = excluded.executor_id, position = excluded.position, name = excluded.name,
    description = excluded.description, error = excluded.error, updated_at = now();

-- name: delete_stale_graphs()!
-- What nobody serves any more goes when somebody announces what is served now: not earlier, or a rolling
-- restart would make all graphs unknown for a moment.
DELETE FROM runs.graph g
WHERE NOT EXISTS (SELECT FROM runs.executor e WHERE g.graph_id = ANY(e.graph_ids));

-- name: list_graphs()
SELECT graph_id, name, description, error FROM runs.graph ORDER BY position, graph_id;

-- name: insert_assistant(assistant_id, graph_id, config, context, metadata, name, description)^
WITH inserted AS (
    INSERT INTO runs.assistant
        (assistant_id, graph_id, config, context, metadata, name, description, version, created_at, updated_at)
    VALUES (:assistant_id, :graph_id, :config, :context, :metadata, :name, :description, 1,
            statement_timestamp(), statement_timestamp())
    ON CONFLICT (assistant_id) DO NOTHING
    RETURNING *
), versioned AS (
    INSERT INTO runs.assistant_version
        (assistant_id, version, graph_id, config, context, metadata, name, description, created_at)
    SELECT assistant_id, version, graph_id, config, context, metadata, name, description, created_at FROM inserted
)
SELECT * FROM inserted;

-- name: refresh_system_assistant(assistant_id, metadata, name, description)!
-- What the application says of a graph now, unless somebody has changed its assistant.
WITH refreshed AS (
    UPDATE runs.assistant a
    SET name = :name, description = :description, updated_at = clock_timestamp()
    WHERE assistant_id = :assistant_id AND version = 1 AND metadata = :metadata::jsonb
        AND (name, description) IS DISTINCT FROM (:name::text, :description::text)
        AND NOT EXISTS (SELECT FROM runs.assistant_version v WHERE v.assistant_id = a.assistant_id AND v.version > 1)
    RETURNING assistant_id, name, description
)
UPDATE runs.assistant_version v
SET name = refreshed.name, description = refreshed.description
FROM refreshed
WHERE v.assistant_id = refreshed.assistant_id AND v.version = 1;

-- name: find_assistant(assistant_id)^
-- With whether somebody serves its graph, or did until a moment ago.
SELECT a.*, EXISTS (SELECT FROM runs.graph g WHERE g.graph_id = a.graph_id) AS is_served
FROM runs.assistant a WHERE assistant_id = :assistant_id;

-- name: get_assistant(assistant_id)^
SELECT * FROM runs.assistant WHERE assistant_id = :assistant_id;

-- name: lock_assistant(assistant_id)^
SELECT * FROM runs.assistant WHERE assistant_id = :assistant_id FOR UPDATE;

-- name: save_assistant(graph_id, config, context, metadata, name, description, assistant_id)^
WITH saved AS (
    UPDATE runs.assistant a
    SET graph_id = :graph_id, config = :config, context = :context, metadata = :metadata, name = :name,
        description = :description, updated_at = clock_timestamp(),
        version = (SELECT max(v.version) + 1 FROM runs.assistant_version v WHERE v.assistant_id = a.assistant_id)
    WHERE assistant_id = :assistant_id
    RETURNING *
), versioned AS (
    INSERT INTO runs.assistant_version
        (assistant_id, version, graph_id, config, context, metadata, name, description)
    SELECT assistant_id, version, graph_id, config, context, metadata, name, description FROM saved
)
SELECT * FROM saved;

-- name: restore_version(assistant_id, version)^
UPDATE runs.assistant a
SET graph_id = v.graph_id, config = v.config, context = v.context, metadata = v.metadata, name = v.name,
    description = v.description, version = v.version, updated_at = clock_timestamp()
FROM runs.assistant_version v
WHERE a.assistant_id = :assistant_id AND v.assistant_id = :assistant_id AND v.version = :version
RETURNING a.*;

-- name: delete_assistant(assistant_id)^
DELETE FROM runs.assistant WHERE assistant_id = :assistant_id RETURNING assistant_id;

-- name: list_versions(assistant_id, metadata, limit, offset)
SELECT v.*, v.created_at AS updated_at FROM runs.assistant_version v
WHERE assistant_id = :assistant_id AND (:metadata::jsonb IS NULL OR metadata @> :metadata)
ORDER BY version DESC
LIMIT :limit OFFSET :offset;
