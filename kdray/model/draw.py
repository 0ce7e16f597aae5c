"""Translations that are drawn from a model's distribution, each with random numbers of its own.

So a sentence gets the same translation whatever is drawn with it, and with any number of threads.
`sample` is the faster way of a training, where torch's one generator serves a whole batch.

Shapes: B sentences, T target positions, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from kdray.model.generate import (
    Hypothesis,
    Members,
    Sampling,
    SearchOptions,
    batches_by_length,
    repeats,
)
from kdray.model.transformer import Transformer
from kdray.text.tokenizer import EOS


@torch.inference_mode()
def draw(
    models: Sequence[Transformer],
    src: Sequence[Sequence[int]],
    *,
    seeds: Sequence[int],
    options: SearchOptions,
    prefix: Sequence[int] = (),
    batch_size: int | None = None,
) -> list[Hypothesis]:
    """One translation of each source, drawn with the seed that stands beside it.

    As in `generate`, the probabilities of several models are averaged, a translation does not begin
    with `</s>`, its length is limited, no n-gram is repeated if `options` forbid it, and each
    begins with the tokens of the prefix, which are no part of the score. Scores are of the whole
    distribution at temperature 1. One thread computes all of it: sums of several threads may differ
    in their last digits, and then a draw could too.
    """
    drawn: dict[int, Hypothesis] = {}
    with _one_thread():
        for rows in batches_by_length(src, batch_size=batch_size):
            batch = [src[i] for i in rows], [seeds[i] for i in rows]
            drawn |= zip(rows, _draw(models, *batch, options, prefix), strict=True)
    return [drawn[row] for row in range(len(src))]


def _draw(
    models: Sequence[Transformer],
    src: Sequence[Sequence[int]],
    seeds: Sequence[int],
    options: SearchOptions,
    prefix: Sequence[int],
) -> list[Hypothesis]:
    """Tokens by the inverse of the distribution function, in float64."""
    assert options.sampling is not None, "the caller asks for a draw"
    members = Members(models, src, 1, torch.zeros(len(src), len(models)))
    positions, n = min(model.config.max_length for model in models), options.no_repeat_ngram
    limits = [options.max_length(len(ids), positions=positions, given=len(prefix)) for ids in src]
    numbers = np.stack([np.random.default_rng(seed).random(max(limits)) for seed in seeds])
    numbers_BT = torch.from_numpy(numbers).to(members.device)
    tokens = members.first_tokens()
    ids: list[list[int]] = [[] for _ in src]
    scores = [0.0] * len(src)
    alive = set(range(len(src)))
    for step in range(max(limits)):
        banned = [repeats(row, n) for row in ids] if n else []
        logp_BV = members.next_log_probs(tokens, step, banned).double()
        if step < len(prefix):
            tokens = torch.full_like(tokens, prefix[step])
        else:
            tokens = drawn_tokens(logp_BV, numbers_BT[:, step : step + 1], options.sampling)
        gained = logp_BV.gather(1, tokens)[:, 0].tolist()
        for row, token in enumerate(tokens[:, 0].tolist()):
            if row in alive:
                ids[row].append(token)
                scores[row] += gained[row] if step >= len(prefix) else 0.0
                if step >= len(prefix) and (token == EOS or len(ids[row]) == limits[row]):
                    alive.remove(row)
        if not alive:
            break
    return [
        Hypothesis(row, score, finished=row[-1] == EOS)
        for row, score in zip(ids, scores, strict=True)
    ]


def drawn_tokens(logp_BV: Tensor, numbers_B1: Tensor, sampling: Sampling) -> Tensor:
    """A token of each distribution, by a number in [0, 1) for each. -> [B, 1].

    First the temperature, then the `top_k` likeliest are kept, then of these the likeliest whose
    mass reaches `top_p` (Holtzman et al. 2020); equal ones in the order of their ids.
    """
    p_BV = (logp_BV / sampling.temperature).softmax(1)
    if sampling.top_k is not None or sampling.top_p < 1:
        sorted_BV, order_BV = p_BV.sort(dim=1, descending=True, stable=True)
        if sampling.top_k is not None:
            sorted_BV[:, sampling.top_k :] = 0
        sorted_BV /= sorted_BV.sum(1, keepdim=True)
        before_BV = sorted_BV.cumsum(1) - sorted_BV
        sorted_BV[before_BV >= sampling.top_p] = 0
        p_BV = torch.zeros_like(p_BV).scatter(1, order_BV, sorted_BV)
    up_to_BV = p_BV.cumsum(1)
    whole_B1 = up_to_BV[:, -1:]
    below_B1 = torch.nextafter(whole_B1, torch.zeros_like(whole_B1))  # a product may round up
    places_B1 = torch.minimum(numbers_B1 * whole_B1, below_B1)
    return torch.searchsorted(up_to_BV, places_B1, right=True).clamp_(max=logp_BV.size(1) - 1)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
