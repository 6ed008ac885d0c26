-- Threads, their checkpoints, and the invariants of both.
--
-- JSON documents are kept as `json`, which preserves the key order that clients sent; containment search reads
-- them as `jsonb` through an index on threads.searchable(). Text that orders rows collates as "C", byte by byte,
-- as Python compares strings.

-- jsonb and the operators of json refuse the NUL escape, which is legal in JSON: they see U+FFFD in its place.
-- An escaped backslash before `u0000` is no such escape, hence the look-behind and the pairs. (Null answers null without
-- STRICT, which would keep the planner from inlining a CASE.)
CREATE FUNCTION threads.without_nul(document json) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN strpos(document::text, '\u0000') = 0 THEN document
    ELSE regexp_replace(document::text, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::json
END;

-- What containment search sees of a document. None beyond 64 MiB: jsonb fails near 256 MB, and no run's end may fail
-- over the size of its values.
CREATE FUNCTION threads.searchable(document json) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(document::text) <= 67108864 THEN threads.without_nul(document)::jsonb END;

-- `patch` laid over `base`, key by key and one level deep, keeping the order of keys.
CREATE FUNCTION threads.merged(base json, patch json) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN patch IS NULL OR patch::text = '{}' THEN base
    ELSE (
        SELECT ('{' || coalesce(string_agg(to_json(entry.key)::text || ':' || entry.value::text, ','
                                           ORDER BY entry.place), '') || '}')::json
        FROM (
            SELECT kept.key, coalesce(patched.value, kept.value) AS value, kept.place
            FROM json_each(base) WITH ORDINALITY AS kept (key, value, place)
            LEFT JOIN json_each(patch) AS patched (key, value) ON patched.key = kept.key
            UNION ALL
            SELECT added.key, added.value, 1000000000 + added.place
            FROM json_each(patch) WITH ORDINALITY AS added (key, value, place)
            WHERE NOT EXISTS (SELECT FROM json_each(base) AS present (key, value) WHERE present.key = added.key)
        ) AS entry
    )
END;

-- Metadata of a checkpoint as it reads in another thread: its own mention of the thread follows, if there is one.
CREATE FUNCTION threads.moved(metadata json, target uuid) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN metadata -> 'thread_id' IS NULL THEN metadata
    ELSE threads.merged(metadata, json_build_object('thread_id', target))
END;

-- Whether `document` holds all of `pattern`: objects by containment at every depth, everything else by equality.
-- jsonb's own @> is laxer about arrays, which it takes for sets.
CREATE FUNCTION threads.holds(document jsonb, pattern jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    entry record;
BEGIN
    IF jsonb_typeof(pattern) <> 'object' THEN
        RETURN document = pattern;
    END IF;
    FOR entry IN SELECT key, value FROM jsonb_each(pattern) LOOP
        IF NOT coalesce(threads.holds(document -> entry.key, entry.value), false) THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN jsonb_typeof(document) = 'object';
END
$$;

CREATE TABLE threads.thread (
    thread_id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    state_updated_at timestamptz NOT NULL DEFAULT now(),
    metadata json NOT NULL DEFAULT '{}' CHECK (json_typeof(metadata) = 'object'),
    config json NOT NULL DEFAULT '{}' CHECK (json_typeof(config) = 'object'),
    -- How the last run left the thread; shown while no run is active.
    rest_status text NOT NULL DEFAULT 'idle' CHECK (rest_status IN ('idle', 'interrupted', 'error')),
    interrupts json CHECK (json_typeof(interrupts) = 'object'),
    error json CHECK (json_typeof(error) IN ('object', 'null')),
    active_run_ids uuid[] NOT NULL DEFAULT '{}',
    -- When each of the active runs became so, in the same order.
    active_since timestamptz[] NOT NULL DEFAULT '{}',
    status text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN cardinality(active_run_ids) > 0 THEN 'busy' ELSE rest_status END
    ) STORED,
    -- The smallest fencing token that may still write. It only grows.
    fence bigint NOT NULL DEFAULT 0 CHECK (fence >= 0),
    ttl_strategy text CHECK (ttl_strategy IN ('delete', 'keep_latest')),
    ttl_minutes double precision CHECK (ttl_minutes > 0),
    -- When the sweeper last dropped the history; such a thread expires again only after another change.
    swept_at timestamptz,
    -- Seconds since 1970; a timestamptz plus an interval is not immutable, so no generated column can hold it.
    expires_epoch double precision GENERATED ALWAYS AS (
        extract(epoch FROM updated_at - timestamptz '1970-01-01 00:00:00+00')::double precision + ttl_minutes * 60
    ) STORED,
    CHECK (cardinality(active_run_ids) = cardinality(active_since)),
    CHECK (array_position(active_run_ids, NULL) IS NULL),
    CHECK ((ttl_strategy IS NULL) = (ttl_minutes IS NULL))
) WITH (fillfactor = 85);

CREATE INDEX thread_created ON threads.thread (created_at, thread_id);
CREATE INDEX thread_updated ON threads.thread (updated_at, thread_id);
CREATE INDEX thread_state_updated ON threads.thread (state_updated_at, thread_id);
CREATE INDEX thread_status ON threads.thread (status, updated_at, thread_id);
CREATE INDEX thread_busy ON threads.thread (thread_id) WHERE cardinality(active_run_ids) > 0;
CREATE INDEX thread_metadata ON threads.thread USING gin (threads.searchable(metadata) jsonb_path_ops);
CREATE INDEX thread_expiry ON threads.thread (expires_epoch)
    WHERE ttl_minutes IS NOT NULL AND (swept_at IS NULL OR swept_at < updated_at);

-- Values apart from their thread: any update of a row with an indexed change re-enters all its index entries, and
-- those of large values would be paid for at each begin and end of a run.
CREATE TABLE threads.thread_values (
    thread_id uuid PRIMARY KEY REFERENCES threads.thread ON DELETE CASCADE,
    document json NOT NULL
);
CREATE INDEX thread_values_document ON threads.thread_values
    USING gin (threads.searchable(document) jsonb_path_ops);

CREATE TABLE threads.checkpoint (
    thread_id uuid NOT NULL REFERENCES threads.thread ON DELETE CASCADE,
    checkpoint_ns text COLLATE "C" NOT NULL,
    checkpoint_id text COLLATE "C" NOT NULL CHECK (checkpoint_id <> ''),
    -- Empty at the root.
    parent_checkpoint_id text COLLATE "C" NOT NULL CHECK (parent_checkpoint_id <> checkpoint_id),
    body_type text NOT NULL,
    body bytea NOT NULL,
    metadata json NOT NULL CHECK (json_typeof(metadata) = 'object'),
    run_id text COLLATE "C" GENERATED ALWAYS AS (metadata ->> 'run_id') STORED,
    -- {channel: version}: where to find the value of each channel in channel_blob.
    channel_versions jsonb NOT NULL CHECK (jsonb_typeof(channel_versions) = 'object'),
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
);
CREATE INDEX checkpoint_everywhere ON threads.checkpoint (checkpoint_id, checkpoint_ns, thread_id);
CREATE INDEX checkpoint_run ON threads.checkpoint (run_id) WHERE run_id IS NOT NULL;

-- The value of a channel at a version, once, however many checkpoints share it. Type `empty` marks no value.
CREATE TABLE threads.channel_blob (
    thread_id uuid NOT NULL REFERENCES threads.thread ON DELETE CASCADE,
    checkpoint_ns text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (thread_id, checkpoint_ns, channel, version)
);

-- No foreign key to the checkpoint: a task's writes may arrive before the checkpoint that they belong to.
CREATE TABLE threads.pending_write (
    thread_id uuid NOT NULL REFERENCES threads.thread ON DELETE CASCADE,
    checkpoint_ns text COLLATE "C" NOT NULL,
    checkpoint_id text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    idx int NOT NULL,
    channel text COLLATE "C" NOT NULL,
    type text NOT NULL,
    data bytea NOT NULL,
    task_path text COLLATE "C" NOT NULL,
    -- Run that wrote; it may differ from the run that made the checkpoint.
    run_id text COLLATE "C",
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
);

-- A checkpoint with the values of its channels and its pending writes in replay order, as parallel arrays.
-- OFFSET 0 makes each blob a lookup of its own: before the first ANALYZE, the planner would rather read all blobs of
-- the thread into a hash (62 ms instead of 0.4 ms for 20 of 5,000 checkpoints).
CREATE VIEW threads.full_checkpoint AS
SELECT
    checkpoint.*,
    blobs.blob_channels, blobs.blob_versions, blobs.blob_types, blobs.blob_data,
    writes.write_tasks, writes.write_idxs, writes.write_channels, writes.write_types, writes.write_data,
    writes.write_paths
FROM threads.checkpoint
CROSS JOIN LATERAL (
    SELECT
        array_agg(blob.channel) AS blob_channels, array_agg(blob.version) AS blob_versions,
        array_agg(blob.type) AS blob_types, array_agg(blob.data) AS blob_data
    FROM jsonb_each_text(checkpoint.channel_versions) AS current (channel, version)
    CROSS JOIN LATERAL (
        SELECT blob.* FROM threads.channel_blob AS blob
        WHERE blob.thread_id = checkpoint.thread_id AND blob.checkpoint_ns = checkpoint.checkpoint_ns
            AND blob.channel = current.channel AND blob.version = current.version AND blob.type <> 'empty'
        OFFSET 0
    ) AS blob
) AS blobs
CROSS JOIN LATERAL (
    SELECT
        array_agg(sorted.task_id) AS write_tasks, array_agg(sorted.idx) AS write_idxs,
        array_agg(sorted.channel) AS write_channels, array_agg(sorted.type) AS write_types,
        array_agg(sorted.data) AS write_data, array_agg(sorted.task_path) AS write_paths
    FROM (
        SELECT pending.* FROM threads.pending_write AS pending
        WHERE pending.thread_id = checkpoint.thread_id AND pending.checkpoint_ns = checkpoint.checkpoint_ns
            AND pending.checkpoint_id = checkpoint.checkpoint_id
        ORDER BY pending.task_path, pending.task_id, pending.idx
    ) AS sorted
) AS writes;
