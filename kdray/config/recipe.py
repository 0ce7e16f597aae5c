"""The recipe: everything that decides what is computed. It is hashed; the execution is not."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from kdray.config.axes import Axis
from kdray.config.base import Frozen, Name
from kdray.config.budget import EqualUpdatesConfig
from kdray.config.evaluation import EvaluationConfig
from kdray.config.foreign_teachers import ForeignTeacherConfig, HuggingFaceTeacherConfig
from kdray.config.initial import RandomInitialConfig, SizeConfig, chosen_layers
from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.methods.union import (
    BranchConfig,
    MethodConfig,
    StageConfig,
    StagesConfig,
    declared,
    single_methods,
)
from kdray.config.monolingual import DecodedTextConfig
from kdray.config.scores import reads_references
from kdray.config.signals import SignalsConfig
from kdray.config.teacher import (
    BroughtTeacherConfig,
    EnsembleTeacherConfig,
    TeacherConfig,
    TrainedTeacherConfig,
    members,
)
from kdray.config.text import CorpusConfig, TokenizerConfig
from kdray.config.training import StudentsTrainingConfig
from kdray.config.trunks import check_lengths, check_trunk


class StudentsConfig(Frozen):
    """The students: one for each size, method, seed and budget."""

    sizes: dict[Name, SizeConfig] = Field(min_length=1)
    training: StudentsTrainingConfig
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(1,), min_length=1)
    # lengths to compare, in updates, which share a trunk; none: training.updates alone
    budgets: tuple[Annotated[int, Field(ge=1)], ...] = ()

    @property
    def lengths(self) -> tuple[int, ...]:
        """Updates of the runs, the shortest first; with another budget those of the baseline."""
        return tuple(sorted(self.budgets)) or (self.training.updates,)

    @property
    def counts_updates(self) -> bool:
        """Whether all methods make the same updates."""
        return isinstance(self.training.budget, EqualUpdatesConfig)

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat a seed; give each once")
        return self

    @model_validator(mode="after")
    def _budgets_branch(self) -> Self:
        if not self.budgets:
            return self
        if len(set(self.budgets)) != len(self.budgets):
            raise ValueError(f"budgets {list(self.budgets)} repeat a length; give each once")
        if self.training.updates not in self.budgets:
            raise ValueError(
                f"training.updates {self.training.updates} is none of the budgets "
                f"{list(self.budgets)}; set it to the one that a search shall train for"
            )
        if not self.counts_updates:
            raise ValueError(
                f"budgets {list(self.budgets)} are lengths in updates, and with training.budget "
                f"{self.training.budget.kind} methods differ in those; leave one of them out, or "
                "compare several budgets by an axis of students.training.updates"
            )
        check_lengths(self.training, self.budgets, place=f"budgets {list(self.budgets)}")
        return self


BLEU_TOKENIZERS = {
    **dict.fromkeys(("zh", "zho", "chi", "cmn", "yue", "wuu", "lzh"), "zh"),
    **dict.fromkeys(("ja", "jpn"), "ja-mecab"),
    **dict.fromkeys(("ko", "kor"), "ko-mecab"),
}
"""By target language, as sacrebleu's command line chooses; `13a` for all others."""


