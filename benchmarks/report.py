"""What does the report of a large study cost: its statistics, and its pages?

    python benchmarks/report.py [--students 100] [--tests 3] [--segments 1000] [--resamples 1000]

Translations are references in which words are replaced at random, so nothing is trained; they are
scored and counted as an evaluation does, which is not timed. Four methods, five levels of an axis,
and as many seeds as are needed. One JSON line tells of:

* analyse_s: seconds for all comparisons, axes, slices and examples.
* write_s: seconds for the pages and the tables of data.
* page_mb: the size of the page.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from kdray.cell import Cell
from kdray.condition import Condition
from kdray.reporting.analysis import analyse
from kdray.reporting.facts import ScenarioFacts, SplitText, StudyFacts
from kdray.reporting.write import write_report
from kdray.scoring.counts import score_and_count
from kdray.scoring.result import Result, Score, write_hyps
from kdray.scoring.segments import ENDING, write_counts

METHODS = ("cross_entropy", "token_level", "sentence_level", "hybrid")
LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4)
BEAM = 4


def main() -> None:
    """Measure, and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--tests", type=int, default=3)
    parser.add_argument("--segments", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    splits = ["dev", *(f"test-{number}" for number in range(1, options.tests + 1))]
    refs = {split: _sentences(options.segments, split) for split in splits}
    study = _facts(refs, options.resamples)
    with tempfile.TemporaryDirectory() as folder:
        results = list(_results(Path(folder), refs, options.students))
        began = time.perf_counter()
        analysis = analyse(results, study=study)
        analysed = time.perf_counter()
        pages = Path(folder) / "report"
        write_report(pages, study=study, results=results, analysis=analysis, curves={})
        written = time.perf_counter()
        size = (pages / "report.html").stat().st_size
    line = {
        "students": options.students,
        "results": len(results),
        "comparisons": analysis.num_tests,
        "analyse_s": round(analysed - began, 2),
        "write_s": round(written - analysed, 2),
        "page_mb": round(size / 1e6, 2),
    }
    print(json.dumps(line))


def _sentences(count: int, seed: str) -> list[str]:
    draw = random.Random(seed)
    words = [f"w{number}" for number in range(500)]
    return [" ".join(draw.choices(words, k=draw.randint(5, 30))) for _ in range(count)]


def _facts(refs: dict[str, list[str]], resamples: int) -> StudyFacts:
    texts = {split: SplitText(lines, lines) for split, lines in refs.items()}
    points = [(("noise", str(level)),) for level in LEVELS]
    return StudyFacts(
        name="benchmark",
        recipe={},
        corpus={},
        fingerprints={},
        versions={},
        baseline=METHODS[0],
        main_beam=BEAM,
        budget="at equal updates",
        bootstrap_samples=resamples,
        scenarios={point: ScenarioFacts(texts, "13a") for point in points},
        axes={"noise": {str(level): level for level in LEVELS}},
    )


def _results(folder: Path, refs: dict[str, list[str]], students: int) -> Iterator[Result]:
    seeds = -(-students // (len(METHODS) * len(LEVELS)))
    cells = [
        Cell(method, "nano", seed, point=(("noise", str(level)),))
        for seed in range(1, seeds + 1)
        for level in LEVELS
        for method in METHODS
    ]
    teachers = [
        Cell("teacher", "teacher", 0, None, "teacher", (("noise", str(level)),)) for level in LEVELS
    ]
    for cell in [*teachers, *cells[:students]]:
        for split, lines in refs.items():
            yield _result(folder, cell, split, lines)


def _result(folder: Path, cell: Cell, split: str, refs: Sequence[str]) -> Result:
    draw = random.Random(f"{cell} {split}")
    error = 0.2 if cell.is_teacher else 0.3 + 0.02 * METHODS.index(cell.method)
    hyps = [
        " ".join("x" if draw.random() < error else word for word in line.split()) for line in refs
    ]
    name = f"{cell} {split}".replace("/", "_")
    scores, segments = score_and_count(hyps, refs, bleu_tokenize="13a")
    write_hyps(folder / f"{name}.txt", hyps)
    counts = folder / f"{name}{ENDING}"
    write_counts(counts, segments)
    return Result(
        cell=cell,
        kind=cell.method,
        split=split,
        condition=Condition.of_beam(BEAM),
        scores={
            "bleu": Score(scores.bleu, scores.bleu_signature, segments_path=str(counts)),
            "chrf": Score(scores.chrf, scores.chrf_signature, segments_path=str(counts)),
        },
        num_params=50_000,
        target_tokens=600_000,
        updates=300,
        train_seconds=10.0,
        decode_tokens_per_second=10_000.0,
        decode_sentences_per_second=500.0,
        fingerprint=name,
        hyps_path=str(folder / f"{name}.txt"),
    )


if __name__ == "__main__":
    main()
