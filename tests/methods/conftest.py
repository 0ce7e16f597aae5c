"""The parameter that a law over all methods takes, and blocks and pieces so small that there are
several."""

from collections.abc import Iterator

import pytest
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


@pytest.fixture(params=EACH_METHOD, scope="module")
def trial(request: pytest.FixtureRequest) -> Trial:
    """Each method in turn; `make check` takes the typical ones. Laws leave it as it is."""
    return Trial.of(ALL_METHODS[request.param])
