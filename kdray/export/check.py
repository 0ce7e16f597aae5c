"""Does a form translate as the student does? The student reads what the form wrote.

At each place of a greedy translation, all before it given, the student would write its likeliest
token. Where the form wrote another one, the distance between both says whether they nearly tie, so
that other arithmetic may turn them round, or whether the form is another model.

V target pieces, T tokens of a translation.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from kdray.errors import StageFailed
from kdray.model.generate import SearchOptions, generate
from kdray.model.transformer import Transformer
from kdray.teacher.engine import Engine, Translation, translate
from kdray.teacher.ties import NEAR, Ties
from kdray.text.tokenizer import BOS, EOS, PAD, UNK, Tokenizer

SENTENCES = 64
"""Sources that each form is tried on."""
TOLERATED = 0.2
"""Share of tokens that weights of few bits may choose otherwise; more of them is another model."""


class FormDiffers(StageFailed):
    """A form translates otherwise than the student whose it is."""


@dataclass(slots=True)
class Compared(Ties):
    """What was seen at the tokens of greedy translations, the ends among them.

    sentences, same: how many there are, and how many are translated with the same tokens. example:
    what the form and the student made of the first source that they translate otherwise.
    """

    sentences: int = 0
    same: int = 0
    example: tuple[str, str, str] | None = None

    def words(self) -> str:
        """What was seen, in a sentence."""
        return (
            f"{self.same} of {self.sentences} sentences have the same greedy translation; of "
            f"{self.tokens} tokens {self.ties} nearly tie with the student's own choice, and "
            f"{self.wrong} are others"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def compare(
    model: Transformer, tokenizer: Tokenizer, engine: Engine, src: Sequence[str]
) -> Compared:
    """Let a form translate sources greedily, and the student read what it wrote.

    Sources that are too long for the student are left out.

    Raises:
        FormDiffers: the form has no translation where the student has one.
    """
    rows = [(text, ids) for text, ids in zip(src, tokenizer.encode_src(src), strict=True)
            if len(ids) <= model.config.max_length]  # fmt: skip
    seen = Compared()
    found = translate(engine, [text for text, _ in rows], SearchOptions())
    for (text, ids), best in zip(rows, found, strict=True):
        if not best:
            raise FormDiffers(f"it has no translation of {text[:100]!r}, and the student has one")
        _add(seen, model, tokenizer, text, ids, best[0])
    return seen


def _add(
    seen: Compared,
    model: Transformer,
    tokenizer: Tokenizer,
    text: str,
    src: list[int],
    hyp: Translation,
) -> None:
    """Count one translation."""
    own: Translation | None = None
    if hyp.ids is None:  # the form only knows text
        own = _own(model, tokenizer, src)
        behind = np.array([0.0 if own.text == hyp.text else np.inf])
    else:
        behind = _behind(model, src, list(hyp.ids), finished=hyp.finished)
    seen.sentences += 1
    seen.add(behind)
    seen.same += not behind.any()
    if seen.example is None and (behind >= NEAR).any():
        own = own or _own(model, tokenizer, src)
        seen.example = (text, hyp.text, own.text)


def _own(model: Transformer, tokenizer: Tokenizer, src: list[int]) -> Translation:
    """The student's own greedy translation."""
    ((hyp,),) = generate([model], [src], SearchOptions())
    (text,) = tokenizer.decode_tgt([hyp.ids])
    return Translation(text, hyp.score, hyp.finished, hyp.ids)


@torch.inference_mode()
def _behind(
    model: Transformer, src: list[int], hyp: list[int], *, finished: bool
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How far each token is behind the student's likeliest one, in nats. -> [T].

    A translation that neither ends nor reaches the limit lacks a token, which is counted.
    """
    limit = SearchOptions().max_length(len(src), positions=model.config.max_length)
    if not hyp:
        return np.array([np.inf])
    src_BS, tgt_BT = torch.tensor([src]), torch.tensor([[BOS, *hyp[:-1]]])
    logits_TV = model(src_BS, src_BS != PAD, tgt_BT)[0].double()
    logits_TV[:, [PAD, UNK, BOS]] = -torch.inf
    logits_TV[0, EOS] = -torch.inf  # the first token is never the end
    logp_TV = logits_TV.log_softmax(1)
    written = logp_TV.gather(1, torch.tensor(hyp)[:, None]).squeeze(1)
    behind: np.ndarray[Any, np.dtype[np.float64]] = (logp_TV.max(1).values - written).numpy()
    return behind if finished or len(hyp) >= limit else np.append(behind, np.inf)


def check(seen: Compared, *, is_exact: bool) -> None:
    """Refuse a form that is another model.

    Raises:
        FormDiffers: with what was seen.
    """
    most = 0 if is_exact else TOLERATED * seen.tokens
    if seen.wrong <= most:
        return
    told = seen.words()
    if seen.example is not None:
        source, theirs, own = (text[:100] for text in seen.example)
        told += f", for instance {source!r} becomes {theirs!r}, and {own!r} by the student itself"
    raise FormDiffers(
        f"it does not translate as the student does: {told}; with weights of "
        f"{'all' if is_exact else 'few'} bits at most {most / max(seen.tokens, 1):.0%} may differ"
    )


def made_up(tokenizer: Tokenizer, *, positions: int) -> list[str]:
    """Sources for a student whose text is not known: pieces of its vocabulary in random order."""
    drawn = np.random.default_rng(1)
    longest = min(20, positions - 1)
    ids = [
        drawn.integers(4, tokenizer.src_vocab, size=drawn.integers(1, longest + 1)).tolist()
        for _ in range(SENTENCES)
    ]
    return [text for text in tokenizer.decode_src(ids) if text]
