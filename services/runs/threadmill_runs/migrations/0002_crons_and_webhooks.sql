-- Crons: what creates runs by schedule. `payload` is the client's document, which Postgres never looks into.
CREATE TABLE runs.cron (
    cron_id          uuid PRIMARY KEY,
    assistant_id     uuid NOT NULL,
    thread_id        uuid,
    user_id          text NOT NULL DEFAULT '',
    schedule         text NOT NULL,
    timezone         text,
    end_time         timestamptz,
    payload          bytea NOT NULL,
    metadata         jsonb NOT NULL CHECK (jsonb_typeof(metadata) = 'object'),
    on_run_completed text CHECK (on_run_completed IN ('delete', 'keep')),
    enabled          boolean NOT NULL,
    -- The next tick; null when there is none before end_time.
    next_run_at      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Only the threads of stateless crons are ours to delete.
    CHECK ((thread_id IS NULL) = (on_run_completed IS NOT NULL)),
    CHECK (next_run_at <= end_time)
);
CREATE INDEX cron_due ON runs.cron (next_run_at) WHERE enabled AND next_run_at IS NOT NULL;
CREATE INDEX cron_created ON runs.cron (created_at DESC, cron_id DESC);
CREATE INDEX cron_assistant ON runs.cron (assistant_id, created_at DESC, cron_id DESC);
CREATE INDEX cron_thread ON runs.cron (thread_id, created_at DESC, cron_id DESC) WHERE thread_id IS NOT NULL;
CREATE INDEX cron_metadata ON runs.cron USING gin (metadata jsonb_path_ops);

-- Ticks whose run has yet to be created: written by the transaction that moves next_run_at on, deleted by the
-- statement that inserts the run. At most one for each cron, so that an outage ends in one run and not in a burst.
CREATE TABLE runs.cron_firing (
    cron_id      uuid PRIMARY KEY REFERENCES runs.cron ON DELETE CASCADE,
    run_id       uuid NOT NULL UNIQUE,
    due_at       timestamptz NOT NULL,
    leased_until timestamptz NOT NULL
);
CREATE INDEX cron_firing_lease ON runs.cron_firing (leased_until);

-- Webhook calls that have yet to succeed or to be given up. A row is written before its run becomes terminal and
-- counts from then on; the last writer before the end is right.
CREATE TABLE runs.webhook_delivery (
    run_id          uuid PRIMARY KEY,
    url             text NOT NULL,
    document        bytea NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempt         int NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    -- Also the lease of the attempt that is under way.
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX webhook_delivery_due ON runs.webhook_delivery (next_attempt_at);
