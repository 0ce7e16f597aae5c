"""A scorer of segments, in the process of kdray itself."""

from collections.abc import Sequence

from kdray.scoring.scorer import Scorer, Segment
from kdray_toys.scorer_config import OverlapConfig


def score(config: OverlapConfig, segments: Sequence[Segment]) -> list[float]:
    return [_share(config, segment) for segment in segments]


def _share(config: OverlapConfig, segment: Segment) -> float:
    words = [word for word in segment.ref.split() if len(word) >= config.shortest]
    written = set(segment.hyp.split())
    return sum(word in written for word in words) / max(len(words), 1)


OVERLAP = Scorer(score, version=2)
