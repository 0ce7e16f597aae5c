"""An estimate is worked out from a sample, and stands beside what a finished study took."""

from itertools import islice, permutations

import numpy as np
import pytest
import yaml
from micro_study import CONFIG
from rich.console import Console

from kdray.config.experiment import Experiment
from kdray.config.model import ModelConfig
from kdray.estimate import _table
from kdray.model.storage import Shape, save_model, tensors
from kdray.pipeline import run_steps
from kdray.progress import Display
from kdray.runner.estimate import Devices, estimates
from kdray.runner.pace import Pace
from kdray.runner.sampling import sample_of, sampled
from kdray.runner.study import open_study
from kdray.teacher.hypotheses import Hypotheses
from kdray.text.corpus import Corpus


def micro(storage, **recipe):
    raw = yaml.safe_load(CONFIG)
    raw["recipe"] |= recipe
    raw["execution"] |= {"storage": str(storage), "tracking": {"enabled": False}}
    del raw["search"]
    return Experiment.model_validate(raw)


def test_a_sample_has_every_method_and_size_once_and_nothing_else(tmp_path):
    stage = {"method": {"kind": "token_level"}, "updates": 15}
    methods = {
        "ce": {"kind": "cross_entropy"},
        "staged": {"kind": "stages", "stages": [stage, {**stage, "updates": 15}]},
    }
    axes = {"noise": {"path": "corpus.noise.rate", "values": [0.1, 0.2]}}
    whole = micro(tmp_path, methods=methods, axes=axes, baseline="ce")
    sample = sample_of(whole, tmp_path / "sample", pairs=50, updates=6)
    recipe = sample.recipe
    assert (recipe.axes, recipe.corpus.train_pairs, recipe.corpus.noise.rate) == ({}, 50, 0.1)
    assert [m.kind for m in recipe.methods.values()] == ["cross_entropy", "token_level"]
    for training in (recipe.teacher.training, recipe.students.training):
        assert (training.updates, training.validate_every) == (6, 6)
        assert training.tokens_per_update == 512
    assert recipe.signals == whole.recipe.signals
    assert sample.execution.storage == str(tmp_path / "sample")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_finished_study_stands_beside_its_estimate(tmp_path, without_ray):
    whole = micro(tmp_path / "whole")
    with open_study(whole, Display()) as study:
        run_steps(study, "train")
    with open_study(whole, Display(), only_looks=True) as study:
        sample = sample_of(whole, tmp_path / "sample", pairs=100, updates=5)
        with sampled(sample, Display(), whole=whole.recipe.corpus) as measured:
            one = Devices.of(whole.execution, cpus=1, gpus=0)
            eight = Devices.of(whole.execution, cpus=8, gpus=0)
            found = {each.what: each for each in estimates(study.plan, measured, one, study=study)}
            wide = {each.what: each for each in estimates(study.plan, measured, eight, study=study)}
    assert measured.all_pairs == pytest.approx(300, rel=0.1)
    signals = ["hypotheses", "topk on reference"]
    assert list(found) == ["text", *signals, "teachers", "students", "scores"]
    for each in found.values():
        assert each.work > 0
        assert each.took is None or each.took > 0
        assert wide[each.what].wall <= each.wall
    assert all(found[what].took for what in ("hypotheses", "teachers", "students"))
    assert found["teachers"].work == pytest.approx(200 * measured.teacher_update, rel=3)
    assert wide["students"].wall == found["students"].wall / 2  # two lanes, on one CPU one
    console = Console(record=True, width=120)
    console.print(_table(list(found.values()), one, measured.all_pairs))
    assert "training pairs on 1 CPUs" in console.export_text()


