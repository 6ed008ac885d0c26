-- name: database_time()$
SELECT clock_timestamp();

-- name: insert_cron(cron_id, assistant_id, thread_id, schedule, timezone, end_time, payload, metadata, on_run_completed, enabled, next_run_at)^
INSERT INTO runs.cron (cron_id, assistant_id, thread_id, schedule, timezone, end_time, payload, metadata,
                       on_run_completed, enabled, next_run_at, created_at, updated_at)
VALUES (:cron_id, :assistant_id, :thread_id, :schedule, :timezone, :end_time, :payload, :metadata,
        :on_run_completed, :enabled, :next_run_at, statement_timestamp(), statement_timestamp())
ON CONFLICT (cron_id) DO NOTHING
RETURNING *;

-- name: get_cron(cron_id)^
SELECT * FROM runs.cron WHERE cron_id = :cron_id;

-- name: lock_cron(cron_id)^
SELECT * FROM runs.cron WHERE cron_id = :cron_id FOR UPDATE;

-- name: save_cron(schedule, timezone, end_time, payload, metadata, on_run_completed, enabled, next_run_at, cron_id)^
UPDATE runs.cron
SET schedule = :schedule, timezone = :timezone, end_time = :end_time, payload = :payload, metadata = :metadata,
    on_run_completed = :on_run_completed, enabled = :enabled, next_run_at = :next_run_at,
    updated_at = clock_timestamp()
WHERE cron_id = :cron_id
RETURNING *;

-- name: disable_cron(cron_id)!
UPDATE runs.cron SET enabled = false WHERE cron_id = :cron_id;

-- name: delete_cron(cron_id)^
DELETE FROM runs.cron WHERE cron_id = :cron_id RETURNING cron_id;

-- name: delete_thread_crons(thread_id)!
DELETE FROM runs.cron
WHERE cron_id IN (SELECT cron_id FROM runs.cron WHERE thread_id = :thread_id ORDER BY cron_id FOR UPDATE);

-- name: lock_due_crons(limit)
-- Replicas that look at the same moment skip each other's rows, and find them moved on afterwards.
SELECT *, clock_timestamp() AS now FROM runs.cron
WHERE enabled AND next_run_at IS NOT NULL AND next_run_at <= clock_timestamp()
ORDER BY next_run_at
LIMIT :limit
FOR UPDATE SKIP LOCKED;

-- name: advance_crons(cron_ids, next_run_ats)!
UPDATE runs.cron c
SET next_run_at = moved.next_run_at
FROM unnest(:cron_ids::uuid[], :next_run_ats::timestamptz[]) AS moved (cron_id, next_run_at)
WHERE c.cron_id = moved.cron_id;

-- name: record_firings(cron_ids, run_ids, due_ats, lease_seconds)
-- A tick that comes while the one before still waits for its run is merged into it.
INSERT INTO runs.cron_firing (cron_id, run_id, due_at, leased_until)
SELECT cron_id, run_id, due_at, clock_timestamp() + :lease_seconds::float8 * interval '1 second'
FROM unnest(:cron_ids::uuid[], :run_ids::uuid[], :due_ats::timestamptz[]) AS fired (cron_id, run_id, due_at)
ON CONFLICT (cron_id) DO NOTHING
RETURNING cron_id, run_id;

-- name: take_over_firings(limit, lease_seconds)
-- Ticks whose replica died, or could not reach what it needed, before the run was there.
WITH stale AS (
    SELECT cron_id FROM runs.cron_firing
    WHERE leased_until <= clock_timestamp()
    ORDER BY leased_until
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
UPDATE runs.cron_firing f
SET leased_until = clock_timestamp() + :lease_seconds::float8 * interval '1 second'
FROM stale
JOIN runs.cron c ON c.cron_id = stale.cron_id
WHERE f.cron_id = stale.cron_id
RETURNING c.*, f.run_id, f.due_at;

-- name: drop_firing(cron_id)!
DELETE FROM runs.cron_firing WHERE cron_id = :cron_id;

-- name: seconds_to_next_tick()$
SELECT extract(epoch FROM least(
    (SELECT min(next_run_at) FROM runs.cron WHERE enabled AND next_run_at IS NOT NULL),
    (SELECT min(leased_until) FROM runs.cron_firing)
) - clock_timestamp())::float8;
