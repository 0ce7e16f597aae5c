"""Text: the corpus, its tokenizer, and its ids. Runs in the driver; nothing here needs Ray."""

from pathlib import Path

from kdray.artifacts import Artifact
from kdray.fit.validation import check_dev
from kdray.schema import Split
from kdray.stages.study import Study
from kdray.text.corpus import build_corpus
from kdray.text.encoded import EncodedSplit, build_encoded
from kdray.text.tokenizer import Tokenizer, build_tokenizer


def make_text(study: Study) -> None:
    """Make corpus, tokenizer and ids, as far as they are missing.

    Raises:
        DataError: dev holds pairs that are too long for a model that is to be trained.
    """
    corpus = _make_corpus(study)
    plan, recipe, store = study.plan, study.recipe, study.store
    if plan.tokenizer is not None:
        config = recipe.tokenizer
        assert config is not None, "the plan has a tokenizer because the recipe has one"
        if not study.is_made(plan.tokenizer):
            study.display.stage("Tokenizer", f"{config.model_type}, {config.vocab_size} pieces")
            store.publish(plan.tokenizer, lambda folder: build_tokenizer(config, corpus, folder))
    tokenizer = Tokenizer.load(students_tokenizer(study))
    if not study.is_made(plan.encoded):
        store.publish(plan.encoded, lambda folder: build_encoded(corpus, tokenizer, folder))
    dev = EncodedSplit.load(study.path(plan.encoded), Split.DEV)
    for model in (*plan.teachers, *plan.students):
        check_dev(dev, model=model.name, max_length=model.model.max_length)
    if not study.is_made(plan.teacher_encoded):
        other = Tokenizer.load(plan.brought[0])  # only a brought teacher has ids of its own
        store.publish(plan.teacher_encoded, lambda folder: build_encoded(corpus, other, folder))


def students_tokenizer(study: Study) -> Path:
    """Folder of the tokenizer that the students use."""
    if study.plan.tokenizer is not None:
        return study.path(study.plan.tokenizer)
    return study.plan.brought[0]


def _make_corpus(study: Study) -> Artifact:
    found = study.store.find(study.plan.corpus)
    if found is not None:
        return found
    config = study.recipe.corpus
    study.display.stage("Corpus", f"{config.src_lang} to {config.tgt_lang}")
    made = study.store.publish(study.plan.corpus, lambda folder: build_corpus(config, folder))
    drops = {reason: n for reason, n in made.counts["drops"].items() if n}
    pairs = ", ".join(f"{split} {n}" for split, n in made.counts["pairs"].items())
    study.display.note(f"pairs: {pairs}")
    if drops:
        study.display.note(f"dropped: {', '.join(f'{why} {n}' for why, n in drops.items())}")
    return made
