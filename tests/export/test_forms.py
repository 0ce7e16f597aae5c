"""A form is the student in other clothes: it translates as the student does, or it is refused."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from kdray.artifacts import Brought, Key
from kdray.config.evaluation import EvaluationConfig
from kdray.config.export import SHORT, ExportConfig
from kdray.errors import DataError
from kdray.export import cost
from kdray.export import job as jobs
from kdray.export.about import About
from kdray.export.base import ExportFailed
from kdray.export.card import CARD
from kdray.export.check import FormDiffers, check, compare
from kdray.export.forms import EXPORTS, export_of
from kdray.export.job import ExportJob
from kdray.export.measure import MEASURED
from kdray.model.generate import SearchOptions, generate
from kdray.model.storage import WEIGHTS, load_model
from kdray.scoring.metrics import score
from kdray.text.tokenizer import Tokenizer

pytestmark = pytest.mark.slow

ABOUT = About("toy", src_lang="de", tgt_lang="en", licence="CC0-1.0")
BOTH = [name for name in SHORT if name not in ("huggingface", "argos")]


def config_of(name):
    codes = {"from_code": "de", "to_code": "en"} if name == "argos" else {}
    return TypeAdapter(ExportConfig).validate_python({**SHORT[name], **codes})


def written(name, student, folder):
    folder.mkdir()
    config = config_of(name)
    export_of(config.kind).write(config, student, folder)
    return config


def opened(name, student, folder):
    config = written(name, student, folder)
    form = export_of(config.kind)
    return form.open(config, folder, positions=load_model(student).config.max_length, threads=1)


@pytest.fixture
def job(students, toy_corpus, monkeypatch):
    """Of the joint student, scored on the toy dev set; what it costs is not measured."""
    known = cost.Cost(1.0, 2.0, 3.0, 4, threads=1, beam=4, sentences=5, machine=cost.machine())
    monkeypatch.setattr(jobs, "cost_of", lambda *_, **__: known)

    def of(name, tokenizer="joint"):
        student = Brought(students[tokenizer], "student")
        evaluation = EvaluationConfig(beams=(4,))
        return ExportJob(config_of(name), student, ABOUT, toy_corpus.key, evaluation=evaluation)

    return of


@pytest.fixture
def fetch(toy_corpus):
    return lambda source: toy_corpus.path if isinstance(source, Key) else source.path


@pytest.mark.parametrize("name", SHORT)
def test_greedy_translations_are_the_students_own(name, students, toy_pairs, tmp_path):
    student, src = students["joint"], [src for src, _ in toy_pairs[400:460]]
    engine = opened(name, student, tmp_path / "form")
    model, tokenizer = load_model(student), Tokenizer.load(student)
    own = generate([model], tokenizer.encode_src(src), SearchOptions())
    found = [best.ids for (best,) in engine.translate(src, SearchOptions())]
    same = sum(ids == hyp.ids for ids, (hyp,) in zip(found, own, strict=True))
    exact = export_of(SHORT[name]["kind"]).is_exact(config_of(name))
    seen = compare(model, tokenizer, engine, src)
    assert (seen.sentences, seen.tokens) == (60, sum(map(len, found)))
    check(seen, is_exact=exact)
    assert seen.same == same
    assert same == 60 if exact else same > 15


@pytest.mark.parametrize("name", BOTH)
def test_a_vocabulary_for_each_side_has_these_forms(name, students, toy_pairs, tmp_path):
    student, src = students["separate"], [src for src, _ in toy_pairs[400:420]]
    engine = opened(name, student, tmp_path / "form")
    seen = compare(load_model(student), Tokenizer.load(student), engine, src)
    check(seen, is_exact=export_of(SHORT[name]["kind"]).is_exact(config_of(name)))


@pytest.mark.parametrize("name", ["huggingface", "argos"])
def test_a_vocabulary_for_each_side_has_no_such_form(name, job, fetch, students, tmp_path):
    made = job(name, "separate")
    with pytest.raises(DataError, match=r"has a vocabulary for each side.* write it as ctr"):
        made.check(students["separate"])
    with pytest.raises(ExportFailed, match="has a vocabulary for each side"):
        made.make(tmp_path, fetch, threads=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ctranslate2", "ctranslate2-int8", "argos"])
def test_its_scores_are_those_of_its_own_translations(name, job, fetch, toy_pairs, tmp_path):
    made = job(name)
    counts = made.make(tmp_path, fetch, threads=1)
    form = EXPORTS[made.config.kind]
    options = form.search or SearchOptions(beam=4)
    engine = form.open(made.config, tmp_path, positions=40, threads=1)
    src, refs = zip(*toy_pairs[350:400], strict=True)
    hyps = [best.text for (best,) in engine.translate(src, options)]
    expected = score(hyps, refs, bleu_tokenize="13a")
    (row,) = counts["measured"]["scores"].values()
    assert (row["bleu"], row["chrf"]) == (expected.bleu, expected.chrf)
    assert row["bleu"] > 50
    assert json.loads((tmp_path / MEASURED).read_text()) == json.loads(
        json.dumps(counts["measured"])
    )


def test_a_card_says_what_it_has_to(job, fetch, tmp_path):
    job("ctranslate2-int8").make(tmp_path, fetch, threads=1)
    card = (tmp_path / CARD).read_text()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front)["language"] == ["de", "en"]
    assert yaml.safe_load(front)["license"] == "cc0-1.0"
    for words in (
        "| licence of the corpus | CC0-1.0 |", "| teacher | not stated |", "quantization: int8",
        "nrefs:1|case:mixed|eff:no|tok:13a", "## Limits", "at most 40 pieces", "one sentence alone",
        "ctranslate2.Translator", "Against the student itself on 50 sentences of dev",
    ):  # fmt: skip
        assert words in text.replace("\\|", "|"), words


@pytest.mark.parametrize("name", SHORT)
def test_weights_of_another_model_are_refused(name, job, fetch, monkeypatch, tmp_path):
    """Nothing is published, whatever was written."""
    made = job(name)
    form = EXPORTS[made.config.kind]

    def write(config, student, folder):
        weights = load_file(student / WEIGHTS)
        torch.manual_seed(1)
        noise = {key: torch.randn_like(value) for key, value in weights.items()}
        (student / WEIGHTS).unlink()
        save_file({key: weights[key] + 0.2 * noise[key] for key in weights}, student / WEIGHTS)
        return form.write(config, student, folder)

    monkeypatch.setattr(jobs, "export_of", lambda kind: replace(form, write=write))
    with pytest.raises(ExportFailed, match=r"does not translate as the student does: .* becomes"):
        made.make(tmp_path, fetch, threads=1)
    assert not (tmp_path / CARD).exists()


def test_a_single_wrong_token_is_not_the_student(students, toy_pairs, tmp_path):
    """Of an exact form; weights of few bits may differ a little."""
    student, src = students["joint"], [src for src, _ in toy_pairs[400:430]]
    engine = opened("safetensors", student, tmp_path / "form")

    class Wrong:
        positions, vocabulary = engine.positions, engine.vocabulary

        def translate(self, src, options, refs=None):
            found = engine.translate(src, options)
            (best,) = found[3]
            found[3] = [replace(best, ids=[*best.ids[:1], best.ids[0], *best.ids[2:]])]
            return found

    seen = compare(load_model(student), Tokenizer.load(student), Wrong(), src)
    assert (seen.same, seen.sentences) == (29, 30)
    assert seen.wrong >= 1
    with pytest.raises(FormDiffers, match="29 of 30 sentences have the same greedy translation"):
        check(seen, is_exact=True)
    check(seen, is_exact=False)


def test_a_translation_that_breaks_off_is_not_the_students(students, toy_pairs, tmp_path):
    student, src = students["joint"], [src for src, _ in toy_pairs[400:403]]
    engine = opened("safetensors", student, tmp_path / "form")

    class Short:
        positions, vocabulary = engine.positions, engine.vocabulary

        def translate(self, src, options, refs=None):
            return [
                [replace(best, ids=best.ids[:-1], finished=False)]
                for (best,) in engine.translate(src, options)
            ]

    seen = compare(load_model(student), Tokenizer.load(student), Short(), src)
    assert (seen.same, seen.wrong) == (0, 3)


def test_a_package_of_argos_holds_what_it_loads(job, fetch, tmp_path):
    job("argos").make(tmp_path, fetch, threads=1)
    (archive,) = tmp_path.glob("*.argosmodel")
    with zipfile.ZipFile(archive) as package:
        names = {Path(name).parts[0]: None for name in package.namelist()}
        inner = {str(Path(*Path(name).parts[1:])) for name in package.namelist()}
        folder = next(iter(names))
        metadata = json.loads(package.read(f"{folder}/metadata.json"))
        config = json.loads(package.read(f"{folder}/model/config.json"))
        card = package.read(f"{folder}/README.md").decode()
    assert len(names) == 1
    needed = {"metadata.json", "sentencepiece.model", "model/model.bin", "minisbd/sentences.onnx"}
    assert inner >= needed | {"README.md", "model/config.json"}
    assert (metadata["from_code"], metadata["to_code"], metadata["type"]) == (
        "de",
        "en",
        "translate",
    )
    assert config["add_source_eos"] is True
    assert card == (tmp_path / CARD).read_text()
