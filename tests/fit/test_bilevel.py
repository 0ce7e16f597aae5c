"""The gate's step on dev: the direction of the true derivative, and nothing else moves.

The toy has a student of two numbers. The true derivative of the dev loss after one update of the
student, in what the gate learns, is found by autograd through that update.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nano_training import dev_data, new_objective, training_data
from torch import Tensor, nn

from kdray.config.methods.hybrid import HybridConfig
from kdray.fit.bilevel import DevUpdater
from kdray.fit.data import TrainingData
from kdray.fit.worker import Worker
from kdray.methods.hybrid import Hybrid
from kdray.methods.targets import DenseTargets, Member
from kdray.schema import View
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import EOS

VOCAB, WIDTH, PAIRS, RATE = 9, 4, 5, 1e-3
ROWS = np.arange(PAIRS)
TEMPERATURE = 2.0


class TwoNumbers(nn.Module):
    """States are a·(what was read) + b·(the source); the output matrix is fixed."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(1)
        self.table = torch.randn(VOCAB, WIDTH, generator=random, dtype=torch.float64)
        self.output_weight = torch.randn(VOCAB, WIDTH, generator=random, dtype=torch.float64)
        self.numbers = nn.Parameter(torch.tensor([0.7, -0.4], dtype=torch.float64))
        self.config = SimpleNamespace(width=WIDTH)

    def encode(self, src_BS: Tensor, src_mask_BS: Tensor) -> Tensor:
        return self.table[src_BS] * src_mask_BS[:, :, None]

    def decode(
        self, inputs_BT: Tensor, memory_BSD: Tensor, src_mask_BS: Tensor, *, taps: None = None
    ) -> Tensor:
        source = memory_BSD.sum(1) / src_mask_BS.sum(1, keepdim=True)
        return self.numbers[0] * self.table[inputs_BT] + self.numbers[1] * source[:, None]

    def logits(self, batch, view):
        memory = self.encode(batch.src_BS, batch.src_mask_BS)
        target = batch.targets[view]
        states = self.decode(target.inputs_BT, memory, batch.src_mask_BS)
        return states.flatten(0, 1)[target.positions_N] @ self.output_weight.T


class Said:
    """A teacher's distributions at stored positions."""

    def __init__(self, ids: Sequences) -> None:
        self.ids = ids
        random = torch.Generator().manual_seed(2)
        self.logits = 2 * torch.randn(len(ids.values), VOCAB, generator=random, dtype=torch.float64)

    def targets(self, rows, *, temperature):
        logits = self.logits[self.ids.places(rows)]
        eye = torch.eye(VOCAB, dtype=torch.float64)
        return DenseTargets((Member(logits, eye),), temperature)


def sequences(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 5, PAIRS)
    return Sequences.from_lists([[*rng.integers(4, VOCAB, n), EOS] for n in lengths])


def toy(layout, gate):
    """Student, method, training data and dev data."""
    stabiliser = {"kind": "bilevel", "every": 1, "dev_tokens": 1000, "epsilon": 1e-4}
    raw = {
        "kind": "hybrid",
        "layout": layout,
        "temperature": TEMPERATURE,
        "gate": {"kind": gate, "initial": 0.3, "stabiliser": stabiliser},
    }
    student = TwoNumbers()
    torch.manual_seed(4)
    method = Hybrid(HybridConfig.model_validate(raw), student).double()
    for parameter in method.gate.parameters():
        nn.init.normal_(parameter)
    views = {View.REFERENCE: sequences(1), View.HYPOTHESIS: sequences(2)}
    read = method.needs.views[0]
    train = TrainingData(
        ROWS, sequences(3), {v: views[v] for v in method.needs.views}, {read: Said(views[read])}, {}
    )
    dev = TrainingData(ROWS, sequences(4), {View.REFERENCE: sequences(5)}, {}, {})
    return SimpleNamespace(student=student, method=method, train=train, dev=dev)


def losses(t, batch, numbers):
    """Both losses at their positions, written out, for any two numbers."""
    kept = t.student.numbers
    del t.student.numbers
    t.student.numbers = numbers
    try:
        view = t.method.needs.views[0]
        logq = (t.student.logits(batch, view) / TEMPERATURE).log_softmax(1)
        p = (batch.targets[view].teacher.logits() / TEMPERATURE).softmax(1)
        token = TEMPERATURE**2 * (torch.xlogy(p, p) - p * logq).sum(1)
        logq = t.student.logits(batch, View.HYPOTHESIS).log_softmax(1)
        sentence = -logq.gather(1, batch.targets[View.HYPOTHESIS].labels_N[:, None]).squeeze(1)
    finally:
        del t.student.numbers
        t.student.numbers = nn.Parameter(kept.detach())
    return token, sentence


