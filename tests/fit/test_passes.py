"""One update: learned in several passes it is that which is learned in one, and it is clipped."""

from pathlib import Path

import pytest
import torch
from nano_training import METHODS, changed, new_objective, new_run, training_data

from kdray.fit.checkpoint import Progress
from kdray.fit.meter import Meter
from kdray.fit.update import Updater, new_optimizer
from kdray.fit.worker import Worker
from kdray.methods.base import Loss, Per

# Of a batch the hardest share; of one's own words, drawn anew: what passes see differs.
LINEAR = sorted(METHODS.keys() - {"selective", "on_policy", "imitation"})


def one_update(method, *, tokens_per_pass=None, clip_norm=1e9):
    objective = new_objective(method, dropout=0.0)
    data = training_data(objective.method)
    optimizer = torch.optim.AdamW(objective.parameters(), fused=True)
    kept = {}

    def keep(*_):
        kept.update({name: p.grad.clone() for name, p in objective.named_parameters()
                     if p.grad is not None})  # fmt: skip

    optimizer.register_step_pre_hook(keep)
    run = new_run(Path("none"), changed(clip_norm=clip_norm), tokens_per_pass=tokens_per_pass)
    updater = Updater(objective, optimizer, data, run, Worker())
    passes = len(updater._share(updater._rows(0)).batches)
    meter = Meter()
    updater.take(Progress(), meter)
    return passes, kept, meter.rows[0]


@pytest.mark.slow
@pytest.mark.parametrize("method", LINEAR)
def test_passes_change_nothing(method):
    whole, expected, metrics = one_update(method, tokens_per_pass=None)
    passes, found, theirs = one_update(method, tokens_per_pass=20)
    assert (whole, passes > 2) == (1, True)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)
    assert theirs == pytest.approx(metrics, rel=1e-4, abs=1e-6)


def test_a_gradient_is_shortened_to_the_longest_that_may_be_and_its_own_length_is_logged():
    _, gradient, metrics = one_update("cross_entropy")
    length = torch.stack([part.norm() for part in gradient.values()]).norm().item()
    assert metrics["gradient_norm"] == pytest.approx(length, rel=1e-5)
    _, shorter, clipped = one_update("cross_entropy", clip_norm=length / 4)
    assert clipped["gradient_norm"] == pytest.approx(length, rel=1e-5)
    for name, part in gradient.items():
        torch.testing.assert_close(shorter[name], part / 4, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs an NVIDIA GPU"))],
)  # fmt: skip
def test_randomness_is_that_of_the_update_whatever_was_drawn_before(device):
    worker = Worker(device=torch.device(device))
    objective = new_objective("cross_entropy", worker=worker)
    data, optimizer = training_data(objective.method), new_optimizer(objective, changed())
    updater = Updater(objective, optimizer, data, new_run(Path("none")), worker)
    drawn = []
    for number in (3, 4, 3):
        updater._begin(number, epoch=0)
        drawn.append(torch.rand(8, device=device))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_no_batch_adds_zeros_whatever_the_sums_of_the_batch_were():
    """A worker without a share of an update: also where the loss of the row that it took is 0."""
    totals = {Per.REFERENCE: torch.zeros(()), Per.SENTENCE: torch.tensor(-3.0)}
    parts = {f"loss/{per}": (total, per) for per, total in totals.items()}
    nothing = Loss(totals, parts, samples={"gate": torch.ones(2)}).nothing()
    assert nothing.terms == {per: 0.0 for per in totals}
    assert nothing.parts == {name: (0.0, per) for name, (_, per) in parts.items()}
    assert {name: values.shape for name, values in nothing.samples.items()} == {"gate": (0,)}


def test_a_pass_holds_at_most_what_it_may():
    objective = new_objective("cross_entropy")
    data = training_data(objective.method)
    optimizer = torch.optim.AdamW(objective.parameters())
    run = new_run(Path("none"), tokens_per_pass=24)
    updater = Updater(objective, optimizer, data, run, Worker())
    for step in range(updater.per_epoch):
        rows = updater._rows(step)
        batches = updater._share(rows).batches
        sizes = [len(next(iter(batch.targets.values())).labels_N) for batch in batches]
        assert sum(sizes) == data.counts(rows)["reference tokens"]
        assert max(sizes) <= 24
