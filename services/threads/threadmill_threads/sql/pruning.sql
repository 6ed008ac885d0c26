-- Everything here runs under lock_threads: a checkpoint being written might share a blob that seems unshared.

-- name: delete_history(thread_ids)!
DELETE FROM threads.checkpoint WHERE thread_id = ANY(:thread_ids::uuid[]);

-- name: delete_all_writes(thread_ids)!
DELETE FROM threads.pending_write WHERE thread_id = ANY(:thread_ids::uuid[]);

-- name: delete_all_blobs(thread_ids)!
DELETE FROM threads.channel_blob WHERE thread_id = ANY(:thread_ids::uuid[]);

-- name: threads_of_runs(run_ids)
SELECT DISTINCT thread_id FROM threads.checkpoint WHERE run_id = ANY(:run_ids::text[]);

-- name: delete_checkpoints_of_runs(thread_ids, run_ids)!
-- With all writes that belong to them, and what the runs wrote onto checkpoints of other runs.
WITH dropped AS (
    DELETE FROM threads.checkpoint
    WHERE thread_id = ANY(:thread_ids::uuid[]) AND run_id = ANY(:run_ids::text[])
    RETURNING thread_id, checkpoint_ns, checkpoint_id
)
DELETE FROM threads.pending_write AS pending
WHERE pending.thread_id = ANY(:thread_ids::uuid[])
    AND (pending.run_id = ANY(:run_ids::text[])
         OR (pending.thread_id, pending.checkpoint_ns, pending.checkpoint_id) IN (SELECT * FROM dropped));

-- name: keep_latest(thread_ids)!
-- Drops all checkpoints but the newest of each namespace and the ancestors that its delta channels are rebuilt from, with
-- their writes. Of the namespace of a task (`node:task`), which only the step of the root that started it goes on with,
-- also the newest, if that step is over: its metadata names the root's checkpoint of then. LangGraph stores only the writes of a delta channel between two snapshots and counts the steps since the last one in
-- the metadata, which is how such a channel is told from one that is merely empty.
WITH RECURSIVE newest AS MATERIALIZED (
    SELECT DISTINCT ON (thread_id, checkpoint_ns)
        thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, channel_versions, metadata
    FROM threads.checkpoint
    WHERE thread_id = ANY(:thread_ids::uuid[])
    ORDER BY thread_id, checkpoint_ns, checkpoint_id DESC
), head AS (
    SELECT newest.* FROM newest
    LEFT JOIN newest AS root ON root.thread_id = newest.thread_id AND root.checkpoint_ns = ''
    WHERE strpos(newest.checkpoint_ns, ':') = 0
        OR coalesce(root.checkpoint_id <= (threads.searchable(newest.metadata) -> 'parents' ->> '') COLLATE "C", true)
), delta AS MATERIALIZED (
    SELECT DISTINCT counted.thread_id, counted.checkpoint_ns, channel
    FROM threads.checkpoint AS counted
    CROSS JOIN LATERAL (SELECT threads.searchable(counted.metadata) -> 'counters_since_delta_snapshot' AS counters) AS m
    CROSS JOIN LATERAL jsonb_object_keys(
        CASE WHEN jsonb_typeof(m.counters) = 'object' THEN m.counters ELSE '{}' END
    ) AS channel
    WHERE counted.thread_id = ANY(:thread_ids::uuid[])
), kept AS (
    SELECT head.thread_id, head.checkpoint_ns, head.checkpoint_id, head.parent_checkpoint_id,
        ARRAY(
            SELECT delta.channel FROM delta
            WHERE delta.thread_id = head.thread_id AND delta.checkpoint_ns = head.checkpoint_ns
                AND head.channel_versions ? delta.channel
                AND NOT EXISTS (
                    SELECT FROM threads.channel_blob AS blob
                    WHERE blob.thread_id = head.thread_id AND blob.checkpoint_ns = head.checkpoint_ns
                        AND blob.channel = delta.channel
                        AND blob.version = head.channel_versions ->> delta.channel AND blob.type <> 'empty'
                )
        ) AS wanted
    FROM head
    UNION ALL
    SELECT step.thread_id, step.checkpoint_ns, step.checkpoint_id, step.parent_checkpoint_id,
        ARRAY(
            SELECT channel FROM unnest(kept.wanted) AS channel
            WHERE NOT EXISTS (
                SELECT FROM threads.channel_blob AS blob
                WHERE blob.thread_id = step.thread_id AND blob.checkpoint_ns = step.checkpoint_ns
                    AND blob.channel = channel.channel
                    AND blob.version = step.channel_versions ->> channel.channel AND blob.type <> 'empty'
            )
        )
    FROM kept
    JOIN threads.checkpoint AS step
        ON step.thread_id = kept.thread_id AND step.checkpoint_ns = kept.checkpoint_ns
        AND step.checkpoint_id = kept.parent_checkpoint_id
    WHERE cardinality(kept.wanted) > 0
) CYCLE thread_id, checkpoint_ns, checkpoint_id SET looped USING path
, dropped AS (
    DELETE FROM threads.checkpoint AS old
    WHERE old.thread_id = ANY(:thread_ids::uuid[])
        AND NOT EXISTS (
            SELECT FROM kept
            WHERE kept.thread_id = old.thread_id AND kept.checkpoint_ns = old.checkpoint_ns
                AND kept.checkpoint_id = old.checkpoint_id
        )
    RETURNING thread_id, checkpoint_ns, checkpoint_id
)
DELETE FROM threads.pending_write AS pending
WHERE pending.thread_id = ANY(:thread_ids::uuid[])
    AND (pending.thread_id, pending.checkpoint_ns, pending.checkpoint_id) IN (SELECT * FROM dropped);

