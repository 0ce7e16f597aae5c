"""The laws of every method: what its loss is, and what must never change it.

Values and gradients of all parameters are compared, in float64 unless a law is about precision.
"""

import math
from dataclasses import replace

import pytest
import torch
from dense_batch import Dense
from dense_formulas import expected
from method_examples import ALL_METHODS, TYPICAL
from toy_distillation import Trial, padded_further

from kdray.config.methods.annealing import AnnealingConfig
from kdray.config.methods.divergence import DivergenceConfig
from kdray.config.methods.feature import FeatureConfig
from kdray.config.methods.selective import SelectiveConfig
from kdray.config.methods.taid import TaidConfig
from kdray.config.methods.tie import TieConfig
from kdray.config.methods.token_level import TokenLevelConfig
from kdray.methods.base import Per
from kdray.methods.targets import DenseTargets, Member, SoftTargets
from kdray.schema import Form, View

EXACT = {"rtol": 1e-9, "atol": 1e-11}


@pytest.fixture(scope="module")
def found(trial):
    """The objective of all pairs and its gradients."""
    return trial.everything()


def test_loss_and_gradient_are_those_of_the_formula(trial, found):
    value = expected(trial, trial.batch())
    torch.testing.assert_close(found, {"value": value.detach(), **trial.gradients(value)}, **EXACT)
    assert found["student.tgt_embedding.weight"].abs().max() > 1e-3


@pytest.mark.slow
def test_padding_changes_nothing(trial, found):
    padded = padded_further(trial.batch(), src=3, tgt=4)
    torch.testing.assert_close(trial.everything(padded), found, **EXACT)


@pytest.mark.slow
def test_micro_batches_sum_to_the_batch(trial, found):
    """Alone, a sentence has no padding: so a longer neighbour changes nothing either."""
    each = [trial.everything(trial.batch(rows)) for rows in ([0], [1], [2, 3, 4], [5])]
    summed = {name: sum(part[name] for part in each) for name in found}
    if isinstance(trial.config, SelectiveConfig) and trial.config.scope == "batch":
        # The only exception: it compares the tokens of what one worker sees.
        assert not torch.allclose(summed["value"], found["value"], rtol=1e-6)
        return
    torch.testing.assert_close(summed, found, **EXACT)


@pytest.mark.slow
def test_parts_and_samples_add_up_over_micro_batches(trial):
    whole = trial.method(trial.student, trial.batch())
    halves = [trial.method(trial.student, trial.batch(rows)) for rows in ([0, 1], [2, 3, 4, 5])]
    for name, (total, per) in whole.parts.items():
        assert not total.requires_grad
        assert {half.parts[name][1] for half in halves} == {per}
        if name not in ("loss/selected", "selected/share") or trial.config.scope == "global":
            torch.testing.assert_close(sum(half.parts[name][0] for half in halves), total, **EXACT)
    for name, values in whole.samples.items():
        assert not values.requires_grad
        torch.testing.assert_close(torch.cat([half.samples[name] for half in halves]), values)


def test_it_learns_as_many_sequences_as_it_declares(trial):
    """So what an update costs in target tokens is known before anything runs."""
    loss = trial.method(trial.student, trial.batch())
    counted = [per for per in loss.terms if per is not Per.SENTENCE]
    assert len(counted) == trial.method.needs.sequences


def test_what_is_logged_adds_up_to_what_is_learned(trial):
    """Each sum that is learned is one of parts of the log, with the weights of the config."""
    loss = trial.method(trial.student, trial.batch())
    hard, alpha = f"loss/cross_entropy_{View.REFERENCE}", getattr(trial.config, "alpha", None)
    match trial.config:
        case FeatureConfig(hidden_weight=hidden, attention_weight=attention, decay=decay):
            of_epoch = decay**trial.method.clock.epoch
            weights = {hard: 1 - alpha, "loss/token": alpha * trial.config.temperature**2}
            for name in ("encoder_states", "decoder_states"):
                weights[f"loss/{name}"] = of_epoch * hidden
            for name in ("encoder_attention", "decoder_attention", "cross_attention"):
                weights[f"loss/{name}"] = of_epoch * attention
        case TieConfig():
            weights = {hard: 1 - alpha, "loss/token": alpha, "loss/ranking": alpha}
        case TokenLevelConfig(temperature=t, prefix=View.REFERENCE):
            weights = {hard: 1 - alpha, "loss/token": alpha * t**2}
        case DivergenceConfig(divergence=name, prefix=View.REFERENCE):
            weights = {hard: 1 - alpha, f"loss/{name}": alpha}
        case AnnealingConfig():
            weights = {"loss/logits": 1.0}
        case TaidConfig():
            weights = {"loss/interpolated": 1.0}
        case _:
            return
    assert set(loss.parts) == set(weights)
    for unit, total in loss.terms.items():
        of_unit = [weights[name] * part for name, (part, per) in loss.parts.items() if per is unit]
        torch.testing.assert_close(sum(of_unit), total, **EXACT)


