"""LangGraph's checkpointer over gRPC: serialises on the caller's side, batches writes, carries the run's fence.

What a checkpoint holds is known only here; the threads service stores the blobs without decoding them.
"""
