"""Large text in phases is what one process makes of it, byte for byte and count for count."""

import pickle

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from kdray.artifacts import Key
from kdray.config.text import CorpusConfig, NoiseConfig
from kdray.errors import DataError
from kdray.teacher.shards import ShardPlan
from kdray.text import phases as phases_module
from kdray.text import preparation
from kdray.text.corpus_building import build_corpus
from kdray.text.encoded import Encoding, build_encoded, encode_table, join_encoded
from kdray.text.jobs import CorpusJob
from kdray.text.noise import build_noise
from kdray.text.sequences import read_table, write_tables

pytestmark = pytest.mark.slow

SIDES = [
    "",
    " ",
    "a",
    "a\u00a0",
    "\u200b",
    "b c",
    "B  c",
    "é",
    "e\u0301",
    "x\x07",
    "d" * 30,
    "dev",
    "Dev!",
]
PAIRS = st.lists(st.tuples(st.sampled_from(SIDES), st.sampled_from(SIDES)), max_size=12)
SOURCES = st.lists(PAIRS, min_size=1, max_size=3)


def sides(folder, name, pairs):
    for side, suffix in ((0, "en"), (1, "de")):
        text = "".join(f"{pair[side]}\n" for pair in pairs)
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
    return {"src": f"{name}.en", "tgt": f"{name}.de"}


def corpus(folder, sources, *, caps=None, **options):
    named = {f"s{n}": sides(folder, f"s{n}", pairs) for n, pairs in enumerate(sources)}
    mixture = {"format": "mixture", "sources": named, "max_pairs": caps or {}}
    held_out = sides(folder, "dev", [("dev", "a"), ("B c", "dev")])
    return TypeAdapter(CorpusConfig).validate_python({
        "kind": "files", "folder": str(folder), "src_lang": "en", "tgt_lang": "de",
        "train": mixture if len(sources) > 1 or caps else named["s0"],
        "dev": held_out, "tests": {"t": sides(folder, "t", [("x", "dev")])},
        **options,
    })  # fmt: skip


def in_phases(phases, work, fetch=None):
    """Make all phases here, the last part of each first."""
    for phase in phases:
        rows = phase.prepare(work, fetch, device="cpu")
        plan = ShardPlan.open(work / phase.name, rows=rows, shard_rows=1)
        build = phase.builder(work, fetch, device="cpu")
        for index in reversed(plan.missing()):
            plan.make(index, build)


def tables(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def attempt(make, folder):
    """What is made, or the message of why it is not."""
    folder.mkdir()
    try:
        return dict(make()), tables(folder)
    except DataError as error:
        return str(error), {}


@pytest.fixture(scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "BLOCK_PAIRS", 4)
        patch.setattr(preparation, "ROW_GROUP", 5)
        patch.setattr(phases_module, "PARTITION_ROWS", 3)
        yield


@pytest.mark.slow
@given(data=st.data(), sources=SOURCES)
@settings(max_examples=30)
def test_phases_make_what_one_process_makes(data, sources, tmp_path_factory, small_blocks):
    base = tmp_path_factory.mktemp("law")
    cap = data.draw(st.none() | st.integers(1, 6))
    config = corpus(
        base,
        sources,
        caps={} if cap is None else {"s0": cap},
        max_train_pairs=data.draw(st.none() | st.integers(1, 8)),
        cleaning={
            "drop_duplicates": data.draw(st.booleans()),
            "drop_overlap": data.draw(st.booleans()),
            "max_ratio": 5.0,
        },
    )
    job, one, many = CorpusJob.of(config), base / "one", base / "many"

    def phased():
        in_phases(job.phases(), base / "work")
        return job.join(base / "work", many, None)

    (base / "work").mkdir()
    made = attempt(lambda: build_corpus(config, one), one)
    assert attempt(phased, many) == made
    if made[1]:
        noise = NoiseConfig(rate=0.5, operations=("delete", "swap"))
        for folder in (one, many):
            (folder / "noisy").mkdir()
            build_noise(noise, folder, folder / "noisy")
        assert tables(one / "noisy") == tables(many / "noisy")


def test_phases_read_a_relative_folder_in_a_process_elsewhere(tmp_path, monkeypatch):
    here, work, elsewhere = (tmp_path / name for name in ("here", "work", "elsewhere"))
    for folder in (here / "data", work, elsewhere):
        folder.mkdir(parents=True)
    config = corpus(here / "data", [[("a", "b"), ("", "c")], [("d", "e")]])
    monkeypatch.chdir(here)
    job = CorpusJob.of(config.model_copy(update={"folder": "data"}))
    assert job.key == CorpusJob.of(config).key
    sent = pickle.dumps(job)
    monkeypatch.chdir(elsewhere)
    made, (one, many) = pickle.loads(sent), (elsewhere / "one", elsewhere / "many")
    for folder in (one, many):
        folder.mkdir()
    in_phases(made.phases(), work)
    counts = made.join(work, many, None)
    assert counts["pairs"]["train"] == 2
    assert counts == made.make(one, None, threads=1)
    assert tables(one) == tables(many)


def test_a_stopped_phase_goes_on_with_the_parts_that_are_missing(tmp_path, small_blocks):
    config = corpus(tmp_path, [[(f"word {n}", f"Wort {n}") for n in range(10)]])
    job, work = CorpusJob.of(config), tmp_path / "work"
    work.mkdir()
    reading, judging, *rest = job.phases()
    in_phases([reading, judging], work)
    before = {path: path.stat().st_mtime_ns for path in (work / "judging").glob("*/record.json")}
    (work / "judging" / "000001" / "record.json").unlink()
    in_phases([reading, judging, *rest], work)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.parent.name for path in before if before[path] != after[path]] == ["000001"]
    (tmp_path / "out").mkdir()
    assert job.join(work, tmp_path / "out", None)["pairs"]["train"] == 10


def test_encoding_in_phases_makes_the_same_file(toy_corpus, toy_tokenizers, tmp_path):
    corpus_folder, tokenizer = tmp_path / "corpus", toy_tokenizers["joint"]
    corpus_folder.mkdir()
    for split in ("train", "dev"):
        table = pq.read_table(toy_corpus.path / f"{split}.parquet")
        pq.write_table(table, corpus_folder / f"{split}.parquet", row_group_size=60)
    tokenizer.save(tmp_path)
    fetch = {"corpus": corpus_folder, "tokenizer": tmp_path}
    encoding = Encoding(Key("corpus", 1, {}), Key("tokenizer", 1, {}))
    in_phases([encoding], tmp_path, fetch=lambda key: fetch[key.stage])
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    many.mkdir()
    counts = build_encoded(corpus_folder, tokenizer, one)
    assert join_encoded(corpus_folder, tokenizer, tmp_path / "encoding", many) == counts
    for split in ("train.arrow", "dev.arrow"):
        assert (one / split).read_bytes() == (many / split).read_bytes()
        assert sorted(path.name for path in many.iterdir()) == ["dev.arrow", "train.arrow"]


def test_tables_written_one_by_one_are_one_batch(toy_corpus, toy_tokenizers, tmp_path):
    table = encode_table(pq.read_table(toy_corpus.path / "dev.parquet"), toy_tokenizers["joint"])
    parts = [table.slice(start, 7) for start in range(0, table.num_rows, 7)]
    write_tables(tmp_path / "a.arrow", iter(parts))
    read = read_table(tmp_path / "a.arrow")
    assert read.equals(table.combine_chunks())
    assert read.column(0).num_chunks == 1
