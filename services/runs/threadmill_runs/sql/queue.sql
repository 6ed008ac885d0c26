-- name: lock_thread(thread_id)!
-- Serialises creations on one thread for the strategies that look at its other runs first.
SELECT pg_advisory_xact_lock(hashtextextended(:thread_id::text, 0));

-- name: active_run_ids(thread_id)
SELECT run_id FROM runs.run
WHERE thread_id = :thread_id AND status IN ('pending', 'running')
ORDER BY created_at, seq;

-- name: insert_run(assistant_id, assistant_version, assistant_updated_at, run_id, keep_thread, executor_id, thread_id, graph_id, metadata, kwargs, multitask_strategy, stateless, request_id, after_seconds, lease_seconds)^
-- Only if the assistant is still the one from which graph and config were made, and its graph is there.
-- A cron's tick is done with the very statement that creates its run: no crash between the two, no second run.
-- A run whose row goes with its end leaves its id in runs.temporary_run, so that a repeated create finds it there.
-- With an executor that has a slot for it, a run on a thread without other active runs begins as its first attempt:
-- what claim_runs would do a moment later. Should another run of the thread be claimed at the same time,
-- run_one_running makes this statement fail; then it is repeated without an executor.
-- Creates on one thread take turns, each seeing those before it, lest a run begins before one that was created earlier.
WITH assistant AS (
    SELECT assistant_id FROM runs.assistant
    WHERE assistant_id = :assistant_id AND version = :assistant_version AND updated_at = :assistant_updated_at
        AND EXISTS (SELECT FROM runs.graph WHERE graph_id = :graph_id)
), fired AS (
    DELETE FROM runs.cron_firing WHERE run_id = :run_id AND EXISTS (SELECT FROM assistant)
), known AS (
    INSERT INTO runs.temporary_run (run_id)
    SELECT :run_id FROM assistant WHERE NOT :keep_thread
    ON CONFLICT (run_id) DO NOTHING
    RETURNING run_id
), turn AS MATERIALIZED (
    SELECT assistant_id, pg_advisory_xact_lock(hashtextextended(:thread_id::uuid::text, 0)) FROM assistant
), accepted AS MATERIALIZED (
    SELECT o.assistant_id, clock_timestamp() AS moment, o.others,
           :executor_id::text IS NOT NULL AND o.others < 2 AS begins
    FROM (SELECT t.assistant_id, runs.other_runs(:thread_id::uuid, :run_id::uuid) AS others FROM turn t OFFSET 0) AS o
)
INSERT INTO runs.run AS r (run_id, thread_id, assistant_id, graph_id, metadata, kwargs, multitask_strategy,
                           stateless, keep_thread, request_id, created_at,
                           status, attempt, fence_token, executor_id, lease_expires_at, started_at)
SELECT :run_id, :thread_id, a.assistant_id, :graph_id, :metadata, :kwargs, :multitask_strategy,
       :stateless, :keep_thread, :request_id, a.moment + :after_seconds::float8 * interval '1 second',
       CASE WHEN a.begins THEN 'running' ELSE 'pending' END,
       CASE WHEN a.begins THEN 1 ELSE 0 END,
       CASE WHEN a.begins THEN nextval('runs.fence_token') END,
       CASE WHEN a.begins THEN :executor_id::text END,
       CASE WHEN a.begins THEN a.moment + :lease_seconds::float8 * interval '1 second' END,
       CASE WHEN a.begins THEN a.moment END
FROM accepted a
WHERE :keep_thread OR EXISTS (SELECT FROM known)
ON CONFLICT (run_id) DO NOTHING
RETURNING r.*, (SELECT a.others = 0 FROM accepted a) AS is_first;

-- name: get_run(run_id, thread_id)^
SELECT * FROM runs.run
WHERE run_id = :run_id AND (:thread_id::uuid IS NULL OR thread_id = :thread_id);

-- name: existing_run_ids(run_ids, thread_id)
SELECT run_id FROM runs.run
WHERE run_id = ANY(:run_ids::uuid[]) AND (:thread_id::uuid IS NULL OR thread_id = :thread_id);

-- name: get_run_states(run_ids)
SELECT run_id, status FROM runs.run WHERE run_id = ANY(:run_ids::uuid[]);

-- name: claim_runs(graph_ids, limit, executor_id, lease_seconds)
-- Takes the oldest runnable runs: due, for a graph that the executor serves, first of their thread.
-- Every claim is a new attempt with a new token. Concurrent claimers skip each other's rows; should two of
-- them pick runs of one thread, run_one_running makes the second fail and try again.
WITH candidate AS (
    SELECT r.run_id
    FROM runs.run r
    WHERE r.status = 'pending'
      AND r.created_at <= clock_timestamp()
      AND r.graph_id = ANY(:graph_ids::text[])
      AND NOT EXISTS (
          SELECT FROM runs.run other
          WHERE other.thread_id = r.thread_id
            AND other.status IN ('pending', 'running')
            AND other.run_id <> r.run_id
            AND (other.status = 'running' OR (other.created_at, other.seq) < (r.created_at, r.seq))
      )
    ORDER BY r.created_at, r.seq
    LIMIT :limit
    FOR UPDATE OF r SKIP LOCKED
)
UPDATE runs.run r
SET status = 'running',
    attempt = r.attempt + 1,
    fence_token = nextval('runs.fence_token'),
    executor_id = :executor_id,
    lease_expires_at = clock_timestamp() + :lease_seconds::float8 * interval '1 second',
    started_at = coalesce(r.started_at, clock_timestamp()),
    updated_at = clock_timestamp()
