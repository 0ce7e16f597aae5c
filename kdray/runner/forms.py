"""What the exports of a study's students have measured, for its report."""

from collections.abc import Iterator, Mapping
from typing import Any

from kdray.export.measure import student_loss
from kdray.plan.exports import form_name
from kdray.plan.step import EXPORT
from kdray.reporting.forms import FormFacts
from kdray.runner.study import Study


def form_facts(study: Study) -> Iterator[FormFacts]:
    """Each form of each student that is made and could be measured, in the order of the plan."""
    for step in study.plan.of(EXPORT):
        artifact = study.store.find(step.key)
        measured: Mapping[str, Any] = {} if artifact is None else artifact.counts["measured"]
        if (cost := measured.get("cost")) is None:
            continue
        assert step.cell is not None, "an export is of a student"
        scored = {split: row for split, row in measured["scores"].items() if "bleu" in row}
        machine = cost["machine"]
        yield FormFacts(
            cell=step.cell,
            form=form_name(step),
            kind=measured["form"]["kind"],
            bleu={split: row["bleu"] for split, row in scored.items()},
            chrf={split: row["chrf"] for split, row in scored.items()},
            lost=student_loss(measured["scores"], measured["of_student"]),
            bytes=measured["bytes"],
            latency_p50_ms=cost["latency_p50_ms"],
            latency_p95_ms=cost["latency_p95_ms"],
            sentences_per_second=cost["sentences_per_second"],
            memory_bytes=cost["memory_bytes"],
            machine=f"{machine['processor']}, {machine['cores']} cores, {machine['system']}",
        )
