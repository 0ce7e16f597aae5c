"""A teacher from another package, which only knows text: what it serves, and what it cannot."""

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kdray_toys.teacher import DictionaryTeacher
from kdray_toys.teacher_config import DictionaryConfig
from outside_packages import INSTALLED, installed
from sharded import ENCODED, at, fetch, make

from kdray.config import outside
from kdray.config.base import Frozen
from kdray.config.evaluation import EvaluationConfig
from kdray.config.foreign_teachers import OutsideTeacherConfig
from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.outside import with_outside
from kdray.config.signals import HypothesesConfig
from kdray.config.teacher import BuiltInTeacherConfig
from kdray.errors import ConfigError, InputError
from kdray.model.generate import SearchOptions
from kdray.plan.complexity import complexity_steps, why_unmeasured
from kdray.plan.step import COMPLEXITY
from kdray.plan.text import Text, TextPlan
from kdray.schema import Column
from kdray.scoring.evaluation import SCORES, UNSCORED, EvaluationJob
from kdray.scoring.result import read_hyps
from kdray.teacher.build import build_teacher
from kdray.teacher.engine import Teacher, Translation, translate
from kdray.teacher.hypotheses import Hypotheses, RecodingJob
from kdray.teacher.selection import SelectionJob
from kdray.teacher.translation import TranslationJob

TRAINING = "updates: 9, schedule: {kind: cosine, peak: 0.001, warmup: 2}"
EXPERIMENT = f"""\
name: toy
recipe:
  corpus: {{kind: generated, train_pairs: 20}}
  tokenizer: {{vocab_size: 64}}
  teacher: {{kind: dictionary, path: WORDS}}
  students:
    sizes: {{nano: {{preset: nano}}}}
    training: {{{TRAINING}}}
  methods:
    sentence_level: {{kind: sentence_level}}
    interpolation: {{kind: interpolation, n: 1}}
"""
LOAD = """
import json, pathlib, sys
from kdray.config.load import load_experiment
from kdray.errors import KdrayError

answers = {}
path, overrides = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
for override in overrides:
    try:
        teacher = load_experiment(path, [override] if override else []).recipe.teacher
        answers[override] = [teacher.kind, teacher.checksum()]
    except KdrayError as error:
        answers[override] = str(error)
print(json.dumps({"answers": answers, "torch": "torch" in sys.modules}))
"""
REFUSED = {
    "recipe.methods={a: {kind: token_level}}":
        "methods.a (token_level) reads the teacher's distributions, but a teacher of kind "
        "dictionary gives translations alone; take a method that learns from translations",
    "recipe.methods={a: {kind: hybrid, gate: {kind: sentence}}}": "methods.a (hybrid) reads",
    "recipe.students.sizes={a: {preset: nano, initial: {kind: layers}}}":
        "students.sizes.a: initial layers takes weights from a kdray model, and a teacher of kind "
        "dictionary is none; use initial random",
    "recipe.tokenizer=null": "tokenizer is missing",
    "recipe.teacher.pth=a": "recipe.teacher.pth: no such key; did you mean 'path'?",
    "recipe.teacher={kind: dictionary}": "recipe.teacher.path: missing",
    "recipe.teacher={kind: phrasebook}": "'huggingface', 'marian', 'dictionary'",
    "recipe.teacher.path=nowhere": "recipe.teacher.path nowhere: cannot be read",
}  # fmt: skip


@pytest.fixture(scope="module")
def words(toy_pairs, tmp_path_factory) -> Path:
    """A dictionary that knows all words of the toy task."""
    path = tmp_path_factory.mktemp("dictionary") / "words.tsv"
    known = {}
    for src, ref in toy_pairs:
        known |= dict(zip(src.split(), ref.split(), strict=True))
    path.write_text("".join(f"{word}\t{other}\n" for word, other in known.items()))
    return path


@pytest.fixture(scope="module")
def loaded(words, tmp_path_factory):
    """What a process that has the toy package says of the experiment with each override."""
    config = tmp_path_factory.mktemp("config") / "toy.yaml"
    config.write_text(EXPERIMENT.replace("WORDS", str(words)))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(config), json.dumps(["", *REFUSED])],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([INSTALLED, *sys.path])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def teacher(words):
    with installed():
        yield build_teacher(DictionaryConfig(kind="dictionary", path=str(words), max_words=6), ())


@pytest.mark.slow
def test_its_configuration_completes_the_union_without_torch(loaded, words):
    kind, checksum = loaded["answers"][""]
    whole = DictionaryConfig(kind="dictionary", path=str(words))
    assert (kind, checksum) == ("dictionary", whole.checksum())
    assert not loaded["torch"]


