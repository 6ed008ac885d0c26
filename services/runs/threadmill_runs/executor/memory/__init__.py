"""The store that graphs see: LangGraph's BaseStore over the gRPC contract of the store service.

Usable from synchronous and asynchronous nodes on any thread and any event loop; knows the contract and nothing else
of the service behind it.
"""

from threadmill_runs.executor.memory.store import GrpcStore, IndexFailed, StoreTooSlow, StoreUnavailable

__all__ = ["GrpcStore", "IndexFailed", "StoreTooSlow", "StoreUnavailable"]
