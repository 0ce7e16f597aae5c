"""A proof finds a swapped pair, a lost row, a doubled row and a flipped byte, and names them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from micro_study import CONFIG

from kdray import verify
from kdray.artifacts import RECORD, Key, Store, write_json
from kdray.config.text import GeneratedCorpusConfig, NoiseConfig, TokenizerConfig
from kdray.errors import InputError
from kdray.proof.artifacts import artifacts_at, artifacts_of
from kdray.proof.prove import Proof, prove
from kdray.schema import Column
from kdray.storage.record import new_record
from kdray.teacher.stored import Layout
from kdray.text.encoded import EncodedSplit
from kdray.text.jobs import CorpusJob, EncodingJob, NoiseJob, TokenizerJob
from kdray.text.pieces import of_pieces
from kdray.text.sequences import offsets_of, read_table, write_table

GRAMMAR = {"nouns": 5, "verbs": 5, "adjectives": 4, "adverbs": 4, "ambiguity": 0, "recursion": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Store:
    """A storage with an artifact of each kind that holds pairs."""
    store = Store.open(tmp_path_factory.mktemp("made"))
    corpus = CorpusJob.of(
        GeneratedCorpusConfig(
            kind="generated", train_pairs=40, dev_pairs=10, test_pairs=10, grammar=GRAMMAR
        )
    )
    noise = NoiseJob(NoiseConfig(rate=0.5), corpus.key)
    tokenizer = TokenizerJob(TokenizerConfig(vocab_size=110), corpus.key)
    clean, noisy = (EncodingJob(key, tokenizer.key) for key in (corpus.key, noise.key))
    for job in (corpus, noise, tokenizer, clean, noisy):
        store.publish(job.key, lambda folder, job=job: job.make(folder, store.fetch, threads=1))
    hyps = Key("hypotheses", 2, {}, {"encoded": clean.key.fingerprint})
    store.publish(hyps, lambda folder: translations(store.fetch(clean.key), folder))
    sharded = Key("hypotheses", 2, {"shards": 2}, {"encoded": clean.key.fingerprint})
    store.publish(sharded, lambda folder: in_shards(store.fetch(hyps), folder))
    of = {"hypotheses": hyps.fingerprint}
    scores = Key("hypothesis_scores", 1, {}, {**of, "corpus": corpus.key.fingerprint})
    store.publish(scores, lambda folder: scores_of(store.fetch(hyps), folder))
    chosen = Key("selection", 1, {}, {**of, "encoded": clean.key.fingerprint})
    store.publish(chosen, lambda folder: some_chosen(store.fetch(hyps), folder))
    of_hyps = {"encoded": clean.key.fingerprint, "hypotheses": hyps.fingerprint}
    for on, inputs in (("reference", {"encoded": clean.key.fingerprint}), ("hypothesis", of_hyps)):
        key = Key("distributions", 2, {"on": on}, inputs)
        store.publish(
            key,
            lambda folder, on=on: distributions(store.fetch(clean.key), folder, hyps=on[0] == "h"),
        )
    return store


def translations(encoded: Path, folder: Path) -> dict[str, int]:
    """Two of each pair, but for the last one, which is in quarantine."""
    train = EncodedSplit.load(encoded, "train")
    rows = np.repeat(np.arange(len(train) - 1), 2)
    ids = [train.ref[row].tolist() for row in rows]
    columns = {
        Column.PAIR_ID: train.pair_ids[rows],
        Column.SRC_HASH: train.src_hashes[rows],
        Column.HYP_RANK: pa.array(np.tile([0, 1], len(train) - 1), pa.int32()),
        Column.HYP: [f"translation {row}" for row in rows],
        Column.HYP_IDS: pa.array(ids, pa.list_(pa.uint16())),
    }
    write_table(folder / "hypotheses.arrow", pa.table(columns))
    tokens = sum(map(len, ids))
    return {"pairs": len(train) - 1, "quarantined": 1, "tokens": tokens}


def in_shards(whole: Path, folder: Path) -> dict[str, int]:
    """The same, as the shards that they were made in."""
    table = read_table(whole / "hypotheses.arrow")
    for number, rows in enumerate((table.slice(0, 40), table.slice(40))):
        (folder / f"{number:06d}").mkdir()
        write_table(folder / f"{number:06d}" / "hypotheses.arrow", rows)
    return {"pairs": len(set(table[Column.PAIR_ID].to_pylist())), "quarantined": 1}


def scores_of(hypotheses: Path, folder: Path) -> dict[str, int]:
    """One for each translation, but for the first one's, which could not be scored."""
    table = read_table(hypotheses / "hypotheses.arrow")
    scores = pa.array([float("nan"), *map(float, range(1, table.num_rows))])
    kept = table.select([Column.PAIR_ID, Column.SRC_HASH, Column.HYP_RANK])
    write_table(folder / "scores.arrow", kept.append_column("score", scores))
    return {"pairs": 39, "translations": table.num_rows, "unscored": 1}


