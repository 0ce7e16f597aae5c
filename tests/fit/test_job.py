"""A job on real text: what training leaves and publishes, and how dev is judged."""

import json
import logging
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nano_training import changed
from torch.nn import functional as F

from kdray.artifacts import Artifact, Brought, Key
from kdray.config.initial import Layers
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.methods.feature import FeatureConfig
from kdray.config.methods.hybrid import HybridConfig
from kdray.config.model import ModelConfig
from kdray.errors import ArtifactDamaged, DataError
from kdray.fit import machine
from kdray.fit.assemble import TOO_LONG
from kdray.fit.checkpoint import OPTIMIZER, STATE, WEIGHTS, Checkpoints, newest_progress
from kdray.fit.data import TrainingData
from kdray.fit.history import HISTORY, read_history
from kdray.fit.job import TOTALS, TrainingJob
from kdray.fit.lengths import check_dev
from kdray.fit.spec import OffTrunk, Random, TeacherLayers
from kdray.fit.validation import Validator
from kdray.fit.worker import Worker
from kdray.model.inherit import inherit
from kdray.model.storage import load_model, save_model, tensors
from kdray.schema import Column, Split, View
from kdray.teacher.own import OwnModels
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import BOS, PAD, Tokenizer

Changed = Callable[..., TrainingJob]
TRAINING = changed(updates=12, tokens_per_update=512, checkpoint_every=4, validate_every=12)


@pytest.fixture(scope="module")
def job(
    toy_job: TrainingJob, changed_job: Changed, tmp_path_factory: pytest.TempPathFactory
) -> TrainingJob:
    return changed_job(toy_job, training=TRAINING, folder=tmp_path_factory.mktemp("job") / "work")


def read(job: TrainingJob, source: str) -> Path:
    """The folder of what a job reads."""
    return job.fetch(getattr(job.spec, source))


@pytest.fixture(scope="module")
def trained(job: TrainingJob) -> TrainingJob:
    assert job.run(Worker(), threads=1).step == 12
    return job


@pytest.fixture(scope="module")
def validator(job: TrainingJob, toy_corpus: Artifact) -> Validator:
    pairs = EncodedSplit.load(read(job, "encoded"), Split.DEV)
    return Validator(
        dev=TrainingData(pairs.pair_ids, pairs.src, {View.REFERENCE: pairs.ref}, {}, {}),
        references=Corpus(toy_corpus.path).table(Split.DEV)[Column.REF].to_pylist(),
        tokenizer=Tokenizer.load(read(job, "tokenizer")),
        bleu_tokenize="13a",
        threads=1,
    )


def test_a_job_crosses_processes(job: TrainingJob) -> None:
    again = pickle.loads(pickle.dumps(job))
    assert (again.spec, again.folder) == (job.spec, job.folder)
    assert read(again, "encoded") == read(job, "encoded")


@pytest.mark.slow
def test_the_history_ends_with_dev_metrics(trained: TrainingJob) -> None:
    *_, plain, averaged = read_history(trained.folder / HISTORY)
    assert plain.keys() == {"step", "time", "dev/loss", "dev/bleu", "dev/chrf"}
    assert averaged.keys() == {
        "step", "time", "dev/averaged/loss", "dev/averaged/bleu", "dev/averaged/chrf"
    }  # fmt: skip
    assert plain["step"] == averaged["step"] == 12


@pytest.mark.slow
def test_it_publishes_the_mean_of_its_checkpoints(trained: TrainingJob, tmp_path: Path) -> None:
    counts = trained.publish(tmp_path, trained.run(Worker(), threads=1))
    model = load_model(tmp_path)
    mean = Checkpoints(trained.folder / "checkpoints", keep=2).average(last=2)
    for name, value in model.named_parameters():
        assert torch.equal(value, mean[f"student.{name}"]), name
    assert counts["num_params"] == model.num_params()
    assert counts["updates"] == 12
    assert counts["target_tokens"] > 12 * 400
    *_, plain, averaged = read_history(trained.folder / HISTORY)
    for name in ("loss", "bleu", "chrf"):
        assert counts["dev"]["plain"][name] == plain[f"dev/{name}"]
        assert counts["dev"]["averaged"][name] == averaged[f"dev/averaged/{name}"]
    assert counts["dev"]["plain"]["loss"] != counts["dev"]["averaged"]["loss"]
    assert (counts["averaging"], counts["chosen_update"]) == ("last", 12)
    assert counts["best"] == {"dev/loss": plain["dev/loss"], "update": 12}
    assert not counts["stopped_early"]
    assert json.loads((tmp_path / TOTALS).read_text()).items() <= counts.items()
    assert json.loads(json.dumps(counts)) == counts, "it goes into a record"
    assert read_history(tmp_path / HISTORY) == read_history(trained.folder / HISTORY)
    assert Tokenizer.load(tmp_path).checksum == Tokenizer.load(read(trained, "tokenizer")).checksum


