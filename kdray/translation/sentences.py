"""Where does a sentence end? By punctuation alone, in any language that has some."""

import re
from itertools import pairwise

_CLOSING = r"[\"'”’»›)\]）」』】]*"
_END = re.compile(
    rf"(?<=[.!?…؟।։።]){_CLOSING}\s+(?=\S)"  # followed by a space where words have spaces
    rf"|(?<=[。！？｡]){_CLOSING}\s*(?=\S)"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the space around them; joined they hold all of it.

    A full stop behind an abbreviation counts as an end, too: this is for text that is too long to
    be read whole, where a cut too many does little harm.
    """
    cuts = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    parts = (text[start:stop].strip() for start, stop in pairwise(cuts))
    return [part for part in parts if part]
