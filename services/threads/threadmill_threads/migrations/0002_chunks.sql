-- Large values in parts that versions share, so that a conversation which grows by a message stores the message, not
-- the conversation. Who writes a value cuts it and names each part by a hash; here both stay opaque.

-- A value is its `data` followed by the chunks that `chunk_keys` names: 16 bytes each, in order. Null: no chunks.
ALTER TABLE threads.channel_blob ADD COLUMN chunk_keys bytea CHECK (octet_length(chunk_keys) % 16 = 0);
ALTER TABLE threads.pending_write ADD COLUMN chunk_keys bytea CHECK (octet_length(chunk_keys) % 16 = 0);

CREATE TABLE threads.chunk (
    thread_id uuid NOT NULL REFERENCES threads.thread ON DELETE CASCADE,
    key bytea NOT NULL CHECK (octet_length(key) = 16),
    data bytea NOT NULL,
    PRIMARY KEY (thread_id, key)
);
-- A chunk fits a page. Inline, reading it is one lookup rather than one in the table and several in its TOAST table.
ALTER TABLE threads.chunk ALTER COLUMN data SET STORAGE MAIN;

-- Which chunks a writer may take for stored without sending them: those that it learned under the thread's present
-- epoch. It changes whenever chunks may have been taken away, and never repeats, not even in a thread that is made
-- again under the same id.
CREATE SEQUENCE threads.chunk_epoch;
ALTER TABLE threads.thread ADD COLUMN chunk_epoch bigint NOT NULL DEFAULT nextval('threads.chunk_epoch');

-- All of a value that has chunks; null if one of them is missing. (Not inlined, so call it only where there are some.)
CREATE FUNCTION threads.whole_value(of_thread uuid, head bytea, chunk_keys bytea) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    SELECT CASE WHEN count(*) = octet_length(chunk_keys) / 16
                THEN head || coalesce(string_agg(part.data, '' ORDER BY place), '') END
    FROM generate_series(1, octet_length(chunk_keys), 16) AS place
    CROSS JOIN LATERAL (
        SELECT chunk.data FROM threads.chunk
        WHERE chunk.thread_id = of_thread AND chunk.key = substring(chunk_keys FROM place FOR 16)
        OFFSET 0
    ) AS part
);

-- The keys in `chunk_keys`, one a row.
CREATE FUNCTION threads.keys_of(chunk_keys bytea) RETURNS SETOF bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 100
RETURN substring(chunk_keys FROM generate_series(1, octet_length(chunk_keys), 16) FOR 16);

CREATE OR REPLACE VIEW threads.full_checkpoint AS
SELECT
    checkpoint.*,
    blobs.blob_channels, blobs.blob_versions, blobs.blob_types, blobs.blob_data,
    writes.write_tasks, writes.write_idxs, writes.write_channels, writes.write_types, writes.write_data,
    writes.write_paths, blobs.blob_keys, writes.write_keys
FROM threads.checkpoint
CROSS JOIN LATERAL (
    SELECT
        array_agg(blob.channel) AS blob_channels, array_agg(blob.version) AS blob_versions,
        array_agg(blob.type) AS blob_types,
        array_agg(CASE WHEN blob.chunk_keys IS NULL THEN blob.data
                       ELSE threads.whole_value(blob.thread_id, blob.data, blob.chunk_keys) END) AS blob_data,
        array_agg(blob.chunk_keys) AS blob_keys
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
        array_agg(CASE WHEN sorted.chunk_keys IS NULL THEN sorted.data
                       ELSE threads.whole_value(sorted.thread_id, sorted.data, sorted.chunk_keys) END) AS write_data,
        array_agg(sorted.task_path) AS write_paths, array_agg(sorted.chunk_keys) AS write_keys
    FROM (
        SELECT pending.* FROM threads.pending_write AS pending
        WHERE pending.thread_id = checkpoint.thread_id AND pending.checkpoint_ns = checkpoint.checkpoint_ns
            AND pending.checkpoint_id = checkpoint.checkpoint_id
        ORDER BY pending.task_path, pending.task_id, pending.idx
    ) AS sorted
) AS writes;