def true_derivative(t, batch, dev_batch):
    """d/dφ of L_dev(θ − η·∇L_train(θ, g_φ)), φ the gate's parameters, and the new θ."""
    view = t.method.needs.views[0]
    memory = t.student.encode(batch.src_BS, batch.src_mask_BS)
    scene = SimpleNamespace(
        memory_BSD=memory, src_mask_BS=batch.src_mask_BS, sentences=len(batch.src_BS), clock=None
    )
    gate_B = t.method.gate(scene)
    numbers = t.student.numbers.detach().requires_grad_()
    token, sentence = losses(t, batch, numbers)
    g_token, g_sentence = (gate_B[batch.targets[v].sentence_N] for v in (view, View.HYPOTHESIS))
    loss = (g_token * token).mean() + ((1 - g_sentence) * sentence).mean()
    (pull,) = torch.autograd.grad(loss, numbers, create_graph=True)
    after = numbers - RATE * pull
    kept = t.student.numbers.detach()
    del t.student.numbers
    t.student.numbers = after
    logq = t.student.logits(dev_batch, View.REFERENCE).log_softmax(1)
    dev_loss = -logq.gather(1, dev_batch.targets[View.REFERENCE].labels_N[:, None]).mean()
    del t.student.numbers
    t.student.numbers = nn.Parameter(kept)
    found = torch.autograd.grad(dev_loss, list(t.method.gate.parameters()))
    return found, after.detach()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["two_pass", "one_pass"])
@pytest.mark.parametrize("kind", ["scalar", "sentence"])
def test_the_step_goes_where_the_dev_loss_falls(layout, kind) -> None:
    """The gradient is the true one over −η·(−1/η): the update's length is the factor left out."""
    t = toy(layout, kind)
    cpu = torch.device("cpu")
    batch = t.train.with_teacher(t.train.batch(ROWS, device=cpu), ROWS, t.method.needs)
    dev_batch = t.dev.batch(ROWS, device=cpu)
    true, after = true_derivative(t, batch, dev_batch)
    with torch.no_grad():
        t.student.numbers.copy_(after)
    gate = list(t.method.gate.parameters())
    before = [parameter.detach().clone() for parameter in gate]
    optimizer = torch.optim.SGD([*t.student.parameters(), *gate], lr=1.0)
    step = DevUpdater(t.student, t.method.dev_step(), optimizer, t.dev, seed=1, worker=Worker())
    assert len(step.batches) == 1, "dev is one batch, the one that the derivative was taken on"
    step.take(1, [batch], t.train.counts(ROWS), learns=True)
    for parameter, start, wanted in zip(gate, before, true, strict=True):
        gradient = start - parameter.detach()
        assert wanted.abs().max() > 1e-8
        torch.testing.assert_close(gradient, wanted / RATE, rtol=0.02, atol=1e-6)
    assert torch.equal(t.student.numbers, after), "the student is not moved, not by one bit"


def test_a_gate_step_moves_the_gate_and_nothing_else() -> None:
    objective = new_objective("bilevel")
    student, method = objective.student, objective.method
    data = training_data(method)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=0.1, weight_decay=0.5)
    rows = np.arange(8)
    batch = data.with_teacher(data.batch(rows, device=torch.device("cpu")), rows, method.needs)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    step = DevUpdater(student, method.dev_step(), optimizer, dev_data(), seed=1, worker=Worker())
    torch.manual_seed(1)
    step.take(5, [batch], data.counts(rows), learns=True)
    moved = {
        name
        for name, value in objective.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {f"method.gate.{name}" for name, _ in method.gate.named_parameters()}
    assert student.training
    assert method.gate.training
    assert all(parameter.grad is None for parameter in objective.parameters())


def test_a_worker_that_learns_nothing_adds_nothing() -> None:
    objective = new_objective("bilevel")
    data, rows = training_data(objective.method), np.arange(4)
    batch = data.batch(rows, device=torch.device("cpu"))
    batch = data.with_teacher(batch, rows, objective.method.needs)
    optimizer = torch.optim.SGD(objective.parameters(), lr=1.0)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    step = DevUpdater(
        objective.student, objective.method.dev_step(), optimizer, dev_data(), seed=1,
        worker=Worker(),
    )  # fmt: skip
    step.take(5, [batch], data.counts(rows), learns=False)
    assert all(torch.equal(v, before[n]) for n, v in objective.state_dict().items())


@pytest.mark.slow
def test_dev_batches_are_drawn_anew_and_by_the_seed() -> None:
    objective = new_objective("bilevel", dropout=0.0)

    def gradient(seed, number):
        step = DevUpdater(
            objective.student,
            objective.method.dev_step(),
            torch.optim.SGD(objective.parameters(), lr=1.0),
            dev_data(),
            seed=seed,
            worker=Worker(),
        )
        return step._dev_gradient(number)[0]

    assert torch.equal(gradient(1, 5), gradient(1, 5))
    assert len({float(gradient(1, number).sum()) for number in range(1, 9)}) > 1


def test_only_a_hybrid_with_that_stabiliser_learns_from_dev() -> None:
    assert [name for name in ("cross_entropy", "prior", "centred", "bilevel")
            if new_objective(name).method.dev_step()] == ["bilevel"]  # fmt: skip
