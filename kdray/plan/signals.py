"""Which signals an experiment stores, under which fingerprints, and what each method reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kdray.artifacts import Key
from kdray.config.methods.union import SingleMethodConfig, single_methods
from kdray.config.recipe import Recipe
from kdray.config.signals import SignalsConfig
from kdray.config.teacher import EnsembleTeacherConfig
from kdray.errors import ConfigError
from kdray.schema import Form, View
from kdray.teacher import distributions, hypotheses, selection

Selecting = SingleMethodConfig  # of those whose needs have `chosen_among`


@dataclass(frozen=True, slots=True)
class StudentSignals:
    """Keys of what one method reads. `all_hypotheses`: it learns every translation there."""

    hypotheses: Key | None = None
    all_hypotheses: bool = False
    distributions: Mapping[View, tuple[Form, Key]] = field(default_factory=dict)
    online: bool = False
    teachers: tuple[str, ...] = ()

    def inputs(self) -> dict[str, Key]:
        """By the names that stand in a model's record."""
        found = {f"{form} on {view}": key for view, (form, key) in self.distributions.items()}
        return found if self.hypotheses is None else {**found, "hypotheses": self.hypotheses}


@dataclass(frozen=True, slots=True)
class SignalPlan:
    """Keys of all signals of an experiment.

    `recoded` are the translations in the students' pieces, if those are not the teacher's;
    `selections` are choices among the n best, by the canonical form of what chooses.
    """

    config: SignalsConfig
    teachers: tuple[str, ...] = ()
    hypotheses: Key | None = None
    recoded: Key | None = None
    selections: Mapping[Selecting, Key] = field(default_factory=dict)
    distributions: Mapping[tuple[View, Form], Key] = field(default_factory=dict)

    def of(self, method: SingleMethodConfig) -> StudentSignals:
        """What a method reads.

        Raises:
            ConfigError: it is none of the recipe's, and reads what none of those does.
        """
        needs = method.needs()
        best = {view: self.config.best(needs, view) for view in needs.distributions}
        hyps, what = (self.recoded or self.hypotheses) if needs.hypotheses else None, "hypotheses"
        if needs.chosen_among is not None:
            hyps = self.selections.get(choice_of(method))
            what = f"a selection of its own from {needs.hypotheses} hypotheses"
        stored = {view: form for view, form in best.items() if form is not Form.ONLINE}
        lacking = [what] if needs.hypotheses and hyps is None else []
        lacking += [f"{f} on {v}" for v, f in stored.items() if (v, f) not in self.distributions]
        if lacking:
            raise ConfigError(
                f"{method.kind} reads {' and '.join(lacking)}, which no method of the recipe reads"
            )
        online = Form.ONLINE in best.values()
        return StudentSignals(
            hypotheses=hyps,
            all_hypotheses=needs.all_hypotheses,
            distributions={
                view: (form, self.distributions[view, form]) for view, form in stored.items()
            },
            online=online,
            teachers=self.teachers if online else (),
        )


def choice_of(method: Selecting) -> Selecting:
    """The part of a method that decides which hypotheses it learns."""
    return method.model_copy(update={"label_smoothing": 0.0})


def plan_signals(
    recipe: Recipe,
    *,
    fingerprints: tuple[str, ...],
    encoded: Key,
    teacher_encoded: Key,
    vocabulary: int,
    all_signals: bool,
) -> SignalPlan:
    """Keys of the signals that the methods read, or of all that the recipe asks for.

    Raises:
        ConfigError: more entries are to be kept than the vocabulary has.
    """
    config = recipe.signals
    if not fingerprints:
        return SignalPlan(config)
    methods = [single for method in recipe.methods.values() for single in single_methods(method)]
    _check_k(config, vocabulary)
    inputs: dict[str, str] = {
        "teacher": "+".join(fingerprints),
        "encoded": teacher_encoded.fingerprint,
    }
    if isinstance(recipe.teacher, EnsembleTeacherConfig):
        inputs["weights"] = recipe.teacher.weights
    hyps = recoded = None
    if config.hypotheses is not None and (
        all_signals or any(m.needs().hypotheses for m in methods)
    ):
        slice_ = config.hypotheses.model_dump(mode="json")
        hyps = Key("hypotheses", hypotheses.VERSION, slice_, inputs)
        if encoded != teacher_encoded:
            parts = {"hypotheses": hyps.fingerprint, "encoded": encoded.fingerprint}
            recoded = Key("recoded", hypotheses.VERSION, {}, parts)
    choices = {choice_of(m) for m in methods if m.needs().chosen_among is not None}
    read = recoded or hyps
    return SignalPlan(
        config=config,
        teachers=fingerprints,
        hypotheses=hyps,
        recoded=recoded,
        selections={
            choice: Key(
                "selection",
                selection.VERSION,
                choice.model_dump(mode="json", exclude={"label_smoothing"}),
                {"hypotheses": read.fingerprint, "encoded": encoded.fingerprint},
            )
            for choice in sorted(choices, key=repr)
            if read is not None
        },
        distributions={
            (view, form): _distributions_key(config, view, form, inputs, hyps)
            for view, form in _distributions_read(config, methods, all_signals=all_signals)
        },
    )


def _distributions_read(
    config: SignalsConfig, methods: list[SingleMethodConfig], *, all_signals: bool
) -> list[tuple[View, Form]]:
    stored = (View.REFERENCE, View.HYPOTHESIS)
    if all_signals:
        wanted = {(view, form) for view in stored for form in config.forms(view)}
    else:
        wanted = {(v, config.best(m.needs(), v)) for m in methods for v in m.needs().distributions}
    return sorted((view, form) for view, form in wanted if form is not Form.ONLINE)


def _distributions_key(
    config: SignalsConfig, view: View, form: Form, inputs: Mapping[str, str], hyps: Key | None
) -> Key:
    settings = config.distributions(form)
    assert settings is not None, "only stored forms have a key"
    slice_: dict[str, Any] = {
        **settings.model_dump(mode="json", exclude={"on"}),
        "form": str(form),
        "on": str(view),
    }
    read = dict(inputs)
    if view is View.HYPOTHESIS:
        assert hyps is not None, "the config gives no distributions on what is not made"
        read["hypotheses"] = hyps.fingerprint
    return Key("distributions", distributions.VERSION, slice_, read)


def _check_k(config: SignalsConfig, vocabulary: int) -> None:
    if config.topk is not None and config.topk.k > vocabulary:
        raise ConfigError(
            f"recipe.signals.topk.k {config.topk.k} is more than the vocabulary of {vocabulary} "
            "entries holds; lower it"
        )
