"""The text of an experiment: its corpus, the tokenizers, and the ids that they make of it."""

from dataclasses import dataclass

from kdray.artifacts import Brought, Key, Source
from kdray.config.recipe import Recipe
from kdray.plan.step import CORPUS, ENCODED, TOKENIZER, Step
from kdray.plan.vocabulary import check_ensemble, check_one_vocabulary
from kdray.scoring import round_trip
from kdray.scoring.metrics import signature
from kdray.scoring.round_trip import RoundTripJob
from kdray.text.corpus import corpus_key
from kdray.text.encoded import encoded_key
from kdray.text.jobs import CorpusJob, EncodingJob, TokenizerJob
from kdray.text.tokenizer import Tokenizer, tokenizer_key


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
    corpus = corpus_key(recipe.corpus)
    languages = f"{recipe.corpus.src_lang} to {recipe.corpus.tgt_lang}"
    steps = [
        Step(corpus, CORPUS, "corpus", "Corpus", CorpusJob(recipe.corpus),
             detail=f"{recipe.corpus.kind}, {languages}")
    ]  # fmt: skip
    theirs = encoded_key(corpus, Tokenizer.load(brought[0].path).checksum) if brought else None
    config = recipe.tokenizer
    tokenizer: Source
    if config is None:
        assert theirs is not None, "only a brought teacher brings a tokenizer"
        tokenizer, encoded = brought[0], theirs
    else:
        tokenizer = tokenizer_key(config, corpus)
        encoded = encoded_key(corpus, tokenizer.fingerprint)
        pieces = f"{config.model_type}, {config.vocab_size} pieces"
        job = TokenizerJob(config, corpus)
        steps.append(Step(tokenizer, TOKENIZER, "tokenizer", "Tokenizer", job, (corpus,), pieces))
    steps.append(_ids(encoded, "ids of train and dev", EncodingJob(corpus, tokenizer)))
    steps.append(_round_trip(recipe, "round trip", corpus, tokenizer))
    if theirs is not None and config is not None:
        check_one_vocabulary(recipe)
        steps.append(_ids(theirs, "ids for the teacher", EncodingJob(corpus, brought[0])))
        steps.append(_round_trip(recipe, "round trip of the teacher", corpus, brought[0]))
    return TextPlan(corpus, tokenizer, encoded, theirs or encoded, tuple(steps))


def _round_trip(recipe: Recipe, name: str, corpus: Key, tokenizer: Source) -> Step:
    """What the references can score."""
    tokenize = recipe.evaluation.bleu_tokenize
    inputs = {"corpus": corpus.fingerprint, "tokenizer": tokenizer.fingerprint}
    key = Key("round_trip", round_trip.VERSION, {"bleu_tokenize": tokenize}, inputs)
    job = RoundTripJob(corpus, tokenizer, tokenize)
    reads = (corpus, tokenizer) if isinstance(tokenizer, Key) else (corpus,)
    detail = f"{name}, BLEU {signature(tokenize)}"
    return Step(key, TOKENIZER, name, "Round trip", job, reads, detail)


def _ids(key: Key, name: str, job: EncodingJob) -> Step:
    tokenizer = (job.tokenizer,) if isinstance(job.tokenizer, Key) else ()
    return Step(key, ENCODED, name, "Ids", job, (job.corpus, *tokenizer))
