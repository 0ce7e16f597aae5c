"""How many padded tokens a batch may have: found while shards are made, and remembered.

The first shard is made with `START`. As long as a shard with twice as many was faster, and would
not need more memory than there may be, the next one tries twice as many; if more was not faster,
fewer are tried. So the search costs nothing: what it measures are shards that had to be made.
Where memory ran out, so many are never tried again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kdray.artifacts import read_json, write_json
from kdray.errors import ArtifactDamaged
from kdray.model.memory import LEAST, START

GAIN = 1.05  # what is less is noise


@dataclass(slots=True)
class Budget:
    """What is known of batches on one kind of device, for one teacher and one way to decode.

    file: where it is kept, for all processes and for later commands. speeds: tokens a second, by
    padded tokens in a batch. most: what memory has room for, as far as it is known.
    """

    file: Path
    speeds: dict[int, float]
    most: int | None = None

    @classmethod
    def load(cls, file: Path) -> Self:
        """What earlier shards have shown; a file that cannot be read is as none."""
        try:
            kept: dict[str, Any] = read_json(file) if file.exists() else {}
            speeds = {int(tokens): float(speed) for tokens, speed in kept["speeds"].items()}
            return cls(file, speeds, kept["most"])
        except (ArtifactDamaged, KeyError, TypeError, ValueError, AttributeError):
            return cls(file, {})

    @property
    def tokens(self) -> int:
        """Padded tokens for the next shard's batches."""
        if not self.speeds:
            return self._within(START)
        tried = sorted(self.speeds)
        best = tried[0]
        for tokens in tried[1:]:
            if self.speeds[tokens] > GAIN * self.speeds[best]:
                best = tokens
        if best == tried[-1] and (wider := self._within(2 * best)) > best:
            return wider
        if best == tried[0] and (narrower := best // 2) >= LEAST and len(tried) > 1:
            return narrower
        return self._within(best)

    def learn(self, tokens: int, speed: float, *, room: float) -> None:
        """Note how fast a shard was, and how many times its memory there may be."""
        kept = Budget.load(self.file)  # other processes have learned meanwhile
        self.speeds, self.most = kept.speeds, kept.most
        self.speeds[tokens] = max(speed, self.speeds.get(tokens, 0.0))
        if room < 2:  # twice as many may need twice the memory
            self.most = min(tokens, self.most or tokens)
        self._save()

    def ran_out(self, tokens: int) -> None:
        """Note that memory had no room for so many."""
        kept = Budget.load(self.file)
        self.most = max(LEAST, min(tokens // 2, kept.most or tokens))
        self.speeds = {of: speed for of, speed in kept.speeds.items() if of <= self.most}
        self._save()

    def _within(self, tokens: int) -> int:
        return tokens if self.most is None else min(tokens, self.most)

    def _save(self) -> None:
        write_json(self.file, {"speeds": self.speeds, "most": self.most})
