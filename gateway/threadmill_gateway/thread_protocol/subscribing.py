"""What a client subscribes to, from JSON to the question for the runs api."""

from typing import Any

from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway.requests import INT32_MAX

CHANNELS = ("values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints")
NAMED = "custom:"
NAMED_UNKNOWN_MAX = 5
SEQ_MAX = 2**63 - 1


class BadSubscription(ValueError):
    """It cannot be served; the text says why."""


def selection_of(document: Any) -> runs_pb2.Selection:
    """The selection in `{channels, namespaces?, depth?}`. Raises BadSubscription for the channels.

    What else is not as it should be is as if it were not there: so clients know it from the reference server.
    """
    given = document if isinstance(document, dict) else {}
    selection = runs_pb2.Selection(channels=_channels(given.get("channels")))
    namespaces = given.get("namespaces")
    if isinstance(namespaces, list) and all(_is_namespace(each) for each in namespaces):
        selection.namespaces.extend(runs_pb2.Namespace(segments=segments) for segments in namespaces)
    if (depth := count_of(given.get("depth"))) is not None:
        selection.depth = min(depth, INT32_MAX)
    return selection


def since_of(document: Any) -> int:
    """The number of the last event that the client has seen; 0 for none."""
    return count_of(document.get("since")) or 0 if isinstance(document, dict) else 0


def _channels(channels: Any) -> list[str]:
    if not isinstance(channels, list) or not channels:
        raise BadSubscription("channels is required and must be a non-empty array")
    unknown = [str(each) for each in channels if not _is_channel(each)]
    if unknown:
        raise BadSubscription(
            f"channels contains unsupported entries: {', '.join(unknown[:NAMED_UNKNOWN_MAX])}. "
            f"Allowed: {', '.join(CHANNELS)}, or any `custom:<name>`."
        )
    return channels


def _is_channel(channel: Any) -> bool:
    return isinstance(channel, str) and (
        channel in CHANNELS or (channel.startswith(NAMED) and len(channel) > len(NAMED) and "\0" not in channel)
    )


def _is_namespace(segments: Any) -> bool:
    return isinstance(segments, list) and all(isinstance(segment, str) for segment in segments)


def count_of(number: Any) -> int | None:
    """A number that is one and not negative; None for anything else."""
    fits = isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= SEQ_MAX
    return number if fits else None
