"""Which model does a user mean: a folder, a fingerprint in a storage, or a name in a study?"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kdray.artifacts import Brought, Fetch, Key, Source, Store, keys_among
from kdray.cell import TEACHER, within
from kdray.errors import InputError
from kdray.plan.brought import brought_model
from kdray.plan.step import STUDENT
from kdray.storage.record import RECORD, damaged, parsed, record_in
from kdray.storage.remote import remote_storage
from kdray.teacher.engine import Teacher
from kdray.teacher.own import OwnModels

if TYPE_CHECKING:
    from kdray.runner.study import Study

_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_MODELS = "model"  # the stage of trained models: the folder of a storage that holds them


def named_model(name: str, storage: str) -> tuple[Teacher, Fetch]:
    """The model in a folder, or with a fingerprint in a storage; and what gives its files.

    Raises:
        InputError: there is no such model.
        DataError: the folder holds none, or its parts do not belong together.
        ArtifactDamaged: it is not what was written.
    """
    if Path(name).is_dir():
        return OwnModels((_brought(Path(name)),)), _own_folder
    if not _FINGERPRINT.fullmatch(name):
        raise InputError(
            f"{name}: neither the folder of a model nor a fingerprint of 16 hexadecimal digits; a "
            "student's name, as nano/hybrid/seed-1, needs --config with the file of its study"
        )
    store = Store.open(storage, only_looks=True)
    key = _key_of(store, name)
    assert store.find(key) is not None, "its record was read"
    return OwnModels((key,)), store.fetch


def model_of_study(study: "Study", name: str) -> Teacher:
    """A student of a study by its name or fingerprint, or its teacher.

    Raises:
        InputError: there is no such model, or it is not made yet.
    """
    models = dict(_models(study))
    if name not in models:
        shown = [each for each in models if not _FINGERPRINT.fullmatch(each)]
        raise InputError(f"{name}: no such model; there are {', '.join(shown)}")
    missing = [key for key in keys_among(*models[name].sources) if not study.is_made(key)]
    if missing:
        raise InputError(
            f"{name}: not trained yet; run `python -m kdray.train` with the same configuration"
        )
    return models[name]


def _models(study: "Study") -> Iterator[tuple[str, Teacher]]:
    """All that can be named, by its names."""
    for scenario in study.plan.scenarios:
        if scenario.teacher is not None:
            yield within(scenario.point, TEACHER), scenario.teacher
    for step in study.plan.of(STUDENT):
        for name in (step.name, step.key.fingerprint):
            yield name, OwnModels((step.key,))


def _brought(folder: Path) -> Brought:
    if (folder / "model" / "model.bin").is_file() or (folder / "model.bin").is_file():
        raise InputError(
            f"{folder}: is a student in CTranslate2's form, which lacks what kdray knows of it; "
            "name the student itself, whose fingerprint is in the record.json of its export"
        )
    return brought_model(folder)


def _own_folder(source: Source) -> Path:
    assert isinstance(source, Brought), "a brought model reads nothing else"
    return source.path


def _key_of(store: Store, fingerprint: str) -> Key:
    """What a trained model is, from its record.

    Raises:
        InputError: there is none.
        ArtifactDamaged: its record is that of another one.
    """
    place = f"{_MODELS}/{fingerprint}"
    if store.remote is not None:
        content = remote_storage(store.remote).read(f"{place}/{RECORD}")
    else:
        content = record_in(store.root / place)
    record = None if content is None else parsed(content)
    if record is None:
        raise InputError(
            f"{fingerprint}: no such model in {store.location}; the report of a study and "
            "--dry-run list the fingerprints, --storage names the place"
        )
    key = Key(record["stage"], record["version"], record["recipe"], record["inputs"])
    if key.place != place:
        raise damaged(f"{store.location}/{place}", f"/{RECORD}: is that of {key.place}")
    return key