@pytest.mark.parametrize("override", REFUSED)
def test_what_it_cannot_serve_is_refused_with_the_reason(loaded, override):
    assert REFUSED[override] in loaded["answers"][override]


def test_the_entry_point_makes_the_teacher(teacher):
    assert isinstance(teacher.teacher, DictionaryTeacher)
    ours = teacher.teacher.config.checksum()
    assert teacher.key.inputs == {"teacher": ours, "checksum": ours}
    assert not teacher.on_gpu
    assert teacher.reader(fetch, device="cpu") is None


def test_its_scenario_is_measured_by_its_text_alone(teacher):
    text = Text(ENCODED, ENCODED, ENCODED)
    text = TextPlan(ENCODED, text, text, text, text, text, ())
    assert [step.stage for step in complexity_steps(text, teacher)] == [COMPLEXITY]
    assert "text alone" in why_unmeasured(teacher)


@pytest.mark.slow
def test_its_translations_reach_students_in_their_pieces(
    teacher, toy_corpus, toy_tokenizers, tmp_path
):
    corpus = at(toy_corpus.path)
    job = TranslationJob(teacher, corpus, HypothesesConfig(beam=2), ENCODED)
    _, counts = make(job, tmp_path / "hypotheses", shard_rows=100)
    pairs = pq.read_table(toy_corpus.path / "train.parquet").to_pylist()
    short = [pair for pair in pairs if len(pair[Column.SRC].split()) <= 6]
    assert 0 < len(short) < len(pairs)
    del counts["seconds"]
    assert counts == {
        "pairs": len(short), "quarantined": len(pairs) - len(short), "unfinished": 0, "reused": 0,
    }  # fmt: skip

    pieces, recoded = tmp_path / "pieces", tmp_path / "recoded"
    pieces.mkdir()
    recoded.mkdir()
    toy_tokenizers["joint"].save(pieces)
    RecodingJob(at(tmp_path / "hypotheses"), at(pieces), ENCODED).make(recoded, fetch, threads=1)
    refs = [pair[Column.REF] for pair in short]
    assert ids_and_pairs(recoded) == (
        toy_tokenizers["joint"].encode_tgt(refs),
        [pair[Column.PAIR_ID] for pair in short],
    )

    chosen = SelectionJob(
        at(recoded), corpus, InterpolationConfig(kind="interpolation", n=1), ENCODED
    )
    _, counts = make(chosen, tmp_path / "chosen", shard_rows=100)
    assert ids_and_pairs(tmp_path / "chosen") == ids_and_pairs(recoded)
    assert counts["not_the_best"] == 0


def ids_and_pairs(folder):
    hyps = Hypotheses.load(folder)
    ids = [hyps.ids[row].tolist() for row in range(len(hyps.pair_ids))]
    return ids, hyps.pair_ids.tolist()


def test_a_relative_path_is_read_by_workers_elsewhere(teacher, words, tmp_path, monkeypatch):
    monkeypatch.chdir(words.parent)
    made = build_teacher(DictionaryConfig(kind="dictionary", path=words.name), ())
    monkeypatch.chdir(tmp_path)
    ((best,),) = (
        pickle.loads(pickle.dumps(made))
        .open(fetch, device="cpu", threads=1)
        .translate(["ba"], SearchOptions())
    )
    assert best.text == "wox"


class Untidy(Teacher):
    """Translates into what no file of lines can hold."""

    fingerprints = ("untidy",)

    def open(self, fetch, *, device, threads, work=None):
        return self

    positions = vocabulary = None

    def translate(self, src, options, refs=None):
        return [[Translation("wox\nvuz \ud83d", 0.0, finished=True)] for _ in src]


def test_what_a_file_of_lines_cannot_hold_is_made_storable(toy_corpus, tmp_path):
    job = EvaluationJob(Untidy(), at(toy_corpus.path), EvaluationConfig(beams=(1,)))
    job.make(tmp_path, fetch, threads=1)
    (row,) = json.loads((tmp_path / SCORES).read_text())
    assert set(read_hyps(tmp_path / row["file"])) == {"wox vuz \ufffd\ufffd\ufffd"}


@dataclass(frozen=True)
class Answering(Untidy):
    """Answers the second of some sources in its own way, and the others well."""

    answer: object
    positions = vocabulary = None

    def translate(self, src, options, refs=None):
        made = [[Translation("wox", 0.0, finished=True)] for _ in src]
        if callable(self.answer):
            return self.answer(made)
        return [made[0], self.answer, *made[2:]]


