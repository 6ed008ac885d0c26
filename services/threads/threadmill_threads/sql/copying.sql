-- Copies are one statement each, so that all tables are read at the same moment.

-- name: copy_thread(target_id, source_id, ttl_strategy, ttl_minutes)^
-- Makes an idle thread with the metadata and the whole history of another; nothing if that is missing. Its time to live is
-- that of any new thread.
WITH made AS (
    INSERT INTO threads.thread AS thread (thread_id, metadata, ttl_strategy, ttl_minutes)
    SELECT :target_id, source.metadata, :ttl_strategy, :ttl_minutes
    FROM threads.thread AS source WHERE source.thread_id = :source_id
    RETURNING thread.*
), checkpoints AS (
    INSERT INTO threads.checkpoint
        (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, body_type, body, metadata, channel_versions)
    SELECT made.thread_id, old.checkpoint_ns, old.checkpoint_id, old.parent_checkpoint_id, old.body_type, old.body,
        threads.moved(old.metadata, made.thread_id), old.channel_versions
    FROM made, threads.checkpoint AS old WHERE old.thread_id = :source_id
), chunks AS (
    INSERT INTO threads.chunk (thread_id, key, data)
    SELECT made.thread_id, old.key, old.data FROM made, threads.chunk AS old WHERE old.thread_id = :source_id
), blobs AS (
    INSERT INTO threads.channel_blob (thread_id, checkpoint_ns, channel, version, type, data, chunk_keys)
    SELECT made.thread_id, old.checkpoint_ns, old.channel, old.version, old.type, old.data,
        old.chunk_keys
    FROM made, threads.channel_blob AS old WHERE old.thread_id = :source_id
), writes AS (
    INSERT INTO threads.pending_write
        (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, data, task_path, chunk_keys, run_id)
    SELECT made.thread_id, old.checkpoint_ns, old.checkpoint_id, old.task_id, old.idx, old.channel, old.type, old.data,
        old.task_path, old.chunk_keys, old.run_id
    FROM made, threads.pending_write AS old WHERE old.thread_id = :source_id
)
SELECT made.*, NULL::json AS "values" FROM made;

-- name: copy_checkpoints(target_id, source_id)!
-- Into a thread that may exist; what it already stores under the same ids stays.
WITH made AS (
    INSERT INTO threads.thread (thread_id) VALUES (:target_id) ON CONFLICT (thread_id) DO NOTHING
), chunks AS (
    INSERT INTO threads.chunk (thread_id, key, data)
    SELECT :target_id, old.key, old.data FROM threads.chunk AS old WHERE old.thread_id = :source_id
    ON CONFLICT DO NOTHING
), blobs AS (
    INSERT INTO threads.channel_blob (thread_id, checkpoint_ns, channel, version, type, data, chunk_keys)
    SELECT :target_id, old.checkpoint_ns, old.channel, old.version, old.type, old.data,
        old.chunk_keys
    FROM threads.channel_blob AS old WHERE old.thread_id = :source_id
    ON CONFLICT DO NOTHING
), writes AS (
    INSERT INTO threads.pending_write
        (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, data, task_path, chunk_keys, run_id)
    SELECT :target_id, old.checkpoint_ns, old.checkpoint_id, old.task_id, old.idx, old.channel, old.type, old.data,
        old.task_path, old.chunk_keys, old.run_id
    FROM threads.pending_write AS old WHERE old.thread_id = :source_id
    ON CONFLICT DO NOTHING
)
INSERT INTO threads.checkpoint
    (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, body_type, body, metadata, channel_versions)
SELECT :target_id, old.checkpoint_ns, old.checkpoint_id, old.parent_checkpoint_id, old.body_type, old.body,
    threads.moved(old.metadata, :target_id), old.channel_versions
FROM threads.checkpoint AS old WHERE old.thread_id = :source_id
ON CONFLICT DO NOTHING;
