"""What MLflow is told of a study besides curves and scores: its data, samples, and its verdict."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from kdray.artifacts import RECORD, Key, read_json
from kdray.cell import TEACHER
from kdray.condition import Condition
from kdray.plan.step import Step, spec_of
from kdray.reporting.analysis import Analysis
from kdray.runner.study import Study
from kdray.schema import Column, Split
from kdray.scoring.result import Result, read_hyps
from kdray.text.corpus import Corpus
from kdray.tracking import DataSet

SAMPLES = 50  # sentences of dev whose translations stand among the artifacts of a run
CONTEXTS: Mapping[str, str] = {Split.TRAIN: "training", Split.DEV: "validation"}


def data_of(study: Study, corpus: Key) -> list[DataSet]:
    """The parts of a corpus, each with the checksum of its file."""
    folder = study.store.fetch(corpus)
    files = read_json(folder / RECORD)["files"]
    tests = sorted(Path(name).stem for name in files if name.startswith("test-"))
    return [
        DataSet(
            name=split,
            digest=files[f"{split}.parquet"]["sha256"][:32],
            context=CONTEXTS.get(split, "test"),
            source=str(folder / f"{split}.parquet"),
            rows=pq.read_metadata(folder / f"{split}.parquet").num_rows,
        )
        for split in (*CONTEXTS, *tests)
    ]


def tell_data(study: Study, model: Step, run_id: str) -> None:
    """Name the data that a model was trained and judged on, with noise and what was added."""
    text = study.plan.scenario(model).text
    read = text.taught if model.stage == TEACHER else text.learned
    study.runs.tracker.log_data(run_id, data_of(study, read.corpus))


def tell_samples(study: Study, model: Step, run_id: str, results: Sequence[Result]) -> None:
    """Store sources, references and translations of the first sentences of dev, as a table."""
    corpus, main = spec_of(model).corpus, Condition.of_beam(study.recipe.evaluation.main_beam)
    of_dev = [
        each
        for each in results
        if each.split == Split.DEV and each.condition == main and each.hyps_path
    ]
    if not of_dev or not isinstance(corpus, Key):
        return
    table = Corpus(study.store.fetch(corpus)).table(Split.DEV).slice(0, SAMPLES)
    columns = [table[name].to_pylist() for name in (Column.SRC, Column.REF)]
    hyps = read_hyps(Path(str(of_dev[0].hyps_path)))[:SAMPLES]
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["source", "reference", "translation"])
    writer.writerows(zip(*columns, hyps, strict=True))
    study.runs.tracker.log_text(run_id, text.getvalue(), "samples/dev.tsv")


def tell_verdict(study: Study, analysis: Analysis) -> None:
    """Describe experiment and study: the question, the verdict, the report, how to compare."""
    tracker, run_id = study.runs.tracker, study.runs.parent
    overview = analysis.overview
    first = f"**{overview.headline}** {study.runs.question}"  # all that MLflow shows at first
    pages = " · ".join(f"[{name}]({page})" for name, page in tracker.pages(run_id).items())
    text = "\n\n".join([first, *overview.sentences, pages])
    tracker.describe(run_id, text)
    tracker.describe_experiment(text)
