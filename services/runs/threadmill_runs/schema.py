"""Where the runs api keeps its tables and migrations."""

from pathlib import Path

SCHEMA = "runs"
MIGRATIONS = Path(__file__).parent / "migrations"
QUERIES = Path(__file__).parent / "sql"