FROM candidate
JOIN runs.run before ON before.run_id = candidate.run_id
WHERE r.run_id = candidate.run_id AND r.status = 'pending'
RETURNING r.*,
    before.fence_token IS NOT NULL AS resuming,
    extract(epoch FROM clock_timestamp() - coalesce(r.started_at, clock_timestamp()))::float8 AS elapsed_seconds;

-- name: renew_leases(run_ids, tokens, lease_seconds, executor_id)
-- Heartbeat: whatever is not returned is no longer the executor's. Statements that lock several runs and wait for
-- each other's locks (this one, shorten_leases, request_cancel, delete_thread_runs) all lock them by id: no deadlocks.
WITH held AS (
    SELECT r.run_id
    FROM unnest(:run_ids::uuid[], :tokens::bigint[]) AS given (run_id, token)
    JOIN runs.run r ON r.run_id = given.run_id AND r.fence_token = given.token
    WHERE r.status = 'running'
    ORDER BY r.run_id
    FOR UPDATE OF r
)
UPDATE runs.run r
SET lease_expires_at = clock_timestamp() + :lease_seconds::float8 * interval '1 second', executor_id = :executor_id
WHERE r.run_id = ANY(ARRAY(SELECT run_id FROM held))
RETURNING r.run_id, r.fence_token, r.cancel_action;

-- name: shorten_leases(executor_id, grace_seconds)!
-- The executor's connection is gone: unless it comes back within the grace period, its runs go elsewhere.
WITH held AS (
    SELECT run_id FROM runs.run
    WHERE status = 'running' AND executor_id = :executor_id
    ORDER BY run_id
    FOR UPDATE
)
UPDATE runs.run r
SET lease_expires_at = least(lease_expires_at, clock_timestamp() + :grace_seconds::float8 * interval '1 second')
WHERE r.run_id = ANY(ARRAY(SELECT run_id FROM held));

-- name: release_run(run_id, token)^
-- A draining executor hands back an unfinished run; the attempt is not spent.
UPDATE runs.run
SET status = 'pending', attempt = attempt - 1, executor_id = NULL, lease_expires_at = NULL,
    updated_at = clock_timestamp()
WHERE run_id = :run_id AND fence_token = :token AND status = 'running' AND cancel_action IS NULL
RETURNING run_id;

