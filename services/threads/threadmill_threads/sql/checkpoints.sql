-- name: read_checkpoint(with_thread, thread_id, checkpoint_ns, floor, ceiling)^
-- The newest checkpoint with floor <= id < ceiling and what the thread's row says; nulls for what is missing.
SELECT thread.fence, thread.chunk_epoch, (extract(epoch FROM thread.state_updated_at) * 1000000)::bigint AS state_micros,
    CASE WHEN :with_thread::boolean THEN thread.metadata END AS thread_metadata,
    CASE WHEN :with_thread THEN thread.config END AS thread_config,
    found.*
FROM (SELECT :thread_id::uuid AS wanted_id) AS wanted
LEFT JOIN threads.thread ON thread.thread_id = wanted.wanted_id
LEFT JOIN LATERAL (
    SELECT full_checkpoint.* FROM threads.full_checkpoint
    WHERE full_checkpoint.thread_id = :thread_id AND full_checkpoint.checkpoint_ns = :checkpoint_ns
        AND full_checkpoint.checkpoint_id >= :floor AND full_checkpoint.checkpoint_id < :ceiling
    ORDER BY full_checkpoint.checkpoint_id DESC
    LIMIT 1
) AS found ON true;

-- name: take_over(thread_id, run_id, token, checkpoint_ns, floor, ceiling)^
-- As read_checkpoint, for an attempt that shuts out the older ones first; nothing if the thread is missing.
SELECT taken.fence, taken.chunk_epoch, taken.state_micros, taken.is_active, (taken.found).*
FROM threads.take_over(:thread_id, :run_id, :token, :checkpoint_ns, :floor, :ceiling) AS taken;

-- name: list_namespace(thread_id, checkpoint_ns, floor, ceiling, filter, limit)
SELECT * FROM threads.full_checkpoint
WHERE thread_id = :thread_id AND checkpoint_ns = :checkpoint_ns
    AND checkpoint_id >= :floor AND checkpoint_id < :ceiling
    AND (:filter::text IS NULL OR threads.searchable(metadata) @> :filter::jsonb
         AND (strpos(:filter, '[') = 0 OR threads.holds(threads.searchable(metadata), :filter::jsonb)))
ORDER BY checkpoint_id DESC
LIMIT :limit;

-- name: list_thread(thread_id, floor, ceiling, ceiling_ns, filter, limit)
-- All namespaces. Keys first: a rare question, for which sorting the keys of one thread is cheaper than one more index
-- on every put. `ceiling_ns`, and `ceiling_thread` below, tell apart checkpoints that share an id.
WITH found AS MATERIALIZED (
    SELECT checkpoint_ns, checkpoint_id FROM threads.checkpoint
    WHERE thread_id = :thread_id
        AND checkpoint_id >= :floor AND (checkpoint_id, checkpoint_ns) < (:ceiling, :ceiling_ns)
        AND (:filter::text IS NULL OR threads.searchable(metadata) @> :filter::jsonb
         AND (strpos(:filter, '[') = 0 OR threads.holds(threads.searchable(metadata), :filter::jsonb)))
    ORDER BY checkpoint_id DESC, checkpoint_ns DESC
    LIMIT :limit
)
SELECT whole.* FROM found
CROSS JOIN LATERAL (
    SELECT * FROM threads.full_checkpoint
    WHERE full_checkpoint.thread_id = :thread_id AND full_checkpoint.checkpoint_ns = found.checkpoint_ns
        AND full_checkpoint.checkpoint_id = found.checkpoint_id
    OFFSET 0
) AS whole
ORDER BY whole.checkpoint_id DESC, whole.checkpoint_ns DESC;

-- name: list_everywhere(checkpoint_ns, floor, ceiling, ceiling_ns, ceiling_thread, filter, limit)
SELECT * FROM threads.full_checkpoint
WHERE (:checkpoint_ns::text IS NULL OR checkpoint_ns = :checkpoint_ns)
    AND checkpoint_id >= :floor
    AND (checkpoint_id, checkpoint_ns, thread_id) < (:ceiling, :ceiling_ns, :ceiling_thread)
    AND (:filter::text IS NULL OR threads.searchable(metadata) @> :filter::jsonb
         AND (strpos(:filter, '[') = 0 OR threads.holds(threads.searchable(metadata), :filter::jsonb)))
ORDER BY checkpoint_id DESC, checkpoint_ns DESC, thread_id DESC
LIMIT :limit;

-- name: ensure_thread(thread_id, ttl_strategy, ttl_minutes)!
INSERT INTO threads.thread (thread_id, ttl_strategy, ttl_minutes)
VALUES (:thread_id, :ttl_strategy, :ttl_minutes)
ON CONFLICT (thread_id) DO NOTHING;

