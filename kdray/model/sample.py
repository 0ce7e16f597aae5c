"""Sequences that a model draws from its own distribution, with a key-value cache.

Greedy and beam search are in `generate`; here nothing is ranked, so that a method can call it in
every update. B sentences, S source positions, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kdray.model.transformer import Transformer
from kdray.text.tokenizer import BOS, EOS, PAD, UNK


@torch.no_grad()
def sample(
    model: Transformer,
    src_BS: Tensor,
    src_mask_BS: Tensor,
    *,
    max_lengths: Sequence[int],
    temperature: float,
    greedy: bool = False,
) -> list[list[int]]:
    """One translation of each source, drawn at a temperature or greedily.

    It never holds `<pad>`, `<unk>` or `<s>`, does not begin with `</s>`, and ends with `</s>` or at
    its limit. The model is in evaluation mode meanwhile; draws come from torch's own generator.
    """
    training = model.training
    model.eval()
    try:
        tokens_BT = _draw(model, src_BS, src_mask_BS, max_lengths, temperature, greedy)
    finally:
        model.train(training)
    return [
        _until_end(row, limit) for row, limit in zip(tokens_BT.tolist(), max_lengths, strict=True)
    ]


def _draw(
    model: Transformer,
    src_BS: Tensor,
    src_mask_BS: Tensor,
    max_lengths: Sequence[int],
    temperature: float,
    greedy: bool,
) -> Tensor:
    """Tokens until every row has ended, what comes after an end included. -> [B, T]."""
    limits_B = torch.tensor(max_lengths, device=src_BS.device)
    memory_BSD = model.encode(src_BS, src_mask_BS)
    caches = model.new_caches()
    drawn = [torch.full((src_BS.size(0), 1), BOS, device=src_BS.device)]
    ended_B = limits_B <= 0
    while not bool(ended_B.all()):
        step = len(drawn) - 1
        hidden_BTD = model.decode(drawn[-1], memory_BSD, src_mask_BS, caches=caches, start=step)
        logits_BV = F.linear(hidden_BTD[:, 0], model.output_weight).float()
        logits_BV[:, [PAD, UNK, BOS, *([EOS] if step == 0 else [])]] = -torch.inf
        if greedy:
            drawn.append(logits_BV.argmax(1, keepdim=True))
        else:
            drawn.append((logits_BV / temperature).softmax(1).multinomial(1))
        ended_B = ended_B | (drawn[-1][:, 0] == EOS) | (step + 1 >= limits_B)
    return torch.cat(drawn[1:], dim=1)


def _until_end(tokens: list[int], limit: int) -> list[int]:
    kept = tokens[:limit]
    return kept[: kept.index(EOS) + 1] if EOS in kept else kept
