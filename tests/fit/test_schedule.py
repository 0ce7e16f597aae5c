"""Laws of the learning rate."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.config.training import (
    ConstantCooldownConfig,
    CosineConfig,
    InverseSqrtConfig,
    ScheduleConfig,
)
from kdray.fit.schedule import default_peak, learning_rate

peaks = st.floats(1e-6, 1.0)
shares = st.floats(0.0, 1.0)


@st.composite
def runs(draw: st.DrawFn) -> tuple[ScheduleConfig, int]:
    """A schedule and the updates of a run that it fits."""
    updates = draw(st.integers(2, 400))
    peak, warmup = draw(peaks), draw(st.integers(1, updates - 1))
    configs = (
        InverseSqrtConfig(kind="inverse_sqrt", peak=peak, warmup=warmup),
        CosineConfig(kind="cosine", peak=peak, warmup=warmup, floor=draw(shares)),
        ConstantCooldownConfig(
            kind="constant_cooldown",
            peak=peak,
            warmup=warmup,
            cooldown=draw(st.floats(0.01, 1.0)),
            shape=draw(st.sampled_from(["linear", "one_minus_sqrt"])),
        ),
    )
    return draw(st.sampled_from(configs)), updates


def rates(config: ScheduleConfig, updates: int) -> list[float]:
    return [
        learning_rate(config, step=step, updates=updates, width=64)
        for step in range(1, updates + 1)
    ]


@pytest.mark.slow
@given(runs())
def test_it_is_between_zero_and_the_peak(run) -> None:
    config, updates = run
    assert all(0 <= rate <= config.peak * (1 + 1e-12) for rate in rates(config, updates))


@pytest.mark.slow
@given(runs())
def test_the_warm_up_is_a_straight_line_to_the_peak(run) -> None:
    config, updates = run
    warm = rates(config, updates)[: config.warmup]
    steps = range(1, config.warmup + 1)
    assert warm == pytest.approx([config.peak * step / config.warmup for step in steps])
    assert warm[-1] == pytest.approx(config.peak)


@given(runs())
def test_after_the_warm_up_it_never_rises(run) -> None:
    config, updates = run
    cooling = rates(config, updates)[config.warmup - 1 :]
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(cooling))


@given(runs())
def test_it_goes_on_from_the_peak_without_a_jump(run) -> None:
    config, updates = run
    after = learning_rate(config, step=config.warmup + 1, updates=updates, width=64)
    match config:
        case InverseSqrtConfig():
            fall = 1 / (2 * config.warmup)
        case CosineConfig():
            fall = math.pi / 2 / (updates - config.warmup)
        case ConstantCooldownConfig():
            start = max(config.warmup, updates - round(config.cooldown * updates))
            fall = 0.0 if config.warmup < start else (updates - start) ** -0.5
    assert config.peak - after <= config.peak * fall + 1e-12


@given(runs())
def test_inverse_sqrt_falls_as_its_name_says(run) -> None:
    config, updates = run
    inverse = InverseSqrtConfig(kind="inverse_sqrt", peak=config.peak, warmup=config.warmup)
    rate = learning_rate(inverse, step=updates, updates=updates, width=64)
    assert rate**2 * updates == pytest.approx(config.peak**2 * config.warmup)


@given(peaks, shares, st.integers(1, 50), st.integers(1, 50))
def test_a_cosine_passes_the_middle_and_ends_at_its_floor(peak, floor, warmup, half) -> None:
    config = CosineConfig(kind="cosine", peak=peak, warmup=warmup, floor=floor)
    updates = warmup + 2 * half
    middle = learning_rate(config, step=warmup + half, updates=updates, width=64)
    end = learning_rate(config, step=updates, updates=updates, width=64)
    assert middle == pytest.approx(peak * (1 + floor) / 2)
    assert end == pytest.approx(peak * floor, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["linear", "one_minus_sqrt"])
@given(peak=peaks, warmup=st.integers(1, 20), updates=st.integers(100, 300))
def test_a_cooldown_holds_the_peak_and_then_reaches_zero(shape, peak, warmup, updates) -> None:
    config = ConstantCooldownConfig(
        kind="constant_cooldown", peak=peak, warmup=warmup, cooldown=0.25, shape=shape
    )
    found = rates(config, updates)
    start = updates - round(0.25 * updates)
    assert found[warmup - 1 : start] == pytest.approx([peak] * (start - warmup + 1))
    assert found[start] < peak
    assert found[-1] == 0
    middle = found[start + (updates - start) // 2]
    assert (middle > 0.4 * peak) == (shape == "linear")


@pytest.mark.parametrize("width", [32, 64, 128, 512])
def test_a_peak_that_is_not_given_follows_the_width(width: int) -> None:
    config = ConstantCooldownConfig(kind="constant_cooldown", warmup=2)
    found = [learning_rate(config, step=step, updates=100, width=width) for step in (1, 2, 50)]
    assert found == [default_peak(width) / 2, default_peak(width), default_peak(width)]
    assert default_peak(2 * width) <= default_peak(width) <= 0.005


def test_a_peak_that_is_given_is_taken_at_every_width() -> None:
    config = ConstantCooldownConfig(kind="constant_cooldown", peak=0.1, warmup=2)
    assert {learning_rate(config, step=9, updates=100, width=w) for w in (16, 512)} == {0.1}