-- name: write_gate(ended_run_id, thread_id, base_ns, base_channels, base_versions, base_checkpoint_ns, base_checkpoint_ids, base_keys)^
-- Why write_checkpoints refused; nothing if the thread is missing.
SELECT fence, chunk_epoch, settled_run_id IS DISTINCT FROM :ended_run_id::uuid AS is_active,
    threads.has_base(thread_id, :base_ns::text[], :base_channels::text[], :base_versions::text[],
                     :base_checkpoint_ns::text[], :base_checkpoint_ids::text[], :base_keys::bytea[]) AS has_base
FROM threads.thread WHERE thread_id = :thread_id;

-- name: stores_checkpoint(thread_id, checkpoint_ns, checkpoint_id)$
SELECT EXISTS (
    SELECT FROM threads.checkpoint
    WHERE thread_id = :thread_id AND checkpoint_ns = :checkpoint_ns AND checkpoint_id = :checkpoint_id
);

-- name: write_checkpoints(thread_id, token, chunk_epoch, base_ns, base_channels, base_versions, base_checkpoint_ns, base_checkpoint_ids, base_keys, chunk_keys, chunk_data, blob_ns, blob_channels, blob_versions, blob_types, blob_data, blob_keys, put_ns, put_ids, put_parents, put_types, put_bodies, put_metadata, put_versions, run_id, write_ns, write_checkpoints, write_tasks, write_idxs, write_channels, write_types, write_data, write_paths, write_keys, ended_run_id, rest_status, interrupts, error, values, stamp)$
-- Everything of one request, if the gate lets it pass; answers the epoch of the thread's chunks, null if it does not.
-- FOR SHARE lets the writes of parallel subgraphs pass together but makes whoever moves the fence, or takes away
-- checkpoints, wait for them. Who also ends a run takes the row for itself at once: two that shared it and then wanted
-- it would wait for each other. An epoch that is not over vouches for all that the request refers to and does not carry;
-- without one it is looked up, behind the lock. Regular writes (idx >= 0) keep what is stored, so that a repeated task changes nothing;
-- special ones replace it. `ended`: as end_run, in runs.sql.
WITH shared AS MATERIALIZED (
    SELECT thread_id, chunk_epoch FROM threads.thread
    WHERE :ended_run_id::uuid IS NULL AND thread_id = :thread_id
        AND (:token::bigint IS NULL OR fence <= :token)
        AND (:chunk_epoch::bigint = 0 OR chunk_epoch = :chunk_epoch)
    FOR SHARE
), owned AS MATERIALIZED (
    SELECT thread_id, chunk_epoch, settled_run_id IS DISTINCT FROM :ended_run_id AS was_active FROM threads.thread
    WHERE :ended_run_id IS NOT NULL AND thread_id = :thread_id AND fence <= :token
        AND (:chunk_epoch = 0 OR chunk_epoch = :chunk_epoch)
    FOR UPDATE
), gate AS MATERIALIZED (
    SELECT thread_id, chunk_epoch, was_active
    FROM (
        SELECT thread_id, chunk_epoch, false AS was_active FROM shared
        UNION ALL
        SELECT thread_id, chunk_epoch, was_active FROM owned
    ) AS locked
    WHERE CASE WHEN :chunk_epoch <> 0 THEN true ELSE
        threads.has_base(thread_id, :base_ns::text[], :base_channels::text[], :base_versions::text[],
                         :base_checkpoint_ns::text[], :base_checkpoint_ids::text[], :base_keys::bytea[])
    END
), ended AS (
    UPDATE threads.thread AS thread
    SET active_since = ARRAY(
            SELECT since FROM unnest(thread.active_run_ids, thread.active_since) WITH ORDINALITY AS a (run, since, place)
            WHERE run <> :ended_run_id ORDER BY place
        ),
        active_run_ids = array_remove(thread.active_run_ids, :ended_run_id),
        settled_run_id = :ended_run_id,
        metadata = threads.merged(thread.metadata, :stamp::json),
        rest_status = coalesce(:rest_status::text, thread.rest_status),
        interrupts = coalesce(:interrupts::json, thread.interrupts),
        error = coalesce(:error::json, thread.error),
        fence = greatest(thread.fence, :token + 1),
        updated_at = now(),
        state_updated_at = now()
    FROM gate
    WHERE thread.thread_id = gate.thread_id AND gate.was_active
    RETURNING thread.thread_id
), stored_values AS (
    INSERT INTO threads.thread_values (thread_id, document)
    SELECT thread_id, :values::json FROM ended WHERE :values::json IS NOT NULL
    ON CONFLICT (thread_id) DO UPDATE SET document = excluded.document
), chunks AS (
    INSERT INTO threads.chunk (thread_id, key, data)
    SELECT gate.thread_id, part.* FROM gate, unnest(:chunk_keys::bytea[], :chunk_data::bytea[]) AS part
    ON CONFLICT DO NOTHING
), blobs AS (
    INSERT INTO threads.channel_blob (thread_id, checkpoint_ns, channel, version, type, data, chunk_keys)
    SELECT gate.thread_id, blob.*
    FROM gate, unnest(:blob_ns::text[], :blob_channels::text[], :blob_versions::text[], :blob_types::text[],
                      :blob_data::bytea[], :blob_keys::bytea[]) AS blob
    ON CONFLICT DO NOTHING
), puts AS (
    INSERT INTO threads.checkpoint
        (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, body_type, body, metadata, channel_versions)
    SELECT gate.thread_id, put.ns, put.id, put.parent, put.type, put.body, put.metadata::json, put.versions::jsonb
    FROM gate, unnest(:put_ns::text[], :put_ids::text[], :put_parents::text[], :put_types::text[], :put_bodies::bytea[],
                      :put_metadata::text[], :put_versions::text[])
        AS put (ns, id, parent, type, body, metadata, versions)
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE
    SET parent_checkpoint_id = excluded.parent_checkpoint_id, body_type = excluded.body_type, body = excluded.body,
        metadata = excluded.metadata, channel_versions = excluded.channel_versions
), writes AS (
    INSERT INTO threads.pending_write AS stored
        (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, data, task_path, chunk_keys, run_id)
    SELECT gate.thread_id, pending.*, :run_id::text
    FROM gate, unnest(:write_ns::text[], :write_checkpoints::text[], :write_tasks::text[], :write_idxs::int[],
                      :write_channels::text[], :write_types::text[], :write_data::bytea[], :write_paths::text[],
                      :write_keys::bytea[])
        AS pending
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE
    SET channel = excluded.channel, type = excluded.type, data = excluded.data, task_path = excluded.task_path,
        chunk_keys = excluded.chunk_keys, run_id = excluded.run_id
    WHERE stored.idx < 0
)
SELECT chunk_epoch FROM gate;

