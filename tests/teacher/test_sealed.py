"""What a teacher works with between commands is what was written, or is made again."""

import json
import shutil

import pytest
from sharded import fetch, own

from kdray.artifacts import RECORD
from kdray.config.model import ModelConfig
from kdray.model.generate import SearchOptions
from kdray.model.storage import Shape, save_model, tensors
from kdray.storage import content
from kdray.storage.sealed import broken, remove_broken, seal
from kdray.teacher.own import EXPORTED


def test_what_was_sealed_is_whole_until_anything_changes(tmp_path):
    folder = tmp_path / "work"
    (folder / "inner").mkdir(parents=True)
    for name in ("one", "inner/two"):
        (folder / name).write_text(name)
    seal(folder, rows=3, counts={"ä": 1.5})
    assert broken(folder) is remove_broken(folder) is None
    assert json.loads((folder / RECORD).read_text())["rows"] == 3
    for name in ("one", "inner/two", RECORD):
        text = (folder / name).read_text()
        for other in (text[:-2] + "x" + text[-1:], text + "x", ""):
            (folder / name).write_text(other)
            assert broken(folder) is not None, (name, other)
        (folder / name).write_text(text)
        assert broken(folder) is None
    (folder / "one").unlink()
    assert remove_broken(folder) == f"{folder}/one: is missing, its record says 3"
    assert not folder.exists()
    assert remove_broken(folder) is None, "there is none"


def test_what_was_verified_is_not_read_again(tmp_path, monkeypatch):
    (tmp_path / "one").write_text("1")
    seal(tmp_path)
    assert broken(tmp_path) is None
    monkeypatch.setattr(content, "sha256_file", lambda _: pytest.fail("read"))
    assert broken(tmp_path) is None


def test_a_damaged_export_is_made_again(toy_tokenizers, tmp_path, toy_pairs, caplog):
    tokenizer, teacher = toy_tokenizers["joint"], tmp_path / "teacher"
    shape = Shape(
        config=ModelConfig(preset="nano"),
        src_vocab=tokenizer.src_vocab,
        tgt_vocab=tokenizer.tgt_vocab,
        shared=True,
        tokenizer=tokenizer.checksum,
    )
    teacher.mkdir()
    save_model(teacher, shape, tensors(shape.build()))
    tokenizer.save(teacher)
    src = [src for src, _ in toy_pairs[:3]]

    def translated():
        model.prepare(tmp_path, fetch, device="cpu")
        engine = model.open(fetch, device="cpu", threads=1, work=tmp_path)
        return engine.translate(src, SearchOptions(beam=2))

    model = own(teacher)
    before, weights = translated(), tmp_path / EXPORTED / "model.bin"
    stamp, size = weights.stat().st_mtime_ns, weights.stat().st_size
    assert translated() == before
    assert weights.stat().st_mtime_ns == stamp, "nothing is made twice"
    damaged = bytearray(weights.read_bytes())
    damaged[size // 2] ^= 64
    weights.write_bytes(damaged)
    assert translated() == before
    assert "model.bin: its content is not what was written; it is made anew" in caplog.text
    shutil.rmtree(tmp_path / EXPORTED)
    assert translated() == before
