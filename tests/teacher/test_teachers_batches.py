"""Every kind of teacher that translates in batches has those that its process is told to have."""

import ctranslate2
import pytest
from pegasus_teacher import pegasus_teacher
from sharded import ENCODED, at, fetch, own

from kdray.config.export import CTranslate2Config
from kdray.config.foreign_teachers import CTranslate2TeacherConfig, MarianTeacherConfig
from kdray.config.signals import HypothesesConfig
from kdray.export.forms import write_ctranslate2
from kdray.model import memory
from kdray.model.generate import SearchOptions
from kdray.teacher.budget import Budget
from kdray.teacher.build import build_teacher
from kdray.teacher.making import BatchSize, make_shard
from kdray.teacher.marian import PIECES
from kdray.teacher.shards import ShardPlan
from kdray.teacher.translation import TranslationJob


@pytest.fixture
def model(new_teacher, toy_tokenizers):
    """A kdray model with its tokenizer."""
    tokenizer = toy_tokenizers["joint"]
    folder = new_teacher(seed=1, tokenizer=tokenizer.checksum, src_vocab=tokenizer.src_vocab,
                         vocab=tokenizer.tgt_vocab)  # fmt: skip
    tokenizer.save(folder)
    return folder


def ctranslate2_teacher(model, tokenizer, folder):
    write_ctranslate2(CTranslate2Config(kind="ctranslate2"), model, folder)
    return build_teacher(CTranslate2TeacherConfig(kind="ctranslate2", path=str(folder)), ())


def marian_teacher(model, tokenizer, folder):
    ctranslate2_teacher(model, tokenizer, folder)
    for name in PIECES:
        (folder / name).write_bytes(next(folder.glob("*.model")).read_bytes())
    return build_teacher(MarianTeacherConfig(kind="marian", path=str(folder)), (at(folder),))


def huggingface_teacher(model, tokenizer, folder):
    return pegasus_teacher(model, tokenizer, folder)[1]


KINDS = {
    "own": lambda model, tokenizer, folder: own(model),
    "ctranslate2": ctranslate2_teacher,
    "marian": marian_teacher,
    "huggingface": huggingface_teacher,
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[pytest.mark.slow] if k == "huggingface" else []) for k in KINDS],
)
def test_batches_are_as_wide_as_the_process_may_have_them(
    kind, model, toy_tokenizers, tmp_path, monkeypatch
):
    work, folder = tmp_path / "work", tmp_path / "teacher"
    work.mkdir()
    folder.mkdir()
    teacher = KINDS[kind](model, toy_tokenizers["joint"], folder)
    teacher.prepare(work, fetch, device="cpu")
    engine = teacher.open(fetch, device="cpu", threads=1, work=work)
    seen, translate = [], ctranslate2.Translator.translate_batch

    def noting(translator, *args, max_batch_size, **others):
        seen.append(max_batch_size)
        return translate(translator, *args, max_batch_size=max_batch_size, **others)

    monkeypatch.setattr(ctranslate2.Translator, "translate_batch", noting)
    for tokens in (64, 4096):
        monkeypatch.setattr(memory, "_tokens", tokens)
        engine.translate(["ba de"], SearchOptions())
    assert seen == [64, 4096]


@pytest.mark.slow
def test_the_batches_of_a_teacher_of_text_grow(
    model, toy_tokenizers, toy_corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(memory, "_tokens", memory.START)
    folder, file = tmp_path / "teacher", tmp_path / "budget.json"
    folder.mkdir()
    teacher = ctranslate2_teacher(model, toy_tokenizers["joint"], folder)
    job = TranslationJob(teacher, at(toy_corpus.path), HypothesesConfig(beam=1), ENCODED)
    plan = ShardPlan.open(tmp_path / "shards", rows=350, shard_rows=100)
    build = job.builder(tmp_path, fetch, device="cpu")
    for index in range(2):
        make_shard(plan, index, build, BatchSize(None, Budget.load(file), 1e15, "cpu"), worker="a")
    assert Budget.load(file).speeds.keys() == {1024, 2048}
