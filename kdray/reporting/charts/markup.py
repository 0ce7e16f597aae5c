"""Elements of SVG and HTML as text, escaped, with numbers rounded to a tenth of a pixel."""

import re

from markupsafe import Markup, escape

Attribute = str | float | None
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def element(name: str, *inside: str | Markup, **attributes: Attribute) -> Markup:
    """An element; plain text inside is escaped, markup is not.

    `class_` is the attribute class, `aria_label` is aria-label; one that is None is left out.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    body = "".join(escape(_clean(part)) for part in inside)
    return Markup(f"<{name}{said}>{body}</{name}>" if body else f"<{name}{said}/>")


def joined(*parts: Markup) -> Markup:
    """Several elements, one after another."""
    return Markup("").join(parts)


def pixels(value: float) -> str:
    """A number as short as a tenth of a pixel allows."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def path(points: list[tuple[float, float]], *, closed: bool = False) -> str:
    """The `d` of a line through the points."""
    return "M" + "L".join(f"{pixels(x)} {pixels(y)}" for x, y in points) + ("z" if closed else "")


def _text(value: Attribute) -> str:
    return escape(_clean(value)) if isinstance(value, str) else pixels(value or 0.0)


def _clean(text: str) -> str:
    """Without characters that XML does not allow."""
    return text if isinstance(text, Markup) else _NOT_XML.sub("\ufffd", text)