def some_chosen(hypotheses: Path, folder: Path) -> dict[str, int]:
    """The first of each pair, but for two of which all scores are too low."""
    table = read_table(hypotheses / "hypotheses.arrow")
    write_table(folder / "hypotheses.arrow", table.take(pa.array(range(4, table.num_rows, 2))))
    return {"pairs": 37, "translations": 37, "below": 2}


def distributions(encoded: Path, folder: Path, *, hyps: bool) -> dict[str, int]:
    train = EncodedSplit.load(encoded, "train")
    rows = np.arange(len(train) - hyps)
    targets = train.ref.take(rows)
    layout = Layout(folder, train.pair_ids[rows], offsets_of(targets.lengths))
    layout.prove(train.src_hashes[rows], targets)
    layout.save({"ids": np.zeros((layout.positions, 2), np.uint16)})
    return {"pairs": len(rows), "tokens": layout.positions, "quarantined": 0}


@pytest.fixture
def copy(made: Store, tmp_path: Path) -> Path:
    shutil.copytree(made.root, tmp_path / "copy")
    return tmp_path / "copy"


def damages(root: Path) -> list[str]:
    return list(prove(artifacts_at(root), Proof()))


def stage(root: Path, name: str) -> Path:
    """The artifact of a stage that has one, or a table of translations."""
    folders = sorted((root / name).glob("[0-9a-f]*"))
    return next(folder for folder in folders if not (folder / "000000").exists())


def forge(folder: Path) -> None:
    """Write the record anew, as if the files had been so when it was made."""
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).unlink()
    identity = {name: record[name] for name in ("version", "recipe", "inputs")}
    fingerprint = record["fingerprint"]
    forged = new_record(record["stage"], fingerprint, identity, folder, record["counts"])
    write_json(folder / RECORD, forged)


def table_of(path: Path) -> pa.Table:
    return pq.read_table(path) if path.suffix == ".parquet" else read_table(path)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = change(table_of(path))
    write = pq.write_table if path.suffix == ".parquet" else lambda t, p: write_table(p, t)
    table = pa.table(table.to_pydict(), schema=table.schema)  # nothing of it is mapped any more
    write(table, path)


def swapped(table: pa.Table) -> pa.Table:
    """The ids of rows 4 and 6 change places."""
    rows = np.arange(table.num_rows)
    rows[[4, 6]] = rows[[6, 4]]
    return table.set_column(0, Column.PAIR_ID, table[Column.PAIR_ID].take(pa.array(rows)))


def lost(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 4), table.slice(5)])


def doubled(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 5), table.slice(4)])


TABLES = ["corpus/train.parquet", "corpus/dev.parquet", "noise/train.parquet"]
TABLES += ["encoded/train.arrow", "encoded/dev.arrow", "hypotheses/hypotheses.arrow"]
TABLES += ["hypothesis_scores/scores.arrow"]


