"""Which files of a folder hold sentence pairs, in what format, and what for?

Names tell the languages and the purpose, as corpora are usually named: `train.en` and `train.de`,
`corpus.de-en.de.gz`, `dev.tsv`, `newstest2019.jsonl`. Content tells columns and fields.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from kdray.errors import DataError, InputError
from kdray.translation.files import COMPRESSED, read_lines

Role = Literal["train", "dev", "test"]

_PURPOSES: tuple[tuple[Role, re.Pattern[str]], ...] = (
    ("train", re.compile(r"^train")),
    ("dev", re.compile(r"^(dev|devel|development|valid|validation|val|tune)\d*$")),
    ("test", re.compile(r"^(test|tst|eval|newstest|devtest|flores)")),
)
_CODE = r"[a-z]{2}([_-]([A-Z]{2}|[A-Z][a-z]{3}))?|[a-z]{3}_[A-Z][a-z]{3}"
_SIDE = rf"(?P<side>src|tgt|source|target|ref|[a-z]{{3}}|{_CODE})"
_NAMES = (
    re.compile(rf"((?P<rest>.+?)[._-])?{_SIDE}"),  # train.en
    re.compile(rf"{_SIDE}[._-](?P<rest>.+)"),  # src-train
)
_SIDES = {"src": 0, "source": 0, "tgt": 1, "target": 1, "ref": 1, "reference": 1}
_NO_LANGUAGES = {"txt", "tsv", "csv", "raw", "tok", "dev", "val", "tst"}
_HEADER_WORDS = {*_SIDES, "text", "translation", "sentence", "id", "score", "lang"}
Asked = tuple[str | None, str | None]
"""The languages of source and target that a user named, if any."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Files of sentence pairs, as a configuration names them.

    Attributes:
        name: what their names have in common.
        source: a pair source of the configuration, as plain data.
        languages: of the source and of the target, as far as names tell them.
        role: what their names say that they are for.
    """

    name: str
    source: Mapping[str, Any]
    languages: tuple[str, str]
    role: Role | None

    def turned(self) -> "Pairs":
        """The same pairs in the other direction."""
        swapped = {
            "src": "tgt",
            "src_column": "tgt_column",
            "src_field": "tgt_field",
        }
        other = swapped | {value: key for key, value in swapped.items()}
        source = {other.get(key, key): value for key, value in self.source.items()}
        return Pairs(self.name, source, self.languages[::-1], self.role)


def look_at(folder: Path, asked: Asked = (None, None)) -> list[Pairs]:
    """All files of sentence pairs that stand in a folder itself, by their names.

    Raises:
        DataError: one that looks like such a file cannot be read.
        InputError: it is in more than two languages, and two of them were not asked for.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return [*_text_pairs(files, asked), *(pairs for path in files for pairs in _one_file(path))]


def _text_pairs(files: Sequence[Path], asked: Asked) -> Iterator[Pairs]:
    """Files whose names differ in the language alone."""
    groups: dict[str, dict[str, Path]] = {}
    for path in files:
        bare = _bare(path)
        if bare.suffix in (".tsv", ".jsonl", ".parquet", ".yaml", ".json", ".md"):
            continue
        for match in (pattern.fullmatch(bare.name.removesuffix(".txt")) for pattern in _NAMES):
            if match is not None and match["side"] not in _NO_LANGUAGES:
                groups.setdefault(match["rest"] or "", {})[match["side"]] = path
    for rest, sides in groups.items():
        if len(sides) < 2:
            continue
        wanted = [side for side in asked if side in sides]
        if len(sides) > 2 and len(set(wanted)) < 2:
            raise InputError(
                f"{rest}: is there in {', '.join(sorted(sides))}; name two of them with --src and "
                "--tgt"
            )
        src, tgt = wanted if len(sides) > 2 else _in_order(sorted(sides), rest)
        source = {"src": sides[src].name, "tgt": sides[tgt].name}
        yield Pairs(_stem(rest), source, (src, tgt), _role(rest))


def _one_file(path: Path) -> Iterator[Pairs]:
    """The pairs in one file, by its format."""
    readers = {".tsv": _tsv, ".jsonl": _jsonl, ".parquet": _parquet}
    reader = readers.get(_bare(path).suffix)
    if reader is None:
        return
    found = reader(path)
    if found is not None:
        source, names = found
        languages = _in_order(names, path.name)
        pairs = Pairs(_stem(path.name), {**source, "path": path.name}, names, _role(path.name))
        yield pairs if languages == names else pairs.turned()


