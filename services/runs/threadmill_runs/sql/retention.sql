-- name: take_duty(name, interval_seconds)$
-- Once per cluster and interval: the replica that moves the time on does the round, from the cursor that it gets.
UPDATE runs.duty SET done_at = clock_timestamp()
WHERE name = :name AND done_at <= clock_timestamp() - :interval_seconds::float8 * interval '1 second'
RETURNING cursor;

-- name: move_duty(cursor, name)!
UPDATE runs.duty SET cursor = :cursor WHERE name = :name;

-- name: threads_with_old_runs(after, min_age_seconds, limit)
-- A page of threads by id, each once, at the cost of the page: one step through the index for each of its threads.
WITH RECURSIVE page AS (
    (SELECT r.thread_id, 1 AS place FROM runs.run r WHERE r.thread_id > :after ORDER BY r.thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT r.thread_id FROM runs.run r WHERE r.thread_id > page.thread_id ORDER BY r.thread_id LIMIT 1),
           page.place + 1
    FROM page
    WHERE page.thread_id IS NOT NULL AND page.place < :limit
)
SELECT page.thread_id,
       EXISTS (
           SELECT FROM runs.run r
           WHERE r.thread_id = page.thread_id
             AND r.ended_at < clock_timestamp() - :min_age_seconds::float8 * interval '1 second'
       ) AS has_old
FROM page
WHERE page.thread_id IS NOT NULL;

-- name: threads_with_crons(after, limit)
SELECT DISTINCT thread_id FROM runs.cron
WHERE thread_id > :after AND created_at < clock_timestamp() - interval '1 minute'
ORDER BY thread_id
LIMIT :limit;

-- name: delete_old_runs_of_threads(thread_ids, min_age_seconds, limit)$
-- Of threads that are gone; only what had ended before the threads were looked for.
WITH doomed AS (
    SELECT run_id FROM runs.run
    WHERE thread_id = ANY(:thread_ids::uuid[])
      AND ended_at < clock_timestamp() - :min_age_seconds::float8 * interval '1 second'
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM runs.run WHERE run_id = ANY(ARRAY(SELECT run_id FROM doomed)) RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: delete_crons_of_threads(thread_ids)!
DELETE FROM runs.cron
WHERE cron_id = ANY(ARRAY(
    SELECT cron_id FROM runs.cron WHERE thread_id = ANY(:thread_ids::uuid[]) ORDER BY cron_id FOR UPDATE
));

-- name: delete_outdated_runs(keep_seconds, limit)$
WITH doomed AS (
    SELECT run_id FROM runs.run
    WHERE created_at < clock_timestamp() - :keep_seconds::float8 * interval '1 second'
      AND ended_at < clock_timestamp() - :keep_seconds::float8 * interval '1 second'
    ORDER BY created_at, seq
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM runs.run WHERE run_id = ANY(ARRAY(SELECT run_id FROM doomed)) RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: leftover_runs(min_age_seconds, limit)
-- Runs that were to disappear with their end; a replica died in between.
SELECT * FROM runs.run
WHERE ended_at IS NOT NULL AND (NOT keep_thread OR cancel_action = 'rollback')
  AND ended_at < clock_timestamp() - :min_age_seconds::float8 * interval '1 second'
ORDER BY ended_at
LIMIT :limit;

-- name: forget_temporary_runs(keep_seconds, limit)$
WITH doomed AS (
    SELECT run_id FROM runs.temporary_run
    WHERE accepted_at < clock_timestamp() - :keep_seconds::float8 * interval '1 second'
    ORDER BY accepted_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM runs.temporary_run WHERE run_id = ANY(ARRAY(SELECT run_id FROM doomed)) RETURNING 1
)
SELECT count(*) FROM deleted;
