"""`kdray init` writes a study that loads, of a corpus that is whole."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from kdray.__main__ import app
from kdray.command import exit_codes
from kdray.config.load import load_experiment
from kdray.config.shipped import FOLDER, shipped_names
from kdray.starting.holding_out import hold_out
from kdray.starting.starter import sizes_for
from kdray.text.corpus_building import build_corpus
from kdray.text.readers import read_pairs


def init(*arguments):
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended, exit_codes():
        app(["init", *map(str, arguments)], standalone_mode=False)
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def write(folder, name, pairs):
    for side, suffix in enumerate(("en", "de")):
        lines = "".join(f"{pair[side]}\n" for pair in pairs)
        (folder / f"{name}.{suffix}").write_text(lines, encoding="utf-8")


def made_pairs(count):
    rng = random.Random(count)
    return [(f"a{rng.randrange(count)} b", f"A{n} B") for n in range(count)]


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "My corpus!"
    folder.mkdir()
    write(folder, "train", made_pairs(400))
    return folder


def sets_of(experiment):
    corpus = experiment.recipe.corpus
    sources = {"train": corpus.train, "dev": corpus.dev, **corpus.tests}
    return {name: list(read_pairs(each, Path(corpus.folder))) for name, each in sources.items()}


def test_a_corpus_with_all_its_sets_is_taken_as_it_is(corpus):
    write(corpus, "dev", made_pairs(20))
    write(corpus, "test_one", made_pairs(30))
    write(corpus, "test_two", made_pairs(10))
    found = init(corpus, "--src", "en")
    assert found.exit_code == 0, found.output
    experiment = load_experiment(corpus / "study.yaml")
    assert experiment.name == "My-corpus"
    assert (experiment.recipe.corpus.src_lang, experiment.recipe.corpus.tgt_lang) == ("en", "de")
    sets = sets_of(experiment)
    assert {name: len(pairs) for name, pairs in sets.items()} == {
        "train": 400, "dev": 20, "test_one": 30, "test_two": 10
    }  # fmt: skip
    assert sets["train"] == made_pairs(400)
    assert (corpus / "schema.json").is_file()
    assert not (corpus / "held-out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("has_dev", [False, True])
def test_sets_that_are_missing_are_held_out(corpus, has_dev):
    if has_dev:
        write(corpus, "dev", made_pairs(20))
    found = init(corpus, "--tgt", "de")
    assert "no test" in found.output
    sets = sets_of(load_experiment(corpus / "study.yaml"))
    assert set(sets) == {"train", "dev", "test"}
    assert 5 <= len(sets["test"]) <= 40
    held = [sets["test"]] if has_dev else [sets["test"], sets["dev"]]
    for pairs in held:
        assert not {src for src, _ in pairs} & {src for src, _ in sets["train"]}
    assert {pair for pairs in (sets["train"], *held) for pair in pairs} <= set(made_pairs(400))


SIDES = st.sampled_from(["", " \u200b", "x\x07", "w" * 30, *"abcdefgh"])


@pytest.mark.slow
@given(pairs=st.lists(st.tuples(SIDES, st.sampled_from(["", " ", "T", "b"])), min_size=1))
def test_each_source_is_in_one_set_none_is_lost_and_sets_are_clean(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("held")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdray.starting.holding_out.SHARE", 0.3)
        sets = hold_out(pairs, len(pairs), ["dev", "test"], folder)
    rows = {
        name: [tuple(json.loads(line).values()) for line in (folder / each["path"]).open()]
        for name, each in sets.items()
    }
    assert {src for each in rows.values() for src, _ in each} == {src for src, _ in pairs}

    def is_dropped(src, tgt):
        return (
            "\x07" in src or len(src) > 20 or src.strip(" \u200b") in ("", tgt) or not tgt.strip()
        )

    train = rows["train"]
    assert [pair for pair in train if is_dropped(*pair)] == [p for p in pairs if is_dropped(*p)]
    sources = [{src for src, tgt in each if not is_dropped(src, tgt)} for each in rows.values()]
    assert sum(map(len, sources)) == len(set().union(*sources))
    clean = [pair for pair in pairs if not is_dropped(*pair)]
    kept = {src for src, _ in clean} - {
        src for name in sets if name != "train" for src, _ in rows[name]
    }
    assert [pair for pair in train if not is_dropped(*pair)] == [p for p in clean if p[0] in kept]
    assert not any(is_dropped(*pair) for name in sets if name != "train" for pair in rows[name])


@pytest.mark.slow
def test_the_study_of_a_text_with_empty_lines_has_a_corpus(corpus, tmp_path):
    empty = [(f"c{n}", "" if n % 2 else " ") for n in range(300)]
    write(corpus, "train", [*made_pairs(400), *empty, *(pair[::-1] for pair in empty)])
    assert init(corpus).exit_code == 0
    (tmp_path / "out").mkdir()
    counts = build_corpus(load_experiment(corpus / "study.yaml").recipe.corpus, tmp_path / "out")
    assert counts["drops"]["empty"] == 600


def test_the_larger_the_corpus_the_larger_the_models_and_the_fewer_the_passes():
    sizes = [sizes_for(pairs, 12 * pairs) for pairs in (10**3, 3 * 10**4, 2 * 10**5, 10**7)]
    assert [each.vocabulary for each in sizes] == [1000, 4000, 8000, 16000]
    assert all(each.teacher_updates > each.student_updates >= 200 for each in sizes)
    assert sizes[1].teacher == "mini"
    assert 2000 < sizes[1].teacher_updates < 4000  # as the study of Multi30k, which has as many


def test_an_example_is_copied(tmp_path):
    found = init(tmp_path / "new", "--example", "demo")
    assert found.exit_code == 0, found.output
    copied = (tmp_path / "new" / "demo.yaml").read_text()
    assert copied == (FOLDER / "demo.yaml").read_text()
    assert len(shipped_names()) >= 9


def test_the_examples_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_experiment(Path("tune_configs/demo.yaml")).name == "demo"
    (tmp_path / "tune_configs").mkdir()
    own = (FOLDER / "demo.yaml").read_text().replace("name: demo", "name: mine")
    (tmp_path / "tune_configs" / "demo.yaml").write_text(own)
    assert load_experiment(Path("tune_configs/demo.yaml")).name == "mine"


@pytest.mark.slow
def test_what_it_cannot_tell_is_asked(corpus, tmp_path, capsys):
    assert "no such folder" in refused(capsys, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "no sentence pairs found" in refused(capsys, tmp_path / "empty")
    assert "there are demo," in refused(capsys, tmp_path, "--example", "demos")
    write(corpus, "train_more", made_pairs(5))
    assert "cannot tell which pairs to train on" in refused(capsys, corpus)
    (tmp_path / "few").mkdir()
    write(tmp_path / "few", "train", made_pairs(5))
    assert "5 training pairs; 100 are the least" in refused(capsys, tmp_path / "few")
    (tmp_path / "few" / "study.yaml").touch()
    assert "is there already" in refused(capsys, tmp_path / "few")


def test_what_cannot_be_written_or_is_no_language_leaves_nothing(corpus, capsys):
    assert "src_lang" in refused(capsys, corpus, "--src", "../")
    (corpus / "schema.json").mkdir()
    assert "schema.json: is a folder" in refused(capsys, corpus)
    assert sorted(path.name for path in corpus.iterdir()) == ["schema.json", "train.de", "train.en"]
