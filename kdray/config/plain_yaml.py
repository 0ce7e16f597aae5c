"""Reads YAML as people write it, and refuses what no configuration needs and would break later."""

import re
from pathlib import Path
from typing import Any

import yaml

from kdray.errors import ConfigError

MOST_DEEP, MOST_VALUES, MOST_SHOWN = 50, 100_000, 40
MOST_BYTES = 2**20  # of a configuration: PyYAML reads some ten thousand values a second
_BOOL, _FLOAT, _INT, _TIMESTAMP = (
    f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "timestamp")
)


def parse(text: str) -> Any:  # noqa: ANN401 (whatever YAML holds)
    """The values of a YAML text.

    Raises:
        YAMLError: it is not YAML, or more than a configuration may be; the message names the line.
    """
    return yaml.load(text, Loader=_Loader)


def read_mapping(path: Path, *, what: str, repair: str) -> dict[str, Any]:
    """Read a YAML file whose keys are those of one mapping.

    Args:
        path: of the file.
        what: it should hold, in words.
        repair: what a user may do who gave another file.

    Raises:
        ConfigError: it cannot be read, is not YAML, or holds something else than a mapping.
    """
    try:
        data = parse(read_text(path, repair=repair))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    return a_mapping(data, path, what=what, repair=repair)


def read_text(path: Path, *, repair: str, most: int = MOST_BYTES) -> str:
    """The text of a file of at most so many bytes.

    Raises:
        ConfigError: it cannot be read, is longer, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise ConfigError(f"{path}: is longer than {most / 2**20:g} MiB; {repair}")
        return content.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {repair}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 (byte {error.object[error.start]:#04x} at {error.start}); "
            "save it as UTF-8"
        ) from None


def a_mapping(data: object, path: Path, *, what: str, repair: str) -> dict[str, Any]:
    """What a file holds, which has to be a mapping.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(data, dict):
        content = "nothing" if data is None else type(data).__name__
        raise ConfigError(f"{path}: found {content}, {what} is a mapping of keys; {repair}")
    return data


class _Loader(yaml.SafeLoader):
    """Reads plain words and numbers as YAML 1.2 does, and refuses what no configuration needs.

    In YAML 1.1, which PyYAML reads, the key `on` and the language `no` are booleans, 3e-4 is text,
    010 is eight, and 3:20 two hundred. Duplicate keys, deep nesting, aliases that multiply,
    integers of more than 64 bits, and text that no file can be named by are YAMLErrors that name
    the line.
    """

    depth = 0

    yaml_implicit_resolvers = {  # noqa: RUF012 (the base class's own name and form)
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _INT, _TIMESTAMP)
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:  # noqa: ANN401
        """Raise ComposerError at a value that is nested too deep."""
        if self.depth > MOST_DEEP:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _composer_error(f"nested deeper than {MOST_DEEP} levels", mark)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        """Raise ComposerError at an alias that stands for itself, or makes too many values."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401
        """Raise ConstructorError, whatever PyYAML's own functions raise, and at unusable values."""
        try:
            value = super().construct_object(node, deep=deep)
            if isinstance(value, str):
                value.encode()
        except (ValueError, ArithmeticError, LookupError, AttributeError):
            tag = node.tag.rpartition(":")[2]
            raise _constructor_error(f"{_shown(node)} is not usable as {tag}", node) from None
        if isinstance(value, str) and "\0" in value:
            raise _constructor_error(f"{_shown(node)} holds a NUL character", node)
        if isinstance(value, int) and value.bit_length() > 63:
            raise _constructor_error(f"{_shown(node)} has more than 64 bits", node)
        return value

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 (PyYAML's own)
        """Raise ComposerError at a duplicate key."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                raise _composer_error(f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(name)
        return node


def _composer_error(problem: str, mark: Any) -> yaml.YAMLError:  # noqa: ANN401 (PyYAML's Mark)
    return yaml.composer.ComposerError(None, None, problem, mark)


def _constructor_error(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _shown(node: yaml.Node) -> str:
    """The beginning of a value, as it is written."""
    text = str(node.value)
    return ascii(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "...")


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, with those of its aliases; raises at too many.

    Anchors stand before their aliases, so what an alias stands for is known, or is being counted.
    """
    if id(node) not in known:
        known[id(node)] = 0
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        known[id(node)] = 1 + sum(_count(each, known) for each in inner)
    if not 0 < known[id(node)] <= MOST_VALUES:
        many = f"more than {MOST_VALUES} values" if known[id(node)] else "itself"
        raise _composer_error(f"a value that stands for {many}", node.start_mark)
    return known[id(node)]


_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"),
                              list("tTfF"))  # fmt: skip
_Loader.add_implicit_resolver(_FLOAT, re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
                              list("-+.0123456789"))  # fmt: skip
_Loader.add_implicit_resolver(_INT, re.compile(r"^(?:[-+]?\d+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
                              list("-+0123456789"))  # fmt: skip
_Loader.add_constructor(_INT, lambda _, node: int(node.value, 0 if node.value[1:2] in "ox" else 10))
