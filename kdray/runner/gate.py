"""The gates of the students of a study: of one that is asked for, and those in its report."""

from pathlib import Path

import torch

from kdray.errors import InputError
from kdray.fit.gate_job import FILE, GateJob, read_rows
from kdray.fit.sentence_gates import GateRow, read_pairs
from kdray.plan.gates import gate_job
from kdray.plan.step import GATES, STUDENT
from kdray.reporting.gates import GateReadings
from kdray.runner.study import Study


def read_gates(study: Study, student: str, file: Path | None) -> tuple[list[GateRow], int]:
    """Gates of the sentences of a file (source, tab, reference), or of dev, in their order.

    -> and how many pairs of dev are left out, since student or teacher cannot read them.

    Raises:
        InputError: there is no such student, it is not made yet, or it has no gate; the file
            cannot be read, or a line of it lacks the reference that the method reads or is
            longer than the models can read.
    """
    job, fetch = _job(study, student), study.store.fetch
    with job.opened(fetch, threads=torch.get_num_threads()) as gated:
        if file is not None:
            return gated.read(read_pairs(file), place=f"{file}, line"), 0
        return gated.read_what_fits(job.dev(fetch))


def gate_readings(study: Study) -> list[GateReadings]:
    """What is made of the gates that the report shows, in the order of the plan."""
    readings: list[GateReadings] = []
    for step in study.plan.of(GATES):
        artifact = study.store.find(step.key)
        if artifact is None:
            continue
        assert step.cell is not None, "it is that of the student"
        rows, counts = read_rows(study.store.fetch(step.key) / FILE), artifact.counts
        readings.append(
            GateReadings(
                cell=step.cell,
                left_out=counts["left_out"],
                rows=[(row.words, row.entropy, row.gate) for row in rows],
                mean=counts["mean"],
                sd=counts["sd"],
                correlations={
                    "length": counts["correlation_with_length"],
                    "entropy": counts["correlation_with_entropy"],
                },
            )
        )
    return readings


def _job(study: Study, student: str) -> GateJob:
    """What reads the gate of a student that is made.

    Raises:
        InputError: there is no such student, it is not made yet, or it has no gate.
    """
    students = {step.name: step for step in study.plan.of(STUDENT)}
    if student not in students:
        raise InputError(f"{student}: no such student; there are {', '.join(students)}")
    step = students[student]
    if not study.is_made(step.key):
        raise InputError(
            f"{student}: not trained yet; run `python -m kdray.train` with the same configuration"
        )
    scenario = study.plan.scenario(step)
    job = gate_job(scenario.recipe, scenario.text, scenario.teacher, step)
    if job is None:
        raise InputError(f"{student}: {step.kind} has no gate; name a student by a hybrid")
    return job
