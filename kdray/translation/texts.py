"""How a text becomes its translations, whoever asks: a text that is empty, long, or neither."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdray.model.generate import SearchOptions
from kdray.scoring.result import storable
from kdray.teacher.engine import Engine, Translation, translate
from kdray.translation.sentences import sentences

_EMPTY = Translation("", 0.0, finished=True)


@dataclass(frozen=True, slots=True)
class Translated:
    """What came of a text.

    Attributes:
        best: its translations, the best first, each on one line; none if a sentence of it is too
            long for the model.
        is_split: whether it was too long for the model as a whole, and was cut into sentences.
    """

    best: list[Translation]
    is_split: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether the best translation ends at the length limit."""
        return any(not hyp.finished for hyp in self.best[:1])


def translate_texts(
    engine: Engine, texts: Sequence[str], options: SearchOptions
) -> list[Translated]:
    """Translate texts that hold something, all at once; then those that are long, by sentences.

    Raises:
        InputError: the engine does not answer each source; see `answered`.
    """
    rows = [row for row, text in enumerate(texts) if text.strip()]
    best = dict(zip(rows, _search(engine, [texts[row] for row in rows], options), strict=True))
    parts = {row: sentences(texts[row]) for row in rows if not best[row]}
    parts = {row: cut for row, cut in parts.items() if len(cut) > 1}
    of_parts = iter(_search(engine, [part for cut in parts.values() for part in cut], options))
    for row, cut in parts.items():
        best[row] = _joined([next(of_parts) for _ in cut])
    return [Translated(best.get(row, [_EMPTY]), is_split=row in parts) for row in range(len(texts))]


def _search(engine: Engine, src: Sequence[str], options: SearchOptions) -> list[list[Translation]]:
    """The best translations of each source, each on one line."""
    found = translate(engine, src, options) if src else []
    return [
        [Translation(storable(hyp.text), hyp.score, hyp.finished) for hyp in best] for best in found
    ]


def _joined(parts: Sequence[Sequence[Translation]]) -> list[Translation]:
    """Translations of a text from those of its sentences; none if a sentence has none.

    The best follows from the best of each sentence, the second from the second of each, and so on.
    """
    return [
        Translation(
            " ".join(hyp.text for hyp in hyps),
            sum(hyp.score for hyp in hyps),
            all(hyp.finished for hyp in hyps),
        )
        for hyps in zip(*parts, strict=False)
    ]
