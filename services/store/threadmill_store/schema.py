"""Where the store's tables live and how they come to be."""

from pathlib import Path

SCHEMA = "store"
MIGRATIONS = Path(__file__).parent / "migrations"
QUERIES = Path(__file__).parent / "sql"
# Statements whose text depends on what is asked for (see clauses.py).
TEMPLATES = Path(__file__).parent / "templates"
# Statements on vectors; part of their text is the type of the vectors (see semantic/repo.py).
SEMANTIC_QUERIES = Path(__file__).parent / "semantic" / "embeddings.sql"
