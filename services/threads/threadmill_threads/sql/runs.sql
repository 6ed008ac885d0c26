-- name: begin_run(run_id, stamp, config_defaults, config, thread_id)^
-- Registers a run on an existing thread. The commit does not wait for the disk: no run exists yet, and the commit that
-- inserts it flushes this one as well. Where runs have a database of their own, a Postgres that is killed within half a
-- second may forget that the thread is busy; then the run goes on and ends all the same, since its token is current.
WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS setting)
UPDATE threads.thread AS thread
SET active_run_ids = CASE WHEN :run_id = ANY(thread.active_run_ids) THEN thread.active_run_ids
                          ELSE thread.active_run_ids || :run_id::uuid END,
    active_since = CASE WHEN :run_id = ANY(thread.active_run_ids) THEN thread.active_since
                        ELSE thread.active_since || now() END,
    metadata = CASE WHEN cardinality(array_remove(thread.active_run_ids, :run_id::uuid)) > 0 THEN thread.metadata
                    ELSE threads.merged(thread.metadata, :stamp::json) END,
    config = threads.config_of_run(thread.config, :config_defaults::json, :config::json),
    updated_at = now(),
    state_updated_at = CASE WHEN thread.status = 'busy' THEN thread.state_updated_at ELSE now() END
FROM unhurried
WHERE thread.thread_id = :thread_id AND unhurried.setting = 'off'
RETURNING thread.*, cardinality(thread.active_run_ids) = 1 AND threads.has_no_checkpoint(thread.thread_id) AS is_empty,
    (SELECT document FROM threads.thread_values WHERE thread_values.thread_id = thread.thread_id) AS "values";

-- name: begin_run_on_new_thread(thread_id, metadata, stamp, config_defaults, config, run_id, ttl_strategy, ttl_minutes)^
-- The new row, or nothing when the thread exists.
INSERT INTO threads.thread AS thread
    (thread_id, metadata, config, active_run_ids, active_since, ttl_strategy, ttl_minutes)
VALUES (:thread_id, threads.merged(:metadata::json, :stamp::json),
        threads.config_of_run('{}', :config_defaults::json, :config::json),
        ARRAY[:run_id::uuid], ARRAY[now()], :ttl_strategy, :ttl_minutes)
ON CONFLICT (thread_id) DO NOTHING
RETURNING thread.*, NULL::json AS "values";

-- name: end_run(run_id, undoes, token, thread_id, rest_status, interrupts, error, values, stamp)^
-- One row if the thread exists: whether the run was active and whether its token was current. Only with both does
-- anything change. The fence moves past the token, so that not even the run itself may write any more; as long as it
-- has not, the run is active, even if its registration was lost.
-- What is to be undone may have been ended by its own executor already; then the fence stands right behind its token,
-- as long as no later run has taken the thread over.
WITH current AS MATERIALIZED (
    SELECT thread_id,
        :run_id = ANY(active_run_ids) OR (:token::bigint > 0 AND CASE WHEN :undoes::boolean AND fence = :token + 1 THEN true
            ELSE fence <= :token AND settled_run_id IS DISTINCT FROM :run_id::uuid END) AS was_active,
        (:token = 0 OR fence <= :token OR NOT (:run_id = ANY(active_run_ids))) AS is_current
    FROM threads.thread WHERE thread_id = :thread_id FOR UPDATE
), ended AS (
    UPDATE threads.thread AS thread
    SET active_since = ARRAY(
            SELECT since FROM unnest(thread.active_run_ids, thread.active_since) WITH ORDINALITY AS a (run, since, place)
            WHERE run <> :run_id ORDER BY place
        ),
        active_run_ids = array_remove(thread.active_run_ids, :run_id::uuid),
        metadata = CASE WHEN :stamp::json IS NULL THEN thread.metadata
                        ELSE threads.merged(thread.metadata, :stamp::json) END,
        rest_status = coalesce(:rest_status::text, thread.rest_status),
        interrupts = coalesce(:interrupts::json, thread.interrupts),
        error = coalesce(:error::json, thread.error),
        fence = CASE WHEN :token = 0 THEN thread.fence ELSE greatest(thread.fence, :token + 1) END,
        settled_run_id = CASE WHEN :token = 0 THEN thread.settled_run_id ELSE :run_id END,
        updated_at = now(),
        state_updated_at = now()
    FROM current
    WHERE thread.thread_id = current.thread_id AND current.was_active AND current.is_current
    RETURNING thread.thread_id
), stored AS (
    INSERT INTO threads.thread_values (thread_id, document)
    SELECT thread_id, :values::json FROM ended WHERE :values::json IS NOT NULL
    ON CONFLICT (thread_id) DO UPDATE SET document = excluded.document
)
SELECT was_active, is_current FROM current;

-- name: record_state(thread_id, expected_micros, rest_status, interrupts, error, values)^
-- One row if the thread exists: whether it was idle, and its state as old as expected. Only then does anything change.
WITH current AS MATERIALIZED (
    SELECT thread_id, cardinality(active_run_ids) = 0 AS was_idle,
        :expected_micros::bigint IN (0, (extract(epoch FROM state_updated_at) * 1000000)::bigint) AS was_expected
    FROM threads.thread WHERE thread_id = :thread_id FOR UPDATE
), recorded AS (
    UPDATE threads.thread AS thread
    SET rest_status = coalesce(:rest_status::text, thread.rest_status),
        interrupts = coalesce(:interrupts::json, thread.interrupts),
        error = coalesce(:error::json, thread.error),
        updated_at = now(),
        state_updated_at = now()
    FROM current
    WHERE thread.thread_id = current.thread_id AND current.was_idle AND current.was_expected
    RETURNING thread.thread_id
), stored AS (
    INSERT INTO threads.thread_values (thread_id, document)
    SELECT thread_id, :values::json FROM recorded WHERE :values::json IS NOT NULL
    ON CONFLICT (thread_id) DO UPDATE SET document = excluded.document
)
SELECT was_idle, was_expected FROM current;

-- name: active_runs(after_thread_id, min_age_seconds, limit)
-- Whole threads up to the first that reaches `limit` runs, in the order of thread ids.
WITH candidate AS (
    SELECT thread.thread_id, active.run_id, row_number() OVER (ORDER BY thread.thread_id) AS place
    FROM threads.thread
    CROSS JOIN LATERAL unnest(thread.active_run_ids, thread.active_since) AS active (run_id, since)
    WHERE cardinality(thread.active_run_ids) > 0 AND thread.thread_id > :after_thread_id
        AND active.since <= now() - make_interval(secs => :min_age_seconds)
    ORDER BY thread.thread_id
)
SELECT thread_id, run_id FROM candidate
WHERE thread_id <= coalesce((SELECT thread_id FROM candidate WHERE place = :limit), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY thread_id, run_id;
