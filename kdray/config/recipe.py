"""The recipe: everything that decides what is computed. It is hashed; the execution is not."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from kdray.config.base import Frozen, Name
from kdray.config.methods import MethodConfig
from kdray.config.model import ModelConfig
from kdray.config.teacher import BroughtTeacherConfig, SignalsConfig, TeacherConfig
from kdray.config.text import CorpusConfig, TokenizerConfig
from kdray.config.training import TrainingConfig


class StudentsConfig(Frozen):
    """The students: one for each size, method and seed."""

    sizes: dict[Name, ModelConfig] = Field(min_length=1)
    training: TrainingConfig
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(1,), min_length=1)

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat a seed; give each once")
        return self


class EvaluationConfig(Frozen):
    """How translations are made and scored. Dev chooses; test is scored once, at the end."""

    # the last one is the main score
    beams: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(default=(1, 5), min_length=1)
    length_penalty: float = Field(default=1.0, ge=0)
    bleu_tokenize: str = "13a"  # sacrebleu's name; `none` for text that is tokenised already
    bootstrap_samples: int = Field(default=1000, ge=100)


class Recipe(Frozen):
    """What is computed. Every field enters some stage's fingerprint."""

    corpus: CorpusConfig
    tokenizer: TokenizerConfig | None = None  # None: the tokenizer of the brought teacher
    teacher: TeacherConfig | None = None  # None: only methods that need no teacher
    signals: SignalsConfig = SignalsConfig()
    students: StudentsConfig
    methods: dict[Name, MethodConfig] = Field(min_length=1)
    baseline: str = ""  # the method others are compared to; default: the first one
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.baseline and self.baseline not in self.methods:
            raise ValueError(
                f"baseline {self.baseline!r} is not a method; there are {', '.join(self.methods)}"
            )
        if self.tokenizer is None and not isinstance(self.teacher, BroughtTeacherConfig):
            raise ValueError(
                "tokenizer is missing; it may be left out only with a teacher of kind checkpoint, "
                "which brings its own"
            )
        for name, method in self.methods.items():
            self.check_method(name, method)
        return self

    def check_method(self, name: str, method: MethodConfig) -> None:
        """Raise ValueError when a method needs a signal that the teacher does not store."""
        stored = frozenset() if self.teacher is None else self.signals.stored()
        missing = method.needs() - stored
        if missing and self.teacher is None:
            raise ValueError(
                f"methods.{name} ({method.kind}) needs {_names(missing)}, but there is no teacher; "
                "add `recipe.teacher` or use cross_entropy"
            )
        if missing:
            raise ValueError(
                f"methods.{name} ({method.kind}) needs {_names(missing)}, but the teacher stores "
                f"{_names(stored) or 'nothing'}; widen `recipe.signals`"
            )
        temperature = getattr(method, "temperature", None)  # None: it reads no distributions
        distributions = self.signals.distributions
        if distributions and temperature not in (None, *distributions.temperatures):
            raise ValueError(
                f"methods.{name} ({method.kind}) uses temperature {temperature:g}, but the teacher "
                f"stores {list(distributions.temperatures)}; add it to "
                "`recipe.signals.distributions.temperatures`"
            )

    @property
    def baseline_method(self) -> str:
        """Name of the method that differences are taken to."""
        return self.baseline or next(iter(self.methods))


def _names(signals: frozenset[str]) -> str:
    return ", ".join(sorted(str(signal) for signal in signals))