def test_needs_agree_with_each_other(trial):
    needs = trial.config.needs()
    assert needs == trial.method.needs
    assert set(needs.distributions) <= {*needs.views, View.STUDENT}
    assert View.STUDENT not in needs.views, "it is not stored"
    assert needs.hypotheses >= (View.HYPOTHESIS in needs.views)
    if trial.form is None:
        assert not needs.distributions
    else:
        assert all(trial.form in forms for forms in needs.distributions.values())


def test_what_is_not_declared_is_not_read(trial, found):
    """The batch holds no other view, no other distributions, and no teacher but where asked for."""
    batch = trial.batch()
    made = {View.STUDENT} if trial.written is not None else set()
    assert set(batch.targets) == {*trial.method.needs.views, *made}
    told = {view for view, target in batch.targets.items() if target.teacher is not None}
    assert told == set(trial.method.needs.distributions)
    assert (batch.teacher is not None) == (trial.form is Form.ONLINE)
    assert all(value.isfinite().all() for value in found.values())


@pytest.mark.slow
def test_the_teacher_gets_no_gradient_and_stays_in_evaluation(trial):
    batch, leaves = with_leaves(trial.batch())
    trial.method.train()
    trial.objective(batch).backward()
    assert all(leaf.grad is None for leaf in leaves)
    assert len(leaves) >= len(trial.method.needs.distributions)
    for teacher in trial.teacher.models:
        assert not any(module.training for module in teacher.modules())
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert not {id(p) for p in trial.method.parameters()} & {
        id(p) for teacher in trial.teacher.models for p in teacher.parameters()
    }
    assert trial.student.output_weight.grad is not None
    trial.student.zero_grad(set_to_none=True)
    trial.method.zero_grad(set_to_none=True)


def with_leaves(batch):
    """The same batch with teachers that would take a gradient, and all tensors that would."""
    leaves, targets = [], {}

    def leaf(tensor):
        leaves.append(tensor.clone().requires_grad_())
        return leaves[-1]

    for view, target in batch.targets.items():
        teacher = target.teacher
        if isinstance(teacher, SoftTargets):
            teacher = replace(
                teacher, logp_NK=leaf(teacher.logp_NK), log_tail_N=leaf(teacher.log_tail_N)
            )
        elif isinstance(teacher, DenseTargets):
            members = tuple(Member(leaf(m.hidden_ND), leaf(m.weight_VD)) for m in teacher.members)
            teacher = replace(teacher, members=members)
        targets[view] = replace(target, teacher=teacher)
    return replace(batch, targets=targets), leaves


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPICAL)
def test_single_precision_stays_near_double(name):
    double = Trial.of(ALL_METHODS[name])
    found, exact = double.in_precision(torch.float32).everything(), double.everything()
    for which, value in found.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), exact[which], rtol=1e-3, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPICAL)
@pytest.mark.parametrize("precision", ["bf16_autocast", "bf16_master"])
def test_bfloat16_stays_near_single_precision(precision, name):
    """8 bits of mantissa: 3 % of the value, and a gradient within 15 degrees."""
    single = Trial.of(ALL_METHODS[name], dtype=torch.float32)
    found, exact = single.everything(precision=precision), single.everything()
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    assert math.isclose(found["value"], exact["value"], rel_tol=0.03)
    ours, theirs = (
        torch.cat([g.float().flatten() for n, g in each.items() if n.startswith("student.")])
        for each in (found, exact)
    )
    assert torch.cosine_similarity(ours, theirs, 0) > math.cos(math.radians(15))


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPICAL)
def test_training_lowers_the_loss(name):
    trial = Trial.of(ALL_METHODS[name], dtype=torch.float32)
    batch = trial.batch()

    def measure():
        """The objective; of taid, whose target moves with the student, the distance it is for."""
        if trial.config.kind == "taid":
            return Dense(trial, batch).kl(View.REFERENCE).mean()
        return trial.objective(batch)

    optimizer = torch.optim.Adam(
        [p for m in (trial.student, trial.method) for p in m.parameters() if p.requires_grad],
        lr=1e-2,
    )
    before = float(measure().detach())
    for _ in range(10):
        optimizer.zero_grad()
        trial.objective(batch).backward()
        optimizer.step()
    assert float(measure().detach()) < 0.9 * before
