"""Reads the pairs of a translation memory (TMX 1.4) as they come, whatever its size.

A TMX is XML that strangers wrote. Entities that a file declares are refused, since a few can
stand for gigabytes, and nothing that it names is opened.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from xml.parsers import expat

from kdray.errors import DataError
from kdray.text.lines import chunks

_CODES = {"bpt", "ept", "it", "ph", "ut"}  # elements that hold formatting of another program
_LOOKED_AT = 1000  # units, to see the languages of a memory
_BREAK = re.compile(r"[ \t]*[\r\n]+[ \t]*")


def tmx_pairs(path: Path, src_tag: str, tgt_tag: str) -> Iterator[tuple[str, str]]:
    """Source and target of each unit of translation, in order.

    The text of a segment is given without formatting codes, a line break within it as a space. A
    unit that lacks a language has an empty side; of several variants of one, the exact tag counts,
    else the first.

    Raises:
        DataError: the file is no such XML, declares entities, or nowhere has one of the languages.
    """
    reader = _Reader(path)
    for unit in reader.units(chunks(path)):
        yield _chosen(unit, src_tag), _chosen(unit, tgt_tag)
    for tag in (src_tag, tgt_tag):
        if not any(_fits(tag, there) for there in reader.tags):
            known = ", ".join(sorted(reader.tags)) or "none"
            raise DataError(
                f"{path}: no segment is in {tag!r}; the languages there are {known}; correct "
                "src_tag or tgt_tag"
            )


def tmx_languages(path: Path) -> list[str]:
    """The languages of the first units, without regions unless they are variants of a single one.

    Raises:
        DataError: the file is no such XML, or declares entities.
    """
    units = islice(_Reader(path).units(chunks(path)), _LOOKED_AT)
    tags = sorted({tag for unit in units for tag, _ in unit})
    languages = sorted({re.split("[-_]", tag)[0].lower() for tag in tags})
    return languages if len(languages) > 1 else tags


def _fits(tag: str, found: str) -> bool:
    """Whether a language is the one asked for, or a regional variant of it."""
    asked, given = (each.lower().replace("_", "-") for each in (tag, found))
    return given == asked or given.startswith(f"{asked}-")


def _chosen(unit: list[tuple[str, str]], tag: str) -> str:
    exact = (text for found, text in unit if found.lower() == tag.lower())
    return next(exact, next((text for found, text in unit if _fits(tag, found)), ""))


class _Reader:
    """Follows the elements of a file; `tags` are the languages that were seen."""

    def __init__(self, path: Path) -> None:
        self.tags: set[str] = set()
        self._path = path
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity
        self._parser.SkippedEntityHandler = self._entity
        self._finished: list[list[tuple[str, str]]] = []
        self._unit: list[tuple[str, str]] = []
        self._language = ""
        self._segment: list[str] | None = None
        self._codes = 0  # how deep in formatting codes
        self._is_tmx = False

    def units(self, content: Iterable[bytes]) -> Iterator[list[tuple[str, str]]]:
        """Language and text of the segments of each unit."""
        try:
            for chunk in content:
                self._parser.Parse(chunk, False)
                yield from self._finished
                self._finished.clear()
            self._parser.Parse(b"", True)
        except (expat.ExpatError, ValueError, LookupError) as error:  # the latter: its encoding
            raise DataError(f"{self._path}: is no TMX ({error}); get the file again") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._is_tmx and name != "tmx":
            raise DataError(f"{self._path}: is XML of <{name}> and no TMX; name a TMX file")
        self._is_tmx = True
        if name == "tu":
            self._unit = []
        elif name == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang") or ""
            self.tags.add(self._language)
        elif name == "seg":
            self._segment, self._codes = [], 0
        elif name in _CODES:
            self._codes += 1

    def _end(self, name: str) -> None:
        if name == "seg" and self._segment is not None:
            text = _BREAK.sub(" ", "".join(self._segment))
            self._unit.append((self._language, text))
            self._segment = None
        elif name == "tu":
            self._finished.append(self._unit)
        elif name in _CODES:
            self._codes -= 1

    def _characters(self, text: str) -> None:
        if self._segment is not None and not self._codes:
            self._segment.append(text)

    def _entity(self, name: str, *_: object) -> None:
        raise DataError(
            f"{self._path}, line {self._parser.CurrentLineNumber}: has the entity {name!r} of its "
            "own, which is not read, since a few of them can stand for gigabytes; write the text "
            "itself"
        )
