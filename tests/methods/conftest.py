"""The parameter that a law over all methods takes, and the task that it is tested on."""

from collections.abc import Mapping

import pytest
from toy_distillation import ALL_METHODS, Task


@pytest.fixture(params=ALL_METHODS.values(), ids=ALL_METHODS.keys())
def raw_method(request: pytest.FixtureRequest) -> Mapping[str, object]:
    return request.param


@pytest.fixture(scope="session")
def task() -> Task:
    return Task.random()
