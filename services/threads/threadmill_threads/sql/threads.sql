-- name: create_threads(thread_ids, metadata, ttl_strategies, ttl_minutes)
-- The new rows; none for an id that is taken, or that comes a second time. In the order of ids, so that two of these
-- which share some cannot wait for each other.
INSERT INTO threads.thread AS thread (thread_id, metadata, ttl_strategy, ttl_minutes)
SELECT new.thread_id, new.metadata::json, new.ttl_strategy, new.ttl_minutes
FROM unnest(:thread_ids::uuid[], :metadata::text[], :ttl_strategies::text[], :ttl_minutes::double precision[])
    AS new (thread_id, metadata, ttl_strategy, ttl_minutes)
ORDER BY new.thread_id
ON CONFLICT (thread_id) DO NOTHING
RETURNING thread.*, NULL::json AS "values";

-- name: get_thread(thread_id)^
SELECT thread.*, thread_values.document AS "values"
FROM threads.thread
LEFT JOIN threads.thread_values USING (thread_id)
WHERE thread.thread_id = :thread_id;

-- name: update_thread(metadata, ttl_minutes, ttl_strategy, thread_id)^
UPDATE threads.thread AS thread
SET metadata = threads.merged(thread.metadata, :metadata::json),
    ttl_strategy = CASE WHEN :ttl_minutes::double precision IS NULL THEN thread.ttl_strategy
                        ELSE coalesce(:ttl_strategy, thread.ttl_strategy, 'delete') END,
    ttl_minutes = coalesce(:ttl_minutes, thread.ttl_minutes),
    updated_at = now()
WHERE thread.thread_id = :thread_id
RETURNING thread.*,
    (SELECT document FROM threads.thread_values WHERE thread_values.thread_id = thread.thread_id) AS "values";

-- name: delete_threads(thread_ids)
-- Checkpoints, blobs and writes go with their thread. Locked in one order, so that two of these cannot deadlock.
DELETE FROM threads.thread
WHERE thread_id IN (
    SELECT thread_id FROM threads.thread WHERE thread_id = ANY(:thread_ids::uuid[]) ORDER BY thread_id FOR UPDATE
)
RETURNING thread_id;

-- name: lock_threads(thread_ids)
-- Those that exist, locked against every write of checkpoints until the transaction ends; one order, no deadlock.
SELECT thread_id FROM threads.thread WHERE thread_id = ANY(:thread_ids::uuid[]) ORDER BY thread_id FOR UPDATE;

-- name: thread_storage(thread_id)
-- A chunk counts once in each channel that shares it.
-- One row per kind and channel; a row of kind `thread` alone if the thread is empty, none if it is missing.
SELECT 'thread' AS kind, '' AS channel, 1 AS count, 0 AS bytes
FROM threads.thread WHERE thread_id = :thread_id
UNION ALL
SELECT 'checkpoint', '', count(*), coalesce(sum(octet_length(body) + octet_length(metadata::text)), 0)::bigint
FROM threads.checkpoint WHERE thread_id = :thread_id
UNION ALL
SELECT 'channel', blob.channel, count(*),
    sum(octet_length(blob.data) + coalesce(octet_length(blob.chunk_keys), 0))::bigint + (
        SELECT coalesce(sum(octet_length(part.data)), 0)::bigint
        FROM (
            SELECT DISTINCT threads.keys_of(mine.chunk_keys) AS key FROM threads.channel_blob AS mine
            WHERE mine.thread_id = :thread_id AND mine.channel = blob.channel AND mine.chunk_keys IS NOT NULL
        ) AS used
        JOIN threads.chunk AS part ON part.thread_id = :thread_id AND part.key = used.key
    )
FROM threads.channel_blob AS blob WHERE blob.thread_id = :thread_id AND blob.type <> 'empty'
GROUP BY blob.channel
UNION ALL
SELECT 'write', '', count(*), coalesce(sum(octet_length(data) + coalesce(octet_length(chunk_keys), 0)), 0)::bigint
FROM threads.pending_write WHERE thread_id = :thread_id
ORDER BY kind, channel;
