"""A small study whose translations are random corruptions of the references, but really scored."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from made_tables import WORDS, sentences

from kdray.cell import Cell
from kdray.condition import Condition
from kdray.reporting.facts import ScenarioFacts, SplitText, StudyFacts
from kdray.scoring.counts import score_and_count
from kdray.scoring.result import Result, Score, write_hyps
from kdray.scoring.segments import write_counts


@dataclass
class Study:
    """Results of runs, and the facts that go with them; all points have the same texts."""

    folder: Path
    refs: Mapping[str, Sequence[str]]
    results: list[Result] = field(default_factory=list)

    @property
    def texts(self) -> dict[str, SplitText]:
        return {
            split: SplitText([r.upper() for r in refs], refs) for split, refs in self.refs.items()
        }

    def run(
        self,
        method: str,
        *,
        error: float,
        seed: int = 1,
        split: str = "dev",
        beam: int = 5,
        **other,
    ) -> Result:
        """Add a run in whose translations a word is replaced with probability `error`."""
        tokenize = other.pop("tokenize", "13a")
        condition = other.pop("condition", Condition.of_beam(beam))
        size, length, role, point = (
            other.pop(name, default)
            for name, default in (
                ("size", "tiny"),
                ("length", None),
                ("role", "student"),
                ("point", ()),
            )
        )
        cell = Cell(method, size, seed, length, role, point)
        refs = [each.ref for each in self.texts[split].segments(condition.share)]
        draw = random.Random(f"{cell} {split} {condition}")
        hyps = [
            " ".join(draw.choice(WORDS) if draw.random() < error else w for w in line.split())
            for line in refs
        ]
        path = self.folder / f"{len(self.results)}.txt"
        write_hyps(path, hyps)
        scores, segments = score_and_count(hyps, refs, bleu_tokenize=tokenize)
        counts = path.with_suffix(".npz")
        write_counts(counts, segments)
        fields = {
            "cell": cell,
            "kind": method,
            "split": split,
            "condition": condition,
            "scores": {
                "bleu": Score(scores.bleu, scores.bleu_signature, segments_path=str(counts)),
                "chrf": Score(scores.chrf, scores.chrf_signature, segments_path=str(counts)),
            },
            "num_params": 1_250_000,
            "target_tokens": 40_000_000,
            "updates": 20_000,
            "train_seconds": 3725.0,
            "decode_tokens_per_second": 5000.0,
            "decode_sentences_per_second": 200.0,
            "fingerprint": "0123456789abcdef",
            "hyps_path": str(path),
        }
        result = Result(**{**fields, **other})
        self.results.append(result)
        return result

    def facts(self, **changes) -> StudyFacts:
        texts = changes.pop("texts", self.texts)
        scenario = ScenarioFacts(texts, changes.pop("bleu_tokenize", "13a"))
        points = [result.cell.point for result in self.results] or [()]
        fields = {
            "name": "small study",
            "recipe": {"corpus": {"kind": "generated", "seed": 1}, "methods": {"ce": None}},
            "corpus": {"train": {"pairs": 160239, "dropped": {"too long": 812}}},
            "fingerprints": {"corpus": "a1b2c3d4e5f60718"},
            "versions": {"kdray": "0.1.0"},
            "baseline": "ce",
            "main_beam": 5,
            "budget": "at equal numbers of updates",
            "bootstrap_samples": 200,
            "scenarios": dict.fromkeys(points, scenario),
            "axes": {},
        }
        return StudyFacts(**{**fields, **changes})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    hyps = tmp_path / "hyps"
    hyps.mkdir()
    return Study(hyps, {"dev": sentences(40, seed=1), "test-news": sentences(40, seed=2)})
