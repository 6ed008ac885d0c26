"""Each named query is valid SQL for the schema, and something calls it."""

from pathlib import Path

import pytest
import threadmill_threads
from threadmill_chassis.postgres import load_queries
from threadmill_threads.schema import QUERIES

NAMES = sorted(name for name in load_queries(QUERIES).available_queries if not name.endswith("_cursor"))
SOURCE = "\n".join(path.read_text() for path in Path(threadmill_threads.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
async def test_query_prepares_and_is_used(service, name):
    await service.sql.prepare(getattr(load_queries(QUERIES), name).sql)
    assert f"queries.{name}" in SOURCE
