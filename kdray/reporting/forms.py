"""The forms in which students leave: what each costs, what it lost, and which one fits a limit.

Dev chooses among forms, as it chooses among methods; tests only show what the choice is worth.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdray.cell import Cell
from kdray.reporting.numbers import NOTHING, listed
from kdray.schema import Split


@dataclass(frozen=True)
class FormFacts:
    """A student in a form, as its export measured it.

    Attributes:
        cell: of the student.
        form: the name that the configuration gives it.
        kind: of the form.
        bleu, chrf: by split; a split that it could not be scored on is left out.
        lost: by how much less BLEU on dev than the student; None if that is not known.
        bytes: on disk.
        latency_p50_ms, latency_p95_ms: of one sentence alone, by one thread.
        sentences_per_second: of many at once.
        memory_bytes: of the process that translates.
        machine: where it was measured, in words.
    """

    cell: Cell
    form: str
    kind: str
    bleu: Mapping[str, float]
    chrf: Mapping[str, float]
    lost: float | None
    bytes: int
    latency_p50_ms: float
    latency_p95_ms: float
    sentences_per_second: float
    memory_bytes: int
    machine: str

    @property
    def name(self) -> str:
        """Student and form."""
        return f"{self.cell} as {self.form}"


@dataclass(frozen=True)
class FormLimits:
    """What a form may cost at most; None: whatever it takes.

    latency_ms: of all but the slowest twentieth of sentences, each alone. bytes: on disk.
    """

    latency_ms: float | None = None
    bytes: float | None = None

    @property
    def words(self) -> str:
        """The limits, in words; empty if there are none."""
        latency = [] if self.latency_ms is None else [f"{self.latency_ms:g} ms"]
        size = [] if self.bytes is None else [f"{megabytes(self.bytes)}"]
        return " and ".join([*latency, *size])

    def admits(self, form: FormFacts) -> bool:
        """Whether a form stays within them."""
        return (self.latency_ms is None or form.latency_p95_ms <= self.latency_ms) and (
            self.bytes is None or form.bytes <= self.bytes
        )


NO_LIMITS = FormLimits()


def take_within(forms: Sequence[FormFacts], limits: FormLimits) -> Iterator[str]:
    """Which form to take within limits, in words; nothing without limits."""
    if not limits.words:
        return
    scored = [form for form in forms if Split.DEV in form.bleu]
    if not scored:
        yield (
            f"Which student fits {limits.words} is not known: no form of one is measured; add "
            "`exports` to the configuration and run the study again."
        )
        return
    admitted = [form for form in scored if limits.admits(form)]
    if not admitted:
        least = min(scored, key=lambda form: _excess(form, limits))
        yield f"No form fits {limits.words}; the nearest is {least.name}, with {_costs(least)}."
        return
    best = max(admitted, key=lambda form: form.bleu[Split.DEV])
    tests = [f"{value:.2f} on {split}" for split, value in best.bleu.items() if split != Split.DEV]
    worth = f"; it has BLEU {listed(tests)}" if tests else ""
    yield (
        f"Within {limits.words} take {best.name}: of the {len(admitted)} forms that fit, of "
        f"{len(scored)}, it has the highest BLEU on dev, {best.bleu[Split.DEV]:.2f}, with "
        f"{_costs(best)}{worth}."
    )
    if len(machines := {form.machine for form in scored}) > 1:
        yield f"The forms were measured on {len(machines)} machines, so their times do not compare."


def _excess(form: FormFacts, limits: FormLimits) -> float:
    """How many times over the limits a form is, at its worst."""
    over = [0.0]
    if limits.latency_ms is not None:
        over.append(form.latency_p95_ms / max(limits.latency_ms, 1e-9))
    if limits.bytes is not None:
        over.append(form.bytes / max(limits.bytes, 1e-9))
    return max(over)


def _costs(form: FormFacts) -> str:
    return f"{form.latency_p95_ms:.1f} ms for a sentence (p95) and {megabytes(form.bytes)}"


FORM_HEADINGS = (
    *("Size", "Method", "Form", "BLEU on dev", "BLEU on tests", "Lost"),
    *("One alone", "p95", "Many at once", "Memory", "On disk"),
)
"""Of a table of forms; the first three name the student and its form."""


def form_cells(form: FormFacts) -> list[str]:
    """The cells of a row of that table, after its names."""
    tests = [f"{value:.2f}" for split, value in form.bleu.items() if split != Split.DEV]
    return [
        f"{form.bleu[Split.DEV]:.2f}" if Split.DEV in form.bleu else NOTHING,
        ", ".join(tests) or NOTHING,
        NOTHING if form.lost is None else f"{form.lost:.2f}",
        f"{form.latency_p50_ms:.1f} ms",
        f"{form.latency_p95_ms:.1f} ms",
        f"{form.sentences_per_second:.0f} /s",
        megabytes(form.memory_bytes),
        megabytes(form.bytes),
    ]


def megabytes(size: float) -> str:
    """Bytes in megabytes, or in kilobytes where that is less than one."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
