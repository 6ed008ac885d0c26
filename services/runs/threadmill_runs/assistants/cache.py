"""Assistants that runs were created with lately, so that the next run needs no query for its own.

Entries may be out of date: who uses one has the statement that inserts the run check it, and asks again if it was.
"""

from threadmill_runs.assistants.domain import Assistant
from threadmill_runs.assistants.repo import AssistantRepo

MAX_ENTRIES = 1000
# What is larger costs one query per run instead of memory.
MAX_ENTRY_BYTES = 64 * 1024


class AssistantCache:
    """Assistants by what requests call them."""

    def __init__(self, repo: AssistantRepo) -> None:
        self._repo = repo
        self._known: dict[str, Assistant] = {}

    async def resolve(self, name: str) -> Assistant:
        """As AssistantRepo.resolve; possibly an older version."""
        known = self._known.get(name)
        if known is not None:
            return known
        found = await self._repo.resolve(name)
        if len(found.config_json) + len(found.context_json) + len(found.metadata_json) <= MAX_ENTRY_BYTES:
            if len(self._known) >= MAX_ENTRIES:
                del self._known[next(iter(self._known))]
            self._known[name] = found
        return found

    async def changed(self, name: str, seen: Assistant) -> Assistant | None:
        """The assistant as it is now; None if it is still the one that was seen. Raises as AssistantRepo.resolve."""
        self._known.pop(name, None)
        fresh = await self.resolve(name)
        return None if (fresh.version, fresh.updated_at) == (seen.version, seen.updated_at) else fresh
