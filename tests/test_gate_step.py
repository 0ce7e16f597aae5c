"""The gates that a study reads for its report are those that `kdray gate` prints."""

import json
import math
import shutil

import pytest
import yaml
from micro_study import CONFIG
from typer.testing import CliRunner

from kdray.__main__ import app
from kdray.artifacts import RECORD, Store
from kdray.config.experiment import Experiment
from kdray.errors import InputError
from kdray.fit import gate_job
from kdray.fit.gate_job import FILE, read_rows
from kdray.fit.job import METHOD_WEIGHTS
from kdray.pipeline import run_study
from kdray.plan.experiment import make_plan
from kdray.plan.step import EXPORT, GATES, STAGES, STUDENT
from kdray.progress import Display
from kdray.runner.gate import gate_readings
from kdray.runner.study import open_study

STUDENT_NAME = "nano/hybrid/seed-1"


def experiment(storage=None, **recipe):
    raw = yaml.safe_load(CONFIG)
    raw["recipe"] |= recipe
    if "methods" in recipe:
        del raw["search"]
    raw["execution"]["tracking"] = {"enabled": False}
    if storage is not None:
        raw["execution"]["storage"] = str(storage)
    return Experiment.model_validate(raw)


def invoke(tmp_path, storage, verb, *arguments):
    """What a command prints on standard output."""
    config = tmp_path / "micro.yaml"
    config.write_text(CONFIG)
    done = CliRunner().invoke(
        app, [verb, str(config), *arguments, f"--set=execution.storage={storage}"]
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def test_gates_are_read_of_the_first_seed_and_of_methods_that_have_one():
    methods = {
        "plain": {"kind": "cross_entropy"},
        "fixed": {"kind": "hybrid", "signal": "topk"},
        "later": {
            "kind": "stages",
            "stages": [
                {"method": {"kind": "cross_entropy"}, "updates": 10},
                {"method": {"kind": "hybrid", "signal": "topk"}, "updates": 20},
            ],
        },
    }
    students = yaml.safe_load(CONFIG)["recipe"]["students"] | {"seeds": [7, 3]}
    plan = make_plan(experiment(methods=methods, students=students))
    steps = plan.of(GATES)
    assert [step.name for step in steps] == [
        "gates of nano/fixed/seed-7",
        "gates of nano/later/seed-7",
    ]
    for step in steps:
        assert not any(step.key in each.reads for each in plan.steps)
    assert STAGES.index(GATES) == STAGES.index(EXPORT) - 1


def test_a_study_without_a_gate_reads_none():
    plan = make_plan(experiment(methods={"plain": {"kind": "cross_entropy"}}))
    assert not plan.of(GATES)


def test_its_identity_is_that_of_what_it_reads():
    (step,) = make_plan(experiment()).of(GATES)
    (other,) = make_plan(experiment(signals={"hypotheses": {"beam": 3}, "topk": {"k": 4}})).of(
        GATES
    )
    (same,) = make_plan(experiment(evaluation={"beams": [4]})).of(GATES)
    assert step.key == same.key
    assert step.key.recipe["search"] != other.key.recipe["search"]
    assert step.key.inputs["student"] in {key.fingerprint for key in step.reads}


def test_a_dry_run_shows_it(tmp_path):
    shown = invoke(tmp_path, tmp_path / "runs", "study", "--dry-run")
    assert "\ngates " in shown
    assert "\ngates " not in invoke(tmp_path, tmp_path / "runs", "evaluate", "--dry-run")


@pytest.mark.ray
@pytest.mark.slow
def test_a_study_reads_what_the_command_prints_and_its_report_has_it(tmp_path, undisturbed):
    with open_study(experiment(undisturbed), Display(), only_looks=True) as study:
        (step,) = study.plan.of(GATES)
        rows, counts = read_rows(study.store.fetch(step.key) / FILE), study.store.find(step.key)
        (readings,) = gate_readings(study)
    head, *lines = invoke(tmp_path, undisturbed, "gate", STUDENT_NAME).splitlines()
    assert head.split("\t")[-1] == "source"
    assert len(lines) == len(rows) == 20
    for row, line in zip(rows, lines, strict=True):
        *numbers, source = line.split("\t")
        printed = (row.gate, row.token_loss, row.sentence_loss, row.words, row.entropy)
        assert [float(number) for number in numbers] == pytest.approx(printed, abs=6e-5)
        assert source == row.src
        assert 0 < row.gate < 1
        assert 0 <= row.entropy <= math.log(110)
    assert counts.counts["left_out"] == 0
    told = json.loads((undisturbed / "reports" / "micro" / "results.json").read_text())["gates"]
    assert told == json.loads(json.dumps([readings.to_json()]))
    assert readings.mean == pytest.approx(sum(row.gate for row in rows) / 20, abs=1e-5)
    assert sum(readings.histogram) == 20


@pytest.mark.ray
@pytest.mark.slow
def test_what_cannot_be_read_is_counted_and_what_a_user_brought_is_refused(undisturbed):
    store = Store(undisturbed, only_looks=True)
    (step,) = make_plan(experiment()).of(GATES)
    with step.job.opened(store.fetch, threads=1) as gated:
        pairs = step.job.dev(store.fetch)
        word = pairs[0][0].split()[0]
        long = " ".join([word] * gated.positions)
        everything = [pairs[0], (long, "a"), ("a", long), *pairs[1:]]
        rows, left_out = gated.read_what_fits(everything)
        assert left_out == 2
        assert [row.src for row in rows] == [src for src, _ in pairs]
        with pytest.raises(InputError, match="file, line 2: the source has"):
            gated.read(everything, place="file, line")
        assert gated.read_what_fits([(long, "a")]) == ([], 1)
    assert step.job.dev(store.fetch, most=3) == pairs[:3]


@pytest.mark.ray
@pytest.mark.slow
def test_a_gate_that_cannot_be_read_leaves_the_study_whole(tmp_path, undisturbed, without_ray):
    storage = tmp_path / "runs"
    shutil.copytree(undisturbed, storage)
    with open_study(experiment(storage), Display()) as study:
        (gates,) = study.plan.of(GATES)
        student = next(step for step in study.plan.of(STUDENT) if step.name == STUDENT_NAME)
        counts = study.store.find(student.key).counts
        whole, ignored = tmp_path / "student", shutil.ignore_patterns(RECORD)
        shutil.move(study.store.path(student.key), whole)
        shutil.rmtree(study.store.path(gates.key))

        def broken(folder):
            shutil.copytree(whole, folder, ignore=ignored, dirs_exist_ok=True)
            (folder / METHOD_WEIGHTS).write_bytes(b"no weights")
            return counts

        study.store.publish(student.key, broken)
        findings = run_study(study)
        assert not findings.gates
        assert {row.cell.method for row in findings.results} == {
            "teacher", "cross_entropy", "hybrid"
        }  # fmt: skip
        (note,) = study.notes
        assert METHOD_WEIGHTS in note
        assert findings.page.exists()


def test_what_is_read_of_a_table_of_gates_is_what_was_written(tmp_path):
    rows = [gate_job.GateRow(f"{n} ‡ ", 1 / n, 2.0 * n, 0.0, -1e-30) for n in (1, 3, 7)]
    gate_job.write_rows(tmp_path / FILE, rows)
    assert read_rows(tmp_path / FILE) == rows


def test_a_gate_that_is_the_same_everywhere_correlates_with_nothing():
    rows = [gate_job.GateRow(" ".join("a" * n), 0.5, 1.0, 1.0, 0.1 * n) for n in range(1, 9)]
    found = gate_job.summary(rows)
    assert (found["mean"], found["sd"]) == (0.5, 0)
    assert found["correlation_with_length"] is found["correlation_with_entropy"] is None
    rising = [gate_job.GateRow(row.src, 0.1 * row.words, 1.0, 1.0, -row.entropy) for row in rows]
    found = gate_job.summary(rising)
    assert found["correlation_with_length"] == 1
    assert found["correlation_with_entropy"] == -1
