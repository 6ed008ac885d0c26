-- What a run learns of its thread as it begins and as it resumes, in the statement that also secures the answer.
--
-- Both functions are VOLATILE, though they could look STABLE: each statement in them sees what was committed while the
-- caller waited for the row of the thread. A subquery in its place would see the state from before the wait.

-- Whether a thread has no checkpoint. For statements that have locked its row by an update.
CREATE FUNCTION threads.has_no_checkpoint(of_thread uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN NOT EXISTS (SELECT FROM threads.checkpoint WHERE checkpoint.thread_id = of_thread);
END
$$;

-- Takes a thread over for the token of an attempt, then reads: nothing, if the thread is missing; the caller sees by the
-- fence whether it was refused. The update waits for writes under way of older tokens, which hold the row FOR SHARE.
CREATE FUNCTION threads.take_over(of_thread uuid, of_run text, token bigint, ns text, lowest text, highest text)
RETURNS TABLE (fence bigint, chunk_epoch bigint, state_micros bigint, is_active boolean, found threads.full_checkpoint)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE threads.thread SET fence = token WHERE thread.thread_id = of_thread AND thread.fence < token;
    RETURN QUERY
    SELECT thread.fence, thread.chunk_epoch, (extract(epoch FROM thread.state_updated_at) * 1000000)::bigint,
        of_run = ANY(thread.active_run_ids::text[]),
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
