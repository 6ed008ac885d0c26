"""Each named query of the runs api is valid SQL for the schema, and something calls it."""

import re
from pathlib import Path

import pytest
import threadmill_runs
from threadmill_chassis.postgres import load_queries
from threadmill_runs.schema import QUERIES

LOADED = load_queries(QUERIES)
NAMES = sorted(name for name in LOADED.available_queries if not name.endswith("_cursor"))
SOURCE = "\n".join(path.read_text() for path in Path(threadmill_runs.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("name", NAMES)
async def test_query_prepares_and_is_used(system_database, name):
    await system_database.prepare(getattr(LOADED, name).sql)
    assert re.search(rf"(_sql|queries)\.{name}\b", SOURCE), f"nothing calls {name}"
