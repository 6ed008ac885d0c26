-- Fencing tokens: one ever-growing sequence for all claims, so that "older attempt" is a plain comparison.
CREATE SEQUENCE runs.fence_token;

-- Executors that are attached, or were until a moment ago.
CREATE TABLE runs.executor (
    executor_id  text PRIMARY KEY,
    seen_at      timestamptz NOT NULL DEFAULT now()
);

-- Graphs that executors have announced, so that requests can name them while no executor is attached.
CREATE TABLE runs.graph (
    graph_id     text PRIMARY KEY,
    executor_id  text NOT NULL,
    position     int NOT NULL,
    name         text NOT NULL,
    description  text,
    error        text NOT NULL DEFAULT '',
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE runs.assistant (
    assistant_id uuid PRIMARY KEY,
    graph_id     text NOT NULL,
    config       bytea NOT NULL,
    context      bytea NOT NULL,
    metadata     jsonb NOT NULL CHECK (jsonb_typeof(metadata) = 'object'),
    name         text NOT NULL,
    description  text,
    version      int NOT NULL CHECK (version > 0),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX assistant_created ON runs.assistant (created_at DESC, assistant_id DESC);
CREATE INDEX assistant_updated ON runs.assistant (updated_at, assistant_id);
CREATE INDEX assistant_name ON runs.assistant (name, assistant_id);
CREATE INDEX assistant_graph ON runs.assistant (graph_id, assistant_id);
CREATE INDEX assistant_metadata ON runs.assistant USING gin (metadata jsonb_path_ops);

CREATE TABLE runs.assistant_version (
    assistant_id uuid NOT NULL REFERENCES runs.assistant ON DELETE CASCADE,
    version      int NOT NULL CHECK (version > 0),
    graph_id     text NOT NULL,
    config       bytea NOT NULL,
    context      bytea NOT NULL,
    metadata     jsonb NOT NULL,
    name         text NOT NULL,
    description  text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (assistant_id, version)
);

-- The queue. `kwargs` is the JSON document that the client gets back and the executor receives, as bytes:
-- Postgres never looks inside. States and their changes: queue/states.py.
CREATE TABLE runs.run (
    run_id             uuid PRIMARY KEY,
    seq                bigint GENERATED ALWAYS AS IDENTITY,
    thread_id          uuid NOT NULL,
    assistant_id       uuid NOT NULL,
    graph_id           text NOT NULL,
    status             text NOT NULL DEFAULT 'pending'
                       CHECK (status IN ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')),
    metadata           jsonb NOT NULL,
    kwargs             bytea NOT NULL,
    multitask_strategy text NOT NULL CHECK (multitask_strategy IN ('enqueue', 'reject', 'interrupt', 'rollback')),
    stateless          boolean NOT NULL DEFAULT false,
    keep_thread        boolean NOT NULL DEFAULT true,
    request_id         text NOT NULL DEFAULT '',
    -- When the client asked for it, or the time for which it scheduled the run.
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at         timestamptz,
    ended_at           timestamptz,
    attempt            int NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    fence_token        bigint,
    executor_id        text,
    lease_expires_at   timestamptz,
    cancel_action      text CHECK (cancel_action IN ('interrupt', 'rollback')),
    cancel_reason      text,
    CHECK ((status = 'running') = (lease_expires_at IS NOT NULL)),
    CHECK (status <> 'running' OR (fence_token IS NOT NULL AND executor_id IS NOT NULL)),
    CHECK (keep_thread OR stateless)
);
-- At most one running run on a thread, whatever the code does.
CREATE UNIQUE INDEX run_one_running ON runs.run (thread_id) WHERE status = 'running';
-- Claims take the oldest; the check for older runs of the same thread uses the second index.
CREATE INDEX run_queue ON runs.run (created_at, seq) WHERE status = 'pending';
CREATE INDEX run_active ON runs.run (thread_id, created_at, seq) WHERE status IN ('pending', 'running');
CREATE INDEX run_lease ON runs.run (lease_expires_at) WHERE status = 'running';
-- Listings.
CREATE INDEX run_thread ON runs.run (thread_id, created_at DESC, seq DESC);
CREATE INDEX run_thread_status ON runs.run (thread_id, status, created_at DESC, seq DESC);
CREATE INDEX run_created ON runs.run (created_at DESC, seq DESC);
CREATE INDEX run_assistant ON runs.run (assistant_id, created_at DESC, seq DESC);
CREATE INDEX run_status ON runs.run (status, created_at DESC, seq DESC);
CREATE INDEX run_metadata ON runs.run USING gin (metadata jsonb_path_ops);

-- Claims and heartbeats update rows in place.
ALTER TABLE runs.run SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
