"""Where does a student come from? Told from the identities of all that it was made of.

An identity is what the plan of a study and the record of an artifact both hold, so a student is
described alike, whether its configuration is at hand or nothing but the storage.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kdray.artifacts import Key

Lookup = Callable[[str], Key | None]
"""What has a fingerprint, if that is known."""
NOT_STATED = "not stated"
_TEXTS = ("corpus", "noise", "added")
_WAYS = ("encoded", "corpus", "start", "trunk")
"""Inputs that lead from a model to the text that it learned."""


@dataclass(frozen=True, slots=True)
class About:
    """What the card of a model says of its origin. Plain data.

    Attributes:
        name: of the student in its study, or its fingerprint, or its folder.
        fingerprint: of the student.
        src_lang, tgt_lang: the languages, as the corpus calls them.
        corpus: what the text is, in words.
        licence: of the text.
        teacher: what the teacher is, in words.
        method: the recipe of the method, its kind among it.
        training: the recipe of the training.
        seed: of the training.
    """

    name: str
    fingerprint: str = ""
    src_lang: str = ""
    tgt_lang: str = ""
    corpus: str = NOT_STATED
    licence: str = NOT_STATED
    teacher: str = NOT_STATED
    method: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None


def about_student(
    student: Key,
    lookup: Lookup,
    *,
    name: str = "",
    licence: str = "",
    languages: tuple[str, str] | None = None,
) -> About:
    """Describe a student by what it is and what it was made of.

    Licence and languages are those of its text, where its configuration is at hand.
    """
    corpora = list(corpora_of(student, lookup))
    recipe = student.recipe
    text = corpora[-1].recipe if corpora else {}
    of_text = (str(text.get("src_lang", "")), str(text.get("tgt_lang", "")))
    src_lang, tgt_lang = languages or of_text
    return About(
        name=name or student.fingerprint,
        fingerprint=student.fingerprint,
        src_lang=src_lang,
        tgt_lang=tgt_lang,
        corpus="; ".join(map(_of_text, reversed(corpora))) or NOT_STATED,
        licence=licence or NOT_STATED,
        teacher=_teacher(student, lookup),
        method=recipe.get("method", {}),
        training=recipe.get("training", {}),
        seed=recipe.get("seed"),
    )


def corpora_of(student: Key, lookup: Lookup) -> Iterator[Key]:
    """The texts that a student learned from: with noise or additions first, the plain one last."""
    place: Key | None = student
    while place is not None:
        if place.stage in _TEXTS:
            yield place
        way = next((place.inputs[name] for name in _WAYS if name in place.inputs), None)
        place = None if way is None else lookup(way)


def _of_text(text: Key) -> str:
    recipe = text.recipe
    match text.stage:
        case "noise":
            return f"noise on {recipe['rate']:.0%} of the words ({recipe['side']})"
        case "added":
            return "text in one language beside the pairs"
    if recipe.get("kind") == "generated":
        return (
            f"generated from a grammar with seed {recipe['seed']}, {recipe['train_pairs']} pairs "
            f"before cleaning (`corpus/{text.fingerprint}`)"
        )
    languages = f"{recipe.get('src_lang', '?')} to {recipe.get('tgt_lang', '?')}"
    return f"sentence pairs from files, {languages} (`corpus/{text.fingerprint}`)"


def _teacher(student: Key, lookup: Lookup) -> str:
    """The teacher whose signals were learned, in words."""
    direct = [student.inputs[name] for name in ("teacher", "initial") if name in student.inputs]
    stored = [
        signal.inputs["teacher"]
        for fingerprint in student.inputs.values()
        if (signal := lookup(fingerprint)) is not None and "teacher" in signal.inputs
    ]
    names = list(dict.fromkeys([*direct, *stored]))
    way = student.inputs.get("start") or student.inputs.get("trunk")
    before = None if way is None else lookup(way)
    if not names and before is not None:
        return _teacher(before, lookup)
    return "; ".join(_shape(name, lookup) for name in names) or "none: the references alone"


def _shape(fingerprints: str, lookup: Lookup) -> str:
    """A teacher by its fingerprint, or an ensemble by those of its members."""
    described = []
    for fingerprint in fingerprints.split("+"):
        model = lookup(fingerprint)
        shape = None if model is None else model.recipe.get("model")
        told = ""
        if isinstance(shape, Mapping):
            layers = f"{shape['encoder_layers']} + {shape['decoder_layers']} layers"
            told = f" ({layers}, width {shape['width']})"
        described.append(f"`{fingerprint}`{told}")
    return " and ".join(described)
