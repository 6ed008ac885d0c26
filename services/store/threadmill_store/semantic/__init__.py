"""Semantic search: texts of values, their vectors from the application's embedder, and the search for the nearest.

The embedder is user code and lives in executors; this package asks them by gRPC, always outside of transactions.
"""