@pytest.fixture
def reverse(tmp_path, toy_tokenizers):
    """A model of the other direction, which has learned nothing."""
    folder, tokenizer = tmp_path / "reverse", toy_tokenizers["joint"]
    folder.mkdir()
    shape = Shape(config=ModelConfig(preset="nano"), src_vocab=70, tgt_vocab=70, shared=True,
                  tokenizer=tokenizer.checksum)  # fmt: skip
    save_model(folder, shape, tensors(shape.build()))
    tokenizer.save(folder)
    return str(folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sample_has_few_sentences_of_text_in_one_language(
    tmp_path, toy_pairs, reverse, without_ray
):
    def write(name, lines):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
        return name

    def pairs_of(name, pairs):
        return {side: write(f"{name}.{side}", [pair[n] for pair in pairs])
                for n, side in enumerate(("src", "tgt"))}  # fmt: skip

    words = sorted({word for pair in toy_pairs for word in pair[0].split()})
    made = (" ".join(each) for each in permutations(words, 5))
    texts = {
        "web": {"kind": "decoded", "path": write("web", islice(made, 10_000))},
        "news": {"kind": "decoded", "path": write("news", islice(made, 500)),
                 "similar_to": {"path": write("own", islice(made, 50)), "keep": 100}},
        "back": {"kind": "back_translated", "path": write("back", islice(made, 500)),
                 "model": reverse, "max_sentences": 200, "beam": 1},
    }  # fmt: skip
    train = pairs_of("train", toy_pairs[:200])
    held_out = pairs_of("dev", toy_pairs[300:320])
    corpus = {
        "kind": "files", "folder": str(tmp_path), "src_lang": "src", "tgt_lang": "tgt",
        "train": train, "dev": held_out, "tests": {"t": held_out}, "monolingual": texts,
    }  # fmt: skip
    methods = {"ce": {"kind": "cross_entropy"}, "sentence": {"kind": "sentence_level"}}
    tokenizer = {"vocab_size": 40, "model_type": "bpe"}
    whole = micro(
        tmp_path / "whole", corpus=corpus, tokenizer=tokenizer, methods=methods, baseline="ce"
    )
    sample = sample_of(whole, tmp_path / "sample", pairs=40, updates=3)
    with sampled(sample, Display(), whole=whole.recipe.corpus) as measured:
        pass
    with open_study(whole, Display(), only_looks=True) as study:
        one = Devices.of(whole.execution, cpus=1, gpus=0)
        found = {each.what: each for each in estimates(study.plan, measured, one, study=study)}
    in_sample = {name: text.sentences for name, text in measured.added.items()}
    assert measured.pairs == 40
    assert (in_sample["web"], in_sample["news"]) == (40, 40)
    assert in_sample["back"] <= 40  # the model may end none
    assert measured.added["web"].all_sentences == 10_000
    assert measured.added["news"].all_sentences == 100
    assert measured.added["back"].all_sentences == 5 * in_sample["back"]
    assert measured.all_learned(with_reference=True) == measured.all_pairs + 5 * in_sample["back"]
    hyps = measured.signals["hypotheses"]
    assert hyps["pairs"] == measured.learned()
    per_pair = found["hypotheses"].size / measured.all_learned()
    assert per_pair <= hyps["bytes"] / hyps["pairs"] * 1.001
    assert bool(found["back-translation of back"].work) == bool(in_sample["back"])
    with open_study(sample, Display(), only_looks=True) as study:
        text, store = study.plan.only.text, study.store
        learned = Corpus(store.fetch(text.learned.corpus)).table("train")
        put = Hypotheses.load(store.fetch(study.plan.only.students.signals.hypotheses))
    assert put.pair_ids.tolist() == learned["pair_id"].to_pylist()
    refs = learned["ref"].to_pylist()
    for ref, hyp, finished in zip(refs, put.texts(np.arange(len(refs))), put.finished, strict=True):
        assert not ref or (hyp == ref and finished)


def test_rates_are_of_what_was_made_since_the_command_began(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("kdray.runner.pace.time.monotonic", lambda: now[0])
    pace = Pace.of(1000, left=600)
    assert (pace.done, pace.at_work, pace.note) == (400, 0, "")
    for worker in "abab":
        now[0] += 5
        pace.add(50, tokens=500, worker=worker)
    row = pace.row()
    assert row["step"] == 600
    assert row["decode/sentences_per_second"] == 10
    assert row["decode/tokens_per_second"] == 100
    assert row["decode/seconds_left"] == 40
    assert pace.note == "100 tokens/s, 2 processes"
    for _ in range(8):  # one of them is silent
        now[0] += 10
        pace.add(50, tokens=500, worker="a")
    assert (pace.at_work, pace.seconds_left) == (1, 0)
