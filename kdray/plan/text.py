"""The text of an experiment: its corpus, its noise, the tokenizers, and the ids that they make."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdray.artifacts import Brought, Key, Source
from kdray.config.monolingual import BackTranslatedTextConfig
from kdray.config.recipe import Recipe
from kdray.config.signals import HypothesesConfig
from kdray.config.teacher import EnsembleTeacherConfig, TrainedTeacherConfig, members
from kdray.config.text import CorpusConfig, GeneratedCorpusConfig
from kdray.plan.brought import brought_model
from kdray.plan.step import CORPUS, ENCODED, TOKENIZER, Step
from kdray.plan.vocabulary import check_ensemble, check_one_vocabulary
from kdray.scoring.metrics import signature
from kdray.scoring.round_trip import RoundTripJob
from kdray.teacher.added import AddedJob
from kdray.teacher.own import OwnModels
from kdray.teacher.translation import TranslationJob
from kdray.text.jobs import CorpusJob, EncodingJob, NoiseJob, SentencesJob, TokenizerJob


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

    The texts differ in their training pairs alone, and not at all without noise and added text.

    Attributes:
        tokenizer: that of the students. One that is made here learned the clean text.
        clean: the text without noise, and without text that was added in one language.
        learned: what students learn.
        taught: what a teacher learns that is trained here.
        translated: what the teacher translates: the sources of `learned`, but as the text without
            noise where that has the same, so that all rates share the translations.
        measured: `learned`, but the clean text where some of that has no references.
    """

    tokenizer: Source
    clean: Text
    learned: Text
    taught: Text
    translated: Text
    measured: Text
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
    steps = [corpus, *_added(config, corpus.key)]
    whole_corpus = steps[-1].key
    if noise.rate:
        detail = f"noise {noise.rate:g} on {noise.side}: {', '.join(sorted(noise.operations))}"
        steps.append(Step(NoiseJob(noise, whole_corpus), CORPUS, "noise", "Noise", detail))
    learned_corpus = steps[-1].key
    if tokenizer is not None:
        detail = f"{tokenizer.model_type}, {tokenizer.vocab_size} pieces"
        made = TokenizerJob(tokenizer, corpus.key)
        steps.append(Step(made, TOKENIZER, "tokenizer", "Tokenizer", detail))
    sources: list[Source] = [steps[-1].key] if tokenizer is not None else []
    sources += brought[:1]
    names = ("ids of train and dev", "ids for the teacher")
    learned_ids = _encodings(learned_corpus, sources, names)
    whole_ids = _encodings(whole_corpus, sources, tuple(f"{name}, no noise" for name in names))
    clean_ids = _encodings(corpus.key, sources, tuple(f"{name}, clean" for name in names))
    clean, learned = _text(corpus.key, clean_ids), _text(learned_corpus, learned_ids)
    taught = learned if noise.teacher_learns == "noisy" else clean
    translated = _text(whole_corpus, whole_ids) if _share_translations(recipe) else learned
    measured = clean if config.monolingual else learned
    by_teacher = _read_by_teacher(recipe, taught, translated)
    read = (*by_teacher, measured.encoded, measured.teacher_encoded)
    steps += learned_ids
    for others in (clean_ids, whole_ids):
        there = [step.key for step in steps]
        steps += [step for step in others if step.key in read and step.key not in there]
    if len(sources) > 1:
        check_one_vocabulary(recipe)
    bleu = recipe.evaluation.bleu_tokenize
    for source, name in zip(sources, ("round trip", "round trip of the teacher"), strict=False):
        there_and_back = RoundTripJob(corpus.key, source, bleu)
        detail = f"{name}, BLEU {signature(bleu)}"
        steps.append(Step(there_and_back, TOKENIZER, name, "Round trip", detail))
    return TextPlan(sources[0], clean, learned, taught, translated, measured, tuple(steps))


def _added(config: CorpusConfig, corpus: Key) -> Iterator[Step]:
    """The steps of text in one language, of which the last makes a corpus with all of it.

    Raises:
        DataError: a file or a model of it cannot be read.
    """
    if isinstance(config, GeneratedCorpusConfig) or not config.monolingual:
        return
    translations: dict[str, tuple[Key, Key]] = {}
    for name, text in config.monolingual.items():
        if isinstance(text, BackTranslatedTextConfig):
            sentences = SentencesJob.of(config, name, corpus)
            model = brought_model(Path(text.model))
            yield Step(sentences, CORPUS, f"sentences of {name}", "Sentences", is_goal=False)
            beam = HypothesesConfig(beam=text.beam)
            ids = EncodingJob(sentences.key, model).key
            translation = TranslationJob(OwnModels((model,)), sentences.key, beam, ids)
            heading = f"Back-translation of {name}"
            yield Step(translation, CORPUS, heading.lower(), heading, is_goal=False)
            translations[name] = (sentences.key, translation.key)
    added = AddedJob.of(config, corpus, translations)
    detail = f"with {', '.join(config.monolingual)}"
    yield Step(added, CORPUS, "added text", "Added text", detail)


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
    """The ids from which a teacher is trained, and those from which it reads translations.

    A teacher reads ids if it is of kdray's own, or of another tool and shares its vocabulary with
    the students, who then have no tokenizer of their own.
    """
    models = members(recipe.teacher)
    is_trained = any(isinstance(model, TrainedTeacherConfig) for model in models)
    read = (taught.encoded,) if is_trained else ()
    return (*read, translated.teacher_encoded) if models or recipe.tokenizer is None else read
