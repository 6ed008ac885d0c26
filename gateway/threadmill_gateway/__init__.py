"""The gateway: REST and server-sent events in front of the gRPC services.

Owns HTTP: routes, validation, statuses, headers, framing, OpenAPI. It knows no SQL and no LangGraph, keeps no
state between requests, and never decodes what only passes through (values, events, items).
"""
