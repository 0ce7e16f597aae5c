"""What a report says of a study besides its measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from kdray.cell import Point
from kdray.measures.measure import Measures
from kdray.reporting.forms import NO_LIMITS, FormFacts, FormLimits
from kdray.reporting.numbers import listed
from kdray.text.prefix import split_references

STUDIES = "study"
"""The axis of several studies in one report."""


@dataclass(frozen=True)
class Segment:
    """One line of an evaluation set, as a model was given it and is compared with it."""

    src: str
    ref: str  # what comes after the prefix, if one is given


@dataclass(frozen=True, eq=False)
class SplitText:
    """An evaluation set: source and reference of each line. Two are equal if they are one."""

    src: Sequence[str]
    refs: Sequence[str]
    rarity: Sequence[float] = ()  # of each source's words, in bits; empty: not known

    def segments(self, share: float = 0.0) -> list[Segment]:
        """The lines that are scored if models are given a share of each reference."""
        return _segments(self, share)

    def rows(self, share: float = 0.0) -> list[int]:
        """Where these lines stand in the whole set."""
        return [part.row for part in split_references(self.refs, share)]


@lru_cache(maxsize=256)  # for the tables of all points that share a text
def _segments(text: SplitText, share: float) -> list[Segment]:
    parts = split_references(text.refs, share)
    return [Segment(text.src[part.row], part.continuation) for part in parts]


@dataclass(frozen=True)
class ScenarioFacts:
    """What the translations of one scenario are compared with, and how."""

    texts: Mapping[str, SplitText]  # by split; its order is the report's
    bleu_tokenize: str


@dataclass(frozen=True)
class StudyFacts:
    """Everything around the results. Mappings hold JSON values, nested as deep as needed."""

    name: str
    recipe: Mapping[str, Any]  # as in the configuration file, defaults written out
    corpus: Mapping[str, Any]  # counts, drops by reason, overlap with dev and test
    fingerprints: Mapping[str, str]  # stage -> fingerprint
    versions: Mapping[str, str]  # package -> version
    baseline: str  # name of the method that differences are taken to
    main_beam: int  # the beam that the verdict speaks of
    budget: str  # under which budget the students are compared, as a clause
    bootstrap_samples: int
    scenarios: Mapping[Point, ScenarioFacts]  # in the order of the report
    axes: Mapping[str, Mapping[str, float] | None] = field(default_factory=dict)
    """Of each axis the places of its values by their labels; None: they have no order."""
    notes: Sequence[str] = ()  # e.g. students that failed, and why
    complexity: Measures = field(default_factory=dict)  # of the scenarios, as far as measured
    sharing: str = ""  # what students of several lengths share of their training, if there are
    forms: Sequence[FormFacts] = ()  # of students, as far as they are exported
    limits: FormLimits = NO_LIMITS  # within which a form is to be named

    @property
    def machines(self) -> str:
        """Where forms were measured, in words."""
        return listed(list(dict.fromkeys(form.machine for form in self.forms)))
