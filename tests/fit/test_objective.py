"""With which weights each precision computes, and which it learns."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nano_training import new_objective, training_data

from kdray.fit.update import Updater
from kdray.fit.worker import Worker
from kdray.methods.base import Loss, Per

ROWS = np.arange(8)


@pytest.mark.parametrize("precision", ["bf16_autocast", "bf16_master"])
def test_products_are_in_bfloat16_where_a_device_would_take_another_by_itself(precision) -> None:
    """As a GPU does, which takes float16."""
    objective, before = new_objective("cross_entropy"), torch.get_autocast_dtype("cpu")
    objective.precision = precision
    torch.set_autocast_dtype("cpu", torch.float16)
    try:
        with objective.products():
            assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    finally:
        torch.set_autocast_dtype("cpu", before)


@pytest.mark.parametrize("method", ["cross_entropy", "prior"])
@pytest.mark.parametrize(
    ("precision", "states"),
    [("fp32", torch.float32), ("bf16_autocast", torch.float32), ("bf16_master", torch.bfloat16)],
)
def test_bf16_master_alone_computes_with_copies_of_the_weights(method, precision, states) -> None:
    objective = new_objective(method)
    objective.precision = precision
    student, data = objective.student, training_data(objective.method)
    with torch.no_grad(), objective.products():
        batch = data.learned(ROWS, objective.method, student, device=torch.device("cpu"))
    masters = dict(student.named_parameters())
    seen = set()
    for layer in (student.encoder[0], student.decoder[0]):
        layer.register_forward_pre_hook(lambda _, given: seen.add(given[0].dtype))
    value, _ = objective(batch, data.counts(ROWS))
    assert seen == {states}
    assert all(weight is masters[name] for name, weight in student.named_parameters())
    value.backward()
    assert {weight.grad.dtype for weight in masters.values()} == {torch.float32}


def test_no_part_of_a_loss_stands_in_for_the_objective():
    """Whatever a method calls its parts."""
    sums = {
        "loss": (torch.tensor(2.0), Per.REFERENCE),
        "loss/own": (torch.tensor(4.0), Per.REFERENCE),
    }
    loss = Loss({Per.REFERENCE: torch.tensor(8.0)}, sums)
    averages = Updater._averages(SimpleNamespace(worker=Worker()), loss, {Per.REFERENCE: 2})
    assert averages == {"loss": 4.0, "loss/own": 2.0}
