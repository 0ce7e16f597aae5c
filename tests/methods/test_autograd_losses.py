"""A loss that only says its value has the gradient of one whose slope was derived by hand.

That it has that of its formula, with weights and labels, is in test_soft_losses.py; the laws of all
methods hold for a method in this form too.
"""

import pytest
import torch
from autograd_method import forward_kl
from toy_teacher import soft_targets

from kdray.methods.kernel import token_losses
from kdray.methods.kernel_losses import AutogradLoss, soft_loss
from kdray.methods.targets import DenseTargets, Member

N, V, D, K = 40, 9, 5, 4  # three blocks, in pieces


def normal(*shape, seed, dtype):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)


def targets(form, temperature, dtype):
    whole = DenseTargets((Member(*(normal(n, 3, seed=n, dtype=dtype) for n in (N, V))),),
                         temperature)  # fmt: skip
    return whole if form == "whole" else soft_targets(whole.logits(), k=K, temperature=temperature)


def everything(soft, *, labels, smoothing, dtype):
    """Losses and gradients of states, matrix and weights."""
    leaves = [normal(N, D, seed=3, dtype=dtype), normal(V, D, seed=4, dtype=dtype),
              *normal(2, N, seed=5, dtype=dtype).abs()]  # fmt: skip
    hidden, weight, hard_weight, soft_weight = (leaf.requires_grad_() for leaf in leaves)
    losses = token_losses(
        hidden, weight, labels_N=labels, hard_weight_N=hard_weight, label_smoothing=smoothing,
        soft=soft, soft_weight_N=soft_weight,
    )  # fmt: skip
    assert not losses.soft_N.requires_grad
    losses.total.backward()
    gradients = [leaf.grad for leaf in (hidden, weight, soft_weight)]
    return [losses.soft_N, losses.hard_N, losses.total.detach(), *gradients]


@pytest.mark.slow
@pytest.mark.parametrize("labels", [None, torch.arange(N) % V], ids=["alone", "labelled"])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("form", ["whole", "some"])
@pytest.mark.parametrize(
    ("dtype", "bfloat16", "tolerance"),
    [
        (torch.float64, False, {"rtol": 1e-8, "atol": 1e-10}),
        (torch.float32, False, {"rtol": 1e-4, "atol": 1e-5}),
        (torch.float32, True, {"rtol": 2e-2, "atol": 2e-2}),  # products of slopes are rounded
    ],
    ids=["double", "single", "bfloat16"],
)
def test_forward_kl_is_that_of_the_derived_slope(
    form, temperature, labels, dtype, bfloat16, tolerance
):
    given = targets(form, temperature, dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        ours, theirs = (
            everything(soft, labels=labels, smoothing=0.1, dtype=dtype)
            for soft in (AutogradLoss(given, forward_kl), soft_loss(given))
        )
    torch.testing.assert_close(ours, theirs, **tolerance)
    assert all(value.abs().max() > 1e-2 for value in (ours[0], *ours[2:]))


def test_a_loss_is_given_a_few_rows_and_no_rounded_product():
    """Logits of pieces, float32 with bfloat16 outside; what it multiplies is not rounded."""
    seen = []

    def loss(student, teacher):
        product = student @ student.new_ones(V, 1)
        seen.append((len(student), student.dtype, teacher.dtype, product.dtype))
        return (student - teacher).square().sum(1)

    given = targets("whole", 1.0, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        everything(AutogradLoss(given, loss), labels=None, smoothing=0.0, dtype=torch.float32)
    assert {dtype for _, *dtypes in seen for dtype in dtypes} == {torch.float32}
    assert sum(rows for rows, *_ in seen) == N
    assert max(rows for rows, *_ in seen) < 16, "the rows of a block"


def test_a_loss_that_is_a_sum_already_is_refused():
    given = targets("whole", 1.0, torch.float64)
    loss = AutogradLoss(given, lambda student, teacher: (student - teacher).square().mean())
    with pytest.raises(ValueError, match=r"losses of shape \(\) for logits of shape \(\d, 9\)"):
        everything(loss, labels=None, smoothing=0.0, dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (lambda student, teacher: None, "NoneType"),
        (lambda student, teacher: student.argmax(1), r"torch\.int64"),
        (lambda student, teacher: student.detach().sum(1), r"torch\.float64"),
    ],
)
def test_a_loss_without_a_gradient_is_refused_by_its_name(loss, told):
    given = AutogradLoss(targets("whole", 1.0, torch.float64), loss)
    with pytest.raises(ValueError, match=rf"<lambda>.* gave losses \({told}\) that have no grad"):
        everything(given, labels=None, smoothing=0.0, dtype=torch.float64)
