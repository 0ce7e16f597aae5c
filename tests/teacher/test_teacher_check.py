"""What is seen of a teacher of another tool before it decodes, and which one is refused."""

import dataclasses
import json
import math
import pickle
import re
import shutil
import sys

import pytest
import tiny_models
from pegasus_teacher import pegasus_teacher
from safetensors.torch import load_file, save_file
from sharded import at, fetch

from kdray.config.foreign_teachers import CommandTeacherConfig, HuggingFaceTeacherConfig
from kdray.errors import DataError
from kdray.jobs import NOTES
from kdray.teacher.build import build_teacher
from kdray.teacher.check import FILE, CheckJob, scripts, text_objections
from kdray.teacher.engine import Translation
from kdray.teacher.huggingface.against_torch import compare, objections
from kdray.teacher.huggingface.conversion import ConversionJob
from kdray.teacher.huggingface.folder import Origin
from kdray.teacher.huggingface.loading import load_torch
from kdray.teacher.huggingface.teacher import HuggingFaceTeacher

SRC = [f"Quelle Nummer {i} ist ein Satz mit {i * 7} Dingen" for i in range(30)]
REFS = [f"source number {i} is a sentence with {i * 7} things" for i in range(30)]
WRONG = {
    "copied": (SRC, "30 of 30 sentences are copied, for instance 'Quelle"),
    "empty": ([""] * 16 + REFS[16:], "16 of 30 sentences have no translation"),
    "cyrillic": (["номер предложение много вещей"] * 30, "writes cyrillic, .* in latin"),
    "shifted": ([*REFS[1:], REFS[0]], "no nearer to their own references"),
    "constant": (["thank you very much"] * 30, "no nearer to their own references"),
}


def made(texts, *, finished=True):
    return [Translation(text, 0.0, finished) for text in texts]


@pytest.mark.parametrize("case", WRONG)
def test_text_that_cannot_be_meant_is_objected_to(case):
    texts, told = WRONG[case]
    assert re.search(told, "; ".join(text_objections(SRC, made(texts), REFS)))


def test_what_translates_is_not_objected_to():
    assert list(text_objections(SRC, made(REFS), REFS)) == []
    poor = [" ".join(ref.split()[2:5]) for ref in REFS]
    assert list(text_objections(SRC, made(poor), REFS)) == []
    assert list(text_objections(SRC[:5], made(SRC[:5]), REFS[:5])) == [], "of too few"
    assert "do not end" in next(text_objections(SRC, made(REFS, finished=False), REFS))


@pytest.mark.parametrize(("lost", "told"), [(1, []), (2, ["2 of 30 scores are no finite numbers"])])
def test_more_scores_that_are_no_numbers_than_decoding_bears_are_objected_to(lost, told):
    hyps = [Translation(REFS[row], math.nan, finished=True) for row in range(lost)]
    said = list(text_objections(SRC, [*hyps, *made(REFS[lost:])], REFS))
    assert [each[:36] for each in said] == told


def test_scripts_are_counted_by_letters():
    assert scripts(["ab 12!", "ДД"]) == {"LATIN": 500, "CYRILLIC": 500}


def command(code):
    line = (sys.executable, "-c", code)
    config = CommandTeacherConfig(kind="command", command=line, signature="1")
    return build_teacher(config, ())


@pytest.mark.slow
def test_a_command_is_tried_and_refused_for_what_it_says(toy_corpus, tmp_path):
    copy = command("import sys\nfor line in sys.stdin: print(line.strip())")
    with pytest.raises(DataError, match=r"refused .* 50 sentences of dev.* copied.* together"):
        CheckJob(copy, at(toy_corpus.path), "13a").make(tmp_path, fetch, threads=1)


@pytest.mark.slow
def test_a_trained_teacher_passes_and_what_was_seen_is_told(
    all_translators, toy_tokenizers, shared_folder, toy_corpus, tmp_path
):
    all_translators("joint")
    model, tokenizer = shared_folder / "translator-joint", toy_tokenizers["joint"]
    _, teacher = pegasus_teacher(model, tokenizer, tmp_path)
    (tmp_path / "seen").mkdir()
    job = CheckJob(teacher, at(toy_corpus.path), "13a")
    counts = job.make(tmp_path / "seen", fetch, threads=1)
    tried, compared = counts[NOTES]
    assert "tried on 50 sentences of dev: BLEU" in tried
    assert "on 24 sentences" in compared
    assert pickle.loads(pickle.dumps(job)).key == job.key
    facts = json.loads((tmp_path / "seen" / FILE).read_text())
    assert facts["original"]["wrong"] == 0
    assert facts["original"]["tokens"] > 100
    assert facts["bleu"] > 50

    small = teacher.config.model_copy(update={"compute_type": "int8"})
    int8 = dataclasses.replace(teacher, config=small)
    (tmp_path / "int8").mkdir()
    counts = CheckJob(int8, job.corpus, "13a").make(tmp_path / "int8", fetch, threads=1)
    assert "in float32; it is" in counts[NOTES][-1]
    assert int8.fingerprints != teacher.fingerprints
    assert CheckJob(int8, at(tmp_path), "13a").teacher.sources == teacher.sources


@pytest.mark.slow
def test_a_conversion_that_is_another_model_is_found_out(toy_pairs, tmp_path):
    """As one whose vocabulary is mixed up would be."""
    src, tgt = zip(*toy_pairs[:300], strict=True)
    folder, converted, mixed = (tmp_path / name for name in ("marian", "converted", "mixed"))
    for each in (folder, converted, mixed):
        each.mkdir()
    tiny_models.marian(folder, src, tgt, separate=True)
    config = HuggingFaceTeacherConfig(kind="huggingface", path=str(folder))
    job, model = ConversionJob(Origin.of(config)), load_torch(folder)
    job.make(converted, fetch, threads=1)

    def seen(converted):
        teacher = HuggingFaceTeacher(config, job.origin, at(converted))
        return compare(teacher.open(fetch, device="cpu", threads=1), model, src[:20])

    good = seen(converted)
    assert (good.sentences, good.wrong, good.unlike_alone) == (20, 0, 0)
    assert list(objections(good, compute_type="float32", vocabulary=30)) == []
    other = shutil.copytree(folder, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    rows = weights["model.decoder.embed_tokens.weight"]
    rows[2:-1] = rows[2:-1].flip(0)
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    of_other = HuggingFaceTeacherConfig(kind="huggingface", path=str(other))
    ConversionJob(Origin.of(of_other)).make(mixed, fetch, threads=1)
    for compute_type in ("float32", "int8"):
        (*_, last) = objections(seen(mixed), compute_type=compute_type, vocabulary=30)
        assert re.search("another model|log-probabilities differ", last)