-- name: requeue_expired(max_attempts, limit)
-- Runs whose lease expired and that have attempts left go back to the queue.
WITH expired AS (
    SELECT run_id FROM runs.run
    WHERE status = 'running' AND lease_expires_at < clock_timestamp()
      AND attempt < :max_attempts AND cancel_action IS NULL
    ORDER BY lease_expires_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
UPDATE runs.run r
SET status = 'pending', executor_id = NULL, lease_expires_at = NULL, updated_at = clock_timestamp()
FROM expired
WHERE r.run_id = expired.run_id
RETURNING r.run_id, r.thread_id, r.attempt;

-- name: take_over_expired(max_attempts, limit, lease_seconds)
-- Runs whose lease expired and that nobody shall execute again: this replica takes the lease itself, with a
-- new token, to end them. Should it die meanwhile, the lease expires once more and another replica does.
WITH expired AS (
    SELECT run_id FROM runs.run
    WHERE status = 'running' AND lease_expires_at < clock_timestamp()
      AND (attempt >= :max_attempts OR cancel_action IS NOT NULL)
    ORDER BY lease_expires_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
UPDATE runs.run r
SET fence_token = nextval('runs.fence_token'), executor_id = 'reaper',
    lease_expires_at = clock_timestamp() + :lease_seconds::float8 * interval '1 second'
FROM expired
WHERE r.run_id = expired.run_id
RETURNING r.*;

-- name: take_over_unserved(patience_seconds, limit, lease_seconds)
-- Runs that have been due for long, the first of their threads, and whose graph no executor serves any more. As above.
WITH unserved AS (
    SELECT r.run_id FROM runs.run r
    WHERE r.status = 'pending'
      AND r.created_at < clock_timestamp() - :patience_seconds::float8 * interval '1 second'
      AND NOT EXISTS (SELECT FROM runs.graph g WHERE g.graph_id = r.graph_id)
      AND NOT EXISTS (
          SELECT FROM runs.run other
          WHERE other.thread_id = r.thread_id
            AND other.status IN ('pending', 'running')
            AND other.run_id <> r.run_id
            AND (other.status = 'running' OR (other.created_at, other.seq) < (r.created_at, r.seq))
      )
    ORDER BY r.created_at, r.seq
    LIMIT :limit
    FOR UPDATE OF r SKIP LOCKED
)
UPDATE runs.run r
SET status = 'running', fence_token = nextval('runs.fence_token'), executor_id = 'reaper',
    lease_expires_at = clock_timestamp() + :lease_seconds::float8 * interval '1 second'
FROM unserved
WHERE r.run_id = unserved.run_id AND r.status = 'pending'
RETURNING r.*;

-- name: owned_run(run_id, token)^
-- The run, if this attempt still owns it.
SELECT * FROM runs.run
WHERE run_id = :run_id AND fence_token = :token AND status = 'running';

-- name: end_run(status, run_id, token)^
-- A rollback that finds the thread settled has come too late, and is none.
UPDATE runs.run
SET status = :status, ended_at = clock_timestamp(), updated_at = clock_timestamp(),
    executor_id = NULL, lease_expires_at = NULL,
    cancel_action = CASE cancel_action WHEN 'rollback' THEN 'interrupt' ELSE cancel_action END
WHERE run_id = :run_id AND fence_token = :token AND status = 'running'
RETURNING *;

-- name: end_settled_run(run_id, token)^
-- A success whose thread the executor has settled already. A run that is to be undone needs more than this.
-- `others_wait`: runs of the thread have waited for this end.
UPDATE runs.run r
SET status = 'success', ended_at = clock_timestamp(), updated_at = clock_timestamp(),
    executor_id = NULL, lease_expires_at = NULL
WHERE run_id = :run_id AND fence_token = :token AND status = 'running'
  AND cancel_action IS DISTINCT FROM 'rollback'
RETURNING extract(epoch FROM r.ended_at - r.started_at)::float8 AS seconds,
    EXISTS (SELECT FROM runs.run o WHERE o.thread_id = r.thread_id AND o.status = 'pending') AS others_wait;

-- name: delete_owned_run(run_id, token)^
DELETE FROM runs.run
WHERE run_id = :run_id AND fence_token = :token AND status = 'running'
RETURNING *;

-- name: request_cancel(run_ids, action, reason)
-- A cancel is a column first. Pending runs end here and now; running ones are told. Of two cancels the one that
-- undoes more counts.
WITH active AS (
    SELECT run_id FROM runs.run
    WHERE run_id = ANY(:run_ids::uuid[]) AND status IN ('pending', 'running')
    ORDER BY run_id
    FOR UPDATE
)
UPDATE runs.run r
SET status = CASE status WHEN 'pending' THEN 'interrupted' ELSE status END,
    ended_at = CASE status WHEN 'pending' THEN clock_timestamp() ELSE ended_at END,
    -- An earlier attempt may still be alive somewhere: a new token shuts it out.
    fence_token = CASE WHEN status = 'pending' AND fence_token IS NOT NULL THEN nextval('runs.fence_token')
                       ELSE fence_token END,
    cancel_action = CASE WHEN :action = 'rollback' THEN :action ELSE coalesce(cancel_action, :action) END,
    cancel_reason = CASE WHEN :action = 'rollback' AND cancel_action = 'interrupt' THEN :reason
                         ELSE coalesce(cancel_reason, :reason) END,
    updated_at = clock_timestamp()
WHERE r.run_id = ANY(ARRAY(SELECT run_id FROM active))
RETURNING r.*;

-- name: cancellable_run_ids(statuses, limit)
-- Runs that are being cancelled already are left out, so that page after page comes to an end.
SELECT run_id FROM runs.run WHERE status = ANY(:statuses::text[]) AND cancel_action IS NULL LIMIT :limit;

-- name: delete_run(run_id, thread_id)^
DELETE FROM runs.run
WHERE run_id = :run_id AND (:thread_id::uuid IS NULL OR thread_id = :thread_id)
RETURNING *, nextval('runs.fence_token') AS new_token;

-- name: delete_thread_runs(thread_id, limit)
WITH doomed AS (
    SELECT run_id FROM runs.run WHERE thread_id = :thread_id ORDER BY run_id LIMIT :limit FOR UPDATE
)
DELETE FROM runs.run r WHERE r.run_id = ANY(ARRAY(SELECT run_id FROM doomed))
RETURNING r.*, nextval('runs.fence_token') AS new_token;

-- name: queue_stats()^
SELECT count(*) FILTER (WHERE status = 'pending') AS pending_count,
       count(*) FILTER (WHERE status = 'running') AS running_count,
       coalesce(extract(epoch FROM max(wait) FILTER (WHERE status = 'pending')), 0)::float8 AS wait_max,
       coalesce(extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY wait)
                FILTER (WHERE status = 'pending')), 0)::float8 AS wait_median,
       coalesce(extract(epoch FROM max(wait) FILTER (WHERE status = 'pending' AND unblocked)), 0)::float8
           AS unblocked_wait_max
FROM (
    SELECT r.status, greatest(clock_timestamp() - r.created_at, interval '0') AS wait,
           NOT EXISTS (SELECT FROM runs.run o WHERE o.thread_id = r.thread_id AND o.status = 'running') AS unblocked
    FROM runs.run r
    WHERE r.status IN ('pending', 'running')
) active;
