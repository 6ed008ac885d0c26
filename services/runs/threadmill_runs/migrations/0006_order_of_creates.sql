-- Creates that overlap on one thread are ordered by a lock, so that the order in which their runs were created is also
-- the order in which they could be seen.

-- What other runs of a thread there are: 2 if any has yet to end, 1 if all have ended, 0 if there is none. For a statement
-- that has waited for the lock of the thread: VOLATILE, so that it sees what was committed meanwhile, which a subquery
-- would not.
CREATE FUNCTION runs.other_runs(of_thread uuid, of_run uuid) RETURNS int
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN CASE
        WHEN NOT EXISTS (SELECT FROM runs.run other WHERE other.thread_id = of_thread AND other.run_id <> of_run) THEN 0
        WHEN EXISTS (
            SELECT FROM runs.run other
            WHERE other.thread_id = of_thread AND other.status IN ('pending', 'running') AND other.run_id <> of_run
        ) THEN 2
        ELSE 1
    END;
END
$$;
