"""The newest root checkpoint of a run's thread, as reading it back would give it.

While a run holds its thread's fence nobody else writes there. So what it has read and written is what the threads
service has, and the state in which it leaves the thread needs no further call.
"""

from threadmill_protos.threads.v1 import checkpoints_pb2

from threadmill_runs.executor.checkpoints.known_chunks import Values

Writes = dict[tuple[str, int], checkpoints_pb2.PendingWrite]


class Head:
    """Follows one run's reads and writes; anything that it cannot know whole it does not answer.

    `thread_id`: the run's thread; empty: the first that it reads or writes. `is_empty`: it had no checkpoint.
    """

    def __init__(self, *, known: bool, thread_id: str = "", is_empty: bool = False) -> None:
        self._known = known  # without a fence others may write, and nothing is known
        self._thread_id = thread_id
        self._is_empty = is_empty
        self._namespaces: set[str] = set()  # with checkpoints of the run
        # Whether an earlier attempt has ended the run at threads.
        self.run_settled = False
        # The graph has ended: what it wrote is its last word, and travels with the end of the run.
        self.is_final = False
        self._checkpoint: checkpoints_pb2.Checkpoint | None = None
        self._blobs: dict[str, checkpoints_pb2.ChannelBlob] = {}
        # What the next checkpoint may share: all of the last one that was written, and of those that were read since.
        self._shared: dict[tuple[str, str, str], checkpoints_pb2.ChannelBlob] = {}
        # By checkpoint: LangGraph may store a task's writes before the checkpoint that they belong to, and before
        # older ones. Checkpoint ids sort by time.
        self._writes: dict[str, Writes] = {}

    def saw(self, request: checkpoints_pb2.GetCheckpointRequest, found: checkpoints_pb2.Checkpoint) -> None:
        """A root checkpoint was read: the newest, unless the request named one to go on from."""
        if request.checkpoint_ns or not self._is_own(request.thread_id):
            return
        blobs = {blob.channel: blob for blob in found.channel_blobs}
        self._blobs.update(blobs)
        for channel, version in found.channel_versions.items():
            self._shared["", channel, version] = blobs.get(channel) or _nothing(channel, version)
        if not request.checkpoint_id:
            self._checkpoint = found
            self._writes = {found.checkpoint_id: {(write.task_id, write.idx): write for write in found.pending_writes}}

    def put(self, put: checkpoints_pb2.Checkpoint) -> None:
        """The run stored a checkpoint."""
        if not self._is_own(put.thread_id):
            return
        self._namespaces.add(put.checkpoint_ns)
        if put.checkpoint_ns:
            return
        self._blobs.update((blob.channel, blob) for blob in put.channel_blobs)
        carried = {("", blob.channel, blob.version): blob for blob in put.channel_blobs}
        self._shared = {**self.base_of(put), **carried}
        self._checkpoint = put
        self._writes = {key: writes for key, writes in self._writes.items() if key >= put.checkpoint_id}

    def base_of(self, put: checkpoints_pb2.Checkpoint) -> Values:
        """What a checkpoint that is to be stored next refers to and does not carry, as far as it was seen here."""
        if put.checkpoint_ns or not self._is_own(put.thread_id):
            return {}
        carried = {blob.channel for blob in put.channel_blobs}
        places = [("", channel, version) for channel, version in put.channel_versions.items() if channel not in carried]
        return {place: self._shared[place] for place in places if place in self._shared}

    def write(self, thread_id: str, task: checkpoints_pb2.TaskWrites) -> None:
        """The run stored writes; of the same one again, special channels replace and others keep what is there."""
        if task.checkpoint_ns or not self._is_own(thread_id):
            return
        writes = self._writes.setdefault(task.checkpoint_id, {})
        for write in task.writes:
            if write.idx < 0 or (write.task_id, write.idx) not in writes:
                writes[write.task_id, write.idx] = write

    def _is_own(self, thread_id: str) -> bool:
        self._thread_id = self._thread_id or thread_id
        return thread_id == self._thread_id

    def has_none(self, thread_id: str, checkpoint_ns: str) -> bool:
        """Whether it is certain that a namespace has no checkpoint."""
        return self._is_empty and thread_id == self._thread_id and checkpoint_ns not in self._namespaces

    def newest(self, thread_id: str) -> checkpoints_pb2.Checkpoint | None:
        """The newest root checkpoint; None if some part of it was never seen here (delta channels, for one)."""
        head = self._checkpoint
        if head is None or not self._known or thread_id != self._thread_id:
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


def _nothing(channel: str, version: str) -> checkpoints_pb2.ChannelBlob:
    """Of a channel that holds no value; or a delta, whose value is not with the checkpoint anyway."""
    empty = checkpoints_pb2.TypedValue(type="empty")
    return checkpoints_pb2.ChannelBlob(channel=channel, version=version, value=empty)
