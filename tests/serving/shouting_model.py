"""A model that answers at once: it shouts, reads few words, and fails at one of them."""

import time
from dataclasses import dataclass, field

from kdray.teacher.engine import Teacher, Translation

MOST_WORDS = 4


@dataclass(frozen=True)
class Shouting(Teacher):
    """Knows text alone: it shouts, reads few words, and fails at one of them."""

    mark: str = "!"
    seconds: float = 0.0
    seen: list[list[str]] = field(default_factory=list)
    fingerprints = ("shouting",)
    positions = MOST_WORDS
    vocabulary = None

    def open(self, fetch, *, device, threads, work=None):
        return self

    def translate(self, src, options, refs=None):
        self.seen.append(list(src))
        time.sleep(self.seconds)
        if "poison" in src:
            raise ValueError("this one cannot be swallowed")
        return [
            [Translation(text.upper() + self.mark * rank, -rank, True) for rank in ranks]
            if len(text.split()) <= MOST_WORDS
            else []
            for text in src
            for ranks in [range(1, options.num_hyps + 1)]
        ]


def fetch(source):
    return source.path
