"""Translations that are drawn from a model's distribution, each with random numbers of its own.

So a sentence gets the same translation whatever is drawn with it, and with any number of threads.
`sample` is the faster way of a training, where torch's one generator serves a whole batch.

Shapes: B sentences, T target positions, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from kdray.model.generate import Hypothesis, Members, SearchOptions
from kdray.model.transformer import Transformer
from kdray.text.tokenizer import EOS


@torch.inference_mode()
def draw(
    models: Sequence[Transformer],
    src: Sequence[Sequence[int]],
    *,
    seeds: Sequence[int],
    temperature: float,
    batch_size: int = 32,
) -> list[Hypothesis]:
    """One translation of each source, drawn with the seed that stands beside it.

    As in `generate`, the probabilities of several models are averaged, a translation does not begin
    with `</s>`, and its length is limited. Scores are at temperature 1. One thread computes all of
    it: sums of several threads may differ in their last digits, and then a draw could too.
    """
    drawn: dict[int, Hypothesis] = {}
    by_length = sorted(range(len(src)), key=lambda i: len(src[i]))
    with _one_thread():
        for start in range(0, len(src), batch_size):
            rows = by_length[start : start + batch_size]
            batch = [src[i] for i in rows], [seeds[i] for i in rows]
            drawn |= zip(rows, _draw(models, *batch, temperature), strict=True)
    return [drawn[row] for row in range(len(src))]


def _draw(
    models: Sequence[Transformer],
    src: Sequence[Sequence[int]],
    seeds: Sequence[int],
    temperature: float,
) -> list[Hypothesis]:
    """Tokens by the inverse of the distribution function, in float64."""
    members = Members(models, src, 1, torch.zeros(len(src), len(models)))
    positions = min(model.config.max_length for model in models)
    limits = [SearchOptions().max_length(len(ids), positions=positions) for ids in src]
    numbers = np.stack([np.random.default_rng(seed).random(max(limits)) for seed in seeds])
    numbers_BT = torch.from_numpy(numbers).to(members.device)
    tokens = members.first_tokens()
    ids: list[list[int]] = [[] for _ in src]
    scores = [0.0] * len(src)
    alive = set(range(len(src)))
    for step in range(max(limits)):
        logp_BV = members.next_log_probs(tokens, step).double()
        up_to_BV = (logp_BV / temperature).softmax(1).cumsum(1)
        places = numbers_BT[:, step : step + 1] * up_to_BV[:, -1:]
        tokens = torch.searchsorted(up_to_BV, places, right=True).clamp_(max=logp_BV.size(1) - 1)
        gained = logp_BV.gather(1, tokens)[:, 0].tolist()
        for row, token in enumerate(tokens[:, 0].tolist()):
            if row in alive:
                ids[row].append(token)
                scores[row] += gained[row]
                if token == EOS or len(ids[row]) == limits[row]:
                    alive.remove(row)
        if not alive:
            break
    return [
        Hypothesis(row, score, finished=row[-1] == EOS)
        for row, score in zip(ids, scores, strict=True)
    ]


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
