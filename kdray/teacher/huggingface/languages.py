"""How the languages of a translation are said to a model of each kind.

NLLB, M2M100 and mBART-50 have a tag on the source, which their tokenizer adds, and one that each
translation is made to begin with. Multilingual OPUS-MT models have `>>xxx<<`, and MADLAD `<2xx>`,
before the source. T5 has a task in words there, and Pegasus has nothing.
"""

import difflib
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdray.config.foreign_teachers import HuggingFaceTeacherConfig
from kdray.errors import ConfigError, DataError

_TAG = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")  # of NLLB


@dataclass(frozen=True, slots=True)
class Languages:
    """What is put before each source as text, and the ids that each translation begins with.

    never: ids of tags, which no translation has otherwise.
    """

    before: str = ""
    forced: tuple[int, ...] = ()
    never: frozenset[int] = frozenset()


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401
    """The tokenizer of a folder. No code of the folder is run.

    Raises:
        DataError: a file of it is missing or damaged.
    """
    from transformers import AutoTokenizer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Marian's asks for a package that it does not use
            return AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # of several packages, it may be anything
        raise DataError(
            f"{folder}: its tokenizer cannot be read: {type(error).__name__}: {error}; copy its "
            "files again"
        ) from None


def languages_of(tokenizer: Any, model_type: str, config: HuggingFaceTeacherConfig) -> Languages:  # noqa: ANN401
    """What a configuration's languages mean to a model; its tokenizer tags sources from now on.

    Raises:
        ConfigError: the model needs a language that is not given, or has none that could be given.
        DataError: it lacks the language, or is of a kind whose languages are not known.
    """
    if model_type in ("m2m_100", "mbart"):
        return _tagged(tokenizer, config)
    left, right = {"marian": (">>", "<<"), "t5": ("<2", ">"), "mt5": ("<2", ">")}.get(
        model_type, ("", "")
    )
    if config.src_lang:
        raise ConfigError(
            f"recipe.teacher.src_lang {config.src_lang}: a {model_type} model is not told the "
            "language of its sources; leave it out"
        )
    pattern = re.compile(f"{left}(.+){right}")
    vocabulary = source_vocabulary(tokenizer).items() if left else ()
    names = {tag[1]: i for token, i in vocabulary if (tag := pattern.fullmatch(token))}
    if not config.tgt_lang and not names:
        return Languages(config.before_source)
    if not names:
        raise ConfigError(
            f"recipe.teacher.tgt_lang {config.tgt_lang}: this {model_type} model has no tags of "
            "languages; leave it out"
        )
    if not config.tgt_lang:
        raise ConfigError(
            f"recipe.teacher.tgt_lang: is missing; the teacher translates into {_shown(names)}"
        )
    _id_of(config.tgt_lang, names, key="tgt_lang")
    before = f"{left}{config.tgt_lang}{right} {config.before_source}"
    of_source = getattr(tokenizer, "separate_vocabs", False)  # then tags are no target pieces
    return Languages(before, never=frozenset(() if of_source else names.values()))


def source_vocabulary(tokenizer: Any) -> Mapping[str, int]:  # noqa: ANN401
    """Tokens of the source with their ids; Marian's own mapping, which may be of one side alone."""
    vocabulary: Mapping[str, int] = getattr(tokenizer, "encoder", None) or tokenizer.get_vocab()
    return vocabulary


def tags_of(tokenizer: Any) -> Mapping[str, int]:  # noqa: ANN401
    """The languages of a tokenizer that tags, with the ids of their tags."""
    known: Mapping[str, int] | None = getattr(tokenizer, "lang_code_to_id", None)
    if known:
        return known
    return {name: i for name, i in tokenizer.get_vocab().items() if _TAG.fullmatch(name)}


def _tagged(tokenizer: Any, config: HuggingFaceTeacherConfig) -> Languages:  # noqa: ANN401
    names = tags_of(tokenizer)
    if not names or not hasattr(tokenizer, "src_lang"):
        raise DataError(
            f"recipe.teacher: its tokenizer ({type(tokenizer).__name__}) has no tags of languages "
            "that are known; bring the model with the tokenizer of NLLB, M2M100 or mBART-50"
        )
    for key in ("src_lang", "tgt_lang"):
        if not getattr(config, key):
            raise ConfigError(
                f"recipe.teacher.{key}: is missing; the teacher knows {_shown(names)}"
            )
    if type(tokenizer).__name__.startswith("MBartTokenizer"):
        raise DataError(
            "recipe.teacher: is an mBART of 25 languages, which is not supported; bring an mBART-50"
        )
    _id_of(config.src_lang, names, key="src_lang")
    forced = _id_of(config.tgt_lang, names, key="tgt_lang")
    tokenizer.src_lang = config.src_lang
    return Languages(config.before_source, (forced,), frozenset(names.values()))


def _id_of(name: str, names: Mapping[str, int], *, key: str) -> int:
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise DataError(
        f"recipe.teacher.{key} {name}: the teacher lacks this language; it has "
        f"{_shown(names)}{hint}"
    )


def _shown(names: Collection[str]) -> str:
    few = ", ".join(sorted(names)[:12])
    return few if len(names) <= 12 else f"{few} and {len(names) - 12} more"
