"""The gRPC edge: decode, execute, encode."""

from typing import Any

import grpc
from threadmill_chassis.grpc_server import Registration
from threadmill_protos.store.v1 import store_pb2, store_pb2_grpc

from threadmill_store.batch import Memory
from threadmill_store.codec import decode_op, encode_result

SERVICE = "threadmill.store.v1.Store"


class StoreServicer(store_pb2_grpc.StoreServicer):
    """Serves threadmill.store.v1.Store."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def Batch(
        self, request: store_pb2.BatchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> store_pb2.BatchResponse:
        """See store.proto."""
        ops = [decode_op(message) for message in request.ops]
        results = await self._memory.execute(ops)
        encoded = [encode_result(op, result) for op, result in zip(ops, results, strict=True)]
        return store_pb2.BatchResponse(results=encoded)


def registration(memory: Memory) -> Registration:
    """What `serving` needs to serve the store."""
    return Registration(
        SERVICE, lambda server: store_pb2_grpc.add_StoreServicer_to_server(StoreServicer(memory), server)
    )
