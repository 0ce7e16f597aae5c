"""Which files of a folder hold sentence pairs, in what format, and what for?

Names tell the languages and the purpose, as corpora are usually named: `train.en` and `train.de`,
`corpus.de-en.de.gz`, `dev.tsv`, `newstest2019.jsonl`. Content tells columns and fields.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from kdray.errors import DataError, InputError
from kdray.text.archives import archive_names
from kdray.text.tmx import tmx_languages
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
_NO_LANGUAGES = {
    *("txt", "tsv", "csv", "raw", "tok", "dev", "val", "tst", "tmx", "zip", "log", "ids", "tar"),
    *("tgz", "xml", "xlf", "sgm", "pdf", "doc", "bak", "tmp", "ini", "cfg", "yml", "bpe", "spm"),
}
_HEADER_WORDS = {*_SIDES, "text", "translation", "sentence", "id", "score", "lang"}
Asked = tuple[str | None, str | None]
"""The languages of source and target that a user named, if any."""
Found = tuple[dict[str, Any], tuple[str, str]]
"""What a configuration says of a file beside its name, and the languages or sides of it."""


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
            "src_tag": "tgt_tag",
            "src_suffix": "tgt_suffix",
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
    each = (pairs for path in files for pairs in _one_file(path, asked))
    return [*_text_pairs(files, asked), *each]


def _text_pairs(files: Sequence[Path], asked: Asked) -> Iterator[Pairs]:
    """Files whose names differ in the language alone."""
    others = (*_READERS, ".yaml", ".json", ".md")
    paths = {_bare(path).name: path for path in files if _bare(path).suffix not in others}
    for rest, sides in _by_side(paths).items():
        src, tgt = _source_and_target(list(sides), asked, rest)
        source = {"src": paths[sides[src]].name, "tgt": paths[sides[tgt]].name}
        yield Pairs(_stem(rest), source, (src, tgt), _role(rest))


def _by_side(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Names that differ in the language alone, by what they have in common and the language."""
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        for match in (pattern.fullmatch(name.removesuffix(".txt")) for pattern in _NAMES):
            if match is not None and match["side"] not in _NO_LANGUAGES:
                groups.setdefault(match["rest"] or "", {})[match["side"]] = name
    return {rest: sides for rest, sides in groups.items() if len(sides) > 1}


def _source_and_target(sides: Sequence[str], asked: Asked, name: str) -> tuple[str, str]:
    """Two of the sides; of more than two those that were asked for.

    Raises:
        InputError: they were not.
    """
    if len(sides) == 2:
        return _in_order(sorted(sides), name)
    wanted = [side for side in asked if side is not None and side in sides]
    if len(set(wanted)) < 2:
        raise InputError(
            f"{name}: is there in {', '.join(sorted(sides))}; name two of them with --src and --tgt"
        )
    return wanted[0], wanted[1]


def _one_file(path: Path, asked: Asked) -> Iterator[Pairs]:
    """The pairs in one file, by its format."""
    reader = _READERS.get(_bare(path).suffix)
    found = None if reader is None else reader(path, asked)
    if found is not None:
        source, names = found
        languages = _in_order(names, path.name)
        pairs = Pairs(_stem(path.name), {**source, "path": path.name}, names, _role(path.name))
        yield pairs if languages == names else pairs.turned()


def _tmx(path: Path, asked: Asked) -> Found | None:
    languages = tmx_languages(path)
    if len(languages) < 2:
        return None
    src, tgt = _source_and_target(languages, asked, path.name)
    return {"format": "tmx", "src_tag": src, "tgt_tag": tgt}, (src, tgt)


def _archive(path: Path, asked: Asked) -> Found | None:
    names = [Path(name).name for name in archive_names(path)]
    texts = [
        (rest, sides)
        for rest, sides in _by_side(names).items()
        if all(name.endswith(f".{side}") for side, name in sides.items())
    ]
    if len(texts) != 1:
        return None  # an archive is a source if it holds one text
    ((rest, sides),) = texts
    src, tgt = _source_and_target(list(sides), asked, rest)
    return {"format": "moses_zip", "src_suffix": src, "tgt_suffix": tgt}, (src, tgt)


def _tsv(path: Path, asked: Asked) -> Found | None:
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


def _jsonl(path: Path, asked: Asked) -> Found | None:
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


def _parquet(path: Path, asked: Asked) -> Found | None:
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


_READERS: dict[str, Callable[[Path, Asked], Found | None]] = {
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
    ".tmx": _tmx,
    ".zip": _archive,
}
"""What looks at a file, by the suffix of its name."""


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
    if bare.suffix in (*_READERS, ".txt"):
        bare = bare.with_suffix("")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", bare.name).strip("_-") or "pairs"


def _bare(path: Path) -> Path:
    """A path without the suffix that compression adds."""
    return path.with_suffix("") if path.suffix in COMPRESSED else path
