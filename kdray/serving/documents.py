"""Lines of a text that are translated, and what stands around them: line ends, or HTML's tags."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

_LINE_END = re.compile(r"\r\n|\r|\n")
_KEPT = frozenset({"code", "kbd", "pre", "samp", "script", "style", "textarea", "var"})
"""Elements whose text is none of a language."""
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta",
                   "source", "track", "wbr"})  # fmt: skip
"""Elements without an end."""

Attributes = list[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Document:
    """A text by its lines.

    Attributes:
        lines: what is to be translated.
        around: what stands before the first line, between lines, and behind the last one.
        is_html: whether lines have to be escaped.
    """

    lines: Sequence[str]
    around: Sequence[str]
    is_html: bool = False

    def written(self, lines: Sequence[str]) -> str:
        """The text with other lines."""
        if self.is_html:
            lines = [html.escape(line, quote=False) for line in lines]
        pairs = zip(self.around, [*lines, ""], strict=True)
        return "".join(part for pair in pairs for part in pair)


def plain(text: str) -> Document:
    """A plain text, whose lines end as in Unix."""
    lines = _LINE_END.split(text)
    return Document(lines, ["", *["\n"] * (len(lines) - 1), ""])


def markup(text: str) -> Document:
    """HTML: each text between two tags is a line, so a tag within a sentence cuts it.

    Tags and comments stay as they are, and so does the text of `code`, `script` and the like, and
    of elements with `translate="no"`. What is no HTML at all stays whole.
    """
    cutter = _Cutter(convert_charrefs=True)
    try:
        cutter.feed(text)
        cutter.close()
    except AssertionError:  # of Python's reader, for a declaration that is none: `<![`
        return Document([], [text], is_html=True)
    return cutter.document()


def translations(text: Document, lines: Sequence[list[str]]) -> list[str]:
    """Translations of a text from those of its lines, the best first, none twice.

    Where a line has fewer than others, its last one stands for those that it lacks.
    """
    count = max(map(len, lines), default=1)
    whole = (
        text.written([best[min(rank, len(best) - 1)] for best in lines]) for rank in range(count)
    )
    return list(dict.fromkeys(whole))


class _Cutter(HTMLParser):
    """Takes HTML apart."""

    def __init__(self, *, convert_charrefs: bool) -> None:
        super().__init__(convert_charrefs=convert_charrefs)
        self.parts: list[tuple[bool, str]] = []  # whether it is text, and what it is
        self.kept, self.depth = "", 0  # the element that is left as it is, and how deep in it

    def document(self) -> Document:
        """All that was read."""
        lines: list[str] = []
        around = [""]
        for is_text, part in self.parts:
            if is_text and (words := part.split()):
                before = part[: len(part) - len(part.lstrip())]
                around[-1] += html.escape(before, quote=False)
                lines.append(" ".join(words))
                around.append(html.escape(part[len(part.rstrip()) :], quote=False))
            else:
                around[-1] += part
        return Document(lines, around, is_html=True)

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        """Leave it as it is."""
        self._raw(self.get_starttag_text() or "")
        if tag == self.kept:
            self.depth += 1
        elif not self.kept and _is_kept(tag, attrs):
            self.kept, self.depth = tag, 1

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        """Leave it as it is."""
        self._raw(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        """Leave it as it is."""
        self._raw(f"</{tag}>")
        if tag == self.kept:
            self.depth -= 1
            if not self.depth:
                self.kept = ""

    def handle_data(self, data: str) -> None:
        """Note text, which the parser may give in parts."""
        if self.kept:
            is_code = self.cdata_elem is not None  # of a script: its characters are no references
            self._raw(data if is_code else html.escape(data, quote=False))
        elif self.parts and self.parts[-1][0]:
            self.parts[-1] = (True, self.parts[-1][1] + data)
        else:
            self.parts.append((True, data))

    def handle_comment(self, data: str) -> None:
        """Leave it as it is."""
        self._raw(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        """Leave it as it is."""
        self._raw(f"<!{decl}>")

    def unknown_decl(self, data: str) -> None:
        """Leave it as it is."""
        self._raw(f"<![{data}]>")

    def handle_pi(self, data: str) -> None:
        """Leave it as it is."""
        self._raw(f"<?{data}>")

    def _raw(self, text: str) -> None:
        self.parts.append((False, text))


def _is_kept(tag: str, attrs: Attributes) -> bool:
    """Whether the text of an element is left as it is; one without an end has none."""
    return tag not in _VOID and (tag in _KEPT or ("translate", "no") in attrs)
