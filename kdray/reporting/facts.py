"""What a report says of a study besides its measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdray.cell import Point
from kdray.measures.measure import Measures


@dataclass(frozen=True)
class ScenarioFacts:
    """What the translations of one scenario are compared with, and how."""

    refs: Mapping[str, Sequence[str]]  # split -> references; its order is the report's
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
    bootstrap_samples: int
    scenarios: Mapping[Point, ScenarioFacts]  # in the order of the report
    notes: Sequence[str] = ()  # e.g. students that failed, and why
    complexity: Measures = field(default_factory=dict)  # of the scenarios, as far as measured
    sharing: str = ""  # what students of several lengths share of their training, if there are
