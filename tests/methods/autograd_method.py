"""Token-level distillation as an author from outside would write it: a loss, and no slope."""

import torch
from torch.nn import functional as F

from kdray.methods.divergence import TokenLevel
from kdray.methods.logit_method import LogitMethod
from kdray.methods.targets import SoftTargets

BY_AUTOGRAD = [
    f"{name}-{form}" for name in ("token_level", "token_level_warm") for form in ("topk", "hidden")
]
"""Of the methods in ALL_METHODS those that are built in this form too."""


def forward_kl(student, teacher):
    """KL(p ‖ q) of logits, or over the kept entries and one for all others. -> [n]."""
    if not isinstance(teacher, SoftTargets):
        p, q = (logits.log_softmax(1) for logits in (teacher, student))
        return F.kl_div(q, p, reduction="none", log_target=True).sum(1)
    q = student.softmax(1)
    others = q.scatter(1, teacher.ids_NK, 0.0).sum(1, keepdim=True)
    q = torch.cat((q.gather(1, teacher.ids_NK), others), dim=1)
    p = torch.cat((teacher.logp_NK, teacher.log_tail_N[:, None]), dim=1).exp()
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(1)


class ByAutograd(TokenLevel):
    """The same weights and the same views."""

    soft = LogitMethod.soft

    def loss(self, student, teacher):
        return forward_kl(student, teacher)


def build_by_autograd(config, *, student, teacher=None):
    return ByAutograd(config, student, teacher)
