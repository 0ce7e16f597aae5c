"""What a server offers, as plain data: its models, its limits, and who may ask."""

import hashlib
import hmac
from dataclasses import dataclass

from kdray.serving.limits import RequestLimits
from kdray.serving.models import ServedModel

_LIMITS = RequestLimits()


@dataclass(frozen=True, slots=True)
class Service:
    """All that a process needs to know to answer requests; it can be pickled.

    Attributes:
        models: of which the first with a pair of languages answers, unless another is named.
        limits: of requests.
        threads: with which each model translates.
        key: digest of the key that a request must hold; None if anybody may ask.
        origins: web sites whose pages may ask, as in `https://example.org`.
    """

    models: tuple[ServedModel, ...]
    limits: RequestLimits = _LIMITS
    threads: int = 1
    key: bytes | None = None
    origins: tuple[str, ...] = ()

    def admits(self, key: str) -> bool:
        """Whether a request with this key may be answered."""
        return self.key is None or hmac.compare_digest(digest(key), self.key)


def digest(key: str) -> bytes:
    """What is kept of a key: it cannot be read back, and no log can show the key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
