"""Greedy and beam search with a key-value cache, in plain PyTorch.

This is the reference that the exported model is tested against, and the way to translate on a
GPU. It follows CTranslate2: the first token is never `</s>`, hypotheses are ranked by
Σ log p / length^penalty with `</s>` counted, and a search ends when as many hypotheses as the beam
is wide have ended; without a length penalty, when as many as are wanted have, one of them ahead of
all others at its time. B sentences, K beams.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kdray.model.transformer import LayerCache, Transformer
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import BOS, EOS, PAD, UNK


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One translation. ids end with `</s>` if it is finished; score is Σ log p, not normalised."""

    ids: list[int]
    score: float
    finished: bool


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How translations are searched.

    A hypothesis has at most max_length_ratio·(source tokens) + max_length_slack tokens.
    """

    beam: int = 1
    num_hyps: int = 1
    length_penalty: float = 1.0
    max_length_ratio: float = 2.0
    max_length_slack: int = 10

    def max_length(self, src_tokens: int, *, positions: int) -> int:
        """Most tokens of a hypothesis, `</s>` included; never more than the model's positions."""
        return min(int(self.max_length_ratio * src_tokens) + self.max_length_slack, positions)


@torch.inference_mode()
def generate(
    model: Transformer,
    src: Sequence[Sequence[int]],
    options: SearchOptions,
    *,
    batch_size: int = 32,
) -> list[list[Hypothesis]]:
    """The best `num_hyps` translations of each source, best first."""
    results: list[list[Hypothesis]] = [[] for _ in src]
    by_length = sorted(range(len(src)), key=lambda i: len(src[i]))
    for start in range(0, len(src), batch_size):
        rows = by_length[start : start + batch_size]
        found = _search(model, [src[i] for i in rows], options)
        for row, hyps in zip(rows, found, strict=True):
            results[row] = hyps
    return results


@dataclass(slots=True)
class _Sentence:
    """The search of one sentence."""

    limit: int
    options: SearchOptions
    ended: list[Hypothesis] = field(default_factory=list)
    leader_ended: bool = False  # a hypothesis has ended ahead of all others
    done: bool = False

    def step(
        self, candidates: list[tuple[float, int, int]], prefixes: list[list[int]]
    ) -> list[tuple[float, int, int]]:
        """Take the 2K best (score, beam, token), best first; -> the K that go on."""
        beam_size = self.options.beam
        if self.done:  # others of its batch are still searched
            return candidates[:beam_size]
        going = [c for c in candidates if c[2] != EOS]
        spare = iter([c for c in candidates[beam_size:] if c[2] != EOS])
        alive: list[tuple[float, int, int]] = []
        for rank, (score, beam, token) in enumerate(candidates[:beam_size]):
            ids = [*prefixes[beam], token]
            if token == EOS or len(ids) == self.limit:
                self.ended.append(Hypothesis(ids, score, finished=token == EOS))
                self.leader_ended |= rank == 0
                alive.append(next(spare, going[-1]))
            else:
                alive.append((score, beam, token))
        last = len(prefixes[0]) + 1 == self.limit
        self.done = last or self._enough()
        return alive

    def _enough(self) -> bool:
        if self.options.length_penalty == 0:
            return self.leader_ended and len(self.ended) >= self.options.num_hyps
        return len(self.ended) >= self.options.beam


def _search(
    model: Transformer, src: Sequence[Sequence[int]], options: SearchOptions
) -> list[list[Hypothesis]]:
    device = model.output_weight.device
    beam, batch = options.beam, len(src)
    padded = Sequences.from_lists(src).padded(np.arange(batch), pad=PAD)
    src_BS = torch.from_numpy(padded).to(device)
    mask_BS = src_BS != PAD
    memory = model.encode(src_BS, mask_BS).repeat_interleave(beam, dim=0)
    mask = mask_BS.repeat_interleave(beam, dim=0)
    caches = model.new_caches()
    positions = model.config.max_length
    limits = [options.max_length(len(ids), positions=positions) for ids in src]
    sentences = [_Sentence(limit, options) for limit in limits]
    prefixes: list[list[list[int]]] = [[[] for _ in range(beam)] for _ in src]
    tokens = torch.full((batch * beam, 1), BOS, device=device)
    scores_BK = torch.full((batch, beam), -torch.inf, device=device)
    scores_BK[:, 0] = 0.0
    step = 0
    while not all(sentence.done for sentence in sentences):
        logp = _next_log_probs(model, tokens, memory, mask, caches, step)
        totals = scores_BK[:, :, None] + logp.view(batch, beam, -1)
        top, places = totals.flatten(1).topk(2 * beam)
        vocabulary = logp.size(-1)
        alive = [
            sentence.step(
                [(s, p // vocabulary, p % vocabulary) for s, p in zip(row, place, strict=True)], pre
            )
            for sentence, row, place, pre in zip(
                sentences, top.tolist(), places.tolist(), prefixes, strict=True
            )
        ]
        prefixes = [
            [[*pre[beam_], token] for _, beam_, token in rows]
            for pre, rows in zip(prefixes, alive, strict=True)
        ]
        scores_BK = torch.tensor([[s for s, _, _ in rows] for rows in alive], device=device)
        tokens = torch.tensor([[t] for rows in alive for _, _, t in rows], device=device)
        parents = [i * beam + b for i, rows in enumerate(alive) for _, b, _ in rows]
        for cache in caches:
            cache.select(torch.tensor(parents, device=device))
        step += 1
    return [_best(sentence.ended, options) for sentence in sentences]


def _next_log_probs(
    model: Transformer,
    tokens: Tensor,
    memory: Tensor,
    mask: Tensor,
    caches: list[LayerCache],
    step: int,
) -> Tensor:
    hidden = model.decode(tokens, memory, mask, caches=caches, start=step)[:, 0]
    logits = F.linear(hidden, model.output_weight).float()
    logits[:, [PAD, UNK, BOS, *([EOS] if step == 0 else [])]] = -torch.inf
    return logits.log_softmax(-1)


def _best(ended: list[Hypothesis], options: SearchOptions) -> list[Hypothesis]:
    ranked = sorted(ended, key=lambda h: -h.score / len(h.ids) ** options.length_penalty)
    return ranked[: options.num_hyps]
