"""Which models does a server translate with, and between which languages?"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdray.cell import TEACHER, within
from kdray.errors import InputError
from kdray.plan.step import Step
from kdray.runner.named_model import model_of_study, named_model
from kdray.serving.models import ServedModel, check_names

if TYPE_CHECKING:
    from kdray.runner.study import Study

Languages = tuple[str, str]
_CODE = r"[A-Za-z]{2,8}(?:_[A-Za-z0-9]+)*"
_PAIR = re.compile(rf"({_CODE})-({_CODE})")


def served_models(
    names: Sequence[str],
    *,
    study: "Study | None",
    storage: str,
    languages: Sequence[str],
    beam: int | None,
    work: Path,
) -> tuple[ServedModel, ...]:
    """The models of these names, each prepared in a folder of its own in `work`.

    A name is that of a folder, of a fingerprint in the storage, or of a model of the study. One
    pair of languages is that of all models, several are of one model each; a model of a study has
    those of its corpus otherwise.

    Raises:
        InputError: there is no such model, or nobody knows its languages.
        DataError: what it is made of is missing or damaged.
    """
    if len(languages) not in (0, 1, len(names)):
        raise InputError(
            f"--languages: {len(languages)} pairs for {len(names)} models; give one for all, or "
            "one for each model in their order"
        )
    pairs: list[Languages | None] = [_pair(each) for each in languages]
    if len(pairs) != len(names):
        pairs = (pairs or [None]) * len(names)
    models = [
        _served(name, study, storage, pair, beam, work / str(number))
        for number, (name, pair) in enumerate(zip(names, pairs, strict=True))
    ]
    check_names(models)
    for model in models:
        model.prepare()
    return tuple(models)


def _served(
    name: str,
    study: "Study | None",
    storage: str,
    pair: Languages | None,
    beam: int | None,
    work: Path,
) -> ServedModel:
    if study is None or Path(name).is_dir():
        if pair is None:
            raise InputError(
                f"{name}: between which languages does it translate? Say so with --languages, as "
                "in --languages de-en; a model that --config knows has those of its corpus"
            )
        found = named_model(name, storage)
        called = Path(name).resolve().name if Path(name).is_dir() else name
        return ServedModel(called, *pair, found.teacher, found.fetch, work, beam or 5)
    evaluation = study.recipe.evaluation
    found = model_of_study(study, name)
    return ServedModel(
        name,
        *(pair or _languages(study, name, found.step)),
        found.teacher,
        found.fetch,
        work,
        beam or evaluation.main_beam,
        evaluation.length_penalty,
        is_teacher=name.rpartition("/")[2] == TEACHER,
    )


def _languages(study: "Study", name: str, step: Step | None) -> Languages:
    """Those of the corpus of the scenario that a student's step, or a teacher, belongs to."""
    if step is not None:
        scenario = study.plan.scenario(step)
    else:
        of_teacher = {within(each.point, TEACHER): each for each in study.plan.scenarios}
        scenario = of_teacher[name]
    corpus = scenario.recipe.corpus
    return corpus.src_lang, corpus.tgt_lang


def _pair(text: str) -> Languages:
    match = _PAIR.fullmatch(text)
    if match is None:
        raise InputError(
            f"--languages {text}: is no pair of languages; write two codes, as in de-en"
        )
    return match[1], match[2]
