-- A write names by their versions the values that it shares with the checkpoint which it goes on from, and does not carry
-- them. That checkpoint may have been deleted since the writer read it, and the values with it.

-- Whether a thread still has all that a write refers to without carrying it: values of channels, checkpoints that delta
-- channels are rebuilt from, and chunks. For statements that have locked the thread's row against deletions: VOLATILE, so
-- that it sees what was committed while they waited for it. OFFSET 0 keeps each part a lookup.
CREATE FUNCTION threads.has_base(
    of_thread uuid, value_ns text[], channels text[], versions text[], checkpoint_ns text[], checkpoint_ids text[],
    chunk_keys bytea[]
) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN NOT EXISTS (
        SELECT FROM unnest(value_ns, channels, versions) AS wanted (ns, channel, version)
        WHERE NOT EXISTS (
            SELECT FROM threads.channel_blob AS blob
            WHERE blob.thread_id = of_thread AND blob.checkpoint_ns = wanted.ns
                AND blob.channel = wanted.channel AND blob.version = wanted.version
            OFFSET 0
        )
    ) AND NOT EXISTS (
        SELECT FROM unnest(has_base.checkpoint_ns, checkpoint_ids) AS wanted (ns, id)
        WHERE NOT EXISTS (
            SELECT FROM threads.checkpoint
            WHERE checkpoint.thread_id = of_thread AND checkpoint.checkpoint_ns = wanted.ns
                AND checkpoint.checkpoint_id = wanted.id
            OFFSET 0
        )
    ) AND NOT EXISTS (
        SELECT FROM unnest(chunk_keys) AS wanted (key)
        WHERE NOT EXISTS (
            SELECT FROM threads.chunk AS part WHERE part.thread_id = of_thread AND part.key = wanted.key OFFSET 0
        )
    );
END
$$;
