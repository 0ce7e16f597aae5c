"""Which signals of the teacher an experiment stores, and what each method reads of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdray.artifacts import Key
from kdray.config.methods.scored import ScoredConfig
from kdray.config.methods.union import (
    MethodConfig,
    Selecting,
    SingleMethodConfig,
    single_methods,
)
from kdray.config.recipe import Recipe
from kdray.config.scores import AgreementScoreConfig, CrossEntropyScoreConfig, ScoreConfig
from kdray.config.signals import SignalsConfig
from kdray.errors import ConfigError
from kdray.fit.assemble import Signals
from kdray.plan.brought import brought_model
from kdray.plan.step import SIGNALS, Job, Step
from kdray.plan.text import TextPlan
from kdray.schema import Form, View
from kdray.teacher.distributions import DistributionJob
from kdray.teacher.engine import Teacher
from kdray.teacher.hypotheses import RecodingJob
from kdray.teacher.scores import ScoreJob
from kdray.teacher.selection import SelectionJob
from kdray.teacher.translation import TranslationJob, check_modes


@dataclass(frozen=True, slots=True)
class SignalPlan:
    """Where all signals of an experiment are.

    `hypotheses` are translations in the students' pieces; `selections` are choices among the n
    best, by the canonical form of what chooses.
    """

    config: SignalsConfig
    teacher: Teacher | None = None
    hypotheses: Key | None = None
    selections: Mapping[Selecting, Key] = field(default_factory=dict)
    distributions: Mapping[tuple[View, Form], Key] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def of(self, method: SingleMethodConfig) -> Signals:
        """What a method reads.

        Raises:
            ConfigError: it is none of the recipe's, and reads what none of those does.
        """
        needs = method.needs()
        best = {view: self.config.best(needs, view) for view in needs.distributions}
        hyps, what = self.hypotheses if needs.hypotheses else None, "hypotheses"
        if needs.chosen_among is not None:
            hyps = self.selections.get(choice_of(method)) if isinstance(method, Selecting) else None
            what = f"a selection of its own from {needs.hypotheses} hypotheses"
        stored = {view: form for view, form in best.items() if form is not Form.ONLINE}
        lacking = [what] if needs.hypotheses and hyps is None else []
        lacking += [f"{f} on {v}" for v, f in stored.items() if (v, f) not in self.distributions]
        if lacking:
            raise ConfigError(
                f"{method.kind} reads {' and '.join(lacking)}, which no method of the recipe reads"
            )
        return Signals(
            hypotheses=hyps,
            all_hypotheses=needs.all_hypotheses,
            distributions={
                view: (form, self.distributions[view, form]) for view, form in stored.items()
            },
        )

    def beside(self, method: SingleMethodConfig) -> Teacher | None:
        """The teacher, if it runs beside the students of a method."""
        needs = method.needs()
        forms = {self.config.best(needs, view) for view in needs.distributions}
        return self.teacher if Form.ONLINE in forms else None


def choice_of(method: Selecting) -> Selecting:
    """The part of a method that decides which hypotheses it learns."""
    return method.model_copy(update={"label_smoothing": 0.0})


def plan_signals(
    recipe: Recipe,
    text: TextPlan,
    teacher: Teacher | None,
    *,
    all_signals: bool,
    also: Sequence[MethodConfig] = (),
) -> SignalPlan:
    """Plan the signals that the methods, and others that are given, read, or all of the recipe.

    Raises:
        ConfigError: the teacher cannot translate in the way that is asked for.
    """
    config, learned, translated = recipe.signals, text.learned, text.translated
    if teacher is None:
        return SignalPlan(config)
    every = (*recipe.methods.values(), *also)
    methods = [single for method in every for single in single_methods(method)]
    steps: list[Step] = []

    def add(job: Job, name: str, heading: str) -> Key:
        steps.append(Step(job, SIGNALS, name, heading))
        return steps[-1].key

    hyps = chosen_from = None
    if config.hypotheses is not None and (
        all_signals or any(m.needs().hypotheses for m in methods)
    ):
        translation = TranslationJob(
            teacher, translated.corpus, config.hypotheses, translated.teacher_encoded
        )
        check_modes(config.hypotheses, teacher)
        hyps = add(translation, "hypotheses", f"Translations, {config.hypotheses.words}")
        chosen_from = hyps
        if not teacher.has_pieces or learned.encoded != learned.teacher_encoded:
            recoding = RecodingJob(hyps, text.tokenizer, translated.encoded)
            what = "in the students' pieces"
            chosen_from = add(recoding, f"hypotheses {what}", f"Translations {what}")
    scores: dict[str, Key] = {}
    read = {by for m in methods if (by := m.needs().scored_by) is not None}
    for score in sorted(config.scores if all_signals else read):
        if chosen_from is not None:
            scoring = _score_job(config.scores[score], chosen_from, translated.corpus)
            scores[score] = add(scoring, f"score {score}", "Scores of translations")
    selections: dict[Selecting, Key] = {}
    for choice in sorted({choice_of(m) for m in methods if isinstance(m, Selecting)}, key=repr):
        if chosen_from is not None:
            by = choice.by if isinstance(choice, ScoredConfig) else choice.similarity
            job = SelectionJob(chosen_from, learned.corpus, choice, learned.encoded, scores.get(by))
            among = f"by {by} among {choice.needs().hypotheses} hypotheses"
            name, heading = f"{choice.kind} {among}", f"Choice for {choice.kind}"
            selections[choice] = add(job, name, heading)
    stored: dict[tuple[View, Form], Key] = {}
    for view, form in _distributions_read(
        config, methods, all_signals=all_signals and teacher.has_pieces
    ):
        kept = config.distributions(form)
        assert kept is not None, "only stored forms are read from storage"
        on_hyps = view is View.HYPOTHESIS
        ids = (translated if on_hyps else learned).teacher_encoded
        distribution = DistributionJob(teacher, ids, hyps if on_hyps else None, kept)
        heading = f"Distributions on {view}, {form}"
        stored[view, form] = add(distribution, f"{form} on {view}", heading)
    return SignalPlan(config, teacher, chosen_from, selections, stored, tuple(steps))


def _score_job(config: ScoreConfig, hyps: Key, corpus: Key) -> ScoreJob:
    """What scores translations.

    Raises:
        DataError: there is no model where the configuration says.
    """
    second = None
    if isinstance(config, CrossEntropyScoreConfig | AgreementScoreConfig):
        second = brought_model(Path(config.path))
    return ScoreJob(hyps, corpus, config, second)


def _distributions_read(
    config: SignalsConfig, methods: Sequence[SingleMethodConfig], *, all_signals: bool
) -> list[tuple[View, Form]]:
    if all_signals:
        wanted = {(v, form) for v in (View.REFERENCE, View.HYPOTHESIS) for form in config.forms(v)}
    else:
        wanted = {(v, config.best(m.needs(), v)) for m in methods for v in m.needs().distributions}
    return sorted((view, form) for view, form in wanted if form is not Form.ONLINE)
