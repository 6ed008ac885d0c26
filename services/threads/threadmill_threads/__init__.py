"""Threads and their checkpoints: status, metadata and values of each thread, its fence, and opaque checkpoint blobs.

Knows nothing of graphs or HTTP: values are JSON text, checkpoints are bytes that are stored and never decoded. The
fence, a number that only grows, is what keeps an executor that lost its run from writing: see `checkpoints_repo`.
"""
