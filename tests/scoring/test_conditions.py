"""The same student under conditions of other difficulty: what is given, drawn, or read."""

import json
from functools import cache

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sharded import at, fetch, own

from kdray.artifacts import Key
from kdray.config.evaluation import EvaluationConfig
from kdray.config.model import ModelConfig
from kdray.errors import DataError
from kdray.fit.data import TrainingData
from kdray.fit.validation import Validator
from kdray.model.generate import SearchOptions
from kdray.model.storage import Shape, load_model, save_model, tensors
from kdray.schema import Column, View
from kdray.scoring.evaluation import LEFT_OUT, SCORES, UNSCORED, EvaluationJob
from kdray.scoring.metrics import score
from kdray.scoring.result import read_hyps
from kdray.teacher.engine import Teacher, Translation
from kdray.text.prefix import split_references
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import BOS, PAD

POSITIONS = 30
WHOLE = EvaluationConfig(beams=(1, 2), prefixes=(0.5, 0.9, 1), sampling={"seed": 3})


@pytest.fixture(scope="module")
def models(toy_tokenizers, tmp_path_factory):
    """Two folders of random models with the toy tokenizer."""
    tokenizer, folders = toy_tokenizers["joint"], []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("model")
        config = ModelConfig(preset="nano", dropout=0, max_length=POSITIONS)
        vocabulary = tokenizer.tgt_vocab
        shape = Shape(config=config, src_vocab=vocabulary, tgt_vocab=vocabulary, shared=True,
                      tokenizer=tokenizer.checksum)  # fmt: skip
        torch.manual_seed(seed)
        save_model(folder, shape, tensors(shape.build()))
        tokenizer.save(folder)
        folders.append(folder)
    return folders


@pytest.fixture(scope="module")
def pairs(toy_corpus):
    table = pq.read_table(toy_corpus.path / "dev.parquet")
    return [table[name].to_pylist() for name in (Column.SRC, Column.REF)]


@pytest.fixture(scope="module")
def evaluated(models, toy_corpus, tmp_path_factory):
    """A function from how many models to the folder of their evaluation, and its rows."""

    @cache
    def evaluate(members):
        folder = tmp_path_factory.mktemp("scores")
        EvaluationJob(own(*models[:members]), at(toy_corpus.path), WHOLE).make(
            folder, fetch, threads=2
        )
        return folder, {row["condition"]: row for row in json.loads((folder / SCORES).read_text())}

    return evaluate


@pytest.mark.slow
def test_every_condition_has_a_row_and_plain_ones_a_speed(evaluated):
    _, rows = evaluated(1)
    assert list(rows) == [condition.name for condition in WHOLE.conditions]
    timed = [name for name, row in rows.items() if "tokens_per_second" in row]
    assert timed == ["beam-1", "beam-2"]


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 2])
def test_scores_after_a_prefix_are_of_the_continuation_alone(evaluated, pairs, members):
    folder, rows = evaluated(members)
    for name, share in (("prefix-0.5", 0.5), ("prefix-0.9", 0.9)):
        given = split_references(pairs[1], share)
        hyps = read_hyps(folder / rows[name]["file"])
        assert len(hyps) == len(given)
        assert rows[name][LEFT_OUT] == len(pairs[1]) - len(given)
        rests = [part.continuation for part in given]
        assert rows[name]["bleu"] == score(hyps, rests, bleu_tokenize="13a").bleu
        for part, hyp in zip(given, hyps, strict=True):
            assert part.prefix
            assert part.prefix not in hyp
    assert rows["prefix-0.9"][LEFT_OUT] > 0


@pytest.mark.slow
@pytest.mark.parametrize("members", [1, 2])
def test_no_prefix_is_the_plain_condition(models, pairs, members, tmp_path):
    teacher, (src, refs) = own(*models[:members]), pairs
    teacher.prepare(tmp_path, fetch, device="cpu")
    engine = teacher.open(fetch, device="cpu", threads=1, work=tmp_path)
    options = SearchOptions(beam=2)
    assert [part.prefix for part in split_references(refs, 0)] == [""] * len(refs)
    assert engine.go_on(src, [""] * len(src), options) == engine.translate(src, options)


