"""The seeds of kdray's random streams, each derived from a base seed and a purpose."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A seed below 2**62 that depends on every part and on their order."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2
