"""The Agent Protocol (0.1.6) beside the LangGraph API: agents, runs without a thread in their path, messages.

Owns the protocol's models, documents and error bodies. Where both APIs share a path, the LangGraph API answers
unless the body can only be the protocol's (`dialect`). Runs, waits and streams themselves are those of `routes`.
"""