-- name: delete_stranded_writes(thread_ids)!
-- Writes whose checkpoint is gone. Those above the newest checkpoint stay: theirs may be on its way.
DELETE FROM threads.pending_write AS pending
WHERE pending.thread_id = ANY(:thread_ids::uuid[])
    AND NOT EXISTS (
        SELECT FROM threads.checkpoint AS kept
        WHERE kept.thread_id = pending.thread_id AND kept.checkpoint_ns = pending.checkpoint_ns
            AND kept.checkpoint_id = pending.checkpoint_id
    )
    AND EXISTS (
        SELECT FROM threads.checkpoint AS newer
        WHERE newer.thread_id = pending.thread_id AND newer.checkpoint_ns = pending.checkpoint_ns
            AND newer.checkpoint_id > pending.checkpoint_id
    );

-- name: delete_unshared_blobs(thread_ids)!
DELETE FROM threads.channel_blob AS blob
WHERE blob.thread_id = ANY(:thread_ids::uuid[])
    AND NOT EXISTS (
        SELECT FROM threads.checkpoint AS kept, jsonb_each_text(kept.channel_versions) AS current (channel, version)
        WHERE kept.thread_id = blob.thread_id AND kept.checkpoint_ns = blob.checkpoint_ns
            AND kept.thread_id = ANY(:thread_ids::uuid[])
            AND current.channel = blob.channel AND current.version = blob.version
    );

-- name: delete_unshared_chunks(thread_ids)!
DELETE FROM threads.chunk AS part
WHERE part.thread_id = ANY(:thread_ids::uuid[])
    AND (part.thread_id, part.key) NOT IN (
        SELECT blob.thread_id, threads.keys_of(blob.chunk_keys) FROM threads.channel_blob AS blob
        WHERE blob.thread_id = ANY(:thread_ids::uuid[]) AND blob.chunk_keys IS NOT NULL
        UNION
        SELECT pending.thread_id, threads.keys_of(pending.chunk_keys) FROM threads.pending_write AS pending
        WHERE pending.thread_id = ANY(:thread_ids::uuid[]) AND pending.chunk_keys IS NOT NULL
    );

-- name: start_chunk_epoch(thread_ids)!
-- Whoever has read or written checkpoints, values or chunks before must no longer rely on them. The update of the row
-- also makes writes that wait for its lock look at it again.
UPDATE threads.thread SET chunk_epoch = nextval('threads.chunk_epoch') WHERE thread_id = ANY(:thread_ids::uuid[]);

-- name: lock_expired_threads(limit)
-- A batch of the longest expired threads that nothing runs on; replicas that sweep at once share the work.
SELECT thread_id, ttl_strategy FROM threads.thread
WHERE ttl_minutes IS NOT NULL AND (swept_at IS NULL OR swept_at < updated_at)
    AND expires_epoch < extract(epoch FROM now())::double precision
    AND cardinality(active_run_ids) = 0
ORDER BY expires_epoch
LIMIT :limit
FOR UPDATE SKIP LOCKED;

-- name: mark_swept(thread_ids)!
UPDATE threads.thread SET swept_at = greatest(now(), updated_at) WHERE thread_id = ANY(:thread_ids::uuid[]);
