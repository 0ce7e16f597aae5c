"""A whole study with sources of every kind: who learns what, and that large text is prepared alike.

The stages are as they are, but what they give to Ray is done here, one after another.
"""

import pyarrow.parquet as pq
import pytest
import yaml
from micro_study import CONFIG

from kdray.artifacts import read_json, sha256_file
from kdray.config.experiment import Experiment
from kdray.pipeline import run_steps, run_study
from kdray.plan.step import STUDENT, TEACHER
from kdray.progress import Display
from kdray.proof.artifacts import artifacts_at
from kdray.proof.prove import Proof, prove
from kdray.runner.facts import _corpus
from kdray.runner.study import open_study
from kdray.runner.told import tell_data
from kdray.schema import Column
from kdray.teacher.hypotheses import Hypotheses
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit
from kdray.tracking import Tracker

pytestmark = pytest.mark.slow


def write(folder, name, pairs):
    for suffix, side in zip(("src", "tgt"), zip(*pairs, strict=True), strict=True):
        (folder / f"{name}.{suffix}").write_text("".join(f"{text}\n" for text in side))
    return {"src": f"{name}.src", "tgt": f"{name}.tgt"}


def study_of(
    folder, storage, pairs, *, reverse=False, texts=None, more=None, execution=None, **weights
):
    raw = yaml.safe_load(CONFIG)
    del raw["search"]
    if reverse:
        pairs = [pair[::-1] for pair in pairs]
    folder.mkdir(exist_ok=True)
    main, rare = write(folder, "main", pairs[:250]), write(folder, "rare", pairs[250:300])
    raw["recipe"]["corpus"] = {
        "kind": "files", "folder": str(folder), "src_lang": "src", "tgt_lang": "tgt",
        "train": {"format": "mixture", "sources": {"main": main, "rare": rare}},
        "dev": write(folder, "dev", pairs[300:320]),
        "tests": {"test": write(folder, "test", pairs[320:340])},
        "monolingual": texts or {},
    }  # fmt: skip
    raw["recipe"]["tokenizer"] = {"vocab_size": 60, "model_type": "bpe"}
    raw["recipe"]["teacher"]["training"]["source_weights"] = {"rare": 0}
    raw["recipe"]["students"]["training"]["source_weights"] = weights
    raw["recipe"]["methods"] |= {"sentence": {"kind": "sentence_level"}}
    raw["recipe"]["corpus"] |= {"noise": {"rate": 0.3, "side": "source"}} if more else {}
    if more:
        raw["recipe"]["signals"] |= {"hypotheses": {"beam": 2, "num_hyps": 2}}
        raw["recipe"]["signals"] |= {"scores": {"likely": {"kind": "model"}}}
    raw["recipe"]["methods"] |= more or {}
    raw["execution"] |= {"storage": str(storage), "tracking": {"enabled": False}}
    raw["execution"] |= execution or {}
    return open_study(Experiment.model_validate(raw), Display())


class Told(Tracker):
    """Keeps what it is told of data, by run."""

    def __init__(self):
        self.data = {}

    def log_data(self, run_id, datasets):
        self.data[run_id] = datasets


def damages(store):
    return list(prove(artifacts_at(store.root), Proof()))


def test_each_learns_its_sources_and_text_in_one_language(tmp_path, toy_pairs, without_ray):
    with study_of(tmp_path / "back", tmp_path / "a", toy_pairs, reverse=True) as reverse:
        (teacher,) = reverse.plan.of(TEACHER)
        run_steps(reverse, "decode")
        model = reverse.store.fetch(teacher.key)
    data = tmp_path / "data"
    data.mkdir()
    for side, name in ((0, "mono.src"), (1, "mono.tgt")):
        lines = "".join(f"{pair[side]}\n" for pair in toy_pairs[340 + 40 * side : 380 + 40 * side])
        (data / name).write_text(lines)
    texts = {
        "web": {"kind": "decoded", "path": "mono.src"},
        "back": {"kind": "back_translated", "path": "mono.tgt", "model": str(model), "beam": 2},
    }
    large = {"large_text_mb": 0}
    with study_of(data, tmp_path / "b", toy_pairs, texts=texts, execution=large, rare=3) as study:
        findings = run_study(study)
        text, store = study.plan.only.text, study.store
        learned = Corpus(store.fetch(text.learned.corpus)).table("train")
        clean = pq.read_table(store.fetch(text.clean.corpus) / "train.parquet")
        encoded = EncodedSplit.load(store.fetch(text.learned.encoded), "train")
        hyps = Hypotheses.load(store.fetch(study.plan.only.students.signals.hypotheses))
        students = {step.cell.method: store.fetch(step.key) for step in study.plan.of(STUDENT)}
        (teacher,) = (store.fetch(step.key) for step in study.plan.of(TEACHER))
    sources = learned[Column.SOURCE].to_pylist()
    counts = {name: sources.count(name) for name in dict.fromkeys(sources)}
    assert list(counts) == ["main", "rare", "web", "back"]
    assert counts["web"] == 40
    assert set(clean[Column.SOURCE].to_pylist()) == {"main", "rare"}
    is_mono = [not ref for ref in learned[Column.REF].to_pylist()]
    assert [source == "web" for source in sources] == is_mono
    assert (encoded.ref.lengths == 0).tolist() == is_mono
    assert set(hyps.pair_ids) == set(learned[Column.PAIR_ID].to_pylist())
    left_out = {
        name: read_json(path / "totals.json")["left_out"] for name, path in students.items()
    }
    assert left_out["cross_entropy"]["no reference"] == counts["web"]
    assert "no reference" not in left_out["sentence"]
    of_teacher = read_json(teacher / "totals.json")["left_out"]
    assert of_teacher == {"a source_weight of 0": counts["rare"]}
    page = findings.page.with_suffix(".md").read_text()
    assert "web: 40 sentences kept" in page
    with study_of(data, tmp_path / "b", toy_pairs, texts=texts, rare=3) as alike:
        assert all(alike.is_made(step.key) for step in alike.plan.steps)
    with study_of(data, tmp_path / "b", toy_pairs, texts=texts, rare=1) as other:
        missing = {step.stage for step in other.plan.steps if not other.is_made(step.key)}
    assert not missing & {"corpus", "tokenizer", "encoded", "signals", "teacher"}
    assert STUDENT in missing
    assert damages(store) == []
    scored = {"scored": {"kind": "scored", "by": "likely", "n": 2, "at_least": -0.3}}
    with study_of(data, tmp_path / "b", toy_pairs, texts=texts, more=scored, rare=3) as noisy:
        run_steps(noisy, "decode")
        noisy.runs.tracker = told = Told()
        tell_data(noisy, noisy.plan.of(STUDENT)[0], "student")
        tell_data(noisy, noisy.plan.of(TEACHER)[0], "teacher")
        corpora = [each.corpus for each in (noisy.plan.only.text.learned, text.clean)]
        of_corpus = _corpus(noisy, noisy.plan.only)
    assert {"added", "noise"} <= of_corpus.keys()
    for run_id, corpus, rows in zip(told.data, corpora, (len(learned), len(clean)), strict=True):
        train, dev, test = told.data[run_id]
        assert train.digest == sha256_file(store.fetch(corpus) / "train.parquet")[:32]
        assert (train.rows, dev.rows, test.rows) == (rows, 20, 20)
    (selection,) = store.records("selection")
    assert min(selection["counts"][name] for name in ("pairs", "below")) > 0
    assert store.records("noise")
    assert damages(store) == []
