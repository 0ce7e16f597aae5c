"""What tests of checkpoints share."""

from pathlib import Path

import pytest
from checkpoint_examples import new_pair, update, values
from torch import Tensor

from kdray.fit.checkpoint import Checkpoints, Progress


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Checkpoints, dict[int, dict[str, Tensor]]]:
    """Checkpoints of updates 1 to 3, and what the module held at each."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=3)
    module, optimizer = new_pair(1)
    held = {}
    for number in (1, 2, 3):
        update(module, optimizer, number)
        checkpoints.save(module, optimizer, Progress(number, 10 * number, 0.5 * number))
        held[number] = values(module)
    checkpoints.wait()
    return checkpoints, held
