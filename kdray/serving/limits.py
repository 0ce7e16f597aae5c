"""How much a request may ask for, and how much may wait; what is more is refused."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of one request, and of all that wait.

    Attributes:
        body_bytes: of the body of a request.
        chars: of all texts of a request together.
        texts: that a request may list.
        sentences: of all texts of a request together.
        waiting: sentences that wait for a model; a request that finds no room is answered 503.
    """

    body_bytes: int = 256_000
    chars: int = 10_000
    texts: int = 128
    sentences: int = 256
    waiting: int = 1024
