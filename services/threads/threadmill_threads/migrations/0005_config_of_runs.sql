-- What a thread's row shows as its config: runs leave their own keys there, but not their `configurable`.

-- The config of a thread on which a run begins: what the run itself was given replaces, what its assistant has fills
-- up. `configurable` takes keys from assistants only: what one run was configured with is in its own row. None of the
-- three is NULL.
CREATE FUNCTION threads.config_of_run(kept json, defaults json, given json) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    -- Most runs configure nothing: 2 µs instead of 100.
    WHEN kept::text IN ('{}', '{"configurable":{}}') AND defaults::text = '{}' AND given::text = '{}'
    THEN '{"configurable":{}}'
    ELSE threads.merged(
        threads.merged(threads.merged(defaults, kept), given),
        json_build_object(
            'configurable',
            threads.merged(coalesce(defaults -> 'configurable', '{}'), coalesce(kept -> 'configurable', '{}'))
        )
    )
END;
