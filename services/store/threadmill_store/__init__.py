"""Long-term memory: items by namespace and key, their search, their time to live.

Owns the Postgres schema `store`. Knows nothing of threads, runs, graphs or HTTP, and never reads a value: it is
JSON that passes through.
"""
