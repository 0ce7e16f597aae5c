"""The written-out softmax of short rows is the plain one, in value and gradient."""

import pytest
import torch

from kdray.model import softmax as module
from kdray.model.softmax import softmax


@pytest.fixture(autouse=True)
def wide_vectors(monkeypatch):
    """Vectors as in AVX512: rows of up to 15 float32 or 7 float64 numbers count as short."""
    monkeypatch.setattr(module, "VECTOR_BYTES", 64)


def both(scores, grad):
    """Values, gradients and gradients of gradients: ours, then torch's."""
    results = []
    for form in (softmax, lambda s: s.softmax(-1)):
        leaf = scores.clone().requires_grad_()
        value = form(leaf)
        (first,) = torch.autograd.grad((value * grad).sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), leaf)
        results.append((value.detach(), first.detach(), second))
    return results


@pytest.mark.parametrize("length", [1, 2, 7, 15, 16, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_equals_the_plain_form(length, dtype):
    torch.manual_seed(length)
    scores, grad = torch.randn(2, 3, 2, 5, length, dtype=dtype).mul(3).unbind()
    ours, plain = both(scores, grad)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("length", [3, 15])
def test_masks_and_extremes_are_those_of_the_plain_form(length):
    least = torch.finfo(torch.float32).min
    torch.manual_seed(length)
    rows = torch.randn(4, length)
    rows[0, 1:] = least  # one entry is left
    rows[1] = least  # none is
    rows[2] *= 1e4
    rows[3] = -1e4
    ours, plain = both(rows, torch.randn_like(rows))
    for one, other in zip(ours, plain, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_only_rows_shorter_than_a_vector_are_written_out(monkeypatch):
    called = []
    plain = module._Softmax.apply
    monkeypatch.setattr(module._Softmax, "apply", lambda s: called.append(s.size(-1)) or plain(s))
    for dtype in (torch.float32, torch.float64):
        for length in (7, 8, 15, 16):
            softmax(torch.randn(2, length, dtype=dtype))
    assert called == [7, 8, 15, 7]
