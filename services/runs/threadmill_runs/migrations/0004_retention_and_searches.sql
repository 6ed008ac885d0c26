-- Ids of runs whose rows disappear with their end, remembered for as long as somebody may repeat the create.
CREATE TABLE runs.temporary_run (
    run_id       uuid PRIMARY KEY,
    accepted_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX temporary_run_accepted ON runs.temporary_run (accepted_at);

-- Rows that should have gone with the end of their run: next to none, so the index costs next to nothing.
CREATE INDEX run_leftover ON runs.run (ended_at)
    WHERE ended_at IS NOT NULL AND (NOT keep_thread OR cancel_action = 'rollback');

-- Duties that one replica at a time does for the whole cluster, and how far they have come.
CREATE TABLE runs.duty (
    name    text PRIMARY KEY,
    cursor  uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    done_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO runs.duty (name) VALUES ('runs_of_deleted_threads'), ('crons_of_deleted_threads');

-- Every order in which crons can be asked for.
CREATE INDEX cron_updated ON runs.cron (updated_at, cron_id);
CREATE INDEX cron_next_run ON runs.cron (next_run_at, cron_id);
CREATE INDEX cron_end_time ON runs.cron (end_time, cron_id);
CREATE INDEX cron_by_assistant ON runs.cron (assistant_id, cron_id);
CREATE INDEX cron_by_thread ON runs.cron (thread_id, cron_id);