@pytest.mark.slow
def test_pairs_that_were_left_out_are_told(job, changed_job, tmp_path: Path, caplog) -> None:
    train = EncodedSplit.load(read(job, "encoded"), Split.TRAIN)
    sides = np.maximum(train.src.lengths, train.ref.lengths)
    limit = int(sides.max()) - 1
    training = TRAINING.model_copy(update={"max_tokens": limit})
    short = changed_job(job, training=training, folder=tmp_path / "short")
    progress = short.run(Worker(), threads=1)
    (tmp_path / "made").mkdir()
    left_out = short.publish(tmp_path / "made", progress)["left_out"]
    assert left_out == {TOO_LONG: int((sides > limit).sum())}
    assert f"short: left out of training: {left_out}" in caplog.text


@pytest.mark.parametrize(("src", "ref"), [(9, 8), (8, 9)])
def test_a_dev_pair_may_be_as_long_as_the_model_reads(src: int, ref: int) -> None:
    srcs = Sequences.from_lists([[4], *2 * [[4] * src]])
    refs = Sequences.from_lists([[4], *2 * [[4] * ref]])
    dev = EncodedSplit(np.arange(3), np.arange(3), srcs, refs)
    check_dev(dev, model="nano", max_length=9)
    message = "dev: 2 of 3 pairs, first pair 2, .* nano reads: 9 .* max_length is 8; raise"
    with pytest.raises(DataError, match=message):
        check_dev(dev, model="nano", max_length=8)


def test_dev_that_the_model_cannot_read_ends_a_run_before_it_begins(
    job, changed_job, tmp_path: Path
) -> None:
    model = job.spec.model.model_copy(update={"max_length": 8})
    short = changed_job(job, model=model, folder=tmp_path / "short")
    with pytest.raises(DataError, match="raise its max_length, or shorten"):
        short.run(Worker(), threads=1)
    assert not short.folder.exists()


