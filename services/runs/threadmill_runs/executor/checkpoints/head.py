"""The newest root checkpoint of a run's thread, as reading it back would give it.

While a run holds its thread's fence nobody else writes there. So what it has read and written is what the threads
service has, and the state in which it leaves the thread needs no further call.
"""

from threadmill_protos.threads.v1 import checkpoints_pb2

Writes = dict[tuple[str, int], checkpoints_pb2.PendingWrite]


class Head:
    """Follows one run's reads and writes; anything that it cannot know whole it does not answer."""

    def __init__(self, *, known: bool) -> None:
        self._known = known  # without a fence others may write, and nothing is known
        self._checkpoint: checkpoints_pb2.Checkpoint | None = None
        self._blobs: dict[str, checkpoints_pb2.ChannelBlob] = {}
        # By checkpoint: LangGraph may store a task's writes before the checkpoint that they belong to, and before
        # older ones. Checkpoint ids sort by time.
        self._writes: dict[str, Writes] = {}

    def saw(self, request: checkpoints_pb2.GetCheckpointRequest, found: checkpoints_pb2.Checkpoint) -> None:
        """A root checkpoint was read: the newest, unless the request named one to go on from."""
        if request.checkpoint_ns:
            return
        self._blobs.update((blob.channel, blob) for blob in found.channel_blobs)
        if not request.checkpoint_id:
            self._checkpoint = found
            self._writes = {found.checkpoint_id: {(write.task_id, write.idx): write for write in found.pending_writes}}

    def put(self, put: checkpoints_pb2.Checkpoint) -> None:
        """The run stored a checkpoint."""
        if put.checkpoint_ns:
            return
        self._blobs.update((blob.channel, blob) for blob in put.channel_blobs)
        self._checkpoint = put
        self._writes = {key: writes for key, writes in self._writes.items() if key >= put.checkpoint_id}

    def write(self, task: checkpoints_pb2.TaskWrites) -> None:
        """The run stored writes; of the same one again, special channels replace and others keep what is there."""
        if task.checkpoint_ns:
            return
        writes = self._writes.setdefault(task.checkpoint_id, {})
        for write in task.writes:
            if write.idx < 0 or (write.task_id, write.idx) not in writes:
                writes[write.task_id, write.idx] = write

    def newest(self) -> checkpoints_pb2.Checkpoint | None:
        """The newest root checkpoint; None if some part of it was never seen here (delta channels, for one)."""
        head = self._checkpoint
        if head is None or not self._known:
            return None
        blobs = [self._blobs.get(channel) for channel in head.channel_versions]
        if not all(blob and blob.version == head.channel_versions[blob.channel] for blob in blobs):
            return None
        return checkpoints_pb2.Checkpoint(
            thread_id=head.thread_id,
            checkpoint_id=head.checkpoint_id,
            parent_checkpoint_id=head.parent_checkpoint_id,
            body=head.body,
            metadata_json=head.metadata_json,
            channel_blobs=[blob for blob in blobs if blob is not None],
            pending_writes=sorted(
                self._writes.get(head.checkpoint_id, {}).values(),
                key=lambda write: (write.task_path, write.task_id, write.idx),
            ),
        )
