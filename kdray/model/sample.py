"""Sequences that a model draws from its own distribution, with a key-value cache.

It keeps no beam, unlike `generate`, and is fast enough for a method to call it in every update.
B sentences, S source positions, T target positions, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kdray.model.attention import Cache, select_rows
from kdray.model.transformer import Transformer
from kdray.text.tokenizer import BOS, EOS, PAD, UNK

CHUNK = 64  # entries of a distribution from which first one chunk is drawn, then one entry of it


@torch.no_grad()
def sample(
    model: Transformer,
    src_BS: Tensor,
    src_mask_BS: Tensor,
    *,
    max_lengths: Sequence[int],
    temperature: float,
) -> list[list[int]]:
    """One translation of each source, drawn at a temperature.

    A translation has no `<pad>`, `<unk>` or `<s>`, does not begin with `</s>`, and ends with `</s>`
    or at its limit. The model draws in evaluation mode, and torch's global generator is used.
    """
    training = model.training
    model.eval()
    try:
        tokens_BT = _draw(model, src_BS, src_mask_BS, max_lengths, temperature)
    finally:
        model.train(training)
    return [_until_pad(row) for row in tokens_BT.tolist()]


def _draw(
    model: Transformer,
    src_BS: Tensor,
    src_mask_BS: Tensor,
    max_lengths: Sequence[int],
    temperature: float,
) -> Tensor:
    """Draw tokens until every row has ended; `<pad>` follows the end of a row. -> [B, T].

    G: rows that have not ended. Only these are given to the model.
    """
    limits_G = torch.tensor(max_lengths, device=src_BS.device)
    drawn_BT = torch.full((len(max_lengths), max(max_lengths)), PAD, device=src_BS.device)
    rows_G = limits_G.nonzero()[:, 0]
    limits_G, mask_GS = limits_G[rows_G], src_mask_BS[rows_G]
    memory_GSD = model.encode(src_BS[rows_G], mask_GS)
    tokens_G = torch.full_like(rows_G, BOS)
    cache: Cache = {}
    for step in range(drawn_BT.size(1)):
        hidden_GTD = model.decode(tokens_G[:, None], memory_GSD, mask_GS, cache=cache, start=step)
        logits_GV = F.linear(hidden_GTD[:, 0], model.output_weight).float()
        logits_GV[:, [PAD, UNK, BOS, *([EOS] if step == 0 else [])]] = -torch.inf
        tokens_G = _sampled(logits_GV, temperature)
        drawn_BT[rows_G, step] = tokens_G
        unfinished = ((tokens_G != EOS) & (step + 1 < limits_G)).nonzero()[:, 0]
        if len(unfinished) == 0:
            break
        if len(unfinished) < len(rows_G):
            rows_G, limits_G, tokens_G = (x[unfinished] for x in (rows_G, limits_G, tokens_G))
            mask_GS, memory_GSD = mask_GS[unfinished], memory_GSD[unfinished]
            select_rows(cache, unfinished)
    return drawn_BT


def _sampled(logits_GV: Tensor, temperature: float) -> Tensor:
    """Draw a token for each row: first one of C chunks of E entries, then an entry of it. -> [G].

    That takes two random numbers for each row, where `torch.multinomial` draws one for each entry.
    The logits are overwritten.
    """
    likeliest_G1 = logits_GV.amax(1, keepdim=True)
    mass_GV = logits_GV.sub_(likeliest_G1).div_(temperature).exp_()
    if missing := -mass_GV.size(1) % CHUNK:
        mass_GV = F.pad(mass_GV, (0, missing))
    mass_GCE = mass_GV.view(len(mass_GV), -1, CHUNK)
    chunk_G = _drawn(mass_GCE.sum(2))
    entry_G = _drawn(mass_GCE[torch.arange(len(chunk_G), device=chunk_G.device), chunk_G])
    return (chunk_G * CHUNK + entry_G).clamp_max(logits_GV.size(1) - 1)


def _drawn(mass_GE: Tensor) -> Tensor:
    """Draw an entry of each row: the first whose running sum exceeds a uniform number. -> [G].

    If the sum is NaN, any entry is returned: the loss on it is NaN too, which ends the training.
    """
    sums_GE = mass_GE.cumsum(1)
    whole_G1 = sums_GE[:, -1:]
    below_G1 = torch.nextafter(whole_G1, torch.zeros_like(whole_G1))  # a product may round up
    place_G1 = torch.minimum(torch.rand_like(whole_G1) * whole_G1, below_G1)
    entry_G = torch.searchsorted(sums_GE, place_G1, right=True)[:, 0]
    return entry_G.clamp_max(mass_GE.size(1) - 1)


def _until_pad(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(PAD)] if PAD in tokens else tokens
