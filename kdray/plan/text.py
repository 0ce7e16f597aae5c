"""The text of an experiment: its corpus, the tokenizers, and the ids that they make of it."""

from dataclasses import dataclass

from kdray.artifacts import Brought, Key, Source
from kdray.config.recipe import Recipe
from kdray.plan.step import CORPUS, ENCODED, TOKENIZER, Step
from kdray.plan.vocabulary import check_ensemble, check_one_vocabulary
from kdray.scoring.metrics import signature
from kdray.scoring.round_trip import RoundTripJob
from kdray.text.jobs import CorpusJob, EncodingJob, TokenizerJob


@dataclass(frozen=True, slots=True)
class TextPlan:
    """Where text and ids are.

    `teacher_encoded` are ids in the teacher's pieces: the same as `encoded`, unless teacher and
    students have vocabularies of their own.
    """

    corpus: Key
    tokenizer: Source
    encoded: Key
    teacher_encoded: Key
    steps: tuple[Step, ...]


def plan_text(recipe: Recipe, brought: tuple[Brought, ...]) -> TextPlan:
    """Plan corpus, tokenizer and ids; `brought` are the teachers that bring a tokenizer.

    Raises:
        DataError: a corpus file or a brought tokenizer cannot be read.
        ConfigError: vocabularies that have to be one are not.
    """
    check_ensemble(tuple(teacher.path for teacher in brought))
    config, job = recipe.corpus, CorpusJob.of(recipe.corpus)
    detail = f"{config.kind}, {config.src_lang} to {config.tgt_lang}"
    corpus = Step(job, CORPUS, "corpus", "Corpus", detail)
    steps, tokenizer = [corpus], recipe.tokenizer
    if tokenizer is not None:
        detail = f"{tokenizer.model_type}, {tokenizer.vocab_size} pieces"
        made = TokenizerJob(tokenizer, corpus.key)
        steps.append(Step(made, TOKENIZER, "tokenizer", "Tokenizer", detail))
    sources: list[Source] = [steps[-1].key] if tokenizer is not None else []
    sources += brought[:1]
    for source, name in zip(sources, ("ids of train and dev", "ids for the teacher"), strict=False):
        steps.append(Step(EncodingJob(corpus.key, source), ENCODED, name, "Ids"))
    encoded = [step.key for step in steps if step.stage == ENCODED]
    if len(encoded) > 1:
        check_one_vocabulary(recipe)
    bleu = recipe.evaluation.bleu_tokenize
    for source, name in zip(sources, ("round trip", "round trip of the teacher"), strict=False):
        there_and_back = RoundTripJob(corpus.key, source, bleu)
        detail = f"{name}, BLEU {signature(bleu)}"
        steps.append(Step(there_and_back, TOKENIZER, name, "Round trip", detail))
    return TextPlan(corpus.key, sources[0], encoded[0], encoded[-1], tuple(steps))
