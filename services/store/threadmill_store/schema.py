"""Where the store's tables live and how they come to be."""

from pathlib import Path

SCHEMA = "store"
MIGRATIONS = Path(__file__).parent / "migrations"
QUERIES = Path(__file__).parent / "sql"
