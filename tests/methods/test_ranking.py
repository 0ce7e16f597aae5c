"""The ranking loss of top-1 information enhanced distillation, and what is read in a next pass."""

import torch
from toy_distillation import Trial

from kdray.methods.tie import rank, shifted
from kdray.schema import View
from kdray.text.tokenizer import BOS


def loss(p, q, *, k):
    return float(rank(*(torch.tensor([row], dtype=torch.float64) for row in (p, q)), k=k).value)


def test_it_is_the_formula_by_hand():
    """Teacher's two are tokens 0 and 1, the student's are 2 and 1.

    Σ_i: q_1 − q_0 = 0.2. Σ_ij: i=0, j=token 2: 0.5 − 0.1; i=0, j=token 1: 0.3 − 0.1; i=1,
    j=token 2: 0.5 − 0.3; i=1, j=token 1: the same token.
    """
    found = loss([0.6, 0.3, 0.1], [0.1, 0.3, 0.5], k=2)
    assert abs(found - (0.2 + 0.4 + 0.2 + 0.2)) < 1e-12


def test_a_student_that_ranks_as_the_teacher_does_has_no_loss():
    assert loss([0.6, 0.3, 0.1], [0.4, 0.35, 0.25], k=3) == 0


def test_a_teacher_without_preference_only_asks_for_its_first():
    """No p_i is greater than any other, so that pairs do not count."""
    p, q = [0.25] * 4, [0.1, 0.2, 0.3, 0.4]
    (first,) = torch.tensor([p]).topk(1).indices[0].tolist()
    theirs = torch.tensor([p]).topk(2).indices[0].tolist()
    assert abs(loss(p, q, k=2) - sum(max(0, q[i] - q[first]) for i in theirs)) < 1e-7


def test_more_ranks_than_tokens_are_all_tokens():
    p, q = [0.6, 0.3, 0.1], [0.1, 0.3, 0.5]
    assert loss(p, q, k=9) == loss(p, q, k=3)


def test_the_next_pass_reads_the_answers_one_place_later():
    trial = Trial.of({"kind": "tie", "signal": "online"})
    target = trial.batch().targets[View.REFERENCE]
    again = shifted(target.labels_N, target)
    assert torch.equal(again[:, 0], torch.full((6,), BOS))
    assert torch.equal(again, target.inputs_BT), "of the references these are the inputs"