@pytest.mark.slow
def test_what_is_whole_is_proved(made: Store) -> None:
    proof = Proof()
    assert list(prove(artifacts_at(made.root), proof)) == []
    assert (proof.artifacts, proof.damaged, proof.notes) == (11, [], [])
    assert proof.pairs == 2 * 60 + 2 * 50 + 2 * 78 + 40 + 39 + 78 + 37


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("change", [swapped, lost, doubled])
@pytest.mark.parametrize("forged", [False, True])
def test_a_damaged_row_is_named(copy: Path, name: str, change: Callable, forged: bool) -> None:
    """With a record that agrees with the damaged file, too."""
    folder = stage(copy, name.split("/")[0])
    path = folder / name.split("/")[1]
    pair, other = table_of(path)[Column.PAIR_ID].to_pylist()[4:7:2]
    rewrite(path, change)
    if forged:
        forge(folder)
    place = folder.relative_to(copy).as_posix()
    found = [line.removeprefix(f"{place}: ") for line in damages(copy) if line.startswith(place)]
    assert forged or any("not what was written" in line or "bytes" in line for line in found)
    of_rows = " ".join(line for line in found if "pair" in line or "number" in line)
    if change is lost and name.startswith("corpus"):
        assert "number of pairs: has" in of_rows
    else:
        assert str(pair) in of_rows
        assert change is not swapped or str(other) in of_rows
    assert len(found) < 12, "the rest of the rows is not accused"


@pytest.mark.slow
@pytest.mark.parametrize("change", ["swapped", "lost", "doubled"])
def test_a_damaged_row_of_distributions_is_named(copy: Path, change: str) -> None:
    for folder in (copy / "distributions").iterdir():
        ids, hashes = (np.load(folder / f"{name}.npy") for name in ("pair_ids", "pair_hashes"))
        pair = int(ids[4])
        if change == "swapped":
            hashes[[4, 6]] = hashes[[6, 4]]
        elif change == "lost":
            ids, hashes = np.delete(ids, 4), np.delete(hashes, 4)
        else:
            ids[5] = ids[4]
        np.save(folder / "pair_ids.npy", ids)
        np.save(folder / "pair_hashes.npy", hashes)
        forge(folder)
        found = [line for line in damages(copy) if folder.name in line]
        assert any(f"pair {pair}" in line for line in found), found


@pytest.mark.slow
def test_a_flipped_byte_is_named_in_whatever_file(copy: Path) -> None:
    files = [
        path for path in copy.glob("*/*/**/*") if path.is_file() and "verified" not in str(path)
    ]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 1])
        path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
        assert any(path.name in line for line in damages(copy)), path
        path.write_bytes(content)
    assert damages(copy) == []


@pytest.mark.parametrize("name", ["encoded/dev.arrow", "hypotheses/hypotheses.arrow"])
def test_ids_of_another_tokenizer_are_named(copy: Path, name: str) -> None:
    """As they are when a tokenizer was made again by another version of SentencePiece."""
    folder, file = stage(copy, name.split("/")[0]), name.split("/")[1]
    rewrite(folder / file, lambda table: of_pieces(table, "0123"))
    forge(folder)
    place = folder.relative_to(copy).as_posix()
    (found,) = (line for line in damages(copy) if line.startswith(place))
    assert found.startswith(f"{place}: {file}: its ids are of the tokenizer 0123, ")


def test_lost_and_foreign_files_and_moved_artifacts_are_named(copy: Path) -> None:
    encoded, corpus = stage(copy, "encoded"), stage(copy, "corpus")
    (encoded / "dev.arrow").unlink()
    (corpus / "mine.txt").write_text("x")
    (stage(copy, "noise") / RECORD).unlink()
    moved = corpus.with_name("0" * 16)
    shutil.copytree(corpus, moved)
    text = "\n".join(damages(copy))
    assert f"encoded/{encoded.name}: dev.arrow: is missing" in text
    assert f"corpus/{corpus.name}: mine.txt: stands in no record" in text
    assert f"{RECORD}: is missing" in text
    assert f"corpus/{moved.name}: {RECORD}: is of corpus/{corpus.name}, and stands at" in text


