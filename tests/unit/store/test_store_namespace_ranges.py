"""The range of namespaces below a prefix: everything below it, nothing else, in tuple order."""

import itertools

import pytest
from threadmill_store.rows import beyond

LABELS = ["a", "a\x01", "a!", "ab", "b", "~", "ü", "\U0010ffff"]
NAMESPACES = [labels for size in (1, 2, 3) for labels in itertools.product(LABELS, repeat=size)]


@pytest.mark.parametrize("prefix", [(), ("a",), ("a\x01",), ("a", "b"), ("ü", "a", "a!"), ("\U0010ffff",)])
def test_a_prefix_is_one_range(prefix: tuple[str, ...]) -> None:
    inside = [labels for labels in NAMESPACES if prefix <= labels < beyond(prefix)]
    assert inside == [labels for labels in NAMESPACES if labels[: len(prefix)] == prefix]
