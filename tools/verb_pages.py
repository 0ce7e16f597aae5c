"""Writes a page for each verb of the command line, from its help.

python -m tools.verb_pages
"""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from kdray.__main__ import app

FOLDER = Path(__file__).parents[1] / "docs" / "commands"
_MARK = "<!-- written by `make generated` -->"
_VALUES = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}
_INDEX = f"""\
# Commands

{_MARK}

`kdray VERB …` and `python -m kdray.VERB …` are the same. Bad input ends with one message and exit
code 2, work that failed with 1; Ctrl-C and SIGTERM end with 130 and 143.

| verb | what it does |
| --- | --- |
"""

Row = tuple[str, str]
"""How an argument or an option is written, and what it means."""


def verbs() -> dict[str, Callable[..., None]]:
    """The function of each verb."""
    found = [command.callback for command in app.registered_commands]
    return {verb.__name__: verb for verb in found if verb is not None}


def pages() -> dict[str, str]:
    """The text of each page by the name of its file."""
    rows = [f"| [{name}]({name}.md) | {_first(verb)} |\n" for name, verb in verbs().items()]
    index = {"index.md": _INDEX + "".join(rows)}
    return index | {f"{name}.md": page(name, verb) for name, verb in verbs().items()}


def page(name: str, verb: Callable[..., None]) -> str:
    """The page of one verb."""
    arguments: list[Row] = []
    options: list[Row] = []
    hints = get_type_hints(verb, include_extras=True)
    for parameter in inspect.signature(verb).parameters.values():
        kind, info = get_args(hints[parameter.name])[:2]
        if isinstance(info, ArgumentInfo):
            arguments.append((_argument(parameter, info, kind), info.help or ""))
        else:
            assert isinstance(info, OptionInfo), "there is nothing else"
            options.append((_option(parameter, info, kind), info.help or ""))
    given = [*(["[OPTIONS]"] if options else []), *(argument for argument, _ in arguments)]
    usage = " ".join(["kdray", name, *given])
    head = f"# kdray {name}\n\n{_MARK}\n\n{_help(verb)}\n\n```text\n{usage}\n```\n"
    return head + _table("argument", arguments) + _table("option", options)


def _argument(parameter: inspect.Parameter, info: ArgumentInfo, kind: object) -> str:
    name = info.metavar or parameter.name.upper()
    several = "..." if list in _parts(kind) and not name.endswith("...") else ""
    is_needed = parameter.default is inspect.Parameter.empty
    return f"{name}{several}" if is_needed else f"[{name}]{several}"


def _option(parameter: inspect.Parameter, info: OptionInfo, kind: object) -> str:
    first = [info.default] if isinstance(info.default, str) else []  # as Typer keeps it
    names = [*first, *(info.param_decls or ())]
    names = names or [f"--{parameter.name.rstrip('_').replace('_', '-')}"]
    value = next((_VALUES[part] for part in _parts(kind) if part in _VALUES), "")
    value = info.metavar or value
    return ", ".join(f"{name} {value}".strip() for name in names)


def _parts(kind: Any) -> list[Any]:  # noqa: ANN401 (a type expression)
    """The plain types in a type expression; `list` for a list."""
    origin = [list] if getattr(kind, "__origin__", None) is list else []
    inner = [part for each in get_args(kind) for part in _parts(each)]
    return [*origin, *(inner or [kind])]


def _table(kind: str, rows: list[Row]) -> str:
    if not rows:
        return ""
    lines = "".join(f"| `{name}` | {_cell(meaning)} |\n" for name, meaning in rows)
    return f"\n| {kind} | meaning |\n| --- | --- |\n{lines}"


def _help(verb: Callable[..., None]) -> str:
    """The help, each paragraph on a line."""
    paragraphs = re.split(r"\n\s*\n", inspect.getdoc(verb) or "")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _first(verb: Callable[..., None]) -> str:
    """The first sentence of the help."""
    paragraph, *_ = _help(verb).splitlines()
    return re.split(r"(?<=[.:]) ", paragraph)[0].rstrip(":.") + "."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def files() -> Iterator[tuple[Path, str]]:
    """Where each page is, and its text."""
    for name, text in pages().items():
        yield FOLDER / name, text


def write() -> None:
    """Write all pages, and remove those of verbs that are no more."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        path.unlink()
    for path, text in files():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