GOOD = Translation("wox", 0.0, finished=True)
NOT_ANSWERS = [
    None, "wox", GOOD, [None], ["wox"], [GOOD, ("wox", 0.0)],
    [replace(GOOD, text=None)], [replace(GOOD, text=b"wox")], [replace(GOOD, score=None)],
    [replace(GOOD, score="0")], [replace(GOOD, finished=None)],
]  # fmt: skip


@pytest.mark.parametrize("answer", NOT_ANSWERS)
def test_what_is_no_answer_is_refused_with_its_source(answer):
    with pytest.raises(InputError, match=r"Answering gave .* for the source 'b'; it must give a"):
        translate(Answering(answer), ["a", "b", "c"], SearchOptions())


def test_an_answer_that_ends_the_program_or_is_no_list_is_refused():
    for answer, told in (
        (lambda made: sys.exit(0), r"ended the program \(SystemExit: 0\)"),
        (lambda made: None, "gave None; it must give a list"),
        (iter, "gave <list_iterator"),
    ):
        with pytest.raises(InputError, match=f"Answering {told}"):
            translate(Answering(answer), ["a", "b"], SearchOptions())


def test_no_more_translations_are_kept_than_were_asked_for():
    several = Answering([GOOD] * 5)
    made = translate(several, ["a", "b"], SearchOptions(beam=5, num_hyps=2))
    assert [len(each) for each in made] == [1, 2]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([], "1 of 50 sentences, the first in line 2, have no translation"),
        ([replace(GOOD, score=float("nan"))], "the translation of line 2 has the score nan"),
    ],
)
def test_a_translation_that_is_missing_or_wrong_is_told_with_its_line(
    toy_corpus, tmp_path, answer, told
):
    job = EvaluationJob(Answering(answer), at(toy_corpus.path), EvaluationConfig(beams=(1,)))
    job.make(tmp_path, fetch, threads=1)
    (row,) = json.loads((tmp_path / SCORES).read_text())
    assert row[UNSCORED].startswith(told)


def test_it_is_scored_as_any_teacher_is(teacher, words, toy_corpus, tmp_path):
    config = EvaluationConfig(beams=(1,))
    EvaluationJob(teacher, at(toy_corpus.path), config).make(tmp_path, fetch, threads=1)
    (row,) = json.loads((tmp_path / SCORES).read_text())
    assert row.keys() == {"split", "condition", UNSCORED}
    assert re.search(r"^\d+ of 50 sentences, the first in line \d+, .* 6 tokens", row[UNSCORED])
    whole = build_teacher(DictionaryConfig(kind="dictionary", path=str(words)), ())
    EvaluationJob(whole, at(toy_corpus.path), config).make(tmp_path, fetch, threads=1)
    (row,) = json.loads((tmp_path / SCORES).read_text())
    assert (row["split"], row["bleu"], row["unfinished"]) == ("dev", pytest.approx(100), 0)
    assert row["tokens_per_second"] is None
    assert row["sentences_per_second"] > 0
    refs = pq.read_table(toy_corpus.path / "dev.parquet")[Column.REF].to_pylist()
    assert (tmp_path / row["file"]).read_text().splitlines() == refs


class Unmade(OutsideTeacherConfig):
    kind: Literal["unmade"]

    def checksum(self) -> str:
        return ""


def test_a_kind_that_nobody_makes_is_refused(teacher):
    with pytest.raises(ConfigError, match=r"kind unmade: .* kdray\.teacher.* there are dictionary"):
        build_teacher(Unmade(kind="unmade"), ())


class Keyless(Frozen):
    kind: Literal["keyless"]


def test_a_configuration_without_a_checksum_is_no_teacher(monkeypatch):
    monkeypatch.setattr(outside, "failures", [])
    monkeypatch.setattr(outside, "outside_kinds", lambda group: {"keyless": Keyless})
    union = with_outside(BuiltInTeacherConfig, "group", base=OutsideTeacherConfig)
    assert get_args(union)[0] == BuiltInTeacherConfig
    (failure,) = outside.failures
    assert "keyless is not a kdray.config.foreign_teachers.OutsideTeacherConfig" in failure


def test_a_shard_of_nothing_but_long_sources_is_an_empty_table(teacher, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    src = ["ba", " ".join(["ba"] * 7)]
    table = pa.table({Column.PAIR_ID: [5, 6], Column.SRC: src, Column.REF: ["x", "y"]})
    pq.write_table(table, corpus / "train.parquet")
    job = TranslationJob(teacher, at(corpus), HypothesesConfig(), ENCODED)
    _, counts = make(job, tmp_path / "made", shard_rows=1)
    assert (counts["pairs"], counts["quarantined"]) == (1, 1)
