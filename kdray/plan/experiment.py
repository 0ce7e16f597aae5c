"""The identity of everything that an experiment makes, known before any of it is made.

A fingerprint depends on the stage's slice of the recipe and on the fingerprints of what it reads,
back to the checksums of the files that were given. So a dry run can tell what is cached, and every
stage knows where its inputs will be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kdray.artifacts import Key, sha256_file
from kdray.config.experiment import Experiment
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.recipe import Recipe
from kdray.config.teacher import BroughtTeacherConfig, TrainedTeacherConfig, members
from kdray.errors import DataError
from kdray.model.storage import WEIGHTS, load_shape
from kdray.plan.initial import Inheritance, plan_inheritance
from kdray.plan.models import TEACHER, ModelPlan, model_key
from kdray.plan.signals import SignalPlan, StudentSignals, plan_signals
from kdray.plan.students import student_plans
from kdray.plan.vocabulary import check_ensemble, check_one_vocabulary, teacher_entries
from kdray.scoring import evaluate
from kdray.text.corpus import corpus_key
from kdray.text.encoded import encoded_key
from kdray.text.tokenizer import Tokenizer, tokenizer_key


@dataclass(frozen=True, slots=True)
class Plan:
    """Keys of all artifacts of an experiment.

    `tokenizer` is None when brought teachers bring it. `teachers` are trained here, `brought` are
    not; at most one of the two has members. `teacher_encoded` differs from `encoded` when teacher
    and students have vocabularies of their own. `inheritance` is what students start from, by
    their size, if that is not random.
    """

    corpus: Key
    tokenizer: Key | None
    encoded: Key
    brought: tuple[Path, ...]
    teachers: tuple[ModelPlan, ...]
    teacher_encoded: Key
    signals: SignalPlan
    inheritance: Mapping[str, Inheritance]
    students: tuple[ModelPlan, ...]

    def teacher_fingerprints(self) -> tuple[str, ...]:
        """What stands for the teachers in the keys of their signals."""
        trained = tuple(model.key.fingerprint for model in self.teachers)
        return trained or tuple(brought_checksum(path) for path in self.brought)


def make_plan(experiment: Experiment, *, all_signals: bool = False) -> Plan:
    """Work out all keys. Reads the given files, to check and to fingerprint them.

    Signals that no method needs are left out, unless all are asked for.

    Raises:
        DataError: a corpus file or a brought teacher cannot be read.
        ConfigError: vocabularies that have to be one are not, more entries are to be kept than
            the vocabulary has, or students cannot start from the teacher.
    """
    recipe = experiment.recipe
    corpus = corpus_key(recipe.corpus)
    teachers = members(recipe.teacher)
    brought = tuple(Path(t.path) for t in teachers if isinstance(t, BroughtTeacherConfig))
    check_ensemble(brought)
    tokenizer = None if recipe.tokenizer is None else tokenizer_key(recipe.tokenizer, corpus)
    own = Tokenizer.load(brought[0]).checksum if tokenizer is None else tokenizer.fingerprint
    encoded = encoded_key(corpus, own)
    teacher_encoded = encoded
    if brought and tokenizer is not None:
        check_one_vocabulary(recipe)
        teacher_encoded = encoded_key(corpus, Tokenizer.load(brought[0]).checksum)
    trained = tuple(
        _teacher_plan(
            config,
            encoded,
            number=number if len(teachers) > 1 else 0,
            bleu_tokenize=recipe.evaluation.bleu_tokenize,
        )
        for number, config in enumerate(teachers, start=1)
        if isinstance(config, TrainedTeacherConfig)
    )
    fingerprints = tuple(t.key.fingerprint for t in trained) or tuple(
        map(brought_checksum, brought)
    )
    signals = plan_signals(
        recipe,
        fingerprints=fingerprints,
        encoded=encoded,
        teacher_encoded=teacher_encoded,
        vocabulary=teacher_entries(recipe, brought),
        all_signals=all_signals,
    )
    inheritance = plan_inheritance(recipe, brought=brought, fingerprints=fingerprints)
    return Plan(
        corpus=corpus,
        tokenizer=tokenizer,
        encoded=encoded,
        brought=brought,
        teachers=trained,
        teacher_encoded=teacher_encoded,
        signals=signals,
        inheritance=inheritance,
        students=tuple(student_plans(recipe, encoded, signals, inheritance)),
    )


def scores_key(recipe: Recipe, plan: Plan, *models: str) -> Key:
    """Identity of the scores of a model with this fingerprint, or of several together."""
    slice_ = recipe.evaluation.model_dump(mode="json", exclude={"bootstrap_samples"})
    inputs = {"model": "+".join(models), "corpus": plan.corpus.fingerprint}
    return Key("scores", evaluate.VERSION, slice_, inputs)


def brought_checksum(folder: Path) -> str:
    """What stands for a brought model: its weights, shape and tokenizer.

    Raises:
        DataError: the folder holds no kdray model.
    """
    shape = load_shape(folder)
    try:
        weights = sha256_file(folder / WEIGHTS)
    except OSError as error:
        raise DataError(
            f"{folder / WEIGHTS}: {error.strerror}; a model needs it beside its shape"
        ) from None
    return f"{weights[:16]}-{shape.tokenizer}"


def _teacher_plan(
    config: TrainedTeacherConfig, encoded: Key, *, number: int, bleu_tokenize: str
) -> ModelPlan:
    method = CrossEntropyConfig(kind="cross_entropy", label_smoothing=config.label_smoothing)
    what = (config.model, method, config.training, config.seed, encoded, StudentSignals())
    key = model_key(*what, bleu_tokenize=bleu_tokenize)
    name = f"{TEACHER}-{number}" if number else TEACHER
    return ModelPlan(name, TEACHER, TEACHER, TEACHER, config.seed, config.model, method,
                     config.training, key)  # fmt: skip