def _tsv(path: Path) -> tuple[dict[str, Any], tuple[str, str]] | None:
    first = next((line for line in read_lines([path]) if line is not None), None)
    if first is None or "\t" not in first.text:
        return None
    cells = [cell.strip() for cell in first.text.split("\t")]
    is_header = len(set(cells)) == len(cells) and all(map(_is_heading, cells))
    named = [column for column, cell in enumerate(cells) if _is_side(cell)] if is_header else []
    columns = (named if len(named) == 2 else [0, 1]) if is_header else [0, 1]
    source: dict[str, Any] = {"format": "tsv"}
    if columns != [0, 1]:
        source |= {"src_column": columns[0], "tgt_column": columns[1]}
    if is_header:
        source["header"] = True
    names = (cells[columns[0]], cells[columns[1]]) if is_header else _languages_in(path.name)
    source.setdefault("src_column", 0)
    source.setdefault("tgt_column", 1)
    return source, names


def _jsonl(path: Path) -> tuple[dict[str, Any], tuple[str, str]] | None:
    first = next((line for line in read_lines([path]) if line is not None), None)
    if first is None:
        return None
    try:
        value = json.loads(first.text)
    except ValueError as error:
        raise DataError(f"{first.place}: not a JSON object ({error})") from None
    fields = _two([name for name, each in _strings(value)])
    if fields is None:
        return None
    source = {"format": "jsonl", "src_field": fields[0], "tgt_field": fields[1]}
    return source, (fields[0].rpartition(".")[2], fields[1].rpartition(".")[2])


def _parquet(path: Path) -> tuple[dict[str, Any], tuple[str, str]] | None:
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as Parquet ({reason})") from None
    text = (pa.string(), pa.large_string(), pa.string_view())
    columns = _two([field.name for field in schema if field.type in text])
    if columns is None:
        return None
    return {"format": "parquet", "src_column": columns[0], "tgt_column": columns[1]}, columns


def _strings(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The fields of an object that hold text, also those of objects in it."""
    for name, each in value.items() if isinstance(value, dict) else ():
        if isinstance(each, str):
            yield f"{prefix}{name}", each
        elif isinstance(each, dict) and not prefix:
            yield from _strings(each, f"{name}.")


def _two(names: Sequence[str]) -> tuple[str, str] | None:
    """The two that hold the sides: those whose names say so, or the only two."""
    sides = [name for name in names if _is_side(name.rpartition(".")[2])]
    chosen = list(islice(sides if len(sides) == 2 else names, 3))
    return (chosen[0], chosen[1]) if len(chosen) == 2 else None


def _is_side(name: str) -> bool:
    return name in _SIDES or (bool(re.fullmatch(_CODE, name)) and name != "id")


def _is_heading(cell: str) -> bool:
    return cell.lower() in _HEADER_WORDS or _is_side(cell)


def _languages_in(name: str) -> tuple[str, str]:
    """The languages that a name has as `en-de`; otherwise the sides."""
    found = re.search(r"(?<![a-z])([a-z]{2,3})[-_]([a-z]{2,3})(?![a-z])", name)
    return (found[1], found[2]) if found else ("src", "tgt")


def _in_order(names: Sequence[str], name: str) -> tuple[str, str]:
    """Two sides as source and target: by what they are called, or as `en-de` in a name orders."""
    first, second = names[0], names[1]
    if _SIDES.get(first, 0) > _SIDES.get(second, 1):
        return second, first
    return (second, first) if _languages_in(name) == (second, first) else (first, second)


def _role(name: str) -> Role | None:
    """What a file is for, by the first part of its name that says so."""
    for part in re.split(r"[._-]", name.lower()):
        for role, pattern in _PURPOSES:
            if pattern.match(part):
                return role
    return None


def _stem(name: str) -> str:
    """A name for a set of pairs that a configuration accepts."""
    bare = _bare(Path(name))
    if bare.suffix in (".tsv", ".jsonl", ".parquet", ".txt"):
        bare = bare.with_suffix("")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", bare.name).strip("_-") or "pairs"


def _bare(path: Path) -> Path:
    """A path without the suffix that compression adds."""
    return path.with_suffix("") if path.suffix in COMPRESSED else path
