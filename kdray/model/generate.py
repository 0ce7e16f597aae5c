"""Greedy and beam search with a key-value cache, in plain PyTorch.

The exported model is tested against it, and it translates on GPUs. It follows CTranslate2: the
first token is never `</s>`; hypotheses are ranked by Σ log p / length^penalty, where `</s>` counts;
a search stops when `beam` hypotheses have ended, or, without a length penalty, when `num_hyps` have
ended and one of them had the best score of the beam when it did. An ensemble averages the
probabilities of its models at each step.

A search may be given the first tokens of each hypothesis. They count in its length and not in its
score; the next token, which only the best beam can have, may be `</s>`.

Shapes: B sentences, K beams, M models, V vocabulary.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kdray.model.attention import Cache, select_rows
from kdray.model.memory import padded_cuts
from kdray.model.transformer import Transformer
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import BOS, EOS, PAD, UNK


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One translation. Its ids end with `</s>` if it is finished; its score is Σ log p.

    Its ids begin with those that it was given, which are no part of the score.
    """

    ids: list[int]
    score: float
    finished: bool


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn: at a temperature, of the top_k likeliest, of those of mass top_p."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How translations are searched, or drawn if there is a `sampling`.

    A hypothesis has at most max_length_ratio·(source tokens) + max_length_slack tokens besides
    those that it is given. No n-gram of `no_repeat_ngram` tokens stands in it twice, if that is
    not 0.
    """

    beam: int = 1
    num_hyps: int = 1
    length_penalty: float = 1.0
    max_length_ratio: float = 2.0
    max_length_slack: int = 10
    no_repeat_ngram: int = 0
    sampling: Sampling | None = None

    def identity(self) -> dict[str, Any]:
        """What decides translations, as JSON values: what is not asked for is left out."""
        asked = {"no_repeat_ngram": self.no_repeat_ngram, "sampling": self.sampling}
        return {k: v for k, v in asdict(self).items() if k not in asked or asked[k]}

    def max_length(self, src_tokens: int, *, positions: int, given: int = 0) -> int:
        """Most tokens of a hypothesis, `</s>` included; never more than the model's positions."""
        own = int(self.max_length_ratio * src_tokens) + self.max_length_slack
        return min(given + own, positions)


