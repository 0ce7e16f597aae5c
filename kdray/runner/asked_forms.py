"""Which forms does a user ask for? Words of a command line as configurations."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from kdray.config.export import SHORT, ExportConfig
from kdray.errors import InputError

Languages = tuple[str, str]
"""Codes of two languages: that of sources, and that of translations."""
_TWO = re.compile(r"([A-Za-z-]{2,12}):([A-Za-z-]{2,12})|([a-z]{2,3})-([a-z]{2,3})")


def forms_of(
    words: Iterable[str], exports: Mapping[str, ExportConfig], languages: Languages | None
) -> dict[str, ExportConfig]:
    """The forms that are asked for, by the names of their folders.

    A word is a name in a study's `exports`, one of `SHORT`, the kind of a package's form, or a form
    as it stands in a configuration, `{kind: …}`. Several may be joined by commas.

    Raises:
        InputError: there is no such form, or its configuration is wrong.
    """
    split = [part for word in words for part in _cut(word)]
    return {name: each for name, each in (_form(word, exports, languages) for word in split)}


def _cut(word: str) -> list[str]:
    """The parts between commas, which stand within a configuration as well."""
    return [word] if "{" in word else [part.strip() for part in word.split(",") if part.strip()]


def _form(
    word: str, exports: Mapping[str, ExportConfig], languages: Languages | None
) -> tuple[str, ExportConfig]:
    if word in exports:
        return word, exports[word]
    raw = _raw(word)
    name = word if word in SHORT else str(raw.get("kind", "form"))
    if raw.get("kind") == "argos" and languages is not None:
        codes = dict(zip(("from_code", "to_code"), languages, strict=True))
        raw = {**codes, **raw}
    try:
        return name, TypeAdapter[Any](ExportConfig).validate_python(raw)
    except ValidationError as error:
        raise _wrong(word, raw, exports, error) from None


def _raw(word: str) -> Mapping[str, Any]:
    """The configuration that a word stands for.

    Raises:
        InputError: it is no YAML.
    """
    if not word.startswith("{"):
        return SHORT.get(word, {"kind": word})
    try:
        value = yaml.safe_load(word)
    except yaml.YAMLError as error:
        told = str(error).splitlines()[0]
        raise InputError(
            f"--to {word}: is no YAML ({told}); write it as in a configuration"
        ) from None
    return value if isinstance(value, dict) else {}


def _wrong(
    word: str, raw: Mapping[str, Any], exports: Mapping[str, ExportConfig], error: ValidationError
) -> InputError:
    """What is wrong with a form, in one message."""
    fault, *_ = error.errors()
    known = ", ".join(dict.fromkeys((*exports, *SHORT)))
    if fault["type"].startswith("union_tag"):
        return InputError(f"--to {word}: there is no such form; there are {known}")
    field = str(fault["loc"][-1])
    if raw.get("kind") == "argos" and field in ("from_code", "to_code"):
        return InputError(
            f"--to {word}: a package of Argos Translate names its languages, and {field} is "
            f"{raw.get(field, 'missing')}; give codes as --languages de-en"
        )
    return InputError(f"--to {word}: {field}: {fault['msg']}; correct it")


def codes_of(languages: str) -> Languages:
    """Two codes, as in `de-en`, or `zh-Hans:en` where a code has a hyphen of its own.

    Raises:
        InputError: they are none.
    """
    found = _TWO.fullmatch(languages)
    if found is None:
        raise InputError(f"--languages {languages}: give two codes, as de-en or zh-Hans:en")
    codes = [code for code in found.groups() if code is not None]
    return codes[0], codes[1]
