"""What a user brings is read as it was when it was hashed, or not at all."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from kdray.artifacts import Store
from kdray.config.model import ModelConfig
from kdray.config.text import FilesCorpusConfig
from kdray.errors import DataError
from kdray.model.storage import WEIGHTS, Shape, save_model, tensors
from kdray.plan.brought import brought_model
from kdray.storage import hashed
from kdray.storage.hashed import Hashed
from kdray.teacher.own import OwnModels
from kdray.teacher.shards import ShardPlan
from kdray.text.jobs import CorpusJob

FILES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "one", "two", "longer"]))


@given(before=FILES, after=FILES, touched=st.booleans(), settled=st.booleans())
def test_whatever_changes_in_content_is_told_and_nothing_else(
    before, after, touched, settled, tmp_path_factory
) -> None:
    folder = tmp_path_factory.mktemp("files")

    def write(files):
        for name in {*before, *after} - files.keys():
            (folder / name).unlink(missing_ok=True)
        for name, text in files.items():
            if touched or not (folder / name).exists() or (folder / name).read_text() != text:
                (folder / name).write_text(text)

    write(before)
    with pytest.MonkeyPatch.context() as patch:
        if settled:  # as if they had been there for long
            patch.setattr(hashed, "_TICK", -(2**62))
            patch.setattr(hashed, "_seen", {})
        files = pickle.loads(pickle.dumps(Hashed.of(sorted(folder.iterdir()))))
        if settled and before != after:  # the next tick of the clock
            until_the_clock_ticks(folder)
        write(after)
        if before == after:
            files.prove(folder.iterdir())
            return
        with pytest.raises(DataError, match="while the command ran, after its content was hashed"):
            files.prove(folder.iterdir())


def until_the_clock_ticks(folder: Path) -> None:
    probe = folder.parent / "probe"
    probe.write_text("")
    first = probe.stat().st_mtime_ns
    while probe.stat().st_mtime_ns == first:
        probe.write_text("")


def test_a_file_that_is_as_it_was_is_not_read_again(tmp_path, monkeypatch) -> None:
    path = tmp_path / "weights"
    path.write_text("many")
    monkeypatch.setattr(hashed, "_TICK", -(2**62))
    files = Hashed.of([path])
    monkeypatch.setattr(hashed, "sha256_file", lambda _: pytest.fail("read"))
    files.prove()
    assert Hashed.of([path]) == files


@pytest.fixture
def folder(tmp_path, toy_tokenizers) -> Path:
    """A model that a user brings."""
    tokenizer = toy_tokenizers["joint"]
    shape = Shape(
        config=ModelConfig(preset="nano"),
        src_vocab=tokenizer.src_vocab,
        tgt_vocab=tokenizer.tgt_vocab,
        shared=True,
        tokenizer=tokenizer.checksum,
    )
    folder = tmp_path / "teacher"
    folder.mkdir()
    save_model(folder, shape, tensors(shape.build()))
    tokenizer.save(folder)
    return folder


def trained_on(folder: Path) -> dict[str, Any]:
    """Other weights of the same shape. -> those before."""
    weights = load_file(folder / WEIGHTS)
    save_file({name: value + 1 for name, value in weights.items()}, folder / WEIGHTS)
    return weights


@pytest.mark.parametrize("use", ["prepare", "reader"])
def test_nor_is_it_used_if_it_becomes_another_while_it_is_read(folder, tmp_path, use) -> None:
    store, teacher = Store.open(tmp_path / "runs"), OwnModels((brought_model(folder),))

    def fetch(source):
        path = store.fetch(source)
        trained_on(path)
        return path

    ways = {
        "reader": lambda: teacher.reader(fetch, device="cpu"),
        "prepare": lambda: teacher.prepare(tmp_path / "work", fetch, device="cpu"),
    }
    with pytest.raises(DataError, match=rf"teacher/{WEIGHTS}: was changed while the command ran"):
        ways[use]()
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").iterdir())


def test_a_brought_model_is_not_fetched_once_it_is_another(folder, tmp_path) -> None:
    store, before = Store.open(tmp_path / "runs"), brought_model(folder)
    assert store.fetch(before) == folder
    weights = trained_on(folder)
    with pytest.raises(DataError, match=rf"teacher/{WEIGHTS}: was changed while the command ran"):
        store.fetch(pickle.loads(pickle.dumps(before)))
    assert store.fetch(brought_model(folder)) == folder
    save_file(weights, folder / WEIGHTS)
    assert store.fetch(before) == folder, "it is again what it was"
    (folder / "joint.model").unlink()
    with pytest.raises(DataError, match=r"joint\.model: can be read no more \(No such file"):
        store.fetch(before)


@pytest.fixture
def job(tmp_path) -> CorpusJob:
    (tmp_path / "text").mkdir()
    splits = {"train": 30, "dev": 4, "test": 4}
    for name, lines in splits.items():
        for side in ("de", "en"):
            text = "".join(f"{name} {side} word {line}\n" for line in range(lines))
            (tmp_path / "text" / f"{name}.{side}").write_text(text)
    named = {name: {"src": f"{name}.de", "tgt": f"{name}.en"} for name in splits}
    config = {
        "kind": "files",
        "folder": str(tmp_path / "text"),
        "src_lang": "de",
        "tgt_lang": "en",
        "train": named["train"],
        "dev": named["dev"],
        "tests": {"t": named["test"]},
    }
    return CorpusJob.of(FilesCorpusConfig.model_validate(config))


def exchange(job: CorpusJob, name: str) -> bytes:
    """Give a file other content of the same size. -> what it was."""
    path = Path(job.config.folder) / name
    before = path.read_bytes()
    path.write_bytes(before.replace(b"word", b"drow"))
    return before


@pytest.mark.parametrize("name", ["train.de", "dev.en", "test.en"])
def test_a_corpus_whose_files_changed_is_not_published(job, tmp_path, name) -> None:
    store = Store.open(tmp_path / "runs")

    def make():
        return store.publish(job.key, lambda out: job.make(out, store.fetch, threads=1))

    before = exchange(job, name)
    with pytest.raises(DataError, match=rf"text/{name}: was changed while the command ran"):
        make()
    assert store.find(job.key) is None
    (tmp_path / "text" / name).write_bytes(before)
    assert make().counts["pairs"]["test-t"] == 4


def test_what_phases_made_of_changed_files_is_not_kept(job, tmp_path) -> None:
    store = Store.open(tmp_path / "runs")

    def make():
        work = store.work_path(job.key)
        work.mkdir(parents=True, exist_ok=True)
        for phase in job.phases():
            rows = phase.prepare(work, store.fetch, device="cpu")
            plan = ShardPlan.open(work / phase.name, rows=rows, shard_rows=1)
            build = phase.builder(work, store.fetch, device="cpu")
            for index in plan.missing():
                plan.make(index, build)
        return store.publish(job.key, lambda out: job.join(work, out, store.fetch))

    before = exchange(job, "train.de")
    with pytest.raises(DataError, match=r"train\.de: was changed while the command ran"):
        make()
    (tmp_path / "text" / "train.de").write_bytes(before)
    (tmp_path / "alone").mkdir()
    made, alone = make(), job.make(tmp_path / "alone", store.fetch, threads=1)
    assert made.counts == alone
    train = (tmp_path / "alone" / "train.parquet").read_bytes()
    assert (made.path / "train.parquet").read_bytes() == train
