"""A folder of CTranslate2 is a teacher: it translates as the kdray model that it was made of."""

import shutil
from pathlib import Path

import pytest
from sharded import fetch, own

from kdray.config.export import CTranslate2Config
from kdray.config.foreign_teachers import CTranslate2TeacherConfig
from kdray.errors import DataError
from kdray.export.forms import write_ctranslate2
from kdray.model.generate import SearchOptions
from kdray.teacher.build import build_teacher
from kdray.teacher.converted import positions_of

OPTIONS = SearchOptions(beam=3, num_hyps=2, length_penalty=0.6)


@pytest.fixture(params=["joint", "separate"])
def student(request, all_translators, toy_tokenizers, shared_folder, tmp_path) -> Path:
    """The folder of a trained kdray model with its tokenizer."""
    all_translators(request.param)
    folder = tmp_path / "student"
    folder.mkdir()
    for name in ("model.json", "weights.safetensors"):
        shutil.copy(shared_folder / f"translator-{request.param}" / name, folder)
    toy_tokenizers[request.param].save(folder)
    return folder


@pytest.fixture
def exported(student, tmp_path) -> Path:
    folder = tmp_path / "exported"
    folder.mkdir()
    write_ctranslate2(CTranslate2Config(kind="ctranslate2"), student, folder)
    return folder


def teacher(folder, **changes):
    config = CTranslate2TeacherConfig(kind="ctranslate2", path=str(folder), **changes)
    return build_teacher(config, ())


def translated(teacher, src, options=OPTIONS, work=None):
    engine = teacher.open(fetch, device="cpu", threads=1, work=work)
    return engine.translate(src, options)


@pytest.mark.slow
def test_it_translates_as_the_model_that_it_was_exported_from(
    student, exported, toy_pairs, tmp_path
):
    src = [source for source, _ in toy_pairs[400:460]]
    model = own(student)
    model.prepare(tmp_path, fetch, device="cpu")
    theirs = translated(model, src, work=tmp_path)
    ours = translated(teacher(exported), src)
    for best, others in zip(ours, theirs, strict=True):
        assert [hyp.text for hyp in best] == [hyp.text for hyp in others]
        assert [hyp.score for hyp in best] == pytest.approx([o.score for o in others], abs=1e-4)
        assert [hyp.finished for hyp in best] == [hyp.finished for hyp in others]
        assert best[0].ids is None
    assert len({best[0].text for best in ours}) > 50


@pytest.mark.slow
@pytest.mark.parametrize("student", ["joint"], indirect=True)
def test_a_source_longer_than_its_positions_has_no_translation(exported):
    assert positions_of(exported / "model") == 40
    engine = teacher(exported).open(fetch, device="cpu", threads=1)
    long, short = engine.translate(["ba " * 60, "ba de"], OPTIONS)
    assert (long, len(short)) == ([], 2)


@pytest.mark.slow
@pytest.mark.parametrize("student", ["joint"], indirect=True)
def test_it_can_begin_as_it_is_told_to_and_read_its_own_tokens(exported, toy_tokenizers, toy_pairs):
    tokenizer, (src, _) = toy_tokenizers["joint"], toy_pairs[450]
    ((plain, _),) = translated(teacher(exported), [src])
    first, *rest = tokenizer.tgt.encode(plain.text, out_type=str)
    ((led, _),) = translated(teacher(exported, target_prefix=(first,)), [src])
    assert led.text == tokenizer.tgt.decode_pieces(rest), "the tag is no part of its text"
    pieces = " ".join(tokenizer.src.encode(src, out_type=str))
    ((spaced, _),) = translated(teacher(exported, pieces="spaces"), [pieces])
    assert spaced.text == " ".join((first, *rest))


@pytest.mark.slow
@pytest.mark.parametrize("student", ["joint"], indirect=True)
def test_content_and_use_are_in_its_fingerprint_and_places_are_not(exported, tmp_path):
    ours = teacher(exported).fingerprints
    copy = shutil.copytree(exported, tmp_path / "elsewhere")
    pieces = shutil.move(copy / "joint.model", tmp_path / "mine.model")
    named = {"source_pieces": str(pieces)}
    assert teacher(copy, **named).fingerprints == ours
    for changes in ({"compute_type": "int8"}, {"target_prefix": ("a",)}):
        assert teacher(copy, **named, **changes).fingerprints != ours
    with (copy / "model" / "model.bin").open("ab") as file:
        file.write(b"\0")
    assert teacher(copy, **named).fingerprints != ours


@pytest.mark.slow
@pytest.mark.parametrize("student", ["joint"], indirect=True)
def test_what_is_missing_or_damaged_is_refused_before_anything_runs(exported, tmp_path):
    with pytest.raises(DataError, match=r"nowhere: holds no model\.bin"):
        teacher(tmp_path / "nowhere")
    with pytest.raises(DataError, match="gone is no file; source_pieces and target_pieces name"):
        teacher(exported, target_pieces="gone")
    with pytest.raises(DataError, match=r"model\.bin: not a SentencePiece model"):
        teacher(exported, target_pieces="model/model.bin")
    bare = shutil.copytree(exported / "model", tmp_path / "bare")
    with pytest.raises(DataError, match="no SentencePiece model is there under a usual name"):
        teacher(bare)
    (bare / "model.bin").write_bytes(b"\6\0\0\0nonsense")
    with pytest.raises(DataError, match=r"model\.bin: not a model of CTranslate2, or damaged"):
        teacher(bare, pieces="spaces")
    (bare / "model.bin").write_bytes((exported / "model" / "model.bin").read_bytes()[:-900])
    with pytest.raises(DataError, match=r"model\.bin: not a model of CTranslate2, or damaged"):
        teacher(bare, pieces="spaces")
