-- name: record_delivery(run_id, url, document, token)!
-- By the attempt that is about to end the run, and only while it owns it. The row lock keeps a later attempt from
-- ending the run in between: whoever writes last is the one that ends it.
INSERT INTO runs.webhook_delivery (run_id, url, document)
SELECT r.run_id, :url, :document FROM runs.run r
WHERE r.run_id = :run_id AND r.fence_token = :token AND r.status = 'running'
FOR UPDATE OF r
ON CONFLICT (run_id) DO UPDATE
SET url = excluded.url, document = excluded.document, recorded_at = excluded.recorded_at, attempt = 0,
    next_attempt_at = excluded.next_attempt_at;

-- name: pending_with_webhook(run_ids, marker)
SELECT * FROM runs.run
WHERE run_id = ANY(:run_ids::uuid[]) AND status = 'pending' AND position(:marker::bytea IN kwargs) > 0;

-- name: record_unstarted_delivery(run_id, url, document)!
-- Before a pending run is cancelled. Should an executor claim it first, the end of that attempt replaces the row.
INSERT INTO runs.webhook_delivery (run_id, url, document)
SELECT r.run_id, :url, :document FROM runs.run r
WHERE r.run_id = :run_id AND r.status = 'pending'
FOR UPDATE OF r
ON CONFLICT (run_id) DO UPDATE SET document = excluded.document, recorded_at = excluded.recorded_at;

-- name: claim_deliveries(full_hosts, limit, lease_seconds)
-- Of runs that have ended (or are gone, by rollback). Until a run is terminal its row is only a plan.
WITH due AS (
    SELECT d.run_id FROM runs.webhook_delivery d
    WHERE d.next_attempt_at <= clock_timestamp()
      AND coalesce(substring(d.url FROM '^[^:/?#]+://([^/?#]*)'), '') <> ALL(:full_hosts::text[])
      AND NOT EXISTS (
          SELECT FROM runs.run r WHERE r.run_id = d.run_id AND r.status IN ('pending', 'running')
      )
    ORDER BY d.next_attempt_at
    LIMIT :limit
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE runs.webhook_delivery d
SET attempt = d.attempt + 1,
    next_attempt_at = clock_timestamp() + :lease_seconds::float8 * interval '1 second'
FROM due
LEFT JOIN runs.run r ON r.run_id = due.run_id
WHERE d.run_id = due.run_id
RETURNING d.run_id, d.url, d.document, d.attempt,
    coalesce(r.ended_at, d.recorded_at) AS ended_at,
    coalesce(r.updated_at, d.recorded_at) AS updated_at,
    extract(epoch FROM clock_timestamp() - d.recorded_at)::float8 AS age_seconds;

-- name: finish_delivery(run_id, attempt)!
DELETE FROM runs.webhook_delivery WHERE run_id = :run_id AND attempt = :attempt;

-- name: postpone_delivery(run_id, attempt, seconds)!
UPDATE runs.webhook_delivery
SET next_attempt_at = clock_timestamp() + :seconds::float8 * interval '1 second'
WHERE run_id = :run_id AND attempt = :attempt;

-- name: seconds_to_next_delivery()$
SELECT extract(epoch FROM min(next_attempt_at) - clock_timestamp())::float8 FROM runs.webhook_delivery
WHERE next_attempt_at > clock_timestamp();
