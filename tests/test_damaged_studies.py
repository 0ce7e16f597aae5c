"""A finished study whose files are damaged: each is named before anything is made or reported."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from micro_study import CONFIG

from kdray.artifacts import RECORD, VERIFIED
from kdray.config.experiment import Experiment
from kdray.errors import ArtifactDamaged, DataError
from kdray.fit.worker import Worker
from kdray.pipeline import run_report, run_study
from kdray.plan.step import STUDENT
from kdray.progress import Display
from kdray.runner.models import planned_training
from kdray.runner.study import Study, open_study
from kdray.schema import Column
from kdray.storage.record import new_record
from kdray.teacher.hypotheses import FILE
from kdray.text.sequences import read_table, write_table

# The study that is damaged ran on Ray.
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def storage(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setattr(Study, "start_ray", lambda study: pytest.fail("something is made"))
    shutil.copytree(undisturbed, tmp_path / "runs")
    return tmp_path / "runs"


def opened(storage, **options):
    raw = yaml.safe_load(CONFIG)
    raw["execution"] |= {"storage": str(storage), "tracking": {"enabled": False}}
    return open_study(Experiment.model_validate(raw), Display(), **options)


def published(storage):
    records = storage.glob(f"*/*/{RECORD}")
    return sorted(p for record in records for p in record.parent.rglob("*") if p.is_file())


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture
def tables(storage):
    """The translations, and what gives each the pair_id of its neighbour."""
    path = min(storage.glob(f"hypotheses/*/*/{FILE}"))

    def rotate():
        table = read_table(path)
        place = table.schema.get_field_index(Column.PAIR_ID)
        rotated = pa.array(np.roll(table[Column.PAIR_ID].to_numpy(), 1))
        size, rows = path.stat().st_size, table.set_column(place, Column.PAIR_ID, rotated)
        write_table(path.with_suffix(".new"), rows)
        path.with_suffix(".new").replace(path)
        assert path.stat().st_size == size

    return path, rotate


def test_a_flipped_bit_in_any_published_file_is_named(storage):
    files = published(storage)
    assert len(files) > 36
    with opened(storage) as study:
        run_study(study)
        for file in files:
            good = file.read_bytes()
            flip(file)
            with pytest.raises(ArtifactDamaged) as caught:
                run_study(study)
            assert str(caught.value).startswith(str(file.parent)), file
            assert f"remove the folder {storage}/" in str(caught.value)
            file.write_bytes(good)
        run_study(study)


@pytest.mark.parametrize("name", ["scores.json", "history.jsonl", "test-generated.parquet",
                                  "dev.beam-2.txt", RECORD])  # fmt: skip
@pytest.mark.parametrize("how", ["emptied", "cut", "gone"])
def test_what_a_report_reads_is_one_message(storage, name, how):
    kept = "scores" if name == RECORD else "*"
    file = sorted(storage.glob(f"{kept}/*/{name}"))[0]
    {"emptied": lambda: file.write_bytes(b""), "gone": file.unlink,
     "cut": lambda: file.write_bytes(file.read_bytes()[:-7])}[how]()  # fmt: skip
    repair = f"remove the folder {file.parent} and run again"
    with opened(storage, only_looks=True) as study, pytest.raises(ArtifactDamaged, match=repair):
        run_report(study, storage / "pages")


def test_a_full_verification_names_all_that_is_damaged(storage):
    with opened(storage) as study:
        study.verify()
        firsts = ("scores.json", f"000000/{FILE}")
        damaged = [path for path in published(storage) if str(path).endswith(firsts)]
        for path in damaged:
            flip(path)
        with pytest.raises(ArtifactDamaged) as caught:
            study.verify()
    assert len(damaged) == len(str(caught.value).splitlines()) == 4
    assert all(f"{path}: its content" in str(caught.value) for path in damaged)


def test_translations_of_the_neighbours_are_found(storage, tables, monkeypatch):
    """The study that began this: a student would have learned them without a word."""
    path, rotate = tables
    with opened(storage) as study:
        (hybrid,) = (s for s in study.plan.of(STUDENT) if s.cell.method == "hybrid")
        shutil.rmtree(study.store.path(hybrid.key))
        rotate()
        with pytest.raises(ArtifactDamaged, match=f"{path}: its content is not what was written"):
            run_study(study)


def test_they_are_found_even_if_their_checksums_agree(storage, tables, tmp_path):
    path, rotate = tables
    folder = path.parents[1]  # of the artifact, in which the table is that of a shard
    rotate()
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).unlink()
    identity = {name: record[name] for name in ("version", "recipe", "inputs")}
    names = record["stage"], record["fingerprint"]
    forged = new_record(*names, identity, folder, record["counts"])
    (folder / RECORD).write_text(json.dumps(forged))
    with opened(storage) as study:
        (hybrid,) = (s for s in study.plan.of(STUDENT) if s.cell.method == "hybrid")
        study.verify()
        with pytest.raises(DataError, match="made of another pair than the one that their pair_id"):
            planned_training(study, hybrid).job.run(Worker(), threads=1)


def test_a_moved_study_is_read_once_and_remembered(storage, tmp_path):
    shutil.rmtree(storage / VERIFIED)
    with opened(storage) as study:
        run_study(study)
        remembered = {path.stem for path in (storage / VERIFIED).iterdir()}
        assert {f"{p.parent.name}-{p.name}" for p in map(Path, storage.glob("*/*"))
                if (p / RECORD).exists()} == remembered  # fmt: skip
