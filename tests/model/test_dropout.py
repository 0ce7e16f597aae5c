"""Dropout keeps the mean, drops at its rate, and torch's seed alone decides the mask."""

import pytest
import torch

from kdray.model.dropout import Dropout

COUNT = 200_000


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3, 0.5, 0.9])
def test_rate_and_mean(p):
    torch.manual_seed(1)
    out = Dropout(p)(torch.ones(COUNT))
    rate = round(p * 256) / 256
    tolerance = 5 * (rate * (1 - rate) / COUNT) ** 0.5
    assert (out == 0).double().mean().item() == pytest.approx(rate, abs=tolerance)
    assert out.mean().item() == pytest.approx(1, abs=tolerance / (1 - rate))
    assert torch.allclose(out[out != 0], torch.tensor(1 / (1 - rate)))


def test_positions_are_dropped_independently():
    torch.manual_seed(1)
    out = Dropout(0.5)(torch.ones(COUNT // 8, 8)) == 0
    together = (out[:, :, None] & out[:, None, :]).double().mean(0)
    expected = torch.full((8, 8), 0.25, dtype=torch.float64).fill_diagonal_(0.5)
    torch.testing.assert_close(together, expected, rtol=0, atol=0.02)


def test_the_seed_alone_decides_the_mask():
    x, dropout = torch.ones(999), Dropout(0.3)
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append((dropout(x), dropout(x)))
    assert torch.equal(masks[0][0], masks[1][0])
    assert torch.equal(masks[0][1], masks[1][1])
    assert not torch.equal(masks[0][0], masks[0][1])
    assert not torch.equal(masks[0][0], masks[2][0])


def test_gradient_has_the_mask_of_the_value():
    x = torch.full((3, 5, 7), 2.0, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, out.detach() / 2)


def test_evaluation_and_zero_change_nothing_and_draw_nothing():
    x = torch.randn(5)
    state = torch.get_rng_state()
    assert Dropout(0.3).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("p", [0.998, 0.9999])
def test_rates_near_one_keep_something(p):
    torch.manual_seed(1)
    out = Dropout(p)(torch.ones(COUNT))
    assert out.isfinite().all()
    assert out.max() == 256


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3, 5)])
def test_type_and_shape_stay(dtype, shape):
    out = Dropout(0.1)(torch.ones(shape, dtype=dtype))
    assert (out.dtype, out.shape) == (dtype, shape)
