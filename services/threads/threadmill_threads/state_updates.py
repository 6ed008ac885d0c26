"""Updates of a thread's state by hand: checkpoints and what the thread shows, in one transaction or not at all."""

from threadmill_chassis.postgres import Connection

from threadmill_threads.checkpoint_rows import base_columns, columns
from threadmill_threads.checkpoints import WriteBatch
from threadmill_threads.database import Database
from threadmill_threads.domain import RestingState, ThreadId
from threadmill_threads.errors import CheckpointGone, ChunksUnknown, StateChanged, ThreadBusy, ThreadNotFound
from threadmill_threads.resting import ending_columns, resting_columns


class StateUpdates:
    """Commits updates. The thread's row is locked first, so that a run begins either before an update or after it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = database.queries

    async def commit(self, thread_id: ThreadId, batch: WriteBatch, resting: RestingState, expected_micros: int) -> int:
        """Stores a batch and the state that it leaves; answers the epoch of its chunks. Repeating it changes nothing.

        `expected_micros`: the last change of the state that the update builds on; 0 for any. Raises ThreadNotFound,
        ThreadBusy, StateChanged, ChunksUnknown, CheckpointGone.
        """
        async with self._database.transaction() as connection:
            row = await self._queries.record_state(
                connection, thread_id=thread_id, expected_micros=expected_micros, **resting_columns(resting)
            )
            if row is None:
                raise ThreadNotFound.of(thread_id)
            if await self._is_stored(connection, thread_id, batch):
                return 0
            if not row["was_idle"]:
                raise ThreadBusy.of(thread_id)
            if not row["was_expected"]:
                raise StateChanged(f"The state of thread {thread_id} changed during the update")
            parameters = {**columns(batch), **base_columns(batch.base()), **ending_columns(None)}
            epoch = await self._queries.write_checkpoints(
                connection, thread_id=thread_id, token=None, run_id=None, **parameters
            )
            if epoch is None:
                raise (ChunksUnknown if batch.chunk_epoch else CheckpointGone).of(thread_id)
            return int(epoch)

    async def _is_stored(self, connection: Connection, thread_id: ThreadId, batch: WriteBatch) -> bool:
        """Whether an earlier call of this commit succeeded, its answer lost: checkpoint ids are never used twice."""
        for key in batch.puts:
            return bool(
                await self._queries.stores_checkpoint(
                    connection,
                    thread_id=thread_id,
                    checkpoint_ns=key.checkpoint_ns,
                    checkpoint_id=key.checkpoint_id,
                )
            )
        return False
