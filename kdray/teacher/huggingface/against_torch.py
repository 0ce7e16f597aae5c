"""Does a converted model say what the original says? Torch reads what the conversion wrote.

At each place of a greedy translation, all before it given, the original would write its likeliest
token. By how much that is likelier than the one that was written says whether both agree, or nearly
tie, or are different models; and no search of another library has to be trusted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from kdray.model.generate import SearchOptions
from kdray.teacher.huggingface.teacher import HuggingFaceEngine
from kdray.teacher.ties import NEAR, Ties


@dataclass(slots=True)
class Compared(Ties):
    """What was seen at the tokens of greedy translations, among them the ends.

    log_prob: the mean of what the original says of them. score_difference: by how much the two sums
    of a translation differ, at most, in nats a token. unlike_alone: sentences that are translated
    otherwise in a batch of one.
    """

    sentences: int = 0
    log_prob: float = 0.0
    score_difference: float = 0.0
    unlike_alone: int = 0


def compare(engine: HuggingFaceEngine, model: Any, src: Sequence[str]) -> Compared:  # noqa: ANN401
    """Translate sentences together and each alone, and let the original read both."""
    rows = engine.codec.encode(src)
    rows = [row for row in rows if engine.positions is None or len(row) <= engine.positions]
    together = [best for best, *_ in engine.search(rows, SearchOptions())]
    alone = [engine.search([row], SearchOptions(), most_tokens=1)[0][0] for row in rows]
    seen, total = Compared(sentences=len(rows)), 0.0
    for row, batched, single in zip(rows, together, alone, strict=True):
        seen.unlike_alone += batched[0] != single[0]
        for ids, score, finished in [batched, *([single] if batched[0] != single[0] else [])]:
            if not ids and not finished:
                continue
            behind, own = _read(engine, model, row, ids, finished=finished)
            seen.add(behind)
            total += float(own)
            difference = abs(float(own) - score) / len(behind)
            seen.score_difference = max(seen.score_difference, difference)
    seen.log_prob = total / max(1, seen.tokens)
    return seen


@torch.inference_mode()
def _read(
    engine: HuggingFaceEngine,
    model: Any,  # noqa: ANN401
    row: Sequence[int],
    ids: Sequence[int],
    *,
    finished: bool,
) -> tuple[Tensor, Tensor]:
    """How far each token of a translation is behind the likeliest one; the sum of their logs.

    Distributions are over the tokens that a translation may have, as in the search.
    """
    forced, facts = engine.codec.languages.forced, engine.facts
    written = torch.tensor([*forced, *ids, *([facts["end"]] if finished else [])])
    start = model.config.decoder_start_token_id
    logits = model(
        input_ids=torch.tensor([list(row)]),
        decoder_input_ids=torch.tensor([[start, *written[:-1].tolist()]]),
        use_cache=False,
    ).logits[0]
    never = {*facts["never"], *engine.codec.languages.never, facts["unk"]}
    logits[:, sorted(never)] = -torch.inf
    logits[len(forced), facts["end"]] = -torch.inf  # the first token is never the end
    logp = logits.double().log_softmax(1)[len(forced) :]
    own = logp.gather(1, written[len(forced) :, None]).squeeze(1)
    return logp.max(1).values - own, own.sum()


def objections(seen: Compared, *, compute_type: str, vocabulary: int) -> Iterator[str]:
    """Why a conversion cannot be trusted, if it cannot.

    With weights of few bits other tokens may win; only what is gibberish is refused.
    """
    if seen.tokens == 0:
        yield "it wrote no token, so it could not be compared with the original"
    exact = compute_type == "float32"
    if seen.wrong > (0 if exact else 0.2 * seen.tokens):
        yield (
            f"at {seen.wrong} of {seen.tokens} tokens the original would go on differently, by up "
            f"to {seen.worst:.3g} nats: the conversion is another model"
        )
    if seen.tokens and seen.log_prob < -log(vocabulary):
        yield (
            f"it gives its own tokens {seen.log_prob:.3f} nats each, less than if all {vocabulary} "
            "pieces were equally likely"
        )
    if exact and seen.score_difference > NEAR:
        yield (
            f"its log-probabilities differ from those of the original by up to "
            f"{seen.score_difference:.3g} nats a token"
        )


def words(seen: Compared) -> str:
    """What was seen, in a sentence."""
    agreed = seen.tokens - seen.ties - seen.wrong
    return (
        f"the converted teacher against the original, on {seen.sentences} sentences: {agreed} of "
        f"{seen.tokens} greedy tokens are the same, {seen.ties} nearly tie, {seen.wrong} differ; "
        f"{seen.unlike_alone} sentences are translated otherwise in a batch of one; it gives its "
        f"own tokens {seen.log_prob:.3f} nats"
    )
