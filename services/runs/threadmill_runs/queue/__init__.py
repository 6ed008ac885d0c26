"""The durable queue: how a run is accepted, claimed, kept alive, cancelled and ended.

It is the table `runs.run`, and nothing in memory is needed to go on after a crash. It knows nothing of gRPC
servers, graphs or checkpoints.
"""
