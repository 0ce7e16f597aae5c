"""From lines that come in to lines that go out: in order, as many, and while more come in.

Lines are translated by windows. While one is searched, the next one is read and cut into pieces.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from kdray.errors import KdrayError
from kdray.model.ctranslate2 import FastTranslator
from kdray.model.generate import SearchOptions
from kdray.teacher.engine import Engine
from kdray.translation.files import Line
from kdray.translation.formats import Format
from kdray.translation.texts import translate_texts

WINDOW_LINES, WINDOW_CHARS = 2048, 1 << 20
"""A window ends with so many lines, or when they have so many characters."""

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
    """Translate the lines of a window."""
    done = translate_texts(engine, [src for _, src in window], options)
    lines = [line for line, _ in window]
    return Written(
        lines=[
            form.written(line.number, line.text, each.best)
            for line, each in zip(lines, done, strict=True)
        ],
        count=len(window),
        split=[
            line.place
            for line, each in zip(lines, done, strict=True)
            if each.is_split and each.best
        ],
        unread=[line.place for line, each in zip(lines, done, strict=True) if not each.best],
        unfinished=sum(each.is_cut for each in done),
    )
