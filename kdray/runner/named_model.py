"""Which model does a user mean: a folder, a fingerprint in a storage, or a name in a study?"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdray.artifacts import Brought, Fetch, Key, Source, Store, keys_among
from kdray.cell import TEACHER, within
from kdray.errors import InputError
from kdray.plan.brought import brought_model
from kdray.plan.step import STUDENT, Step
from kdray.teacher.engine import Teacher
from kdray.teacher.own import OwnModels

if TYPE_CHECKING:
    from kdray.runner.study import Study

CHAMPION = "champion"
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_MODEL = "model"  # the stage of trained models: the folder of a storage that holds them
_BEFORE = ("corpus", "noise", "added", "encoded", "hypotheses", "distributions", "converted")
"""Stages of what models are made of."""


@dataclass(frozen=True)
class NamedModel:
    """A model that a user named.

    Attributes:
        teacher: the model, which translates.
        fetch: gives its files, and those of what it was made of.
        lookup: what has a fingerprint at the place where it was found, if anything has.
        step: of the plan of its study, which was named as well.
        store: the storage of its study, or the one that it was found in.
    """

    teacher: Teacher
    fetch: Fetch
    lookup: Callable[[str], Key | None] = lambda fingerprint: None
    step: Step | None = None
    store: Store | None = None


def named_model(name: str, storage: str) -> NamedModel:
    """The model in a folder, or with a fingerprint in a storage.

    Raises:
        InputError: there is no such model.
        DataError: the folder holds none, or its parts do not belong together.
        ArtifactDamaged: it is not what was written.
    """
    if Path(name).is_dir():
        return NamedModel(OwnModels((_brought(Path(name)),)), _own_folder)
    if not _FINGERPRINT.fullmatch(name):
        raise InputError(
            f"{name}: neither the folder of a model nor a fingerprint of 16 hexadecimal digits; a "
            "student's name, as nano/hybrid/seed-1, needs --config with the file of its study"
        )
    store = Store.open(storage, only_looks=True)
    key = store.named(name, (_MODEL,))
    if key is None:
        raise InputError(
            f"{name}: no such model in {store.location}; the report of a study and "
            "--dry-run list the fingerprints, --storage names the place"
        )
    assert store.find(key) is not None, "its record was read"
    stages = (_MODEL, "trunk", *_BEFORE)
    return NamedModel(
        OwnModels((key,)), store.fetch, lambda each: store.named(each, stages), store=store
    )


def model_of_study(study: "Study", name: str) -> NamedModel:
    """A student of a study by its name or fingerprint, its champion, or its teacher.

    Raises:
        InputError: there is no such model, or it is not made yet.
    """
    models = dict(_models(study))
    if name.endswith(CHAMPION):
        models |= _champions(study)
    if name not in models:
        shown = [each for each in (*models, CHAMPION) if not _FINGERPRINT.fullmatch(each)]
        shown = list(dict.fromkeys(shown))
        raise InputError(f"{name}: no such model; there are {', '.join(shown)}")
    teacher, step = models[name]
    missing = [key for key in keys_among(*teacher.sources) if not study.is_made(key)]
    if missing:
        raise InputError(
            f"{name}: not trained yet; run `python -m kdray.train` with the same configuration"
        )
    keys = {each.key.fingerprint: each.key for each in study.plan.steps}
    return NamedModel(teacher, study.store.fetch, keys.get, step, study.store)


_Models = Iterator[tuple[str, tuple[Teacher, Step | None]]]


def _models(study: "Study") -> _Models:
    """All that can be named, by its names."""
    for scenario in study.plan.scenarios:
        if scenario.teacher is not None:
            yield within(scenario.point, TEACHER), (scenario.teacher, None)
    for step in study.plan.of(STUDENT):
        for name in (step.name, step.key.fingerprint):
            yield name, (OwnModels((step.key,)), step)


def _champions(study: "Study") -> dict[str, tuple[Teacher, Step | None]]:
    """The champions of a study, by their names.

    Raises:
        InputError: no student is scored.
    """
    from kdray.runner.champion import named_champions

    found = named_champions(study)
    if not found:
        raise InputError(
            f"{CHAMPION}: no student of {study.experiment.name} is scored on dev; run `python -m "
            "kdray.evaluate` with the same configuration"
        )
    return {name: (OwnModels((step.key,)), step) for name, step in found.items()}


def _brought(folder: Path) -> Brought:
    if (folder / "model" / "model.bin").is_file() or (folder / "model.bin").is_file():
        raise InputError(
            f"{folder}: is a student in CTranslate2's form, which lacks what kdray knows of it; "
            "name the student itself, whose fingerprint is in the record.json of its export"
        )
    return brought_model(folder)


def _own_folder(source: Source) -> Path:
    assert isinstance(source, Brought), "a brought model reads nothing else"
    source.files.prove()
    return source.path