@torch.inference_mode()
def generate(
    models: Transformer | Sequence[Transformer],
    src: Sequence[Sequence[int]],
    options: SearchOptions,
    *,
    prefixes: Sequence[Sequence[int]] | None = None,
    batch_size: int | None = None,
    log_weights_BM: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """The best `num_hyps` translations of each source, best first.

    Each begins with the tokens of its prefix, fewer than the models have positions. Several models
    must have the same vocabulary. Their weights are equal, or exp(log_weights_BM) with a row for
    each source. Batches have so many sentences, or else as many padded tokens as the process may
    have in one.
    """
    models = [models] if isinstance(models, Transformer) else list(models)
    if log_weights_BM is None:
        log_weights_BM = torch.zeros(len(src), len(models))
    given = [[] for _ in src] if prefixes is None else prefixes
    results: list[list[Hypothesis]] = [[] for _ in src]
    for rows in batches_by_length(src, batch_size=batch_size):
        batch = [src[i] for i in rows], [given[i] for i in rows]
        translations = _search(models, *batch, options, log_weights_BM[rows])
        for row, hyps in zip(rows, translations, strict=True):
            results[row] = hyps
    return results


def repeats(ids: Sequence[int], n: int) -> set[int]:
    """The tokens that would complete an n-gram of a sequence a second time; none with n = 0."""
    if n == 0 or len(ids) < n:
        return set()
    last = tuple(ids[len(ids) - n + 1 :])
    grams = (tuple(ids[start : start + n]) for start in range(len(ids) - n + 1))
    return {gram[-1] for gram in grams if gram[:-1] == last}


def batches_by_length(
    src: Sequence[Sequence[int]], *, batch_size: int | None
) -> Iterator[list[int]]:
    """The rows of sources in batches of similar length; of so many, or by padded tokens."""
    lengths = np.array([len(ids) for ids in src], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    if batch_size is None:
        cut = padded_cuts(lengths[order])
    else:
        cut = list(range(batch_size, len(order), batch_size))
    yield from (part.tolist() for part in np.split(order, cut) if len(part))


Candidate = tuple[float, int, int]
"""Its score, the beam that it continues, and the token that it adds."""
DEAD = -1e10  # the score of a beam that no other one may lose its place to


@dataclass(slots=True)
class _Sentence:
    """The search of one sentence.

    given: the tokens that every hypothesis begins with.
    prefixes: what its K beams have generated so far.
    """

    limit: int
    options: SearchOptions
    given: Sequence[int]
    prefixes: list[list[int]]
    ended: list[Hypothesis] = field(default_factory=list)
    leader_ended: bool = False  # a hypothesis has ended that had the best score of the beam
    done: bool = False

    def step(self, candidates: list[Candidate]) -> list[Candidate]:
        """From the 2K best candidates, best first, take K that are continued.

        Those that end are kept in `ended`, and the next candidates take their places.
        """
        beam_size = self.options.beam
        if self.done:  # other sentences of the batch are still searched
            return candidates[:beam_size]
        length = len(self.prefixes[0])
        if length < len(self.given):
            self.prefixes = [[*prefix, self.given[length]] for prefix in self.prefixes]
            scores = (0.0 if beam == 0 else DEAD for beam in range(beam_size))
            return [(score, 0, self.given[length]) for score in scores]
        if self.given and length == len(self.given):  # as at the beginning, one beam is alive
            candidates = [
                (DEAD, 0, PAD) if rank > 0 and token == EOS else (score, beam, token)
                for rank, (score, beam, token) in enumerate(candidates)
            ]
        unfinished = [c for c in candidates if c[2] != EOS]
        spare = iter([c for c in candidates[beam_size:] if c[2] != EOS])
        alive: list[Candidate] = []
        for rank, (score, beam, token) in enumerate(candidates[:beam_size]):
            ids = [*self.prefixes[beam], token]
            if token == EOS or len(ids) == self.limit:
                self.ended.append(Hypothesis(ids, score, finished=token == EOS))
                self.leader_ended |= rank == 0
                alive.append(next(spare, unfinished[-1]))
            else:
                alive.append((score, beam, token))
        self.prefixes = [[*self.prefixes[beam], token] for _, beam, token in alive]
        self.done = len(self.prefixes[0]) == self.limit or self._enough()
        return alive

    def _enough(self) -> bool:
        if self.options.length_penalty == 0:
            return self.leader_ended and len(self.ended) >= self.options.num_hyps
        return len(self.ended) >= self.options.beam


class Members:
    """The models of a search, each with its encoder states, and their keys and values."""

    def __init__(
        self,
        models: Sequence[Transformer],
        src: Sequence[Sequence[int]],
        beam: int,
        log_weights_BM: Tensor,
    ) -> None:
        self.models = models
        self.device = models[0].output_weight.device
        padded = Sequences.from_lists(src).padded(np.arange(len(src)), pad=PAD)
        src_BS = torch.from_numpy(padded).to(self.device)
        mask_BS = src_BS != PAD
        self.mask = mask_BS.repeat_interleave(beam, dim=0)
        self.memories = [
            model.encode(src_BS, mask_BS).repeat_interleave(beam, dim=0) for model in models
        ]
        self.caches: list[Cache] = [{} for _ in models]
        repeated = log_weights_BM.to(self.device).repeat_interleave(beam, dim=0)
        self.log_weights = repeated.T[:, :, None]  # [M, B·K, 1]

    def first_tokens(self) -> Tensor:
        """What every hypothesis begins with. -> [B·K, 1]."""
        return torch.full((len(self.mask), 1), BOS, device=self.device)

    def next_log_probs(
        self, tokens: Tensor, step: int, banned: Sequence[Collection[int]] = ()
    ) -> Tensor:
        """Log-probabilities of the next token; -inf if it may not be generated. -> [B·K, V].

        banned: tokens that may not follow each of the B·K hypotheses, if there are some.
        """
        member_logits = []
        for model, memory, cache in zip(self.models, self.memories, self.caches, strict=True):
            hidden = model.decode(tokens, memory, self.mask, cache=cache, start=step)[:, 0]
            member_logits.append(F.linear(hidden, model.output_weight).float())
        logits = member_logits[0]
        if len(member_logits) > 1:
            logp = torch.stack([each.log_softmax(-1) for each in member_logits])
            logits = (logp + self.log_weights).logsumexp(0)  # the softmax below normalises
        logits[:, [PAD, UNK, BOS, *([EOS] if step == 0 else [])]] = -torch.inf
        for row, ids in enumerate(banned):
            if ids:
                logits[row, list(ids)] = -torch.inf
        return logits.log_softmax(-1)

    def select(self, parents: list[int]) -> None:
        """Continue these of the B·K hypotheses."""
        rows = torch.tensor(parents, device=self.device)
        for cache in self.caches:
            select_rows(cache, rows)


def _search(
    models: Sequence[Transformer],
    src: Sequence[Sequence[int]],
    given: Sequence[Sequence[int]],
    options: SearchOptions,
    log_weights_BM: Tensor,
) -> list[list[Hypothesis]]:
    members = Members(models, src, options.beam, log_weights_BM)
    device, beam, batch = members.device, options.beam, len(src)
    positions = min(model.config.max_length for model in models)
    sentences = [
        _Sentence(
            options.max_length(len(ids), positions=positions, given=len(prefix)),
            options,
            prefix,
            prefixes=[[]] * beam,
        )
        for ids, prefix in zip(src, given, strict=True)
    ]
    tokens = members.first_tokens()
    scores_BK = torch.full((batch, beam), -torch.inf, device=device)
    scores_BK[:, 0] = 0.0
    step = 0
    while not all(sentence.done for sentence in sentences):
        logp = members.next_log_probs(tokens, step, _banned(sentences, options.no_repeat_ngram))
        candidates = _candidates(scores_BK, logp)
        alive = [sentence.step(c) for sentence, c in zip(sentences, candidates, strict=True)]
        scores_BK = torch.tensor([[score for score, _, _ in rows] for rows in alive], device=device)
        tokens = torch.tensor([[token] for rows in alive for _, _, token in rows], device=device)
        members.select([i * beam + parent for i, rows in enumerate(alive) for _, parent, _ in rows])
        step += 1
    return [_best(sentence.ended, options) for sentence in sentences]


def _banned(sentences: Sequence[_Sentence], n: int) -> list[set[int]]:
    """What may not follow each hypothesis of each sentence; empty if anything may."""
    if n == 0:
        return []
    return [repeats(prefix, n) for sentence in sentences for prefix in sentence.prefixes]


def _candidates(scores_BK: Tensor, logp: Tensor) -> list[list[Candidate]]:
    """The 2K best of each sentence, best first."""
    batch, beam = scores_BK.shape
    totals = scores_BK[:, :, None] + logp.view(batch, beam, -1)
    top, places = totals.flatten(1).topk(2 * beam)
    vocabulary = logp.size(-1)
    return [
        [(score, p // vocabulary, p % vocabulary) for score, p in zip(row, place, strict=True)]
        for row, place in zip(top.tolist(), places.tolist(), strict=True)
    ]


def _best(ended: list[Hypothesis], options: SearchOptions) -> list[Hypothesis]:
    ranked = sorted(ended, key=lambda h: -h.score / len(h.ids) ** options.length_penalty)
    return ranked[: options.num_hyps]
