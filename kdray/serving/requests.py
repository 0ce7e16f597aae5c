"""What does a request ask for? Its fields, from JSON or a form, and the texts in them.

Whatever cannot be answered is a `Refused` with a status code and one sentence, in LibreTranslate's
words where it has some.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from kdray.serving.documents import Document, markup, plain
from kdray.serving.limits import RequestLimits
from kdray.translation.sentences import sentences

MAX_ALTERNATIVES = 63
_MOST_FIELDS = 1000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
FORMATS: Mapping[str, Callable[[str], Document]] = {"text": plain, "html": markup}
"""What a text may be, and what takes it apart."""

Fields = Mapping[str, Any]


@dataclass(eq=False)
class Refused(Exception):
    """A request that is not answered as it wished."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be translated.

    Attributes:
        texts: what is to be translated.
        is_list: whether a list of texts was given, and a list is expected.
        source: language code, or `auto`.
        target: language code.
        alternatives: translations besides the best one.
        model: the name of a model, if one was named.
    """

    texts: Sequence[Document]
    is_list: bool
    source: str
    target: str
    alternatives: int
    model: str | None

    @property
    def lines(self) -> list[str]:
        """The lines of all texts."""
        return [line for text in self.texts for line in text.lines]


async def fields_of(request: Request, limits: RequestLimits) -> Fields:
    """The fields of a request: of its JSON object, or of its form and its query.

    Raises:
        Refused: the body is too large, or nothing that can be read.
    """
    kind = request.headers.get("content-type", "")
    body = await _body(request, limits.body_bytes)
    bare = kind.partition(";")[0].strip().lower()
    if bare == "application/json" or (bare.startswith("application/") and bare.endswith("+json")):
        return _of_json(body)
    pairs = list(request.query_params.multi_items())
    if bare == "multipart/form-data":
        pairs += _of_parts(body, kind)
    elif bare == "application/x-www-form-urlencoded":
        pairs += _of_form(body)
    elif body and not pairs:
        raise Refused(415, "Invalid request: send JSON with Content-Type: application/json")
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: each if len(each) > 1 else each[0] for name, each in values.items()}


def asked(fields: Fields, limits: RequestLimits) -> Asked:
    """What the fields of a request ask to translate.

    Raises:
        Refused: a field is missing or cannot be used, or there is more text than may be.
    """
    given = fields.get("q")
    if not given:
        raise _missing("q")
    is_list = isinstance(given, list)
    texts = [_text(each, "q") for each in (given if is_list else [given])]
    source, target = (_word(fields, name) for name in ("source", "target"))
    if source is None:
        raise _missing("source")
    if target is None:
        raise _missing("target")
    form = _word(fields, "format") or "text"
    if form not in FORMATS:
        raise Refused(400, f"{form} format is not supported")
    _check_size(len(texts), limits.texts, "texts")
    _check_size(sum(map(len, texts)), limits.chars, "characters")
    documents = [FORMATS[form](text) for text in texts]
    number = sum(max(1, len(sentences(line))) for each in documents for line in each.lines)
    _check_size(number, limits.sentences, "sentences")
    wanted = _number(fields.get("alternatives"))
    return Asked(documents, is_list, source, target, wanted, _word(fields, "model"))


def one_line(fields: Fields, limits: RequestLimits) -> str:
    """The only text of a request, which is a line.

    Raises:
        Refused: there is none, it has several lines, or it is longer than a text may be.
    """
    if not fields.get("q"):
        raise _missing("q")
    text = _text(fields["q"], "q")
    _check_size(len(text), limits.chars, "characters")
    if len(plain(text).lines) > 1:
        raise Refused(400, "Invalid request: q must be one line")
    return text


async def _body(request: Request, most: int) -> bytes:
    """The body of a request, which is read no further than it may be long."""
    too_large = Refused(
        413, f"Invalid request: the body exceeds the limit of {most} bytes", {"connection": "close"}
    )
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length[:20]) > most:
        raise too_large
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise too_large
    except ClientDisconnect:
        raise Refused(400, "Invalid request: the body ends early") from None
    return body


def _of_json(body: bytes) -> Fields:
    try:
        value = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise Refused(400, "Invalid JSON format") from None
    if not isinstance(value, dict):
        raise Refused(400, "Invalid JSON format: send an object")
    return value


def _of_form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise Refused(400, "Invalid request: not a form in UTF-8") from None


def _of_parts(body: bytes, kind: str) -> list[tuple[str, str]]:
    """The fields of a form as browsers send those with `FormData`."""
    head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1", errors="replace")
    try:
        parts = BytesParser().parsebytes(head + body).get_payload()
    except RecursionError:  # forms within forms
        raise Refused(400, "Invalid request: not a form") from None
    if not isinstance(parts, list):
        raise Refused(400, "Invalid request: not a form")
    pairs: list[tuple[str, str]] = []
    for part in parts:
        assert isinstance(part, Message), "a form has parts, whatever is in them"
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes):
            continue
        try:
            pairs.append((name, content.decode()))
        except UnicodeDecodeError:
            raise Refused(400, "Invalid request: a field is not in UTF-8") from None
    return pairs


def _text(value: object, name: str) -> str:
    """A text without halves of characters and without control characters."""
    if not isinstance(value, str):
        raise Refused(400, f"Invalid request: {name} must be text, or a list of texts")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Refused(
            400, f"Invalid request: {name} has half of a surrogate pair at {error.start}"
        ) from None
    if (match := _CONTROL.search(value)) is not None:
        raise Refused(
            400,
            f"Invalid request: {name} has the control character U+{ord(match[0]):04X} at "
            f"{match.start()}; remove it",
        )
    return value


def _word(fields: Fields, name: str) -> str | None:
    """A field that holds a word; None where it is missing or empty."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Refused(400, f"Invalid request: {name} must be text")
    return _text(value, name)


def _number(value: object) -> int:
    """How many alternatives are wanted."""
    if value is None or value == "":
        return 0
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise Refused(400, "Invalid request: alternatives must be a number, 0 or more")
    return min(int(text), MAX_ALTERNATIVES)


def _check_size(size: int, most: int, what: str) -> None:
    if size > most:
        raise Refused(400, f"Invalid request: request ({size}) exceeds text limit ({most} {what})")


def _missing(name: str) -> Refused:
    return Refused(400, f"Invalid request: missing {name} parameter")
