"""Embeds texts for the store's semantic search with the application's own embedder.

Knows `store.index` of langgraph.json and the user loops; knows nothing of items, namespaces or databases.
"""
