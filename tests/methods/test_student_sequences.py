"""Sequences that the student makes: whose they are, how long, how often, and that none is learned.

Their losses are in test_laws.py, over sequences that were made once.
"""

import numpy as np
import pytest
import torch
from toy_distillation import MIDDLE, PAIRS, Trial, sequences_of
from toy_teacher import CPU, TEACHER, model, toy_teacher

from kdray.methods import imitation
from kdray.methods.base import Clock
from kdray.methods.student_sequences import with_student_view
from kdray.schema import View
from kdray.teacher.own import OnlineModels
from kdray.text.tokenizer import BOS, EOS, PAD, UNK

IMITATION = {"kind": "imitation", "signal": "online"}
ON_POLICY = {"kind": "on_policy", "signal": "online"}


def plain_batch(trial):
    return trial.data.batch(np.arange(PAIRS), device=CPU)


def made(trial, chosen, *, seed=0):
    """What the student writes for the chosen sentences, and the references."""
    torch.manual_seed(seed)
    batch = with_student_view(
        plain_batch(trial), trial.student, chosen_B=torch.tensor(chosen), temperature=1.0
    )
    found, references = (
        sequences_of(batch.targets[view]) for view in (View.STUDENT, View.REFERENCE)
    )
    return [found[i].tolist() for i in range(PAIRS)], [references[i].tolist() for i in range(PAIRS)]


@pytest.mark.slow
def test_only_the_chosen_sentences_are_the_students():
    trial = Trial.of(IMITATION)
    found, references = made(trial, [True, False] * 3)
    assert found[1::2] == references[1::2]
    assert all(a != b for a, b in zip(found[::2], references[::2], strict=True))
    found, references = made(trial, [False] * 6)
    assert found == references


@pytest.mark.slow
def test_what_it_writes_is_a_sequence_that_it_could_have_been_given():
    trial = Trial.of(ON_POLICY)
    for seed in range(20):
        found, references = made(trial, [True] * 6, seed=seed)
        for ids, reference in zip(found, references, strict=True):
            assert 1 <= len(ids) <= int(1.5 * len(reference)) + 5
            assert not {PAD, UNK, BOS} & set(ids)
            assert EOS not in ids[:-1]
            assert ids[0] != EOS
            assert ids[-1] == EOS or len(ids) == int(1.5 * len(reference)) + 5


def test_no_sequence_is_longer_than_the_students_positions():
    trial = Trial.of(ON_POLICY)
    trial.student.config = trial.student.config.model_copy(update={"max_length": 8})
    found, _ = made(trial, [True] * 6)
    assert max(map(len, found)) <= 8


def test_no_sequence_is_longer_than_the_teachers_positions():
    short = model(2, TEACHER.model_copy(update={"max_length": 8}))
    trial = Trial.of(ON_POLICY, teacher=OnlineModels([toy_teacher(torch.float64).models[0], short]))
    found, _ = made(trial, [True] * 6)
    assert max(map(len, found)) == 8, "it would have written more"


@pytest.mark.slow
@pytest.mark.parametrize("raw", [IMITATION, ON_POLICY], ids=["imitation", "on_policy"])
def test_sampling_leaves_the_student_as_it_was(raw):
    trial = Trial.of(raw)
    for training in (True, False):
        trial.student.train(training)
        batch = trial.method.prepare(trial.student, plain_batch(trial))
        assert trial.student.training == training
    assert not batch.targets[View.STUDENT].inputs_BT.requires_grad
    assert all(parameter.grad is None for parameter in trial.student.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("i", [0, 25, 50, 99])
def test_imitation_takes_students_prefixes_with_its_probability(i, monkeypatch):
    """1 − 200^(−i/N) in update i of N, counted from 0."""
    trial, chosen = Trial.of(IMITATION), []
    monkeypatch.setattr(
        imitation, "with_student_view", lambda batch, _, *, chosen_B, temperature: chosen.append(
            chosen_B) or batch,
    )  # fmt: skip
    trial.method.begin(Clock(step=i + 1, run_length=100))
    torch.manual_seed(1)
    for _ in range(400):
        trial.method.prepare(trial.student, plain_batch(trial))
    share = 1 - 200 ** (-i / 100)
    found = torch.cat(chosen).double().mean()
    spread = (share * (1 - share) / (400 * PAIRS)) ** 0.5
    assert abs(float(found) - share) <= 4 * spread + 1e-12
    assert trial.method.after_update({}, {})["imitation/student_share"] == pytest.approx(share)


def test_the_first_update_of_imitation_reads_references():
    trial = Trial.of(IMITATION)
    trial.method.begin(Clock(1, 100))
    batch = trial.method.prepare(trial.student, plain_batch(trial))
    ours, theirs = batch.targets[View.STUDENT], batch.targets[View.REFERENCE]
    assert torch.equal(ours.labels_N, theirs.labels_N)
    assert torch.equal(ours.inputs_BT, theirs.inputs_BT)


@pytest.mark.slow
def test_the_writer_is_renewed_every_few_updates_and_never_trained():
    trial = Trial.of({**IMITATION, "refresh": 3})
    writer, found = trial.method.writer, []
    assert not any(parameter.requires_grad for parameter in writer.parameters())
    for step in range(1, 9):
        trial.method.begin(Clock(step, 100))
        trial.student.load_state_dict(model(50 + step).state_dict())
        trial.method.prepare(trial.student, plain_batch(trial))
        found.append(torch.equal(writer.output_weight, trial.student.output_weight))
    assert found == [True, False, False, True, False, False, True, False]
    trial.method.begin(MIDDLE)
    trial.objective().backward()
    assert all(parameter.grad is None for parameter in writer.parameters())
    assert writer is not trial.student
    assert any("writer" in name for name in trial.method.state_dict()), "a run can be resumed"


@pytest.mark.slow
def test_on_policy_writes_for_every_sentence_anew():
    trial = Trial.of(ON_POLICY)
    torch.manual_seed(0)
    first, second = (
        sequences_of(trial.method.prepare(trial.student, plain_batch(trial)).targets[View.STUDENT])
        for _ in range(2)
    )
    assert len(first) == len(second) == PAIRS
    assert first.values.tolist() != second.values.tolist()


def test_on_policy_without_a_share_writes_nothing():
    trial = Trial.of({**ON_POLICY, "student_share": 0.0})
    batch = plain_batch(trial)
    assert trial.method.prepare(trial.student, batch) is batch
    assert set(trial.method.needs.distributions) == {View.REFERENCE}
    assert trial.written is None


@pytest.mark.slow
def test_a_cold_student_writes_what_it_thinks_likeliest():
    """The temperature is that of the sampling."""
    trial = Trial.of({**ON_POLICY, "temperature": 1e-4})
    first, second = (
        sequences_of(trial.method.prepare(trial.student, plain_batch(trial)).targets[View.STUDENT])
        for _ in range(2)
    )
    assert first.values.tolist() == second.values.tolist()