@pytest.mark.slow
def test_teacher_forcing_is_the_loss_of_validation_and_the_accuracy_of_argmax(
    evaluated, models, pairs, toy_tokenizers
):
    tokenizer, model = toy_tokenizers["joint"], load_model(models[0]).eval()
    src, refs = tokenizer.encode_src(pairs[0]), tokenizer.encode_tgt(pairs[1])
    dev = TrainingData(
        pair_ids=np.arange(len(src)),
        src=Sequences.from_lists(src),
        views={View.REFERENCE: Sequences.from_lists(refs)},
        distributions={},
        left_out={},
    )
    row = evaluated(1)[1]["teacher-forcing"]
    validator = Validator(dev, pairs[1], tokenizer, "13a", threads=1)
    assert row["loss"] == pytest.approx(validator.loss(model), rel=1e-5)
    right = 0
    for ids, ref in zip(src, refs, strict=True):
        src_BS = torch.tensor([ids])
        logits = model(src_BS, src_BS != PAD, torch.tensor([[BOS, *ref[:-1]]]))
        right += int((logits[0].argmax(1) == torch.tensor(ref)).sum())
    assert row["accuracy"] == pytest.approx(100 * right / sum(map(len, refs)))
    assert row["tokens"] == sum(map(len, refs))


def test_an_ensemble_is_read_and_drawn_from_as_one_model(evaluated):
    (_, one), (_, both) = evaluated(1), evaluated(2)
    assert one["teacher-forcing"]["loss"] != both["teacher-forcing"]["loss"]
    assert "bleu" in both["sampling"]


@pytest.mark.slow
def test_a_draw_is_the_same_however_it_is_evaluated(evaluated, models, toy_corpus, tmp_path):
    folder, rows = evaluated(1)
    config = EvaluationConfig(beams=(1,), sampling={"seed": 3})
    EvaluationJob(own(models[0]), at(toy_corpus.path), config).make(tmp_path, fetch, threads=1)
    file = rows["sampling"]["file"]
    assert (tmp_path / file).read_text() == (folder / file).read_text()


class Words(Teacher):
    """A teacher of another package: text in, text out."""

    fingerprints = ("words",)
    positions = vocabulary = None

    def open(self, fetch, *, device, threads, work=None):
        return self

    def translate(self, src, options, refs=None):
        return [[Translation(line, 0.0, finished=True)] for line in src]


def test_a_teacher_that_only_knows_text_has_the_plain_conditions(toy_corpus, tmp_path):
    EvaluationJob(Words(), at(toy_corpus.path), WHOLE).make(tmp_path, fetch, threads=1)
    rows = json.loads((tmp_path / SCORES).read_text())
    unscored = {row["condition"]: row[UNSCORED] for row in rows if UNSCORED in row}
    assert list(unscored) == ["prefix-0.5", "prefix-0.9", "teacher-forcing", "sampling"]
    assert all(reason.startswith("it only knows text") for reason in unscored.values())


def test_what_is_longer_than_the_positions_is_told(models, pairs):
    engine = own(models[0]).open(fetch, device="cpu", threads=1)
    src, long = pairs[0][:2], " ".join(pairs[1][0].split() * 20)
    with pytest.raises(DataError, match=r"1 of 2 references, the first in line 2, .* 30 tokens"):
        engine.force(src, [pairs[1][0], long])
    first, second = engine.go_on(src, [pairs[1][0], long], SearchOptions())
    assert (len(first), second) == (1, [])


def test_conditions_that_nobody_asks_for_change_no_fingerprint():
    corpus, teacher = Key("corpus", 1, {}), own()
    scorers = {"mine": {"kind": "command", "command": ["x"], "signature": "x"}}
    plain, scored, more = (
        EvaluationJob(teacher, corpus, EvaluationConfig(**changes)).key.fingerprint
        for changes in ({}, {"scorers": scorers}, {"prefixes": [0.5]})
    )
    assert plain == scored != more
