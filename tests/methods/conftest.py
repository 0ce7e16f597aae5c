"""The parameter that a law over all methods takes, and blocks so small that there are several."""

from collections.abc import Iterator

import pytest
from toy_distillation import ALL_METHODS, Trial

from kdray.methods import targets


@pytest.fixture(scope="session", autouse=True)
def several_blocks() -> Iterator[None]:
    """16 positions at a time: a batch of the toy task has two blocks or more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "BLOCK_BYTES", 1)
        yield


@pytest.fixture(params=ALL_METHODS, scope="module")
def trial(request: pytest.FixtureRequest) -> Trial:
    """Each method in turn. Laws leave it as it is."""
    return Trial.of(ALL_METHODS[request.param])
