"""The text of an experiment: its corpus, its noise, the tokenizers, and the ids that they make."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdray.artifacts import Brought, Key, Source
from kdray.config.recipe import Recipe
from kdray.config.teacher import EnsembleTeacherConfig, TrainedTeacherConfig, members
from kdray.plan.step import CORPUS, ENCODED, TOKENIZER, Step
from kdray.plan.vocabulary import check_ensemble, check_one_vocabulary
from kdray.scoring.metrics import signature
from kdray.scoring.round_trip import RoundTripJob
from kdray.text.jobs import CorpusJob, EncodingJob, NoiseJob, TokenizerJob


@dataclass(frozen=True, slots=True)
class Text:
    """A corpus and its ids.

    `teacher_encoded` are ids in the teacher's pieces: the same as `encoded`, unless teacher and
    students have vocabularies of their own.
    """

    corpus: Key
    encoded: Key
    teacher_encoded: Key


@dataclass(frozen=True, slots=True)
class TextPlan:
    """Where text and ids are.

    The four texts differ in their training pairs alone, and not at all where there is no noise.

    Attributes:
        tokenizer: that of the students. One that is made here learned the clean text.
        clean: the text without noise.
        learned: what students learn.
        taught: what a teacher learns that is trained here.
        translated: what the teacher translates: the sources of `learned`, but as the clean text
            where that has the same, so that all rates share the translations.
    """

    tokenizer: Source
    clean: Text
    learned: Text
    taught: Text
    translated: Text
    steps: tuple[Step, ...]


def plan_text(recipe: Recipe, brought: tuple[Brought, ...]) -> TextPlan:
    """Plan corpus, noise, tokenizer and ids; `brought` are the teachers that bring a tokenizer.

    Raises:
        DataError: a corpus file or a brought tokenizer cannot be read.
        ConfigError: vocabularies that have to be one are not.
    """
    check_ensemble(tuple(teacher.path for teacher in brought))
    config, noise, tokenizer = recipe.corpus, recipe.corpus.noise, recipe.tokenizer
    detail = f"{config.kind}, {config.src_lang} to {config.tgt_lang}"
    corpus = Step(CorpusJob.of(config), CORPUS, "corpus", "Corpus", detail)
    steps = [corpus]
    if noise.rate:
        detail = f"noise {noise.rate:g} on {noise.side}: {', '.join(sorted(noise.operations))}"
        steps.append(Step(NoiseJob(noise, corpus.key), CORPUS, "noise", "Noise", detail))
    learned_corpus = steps[-1].key
    if tokenizer is not None:
        detail = f"{tokenizer.model_type}, {tokenizer.vocab_size} pieces"
        made = TokenizerJob(tokenizer, corpus.key)
        steps.append(Step(made, TOKENIZER, "tokenizer", "Tokenizer", detail))
    sources: list[Source] = [steps[-1].key] if tokenizer is not None else []
    sources += brought[:1]
    names = ("ids of train and dev", "ids for the teacher")
    learned_ids = _encodings(learned_corpus, sources, names)
    clean_ids = _encodings(corpus.key, sources, tuple(f"{name}, clean" for name in names))
    clean, learned = _text(corpus.key, clean_ids), _text(learned_corpus, learned_ids)
    taught = learned if noise.teacher_learns == "noisy" else clean
    translated = clean if _share_translations(recipe) else learned
    steps += learned_ids
    if noise.rate:
        read = _read_by_teacher(recipe, taught, translated)
        steps += [step for step in clean_ids if step.key in read]
    if len(sources) > 1:
        check_one_vocabulary(recipe)
    bleu = recipe.evaluation.bleu_tokenize
    for source, name in zip(sources, ("round trip", "round trip of the teacher"), strict=False):
        there_and_back = RoundTripJob(corpus.key, source, bleu)
        detail = f"{name}, BLEU {signature(bleu)}"
        steps.append(Step(there_and_back, TOKENIZER, name, "Round trip", detail))
    return TextPlan(sources[0], clean, learned, taught, translated, tuple(steps))


def _encodings(corpus: Key, sources: Sequence[Source], names: Sequence[str]) -> list[Step]:
    """The ids that the students' tokenizer and the teacher's make of a corpus."""
    return [
        Step(EncodingJob(corpus, source), ENCODED, name, "Ids")
        for source, name in zip(sources, names, strict=False)
    ]


def _text(corpus: Key, encodings: Sequence[Step]) -> Text:
    return Text(corpus, encodings[0].key, encodings[-1].key)


def _share_translations(recipe: Recipe) -> bool:
    """Whether what the teacher translates, and how, is the same without noise.

    A teacher whose members weigh by perplexity reads the references too.
    """
    noise, teacher = recipe.corpus.noise, recipe.teacher
    reads_refs = isinstance(teacher, EnsembleTeacherConfig) and teacher.weights == "perplexity"
    return noise.side == "target" and noise.teacher_learns == "clean" and not reads_refs


def _read_by_teacher(recipe: Recipe, taught: Text, translated: Text) -> tuple[Key, ...]:
    """The ids from which a teacher is trained, and those from which it reads translations."""
    models = members(recipe.teacher)
    is_trained = any(isinstance(model, TrainedTeacherConfig) for model in models)
    read = (taught.encoded,) if is_trained else ()
    return (*read, translated.teacher_encoded) if models else ()
