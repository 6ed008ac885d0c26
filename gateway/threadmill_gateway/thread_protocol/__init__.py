"""The thread-streaming protocol: one stream of events per thread, by server-sent events or WebSocket, and commands.

Owns the protocol's JSON. What happens on a thread, and which events a subscription shows, the runs api knows.
"""
