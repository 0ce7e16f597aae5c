"""Which signals of the teacher an experiment stores, and what each method reads of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdray.artifacts import Key
from kdray.config.methods.interpolation import InterpolationConfig
from kdray.config.methods.multi_hypothesis import MultiHypothesisConfig
from kdray.config.methods.union import SingleMethodConfig, single_methods
from kdray.config.recipe import Recipe
from kdray.config.signals import SignalsConfig
from kdray.config.teacher import EnsembleTeacherConfig
from kdray.errors import ConfigError
from kdray.fit.assemble import Signals
from kdray.plan.step import SIGNALS, Job, Step
from kdray.plan.text import TextPlan
from kdray.schema import Form, View
from kdray.teacher import distributions, hypotheses, selection
from kdray.teacher.distributions import DistributionJob
from kdray.teacher.engine import Teacher
from kdray.teacher.hypotheses import RecodingJob, TranslationJob
from kdray.teacher.selection import SelectionJob

Selecting = InterpolationConfig | MultiHypothesisConfig


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
    recipe: Recipe, text: TextPlan, teacher: Teacher | None, *, all_signals: bool
) -> SignalPlan:
    """Plan the signals that the methods read, or all that the recipe asks for.

    Raises:
        ConfigError: more entries are to be kept than the vocabulary has.
    """
    config = recipe.signals
    if teacher is None:
        return SignalPlan(config)
    methods = [single for method in recipe.methods.values() for single in single_methods(method)]
    planner = _Planner(recipe, text, teacher)
    hyps = chosen_from = None
    if config.hypotheses is not None and (
        all_signals or any(m.needs().hypotheses for m in methods)
    ):
        hyps = planner.translations()
        shared = teacher.has_pieces and text.encoded == text.teacher_encoded
        chosen_from = hyps if shared else planner.recoded(hyps)
    choices = {choice_of(m) for m in methods if isinstance(m, Selecting)}
    selections = {
        choice: planner.selection(choice, chosen_from)
        for choice in sorted(choices, key=repr)
        if chosen_from is not None
    }
    read = _distributions_read(config, methods, all_signals=all_signals and teacher.has_pieces)
    return SignalPlan(
        config=config,
        teacher=teacher,
        hypotheses=chosen_from,
        selections=selections,
        distributions={place: planner.distributions(*place, hyps) for place in read},
        steps=tuple(planner.steps),
    )


class _Planner:
    """Collects steps while it plans one signal after another."""

    def __init__(self, recipe: Recipe, text: TextPlan, teacher: Teacher) -> None:
        self.recipe, self.text, self.teacher = recipe, text, teacher
        self.steps: list[Step] = []
        read = text.teacher_encoded if teacher.has_pieces else text.corpus
        self.inputs = {"teacher": "+".join(teacher.fingerprints), read.stage: read.fingerprint}
        if isinstance(recipe.teacher, EnsembleTeacherConfig):
            self.inputs["weights"] = recipe.teacher.weights

    def translations(self) -> Key:
        """The teacher's translations, in its own pieces."""
        config = self.recipe.signals.hypotheses
        assert config is not None, "the caller has looked"
        key = Key("hypotheses", hypotheses.VERSION, config.model_dump(mode="json"), self.inputs)
        job = TranslationJob(self.teacher, self.text.corpus, config)
        return self._add(key, "hypotheses", f"Translations, beam {config.beam}", job)

    def recoded(self, hyps: Key) -> Key:
        """The same in the students' pieces."""
        inputs = {"hypotheses": hyps.fingerprint, "encoded": self.text.encoded.fingerprint}
        key = Key("recoded", hypotheses.VERSION, {}, inputs)
        name = "hypotheses in the students' pieces"
        return self._add(key, name, "Translations in the students' pieces",
                         RecodingJob(hyps, self.text.tokenizer), hyps)  # fmt: skip

    def selection(self, choice: Selecting, hyps: Key) -> Key:
        """A choice among the n best."""
        recipe = choice.model_dump(mode="json", exclude={"label_smoothing"})
        inputs = {"hypotheses": hyps.fingerprint, "encoded": self.text.encoded.fingerprint}
        key = Key("selection", selection.VERSION, recipe, inputs)
        name = f"{choice.kind} by {choice.similarity} among {choice.needs().hypotheses} hypotheses"
        job = SelectionJob(hyps, self.text.corpus, choice)
        return self._add(key, name, f"Choice for {choice.kind}", job, hyps)

    def distributions(self, view: View, form: Form, hyps: Key | None) -> Key:
        """The teacher's distributions on one view, in one form."""
        config = self.recipe.signals.distributions(form)
        assert config is not None, "only stored forms have a key"
        recipe: dict[str, Any] = {
            **config.model_dump(mode="json", exclude={"on"}),
            "form": str(form),
            "on": str(view),
        }
        read = hyps if view is View.HYPOTHESIS else None
        inputs = self.inputs | ({"hypotheses": read.fingerprint} if read else {})
        key = Key("distributions", distributions.VERSION, recipe, inputs)
        job = DistributionJob(self.teacher, self.text.teacher_encoded, read, config)
        return self._add(key, f"{form} on {view}", f"Distributions on {view}, {form}", job, read)

    def _add(self, key: Key, name: str, heading: str, job: Job, read: Key | None = None) -> Key:
        sources = (*self.teacher.sources, self.text.corpus, self.text.teacher_encoded, read)
        reads = tuple(source for source in sources if isinstance(source, Key))
        self.steps.append(Step(key, SIGNALS, name, heading, job, reads))
        return key


def _distributions_read(
    config: SignalsConfig, methods: Sequence[SingleMethodConfig], *, all_signals: bool
) -> list[tuple[View, Form]]:
    if all_signals:
        wanted = {(v, form) for v in (View.REFERENCE, View.HYPOTHESIS) for form in config.forms(v)}
    else:
        wanted = {(v, config.best(m.needs(), v)) for m in methods for v in m.needs().distributions}
    return sorted((view, form) for view, form in wanted if form is not Form.ONLINE)
