"""Ids that the servers mint."""

import uuid_utils


def new_id() -> str:
    """A UUIDv7 as text: unique, and sorted by time, so that new rows land together in an index."""
    return str(uuid_utils.uuid7())
