-- Which attempt's run was ended last. That a run is not among the active ones says less: its registration may be lost, or
-- may have been repeated.
ALTER TABLE threads.thread ADD COLUMN settled_run_id uuid;

CREATE OR REPLACE FUNCTION threads.take_over(
    of_thread uuid, of_run text, token bigint, ns text, lowest text, highest text
)
RETURNS TABLE (fence bigint, chunk_epoch bigint, state_micros bigint, is_active boolean, found threads.full_checkpoint)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE threads.thread SET fence = token WHERE thread.thread_id = of_thread AND thread.fence < token;
    RETURN QUERY
    SELECT thread.fence, thread.chunk_epoch, (extract(epoch FROM thread.state_updated_at) * 1000000)::bigint,
        of_run IS DISTINCT FROM thread.settled_run_id::text,
        (
            SELECT whole FROM threads.full_checkpoint AS whole
            WHERE whole.thread_id = of_thread AND whole.checkpoint_ns = ns
                AND whole.checkpoint_id >= lowest AND whole.checkpoint_id < highest
            ORDER BY whole.checkpoint_id DESC
            LIMIT 1
        )
    FROM threads.thread WHERE thread.thread_id = of_thread;
END
$$;
