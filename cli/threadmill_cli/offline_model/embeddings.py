"""Deterministic embeddings: a hashed bag of words, so that texts which share words are near each other."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Iterable

from threadmill_cli.offline_model.rules.text import stem, words

DEFAULT_DIMENSIONS = 1536


def features(text_or_tokens: str | list[int]) -> list[str]:
    """The stems of a text; token ids stand for themselves."""
    if isinstance(text_or_tokens, str):
        return [stem(word) for word in words(text_or_tokens)] or [text_or_tokens]
    return [f"token:{token}" for token in text_or_tokens]


def embed(found: Iterable[str], dimensions: int) -> list[float]:
    """A vector of length 1: each feature adds or subtracts one at a place given by its hash."""
    vector = [0.0] * dimensions
    for feature in found:
        digest = hashlib.blake2b(feature.encode(), digest_size=8).digest()
        place, sign = int.from_bytes(digest[:7], "big") % dimensions, 1.0 if digest[7] & 1 else -1.0
        vector[place] += sign
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0.0:  # nothing was said, or two features cancelled out
        vector[0], length = 1.0, 1.0
    return [value / length for value in vector]


def to_base64(vector: list[float]) -> str:
    """Little-endian 32-bit floats, as OpenAI packs them."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
