"""What stands on a line: plain text, the columns of a table, or a JSON object.

A format says which text of a line is to be translated, and how the line is written with its
translations. One line comes in and one goes out, but for an n-best list of plain text.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kdray.errors import DataError, InputError
from kdray.teacher.engine import Translation
from kdray.text.lines import json_of, whole_characters
from kdray.translation.files import COMPRESSED

UNTRANSLATED = "too long for the model"


@dataclass(frozen=True, slots=True)
class Options:
    """What is written beside a translation.

    num_hyps: how many translations of each line, best first; 1 for the best alone.
    scores: whether the score of each stands behind it.
    """

    num_hyps: int = 1
    scores: bool = False


class Format(Protocol):
    """How lines are read and written."""

    def source(self, line: str, place: str) -> str:
        """The text of a line that is to be translated.

        Raises:
            DataError: the line has none; `place` says which line it is.
        """

    def written(self, number: int, line: str, best: Sequence[Translation]) -> str:
        """The line with its translations, which has none if it could not be read.

        `number` counts lines from 0. The end of the line is not written.
        """


@dataclass(frozen=True, slots=True)
class TextLines:
    """Each line is a source, and becomes its translation.

    Lists of several are written as Moses does: `number ||| translation ||| score`, with `num_hyps`
    lines for each source.
    """

    options: Options

    def source(self, line: str, place: str) -> str:
        """See `Format`."""
        return line

    def written(self, number: int, line: str, best: Sequence[Translation]) -> str:
        """See `Format`."""
        if self.options.num_hyps > 1:
            listed = [(hyp.text, f"{hyp.score:.4f}") for hyp in best]
            listed += [("", "")] * (self.options.num_hyps - len(best))
            return "\n".join(f"{number} ||| {text} ||| {score}" for text, score in listed)
        return "\t".join(_cells(best, self.options))


@dataclass(frozen=True, slots=True)
class TsvLines:
    """A column of each row is a source; the translations, and scores, are columns at its end."""

    options: Options
    column: int = 0  # counted from 0

    def source(self, line: str, place: str) -> str:
        """See `Format`."""
        cells = line.split("\t")
        if self.column >= len(cells):
            raise DataError(
                f"{place}: {len(cells)} tab-separated columns, and column {self.column} is to be "
                "translated (columns count from 0); correct --column or the line"
            )
        return cells[self.column]

    def written(self, number: int, line: str, best: Sequence[Translation]) -> str:
        """See `Format`."""
        return "\t".join([line, *_cells(best, self.options)])


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A field of each object is a source; the object is written with fields of its translation.

    They are `translation`, and with scores `score`; with several translations `translations`, a
    list of objects with `text` and `score`. What could not be translated is null, and
    `untranslated` says why.
    """

    options: Options
    field: str = "src"

    def source(self, line: str, place: str) -> str:
        """See `Format`."""
        if not line.strip():
            return ""
        value = json_of(line, place)
        text = value.get(self.field) if isinstance(value, dict) else None
        if not isinstance(text, str):
            found = f"the fields {sorted(value)}" if isinstance(value, dict) else repr(value)[:60]
            raise DataError(
                f"{place}: has no text in the field {self.field!r}, it holds {found}; name the "
                "field with --field, or correct the line"
            )
        return whole_characters(text, f"{place}: field {self.field}")

    def written(self, number: int, line: str, best: Sequence[Translation]) -> str:
        """See `Format`."""
        if not line.strip():
            return ""
        value: dict[str, Any] = json.loads(line)
        if self.options.num_hyps > 1:
            value["translations"] = [
                {"text": hyp.text, "score": round(hyp.score, 4)} for hyp in best
            ]
        else:
            value["translation"] = best[0].text if best else None
            if self.options.scores:
                value["score"] = round(best[0].score, 4) if best else None
        if not best:
            value["untranslated"] = UNTRANSLATED
        text = json.dumps(value, ensure_ascii=False)
        return text.encode(errors="backslashreplace").decode()  # half a surrogate stays escaped


def _cells(best: Sequence[Translation], options: Options) -> list[str]:
    """Translations and scores as columns, always equally many; a tab in a text becomes a space."""
    cells: list[str] = []
    for rank in range(options.num_hyps):
        hyp = best[rank] if rank < len(best) else None
        cells.append("" if hyp is None else hyp.text.replace("\t", " "))
        if options.scores:
            cells.append("" if hyp is None else f"{hyp.score:.4f}")
    return cells


def choose_format(
    name: str | None,
    paths: Sequence[Path],
    options: Options,
    *,
    column: int | None,
    field: str | None,
) -> Format:
    """The format that was named, or the one that the names of the files tell; text by default.

    Raises:
        InputError: there is none of that name, files are of several, or an option is of another.
    """
    if name is None:
        told = {_suffix(path) for path in paths}
        if len(told) > 1:
            raise InputError(
                f"files of several formats ({', '.join(sorted(told))}); say which one with "
                "--format, or translate them one after another"
            )
        name = next(iter(told), "text")
    if column is not None and name != "tsv":
        raise InputError(f"--column is of tables, and the format is {name}; add --format tsv")
    if field is not None and name != "jsonl":
        raise InputError(f"--field is of JSON lines, and the format is {name}; add --format jsonl")
    match name:
        case "text":
            return TextLines(options)
        case "tsv":
            return TsvLines(options, column or 0)
        case "jsonl":
            return JsonLines(options, field or "src")
    raise InputError(f"--format {name}: there are text, tsv and jsonl")


def _suffix(path: Path) -> str:
    """The format that a file's name tells."""
    bare = path.with_suffix("") if path.suffix in COMPRESSED else path
    return bare.suffix[1:] if bare.suffix in (".tsv", ".jsonl") else "text"
