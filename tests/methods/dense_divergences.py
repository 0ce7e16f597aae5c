"""Divergences of whole distributions, as the papers write them; autograd differentiates them.

p is the teacher, q the student, N target positions.
"""

import torch
from torch import Tensor


def kl(a: Tensor, b: Tensor, dim: int = 1) -> Tensor:
    """Σ a log(a/b), 0 log 0 = 0. -> [N]."""
    return (torch.xlogy(a, a) - a * b.clamp_min(1e-300).log()).sum(dim)


def divergence(name: str, p: Tensor, q: Tensor, *, beta=0.5, skew=0.1, head=0.5) -> Tensor:
    """Of probabilities. -> [N]."""
    match name:
        case "forward":
            return kl(p, q)
        case "reverse":
            return kl(q, p)
        case "jensen_shannon":
            m = beta * p + (1 - beta) * q
            return beta * kl(p, m) + (1 - beta) * kl(q, m)
        case "total_variation":
            return 0.5 * (p - q).abs().sum(1)
        case "skew":
            return kl(p, skew * p + (1 - skew) * q)
        case "skew_reverse":
            return kl(q, (1 - skew) * p + skew * q)
        case "adaptive":
            weight = p.new_tensor([head_share(a, b, head) for a, b in zip(p, q, strict=True)])
            return weight * kl(p, q) + (1 - weight) * kl(q, p)
    raise ValueError(name)


def head_share(p_V: Tensor, q_V: Tensor, head: float) -> float:
    """Share of Σ |p − q| in the teacher's likeliest entries, which make up `head`."""
    mass, in_head = 0.0, []
    for token in sorted(range(len(p_V)), key=lambda v: -p_V[v].item()):
        if in_head and mass >= head:
            break
        in_head.append(token)
        mass += p_V[token].item()
    gaps = (p_V - q_V).abs().tolist()
    return sum(gaps[v] for v in in_head) / sum(gaps)
