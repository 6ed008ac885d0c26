"""What goes wrong with embeddings, by reason."""

import grpc
from threadmill_chassis.errors import DomainError


class IndexChanged(DomainError):
    """The caller means another embedder than the one that is here, if any is."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "INDEX_CHANGED"


class EmbeddingFailed(DomainError):
    """The embedder raised, or did not answer one vector of the right dimension for each text."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    reason = "EMBEDDING_FAILED"
