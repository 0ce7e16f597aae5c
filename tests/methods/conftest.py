"""The parameter that a law over all methods takes, and blocks and pieces so small that there are
several."""

from collections.abc import Iterator

import pytest
from autograd_method import BY_AUTOGRAD, build_by_autograd
from method_examples import ALL_METHODS, TYPICAL
from toy_distillation import Trial
from toy_teacher import VOCAB

from kdray.methods import targets


@pytest.fixture(scope="session", autouse=True)
def several_blocks() -> Iterator[None]:
    """16 positions at a time, in pieces of 5: a batch of the toy task has two blocks or more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "BLOCK_BYTES", 1)
        patch.setattr(targets, "GPU_BLOCK_BYTES", 1)
        patch.setattr(targets, "PIECE_BYTES", 5 * 4 * VOCAB)
        yield


EACH_METHOD = [
    pytest.param(name, marks=() if name in TYPICAL else pytest.mark.slow) for name in ALL_METHODS
]


BUILT = {f"autograd {name}": name for name in BY_AUTOGRAD}


@pytest.fixture(params=[*EACH_METHOD, *BUILT], scope="module")
def trial(request: pytest.FixtureRequest) -> Trial:
    """Each method in turn; `make check` takes the typical ones. Laws leave it as it is."""
    if request.param in BUILT:
        return Trial.of(ALL_METHODS[BUILT[request.param]], build=build_by_autograd)
    return Trial.of(ALL_METHODS[request.param])