class Recipe(Frozen):
    """What is computed. It enters fingerprints, but for names, `baseline`, `bootstrap_samples`."""

    corpus: CorpusConfig
    tokenizer: TokenizerConfig | None = None  # None: the tokenizer of the brought teacher
    teacher: TeacherConfig | None = None  # None: only methods that need no teacher
    signals: SignalsConfig = SignalsConfig()
    students: StudentsConfig
    methods: dict[Name, MethodConfig] = Field(min_length=1)
    baseline: str = ""  # the method others are compared to; default: the first one
    evaluation: EvaluationConfig = EvaluationConfig()
    axes: dict[Name, Axis] = Field(default_factory=dict)  # a study of several recipes, see docs
    # full: every combination of the axes; one_at_a_time: the others stay at their first values
    grid: Literal["full", "one_at_a_time"] = "full"
    _given: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _remember(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Keep what was given: at a point of the grid, presets and defaults are filled in anew."""
        recipe = handler(data)
        if isinstance(data, dict) and recipe.axes:
            recipe._given = data
        return recipe

    @property
    def given(self) -> Mapping[str, Any]:
        """What a user has written, without defaults; kept for a recipe with axes alone."""
        return self._given

    @model_validator(mode="before")
    @classmethod
    def _choose_bleu_tokenizer(cls, data: object) -> object:
        """Write out what BLEU takes for words: unless it is set, the target language decides."""
        if not isinstance(data, dict):
            return data
        corpus, evaluation = data.get("corpus"), data.get("evaluation", {})
        if not (isinstance(corpus, dict) and isinstance(evaluation, dict)):
            return data
        if evaluation.get("bleu_tokenize") is not None:
            return data
        language = re.split("[-_]", str(corpus.get("tgt_lang", "")).lower())[0]
        chosen = BLEU_TOKENIZERS.get(language, "13a")
        return {**data, "evaluation": {**evaluation, "bleu_tokenize": chosen}}

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.baseline and self.baseline not in self.methods:
            raise ValueError(
                f"baseline {self.baseline!r} is not a method; there are {', '.join(self.methods)}"
            )
        trained = any(isinstance(m, TrainedTeacherConfig) for m in members(self.teacher))
        brings_one = isinstance(self.teacher, HuggingFaceTeacherConfig) and self.teacher.path
        if self.tokenizer is None and (trained or not (members(self.teacher) or brings_one)):
            raise ValueError(
                "tokenizer is missing; it may be left out only with teachers of kind checkpoint, "
                "which bring their own, and with a folder of kind huggingface that kdray wrote"
            )
        if self.corpus.noise.teacher_learns == "noisy" and not trained:
            raise ValueError(
                "corpus.noise.teacher_learns is noisy, but the study trains no teacher; leave it "
                "at clean, or add a `recipe.teacher` of kind trained"
            )
        weights = self.teacher.weights if isinstance(self.teacher, EnsembleTeacherConfig) else ""
        if weights == "perplexity" and self.corpus.monolingual:
            raise ValueError(
                "an ensemble cannot be weighed by perplexity on monolingual text, which has no "
                "references; weigh uniformly, or leave corpus.monolingual out"
            )
        if self.signals.online and weights == "perplexity":
            raise ValueError(
                "signals.online cannot weigh an ensemble by perplexity, which needs references "
                "beside every prefix; store `hidden` signals, or weigh uniformly"
            )
        self._check_weights()
        for name, score in self.signals.scores.items():
            if reads_references(score):
                self._check_references(f"signals.scores.{name} ({score.kind})")
        for name, method in self.methods.items():
            self.check_method(name, method)
        for name, size in self.students.sizes.items():
            self._check_initial(f"students.sizes.{name}", size)
        return self

    def check_method(self, name: str, method: MethodConfig) -> None:
        """Raise ValueError when a method cannot be trained with what the recipe gives it."""
        for single in single_methods(method):
            try:
                needs = declared(single)
            except ValueError as error:
                raise ValueError(f"methods.{name} ({single.kind}) {error}") from None
            if needs.a_teacher and self.teacher is None:
                raise ValueError(
                    f"methods.{name} ({single.kind}) needs a teacher, but there is no teacher; "
                    "add `recipe.teacher` or use cross_entropy"
                )
            if needs.distributions and isinstance(self.teacher, ForeignTeacherConfig):
                self._check_shared(f"methods.{name} ({single.kind})", self.teacher)
            if needs.one_teacher and isinstance(self.teacher, ForeignTeacherConfig):
                raise ValueError(
                    f"methods.{name} ({single.kind}) looks inside a kdray model, and a teacher of "
                    f"kind {self.teacher.kind} is none; take another method or a kdray teacher"
                )
            if needs.one_teacher and len(members(self.teacher)) > 1:
                raise ValueError(
                    f"methods.{name} ({single.kind}) looks inside one teacher, and the ensemble "
                    f"has {len(members(self.teacher))}; give it a single teacher"
                )
            if isinstance(single, InterpolationConfig):
                self._check_references(f"methods.{name} ({single.kind})")
            try:
                self.signals.check(needs)
            except ValueError as error:
                raise ValueError(f"methods.{name} ({single.kind}) {error}") from None
        if isinstance(method, BranchConfig):
            self._check_branch(f"methods.{name}", method)
        if isinstance(method, StagesConfig):
            if self.students.budgets:
                raise ValueError(
                    f"methods.{name} (stages) has lengths of its own, and students.budgets "
                    f"{list(self.students.budgets)} would replace them; leave one of them out, "
                    "or change the method in the cooldown with kind branch"
                )
            for number, stage in enumerate(method.stages, start=1):
                self._check_stage(f"methods.{name}: stage {number}", stage)

    def _check_shared(self, place: str, teacher: ForeignTeacherConfig) -> None:
        """Raise ValueError when distributions of a teacher are not over the students' pieces."""
        if not isinstance(teacher, HuggingFaceTeacherConfig):
            raise ValueError(
                f"{place} reads the teacher's distributions, but a teacher of kind {teacher.kind} "
                "gives translations alone; take a method that learns from translations, such as "
                "sentence_level, or a kdray teacher"
            )
        if self.tokenizer is not None:
            raise ValueError(
                f"{place} reads the teacher's distributions, which are over the teacher's own "
                "vocabulary, and recipe.tokenizer gives the students another; take a method that "
                "learns from translations, such as sentence_level, or leave recipe.tokenizer out "
                "if the teacher's folder has a tokenizer of kdray"
            )

    def _check_references(self, place: str) -> None:
        """Raise ValueError when translations are compared with references that are not there."""
        texts = self.corpus.monolingual.items()
        if decoded := [name for name, text in texts if isinstance(text, DecodedTextConfig)]:
            raise ValueError(
                f"{place} compares translations with references, which the decoded text "
                f"{', '.join(decoded)} of corpus.monolingual does not have; take multi_hypothesis, "
                "a score that reads none (model, risk, cross_entropy, agreement, or a scorer with "
                "reads_references: false), or leave that text out"
            )

    def _check_weights(self) -> None:
        trainings = {"students.training": self.students.training.source_weights}
        for number, teacher in enumerate(members(self.teacher)):
            if isinstance(teacher, TrainedTeacherConfig):
                trainings[f"teacher {number + 1}"] = teacher.training.source_weights
        known = self.corpus.sources
        for place, weights in trainings.items():
            if unknown := [name for name in weights if name not in known]:
                raise ValueError(
                    f"{place}: source_weights names {', '.join(unknown)}, which is no source of "
                    f"corpus; there are {', '.join(known)}"
                )
            if not any(weights.get(name, 1) for name in known):
                raise ValueError(
                    f"{place}: all source_weights are 0, so nothing is left to learn; raise one"
                )

    def _check_branch(self, place: str, method: BranchConfig) -> None:
        if method.trunk.needs().run_length:
            raise ValueError(
                f"{place}: the updates of its trunk ({method.trunk.kind}) depend on the length of "
                "the run, so it cannot be shared; take another method, or kind stages"
            )
        check_trunk(self.students.training, place=place)
        if self.students.counts_updates:
            check_lengths(self.students.training, self.students.lengths, place=place)

    def _check_stage(self, place: str, stage: StageConfig) -> None:
        if not self.students.counts_updates:
            return  # its length follows from the budget
        try:
            self.students.training.of_stage(stage.updates, stage.schedule)
        except ValidationError as error:
            raise ValueError(f"{place}: {error.errors()[0]['ctx']['error']}") from None

    def _check_initial(self, place: str, size: SizeConfig) -> None:
        kind = size.initial.kind
        if isinstance(size.initial, RandomInitialConfig):
            return
        if self.teacher is None:
            raise ValueError(
                f"{place}: initial {kind} takes weights from a teacher, but there is no teacher; "
                "add `recipe.teacher` or use initial random"
            )
        if isinstance(self.teacher, EnsembleTeacherConfig):
            raise ValueError(
                f"{place}: initial {kind} takes weights from one teacher, and the ensemble has "
                f"{len(self.teacher.members)}; give it a single teacher or use initial random"
            )
        if isinstance(self.teacher, ForeignTeacherConfig):
            raise ValueError(
                f"{place}: initial {kind} takes weights from a kdray model, and a teacher of kind "
                f"{self.teacher.kind} is none; use initial random"
            )
        if isinstance(self.teacher, BroughtTeacherConfig):
            if self.tokenizer is not None:
                raise ValueError(
                    f"{place}: initial {kind} takes the embeddings of the brought teacher, but "
                    "recipe.tokenizer gives the students a vocabulary of their own; leave "
                    "recipe.tokenizer out to share the teacher's, or use initial random"
                )
            return  # its shape is known when its files are read
        try:
            chosen_layers(size, self.teacher.model)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None

    @property
    def baseline_method(self) -> str:
        """Name of the method that differences are taken to."""
        return self.baseline or next(iter(self.methods))