@pytest.mark.slow
def test_a_run_stays_in_the_precision_that_it_or_its_trunk_began_in(
    job: TrainingJob, changed_job: Changed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = changed_job(job, folder=tmp_path / "begun", ends_at=8)
    monkeypatch.setattr(machine, "has_bf16", lambda device: False)
    begun.run(Worker(), threads=1)
    monkeypatch.setattr(machine, "has_bf16", lambda device: True)

    def precision(run: TrainingJob) -> str:
        return run.objective(Tokenizer.load(read(job, "tokenizer")), Worker()).precision

    new = changed_job(job, folder=tmp_path / "new")
    trunk = OffTrunk(replace(job.spec, ends_at=8))
    branch = replace(
        changed_job(new, start=trunk),
        fetch=lambda source: begun.folder if isinstance(source, Key) else new.fetch(source),
    )
    assert [precision(run) for run in (new, begun, branch)] == ["bf16_autocast", "fp32", "fp32"]
    noted = json.dumps({"precision": "bf16_master"})
    shutil.copytree(begun.folder, branch.folder)
    (branch.folder / "machine.json").write_text(noted)
    assert precision(branch) == "bf16_master", "its own, once it has begun"
    for left in ("", "{}"):
        (branch.folder / "machine.json").write_text(left)
        with pytest.raises(ArtifactDamaged, match="does not say which precision"):
            precision(branch)
    shutil.rmtree(branch.folder / "checkpoints")
    assert precision(new) == "bf16_autocast", "what a run without a checkpoint left does not count"


@pytest.mark.slow
def test_a_run_leaves_a_trunk_by_its_method_or_by_another(
    trained: TrainingJob, changed_job: Changed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the trunk's with its checkpoints as they are; by another with its student alone."""
    caplog.set_level(logging.INFO)
    trunk = replace(trained.spec, training=changed(updates=24), ends_at=12)
    smooth = CrossEntropyConfig(kind="cross_entropy", label_smoothing=0.3)
    found = {}
    for name, method in (("same", trunk.method), ("other", smooth)):
        spec = replace(trunk, method=method, start=OffTrunk(trunk))
        branch = TrainingJob(
            spec,
            tmp_path / name,
            lambda source: trained.folder if isinstance(source, Key) else trained.fetch(source),
        )
        assert branch.run(Worker(), threads=1).step == 12, "it is at its end where it begins"
        found[name] = branch.folder / "checkpoints" / "00000012"
    assert caplog.text.count("continuing at update 12 of 12") == 2
    theirs = trained.folder / "checkpoints" / "00000012"
    for name in (WEIGHTS, OPTIMIZER, STATE):
        assert (found["same"] / name).read_bytes() == (theirs / name).read_bytes()
    assert (found["other"] / STATE).read_bytes() != (theirs / STATE).read_bytes()
    assert (found["other"] / WEIGHTS).read_bytes() == (theirs / WEIGHTS).read_bytes()


def test_a_method_is_built_beside_the_teacher_that_it_learns_from(pruned, changed_job) -> None:
    feature = FeatureConfig(kind="feature", signal="online")
    teacher = pruned.spec.start.teacher.reader(pruned.fetch, device="cpu")
    tokenizer = Tokenizer.load(read(pruned, "tokenizer"))
    job = changed_job(pruned, method=feature, start=Random())
    method = job.objective(tokenizer, Worker(), teacher).method
    width = teacher.transformer().config.width
    assert width != job.spec.model.width
    assert {layer.out_features for layer in method.encoder_projections} == {width}


def test_only_the_seed_decides_where_training_starts(
    job: TrainingJob, changed_job: Changed
) -> None:
    tokenizer = Tokenizer.load(read(job, "tokenizer"))
    one, again, other = (
        changed_job(job, seed=seed).objective(tokenizer, Worker()).student.output_weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.fixture(scope="module")
def pruned(
    job: TrainingJob, changed_job: Changed, tmp_path_factory: pytest.TempPathFactory
) -> TrainingJob:
    """The job of a narrower student that starts from a stored teacher."""
    folder = tmp_path_factory.mktemp("teacher")
    shape = job.shape(Tokenizer.load(read(job, "tokenizer")))
    torch.manual_seed(9)
    save_model(folder, shape, tensors(shape.build()))
    narrow = ModelConfig(preset="nano", width=24, max_length=64)
    teacher = OwnModels((Brought(folder, "teacher"),))
    return changed_job(job, model=narrow, start=TeacherLayers(teacher, Layers((0,), (0,))))


def test_a_student_starts_from_the_teacher_whatever_its_seed(
    pruned: TrainingJob, changed_job: Changed
) -> None:
    tokenizer = Tokenizer.load(read(pruned, "tokenizer"))
    start = pruned.spec.start
    teacher = start.teacher.reader(pruned.fetch, device="cpu").transformer()
    expected = inherit(teacher, pruned.spec.model, start.layers)
    for seed in (1, 2):
        student = changed_job(pruned, seed=seed).objective(tokenizer, Worker()).student
        for name, value in student.state_dict().items():
            assert torch.equal(value, expected[name]), name
    assert pickle.loads(pickle.dumps(pruned)).spec == pruned.spec


def test_what_a_method_starts_with_is_the_same_beside_inherited_weights(
    pruned, changed_job
) -> None:
    tokenizer = Tokenizer.load(read(pruned, "tokenizer"))
    hybrid = HybridConfig.model_validate({"kind": "hybrid", "gate": {"kind": "sentence"}})
    inheriting = changed_job(pruned, method=hybrid)
    one, other = (
        job.objective(tokenizer, Worker()).method.state_dict()
        for job in (inheriting, changed_job(inheriting, start=Random()))
    )
    assert one
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_dev_loss_is_the_plain_cross_entropy_per_token(job, validator: Validator) -> None:
    model = job.objective(validator.tokenizer, Worker()).student.eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for row in range(len(validator.dev)):  # one at a time: no padding, no batches
            src = torch.tensor(validator.dev.src[row].astype(int))[None]
            ref = torch.tensor(validator.dev.views[View.REFERENCE][row].astype(int))
            logits = model(src, src != PAD, torch.tensor([[BOS, *ref[:-1].tolist()]]))
            total += float(F.cross_entropy(logits[0], ref, reduction="sum"))
            tokens += len(ref)
    assert validator.loss(model) == pytest.approx(total / tokens, rel=1e-5)


@pytest.mark.slow
def test_a_validation_changes_nothing(job: TrainingJob, validator: Validator) -> None:
    model = job.objective(validator.tokenizer, Worker()).student
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = validator(model), validator(model)
    assert model.training
    assert first == second, "dropout is off"
    assert first["dev/loss"] > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
def test_a_run_on_two_threads_is_the_same_after_a_break(
    job: TrainingJob, changed_job: Changed, tmp_path: Path
) -> None:
    """A process that goes on has not validated yet; one that was never ended has."""
    training = changed(
        updates=8, tokens_per_update=512, checkpoint_every=4, validate_every=4,
        averaging={"kind": "none"},
    )  # fmt: skip
    alone, broken = (
        changed_job(job, training=training, folder=tmp_path / name) for name in ("alone", "broken")
    )

    def train(job: TrainingJob, **options: Any) -> None:
        machine.prepare(threads=2)
        job.run(Worker(), threads=1, **options)

    def end(step: int) -> None:
        raise KeyboardInterrupt

    before = torch.get_num_threads()
    try:
        train(alone)
        with pytest.raises(KeyboardInterrupt):
            train(broken, on_checkpoint=end)
        assert newest_progress(broken.folder / "checkpoints").step == 4
        train(broken)
    finally:
        torch.set_num_threads(before)
    ours, theirs = (
        Checkpoints(each.folder / "checkpoints").weights(each.folder / "checkpoints/00000008")
        for each in (alone, broken)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