-- name: channel_history(thread_id, checkpoint_ns, floor, ceiling, channels)
-- Walks from the parent of the target (the newest id below `ceiling`) to the root, each channel as far as the nearest
-- stored value. That ancestor's own writes came after its value and belong to the history.
-- OFFSET 0 keeps each step a few lookups, as in threads.full_checkpoint.
WITH RECURSIVE target AS (
    SELECT parent_checkpoint_id FROM threads.checkpoint
    WHERE thread_id = :thread_id AND checkpoint_ns = :checkpoint_ns
        AND checkpoint_id >= :floor AND checkpoint_id < :ceiling
    ORDER BY checkpoint_id DESC
    LIMIT 1
), walk AS (
    SELECT 0 AS depth, ''::text COLLATE "C" AS checkpoint_id, parent_checkpoint_id, '{}'::jsonb AS channel_versions,
        '{}'::text[] AS wanted, :channels::text[] AS remaining
    FROM target
    UNION ALL
    SELECT walk.depth + 1, step.checkpoint_id, step.parent_checkpoint_id, step.channel_versions, walk.remaining,
        ARRAY(
            SELECT channel FROM unnest(walk.remaining) AS channel
            WHERE NOT EXISTS (
                SELECT FROM threads.channel_blob AS blob
                WHERE blob.thread_id = :thread_id AND blob.checkpoint_ns = :checkpoint_ns AND blob.channel = channel.channel
                    AND blob.version = step.channel_versions ->> channel.channel AND blob.type <> 'empty'
                OFFSET 0
            )
        )
    FROM walk
    CROSS JOIN LATERAL (
        SELECT * FROM threads.checkpoint
        WHERE checkpoint.thread_id = :thread_id AND checkpoint.checkpoint_ns = :checkpoint_ns
            AND checkpoint.checkpoint_id = walk.parent_checkpoint_id
        OFFSET 0
    ) AS step
    WHERE cardinality(walk.remaining) > 0
) CYCLE checkpoint_id SET looped USING path
SELECT false AS is_seed, walk.depth, pending.channel, pending.task_id, pending.idx, pending.type,
    CASE WHEN pending.chunk_keys IS NULL THEN pending.data
         ELSE threads.whole_value(:thread_id, pending.data, pending.chunk_keys) END AS data,
    pending.task_path
FROM walk
CROSS JOIN LATERAL (
    SELECT write.* FROM threads.pending_write AS write
    WHERE write.thread_id = :thread_id AND write.checkpoint_ns = :checkpoint_ns
        AND write.checkpoint_id = walk.checkpoint_id AND write.channel = ANY(walk.wanted)
    OFFSET 0
) AS pending
WHERE NOT walk.looped
UNION ALL
SELECT true, walk.depth, seed.channel, '', 0, seed.type,
    CASE WHEN seed.chunk_keys IS NULL THEN seed.data
         ELSE threads.whole_value(:thread_id, seed.data, seed.chunk_keys) END,
    ''
FROM walk
CROSS JOIN LATERAL unnest(walk.wanted) AS seeded (channel)
CROSS JOIN LATERAL (
    SELECT blob.* FROM threads.channel_blob AS blob
    WHERE blob.thread_id = :thread_id AND blob.checkpoint_ns = :checkpoint_ns AND blob.channel = seeded.channel
        AND blob.version = walk.channel_versions ->> seeded.channel AND blob.type <> 'empty'
    OFFSET 0
) AS seed
WHERE NOT walk.looped
ORDER BY depth DESC, task_path, task_id, idx;
