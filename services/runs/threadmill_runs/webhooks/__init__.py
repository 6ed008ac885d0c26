"""Webhooks: telling a URL of the client's that a run has ended. At least once, never to places that are not public.

Owns the outbox `runs.webhook_delivery`; knows nothing of how runs end, only that a row is written before they do.
"""