def test_counts_that_were_changed_are_found(copy: Path) -> None:
    folder = stage(copy, "hypotheses")
    record = json.loads((folder / RECORD).read_text())
    record["counts"]["pairs"] += 1
    write_json(folder / RECORD, record)
    found = damages(copy)
    assert any("was changed after it was written" in line for line in found)
    assert any("number of pairs: has 39, its record promises 40" in line for line in found)


def test_one_artifact_is_compared_with_those_beside_it(copy: Path) -> None:
    folder = stage(copy, "hypotheses")
    rewrite(folder / "hypotheses.arrow", swapped)
    forge(folder)
    proof = Proof()
    assert list(prove(artifacts_at(folder), proof))
    assert proof.artifacts == 1
    shutil.rmtree(copy / "encoded")
    proof = Proof()
    list(prove(artifacts_at(folder), proof))
    assert any("not compared with its encoded" in note for note in proof.notes)


@pytest.mark.slow
def test_a_storage_of_objects_is_proved(made: Store, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = Store.open("memory://proved/x")
    for record in made.root.glob(f"*/*/{RECORD}"):
        said = json.loads(record.read_text())
        key = Key(said["stage"], said["version"], said["recipe"], said["inputs"])
        store.publish(
            key,
            lambda folder, of=record.parent, counts=said["counts"]: (
                shutil.copytree(of, folder, dirs_exist_ok=True, ignore=lambda *_: {RECORD}),
                counts,
            )[1],
        )
    with artifacts_of(store) as artifacts:
        proof, copied = Proof(), []
        for stored in artifacts.each():
            copied.append({each.place for each in artifacts.held.values()})
            assert stored.folder.is_relative_to(store.root), "where execution.cache is"
        assert max(map(len, copied)) < 5, "what nothing else is compared with is gone"
        assert not [path for path in artifacts.copies.rglob("*") if path.is_file()]
        assert list(prove(artifacts, proof)) == []
        assert proof.artifacts == 11
    storage = store._storage
    tables = [name for name in storage.names("hypotheses") if name.endswith(".arrow")]
    storage.remove(tables[:1])
    with artifacts_of(store) as artifacts:
        found = list(prove(artifacts, Proof()))
    assert any("hypotheses.arrow: is missing" in line for line in found)


@pytest.mark.parametrize("form", ["a file", "a loop"])
def test_what_stands_in_the_place_of_an_artifact_is_named(copy: Path, form: str) -> None:
    place = stage(copy, "tokenizer")
    shutil.rmtree(place)
    if form == "a file":
        place.write_text("in the way")
    else:
        place.symlink_to(place.name)
    assert any(str(place.name) in line for line in damages(copy))


def test_where_nothing_is_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="no artifact is there; name the folder of one"):
            artifacts_at(path)


def test_a_storage_or_an_experiment_of_which_nothing_is_there_is_told(
    made: Store, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "unmade.yaml").write_text(CONFIG)
    unmade = [f"execution.storage={made.root}"]
    for place, overrides, told in (
        ("memory://mistyped/x", [], "memory://mistyped/x: no artifact is there"),
        (f"file://{tmp_path}/mistyped", [], "no artifact is there; correct the URI"),
        (str(tmp_path / "unmade.yaml"), unmade, f"of this experiment is in {made.root}"),
    ):
        with pytest.raises(InputError, match=told), verify._artifacts(place, overrides):
            pass
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.slow
def test_the_command_ends_with_1_and_a_line_for_each_damage(copy: Path) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "kdray.verify", *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    whole = run(copy)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert whole.stdout.startswith("whole: 11 artifacts, ")
    folder = stage(copy, "encoded")
    rewrite(folder / "train.arrow", swapped)
    forge(folder)
    done = run(copy)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    found = [line for line in lines if line.startswith(f"encoded/{folder.name}: ")]
    assert len(found) == 4, "two rows: each in another's place, of its text"
    assert all("which is damaged" in line for line in lines if line not in found)
    assert "error: 1 of 11 artifacts are damaged" in " ".join(done.stderr.split())
    assert run(copy / "nowhere").returncode == 2
