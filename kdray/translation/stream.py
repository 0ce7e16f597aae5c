"""From lines that come in to lines that go out: in order, as many, and while more come in.

Lines are translated by windows. While one is searched, the next one is read and cut into pieces.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from kdray.errors import KdrayError
from kdray.model.ctranslate2 import FastTranslator
from kdray.model.generate import SearchOptions
from kdray.scoring.result import storable
from kdray.teacher.engine import Engine, Translation, translate
from kdray.translation.files import Line
from kdray.translation.formats import Format
from kdray.translation.sentences import sentences

WINDOW_LINES, WINDOW_CHARS = 2048, 1 << 20
"""A window ends with so many lines, or when they have so many characters."""
_EMPTY = Translation("", 0.0, finished=True)

Window = list[tuple[Line, str]]
"""Lines, and the text of each that is to be translated."""


@dataclass(frozen=True, slots=True)
class Written:
    """What came of some lines.

    Attributes:
        lines: what is to be written.
        count: how many lines came in.
        split: where lines were too long, and were translated sentence by sentence.
        unread: where lines have a sentence that is too long, and are not translated.
        unfinished: how many translations were cut at the length limit.
    """

    lines: list[str]
    count: int
    split: list[str]
    unread: list[str]
    unfinished: int


def translate_lines(
    engine: Engine, lines: Iterator[Line | None], form: Format, options: SearchOptions
) -> Iterator[Written]:
    """Translate lines window by window; None among them says that no more come for the moment.

    What was read before a line that cannot be used is translated and given before the error.

    Raises:
        DataError: a line cannot be read.
        InputError: the engine gave more or fewer translations than it was given lines.
    """
    at_once = 2 if isinstance(getattr(engine, "backend", None), FastTranslator) else 1
    with ThreadPoolExecutor(at_once, thread_name_prefix="translation") as pool:
        waiting: deque[Future[Written]] = deque()
        try:
            for window in _windows(lines, form):
                if window:
                    waiting.append(pool.submit(_translate, engine, window, form, options))
                while len(waiting) > (at_once if window else 0):
                    yield waiting.popleft().result()
        except KdrayError:
            while waiting:
                yield waiting.popleft().result()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _windows(lines: Iterator[Line | None], form: Format) -> Iterator[Window]:
    """Lines by windows; an empty one where nothing comes in, and at the end."""
    window: Window = []
    chars = 0
    try:
        for line in lines:
            if line is not None:
                window.append((line, form.source(line.text, line.place)))
                chars += len(line.text)
            if line is None or len(window) == WINDOW_LINES or chars >= WINDOW_CHARS:
                yield window
                if line is None and window:
                    yield []
                window, chars = [], 0
    except KdrayError:
        yield window
        raise
    yield window
    yield []


def _translate(engine: Engine, window: Window, form: Format, options: SearchOptions) -> Written:
    """Translate the lines of a window that hold something, at once; then those that are long."""
    rows = [row for row, (_, src) in enumerate(window) if src.strip()]
    best = dict(zip(rows, _search(engine, [window[row][1] for row in rows], options), strict=True))
    long = [row for row in rows if not best[row]]
    parts = {row: sentences(window[row][1]) for row in long}
    parts = {row: cut for row, cut in parts.items() if len(cut) > 1}
    of_parts = iter(_search(engine, [part for cut in parts.values() for part in cut], options))
    for row, cut in parts.items():
        best[row] = _joined([next(of_parts) for _ in cut])
    translations = [best.get(row, [_EMPTY]) for row in range(len(window))]
    return Written(
        lines=[
            form.written(line.number, line.text, each)
            for (line, _), each in zip(window, translations, strict=True)
        ],
        count=len(window),
        split=[window[row][0].place for row in parts if best[row]],
        unread=[window[row][0].place for row in long if not best[row]],
        unfinished=sum(not hyp.finished for each in translations for hyp in each[:1]),
    )


def _search(engine: Engine, src: Sequence[str], options: SearchOptions) -> list[list[Translation]]:
    """The best translations of each source, each on one line.

    Raises:
        InputError: the engine does not answer each source; see `answered`.
    """
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
