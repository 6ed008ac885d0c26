"""What an executor says of its embedder, and the same as it is kept."""

from dataclasses import dataclass

# pgvector indexes single-precision vectors up to this length, and half-precision ones up to twice as much.
MAX_SINGLE_PRECISION_DIMS = 2000
MAX_DIMS = 4000


@dataclass(frozen=True, slots=True)
class Description:
    """How an application wants its memory indexed. Vectors are comparable only within one `identity`."""

    identity: str
    dims: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """A description that the database knows, by its id there."""

    id: int
    description: Description

    @property
    def column_type(self) -> str:
        """The Postgres type that vectors are compared as."""
        return f"{self._kind}({self.description.dims})"

    @property
    def operator_class(self) -> str:
        """The operator class of its index by cosine distance."""
        return f"{self._kind}_cosine_ops"

    @property
    def _kind(self) -> str:
        return "vector" if self.description.dims <= MAX_SINGLE_PRECISION_DIMS else "halfvec"
