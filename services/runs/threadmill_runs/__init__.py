"""Assistants, runs, the durable queue and event streams (the runs api), and the executor that runs user code.

`api` serves gRPC over the domain packages `assistants`, `queue` and `events`; `executor` is a separate process
that holds no credentials and meets the rest only over gRPC.
"""
