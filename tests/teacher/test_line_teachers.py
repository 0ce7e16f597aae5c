"""Teachers that are given lines: commands and functions, whole and damaged."""

import os
import pickle
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outside_packages import installed
from sharded import ENCODED, at, fetch, make

from kdray.config.foreign_teachers import CommandTeacherConfig, FunctionTeacherConfig
from kdray.config.signals import HypothesesConfig
from kdray.errors import ConfigError, InputError
from kdray.model import memory
from kdray.model.generate import SearchOptions
from kdray.teacher import lines
from kdray.teacher.build import build_teacher
from kdray.teacher.check import CheckJob
from kdray.teacher.hypotheses import read_translations
from kdray.teacher.translation import TranslationJob

SOURCES = ["ein Haus", "", "zwei\u2028Häuser"]
UPPER = "import sys\nfor line in sys.stdin: print(line.strip().upper())"


def command(code, **changes):
    line = (sys.executable, "-c", code)
    config = CommandTeacherConfig(kind="command", command=line, signature="upper 1", **changes)
    return build_teacher(config, ())


def function(name, **changes):
    return build_teacher(
        FunctionTeacherConfig(kind="function", function=name, signature="1", **changes), ()
    )


def translate(teacher, options=SearchOptions(), src=SOURCES):
    opened = pickle.loads(pickle.dumps(teacher)).open(fetch, device="cpu", threads=1)
    return [[hyp.text for hyp in best] for best in opened.translate(src, options)]


def test_a_line_in_is_a_line_out():
    assert translate(command(UPPER)) == [["EIN HAUS"], [""], ["ZWEI HÄUSER"]]


@pytest.mark.slow
def test_several_translations_come_as_json_and_no_more_than_asked_for():
    code = (
        "import json, os, sys\n"
        "beam = os.environ['KDRAY_BEAM']\n"
        "for line in sys.stdin: print(json.dumps([[line.strip() + beam, -1.5], 'b', 'c']))"
    )
    options = SearchOptions(beam=7, num_hyps=2)
    engine = command(code, output="json").open(fetch, device="cpu", threads=1)
    ((first, second),) = engine.translate(["a"], options)
    assert (first.text, first.score) == ("a7", -1.5)
    assert (second.text, second.score) == ("b", 0.0)


@pytest.mark.slow
def test_a_source_without_a_translation_goes_to_quarantine(toy_corpus, tmp_path):
    code = "import sys\nfor line in sys.stdin: print('[]' if 'ba' in line else '[\"x\"]')"
    job = TranslationJob(
        command(code, output="json"), at(toy_corpus.path), HypothesesConfig(), ENCODED
    )
    _, counts = make(job, tmp_path, shard_rows=200)
    assert counts["quarantined"] > 0
    assert counts["pairs"] + counts["quarantined"] == 350
    assert set(read_translations(tmp_path)["hyp"].to_pylist()) == {"x"}


DAMAGED = {
    "import sys\nfor line in list(sys.stdin)[1:]: print(line)": "printed",
    "print(1); print(2)": "printed 2 lines for 3 sources",
}


@pytest.mark.parametrize("code", DAMAGED)
def test_what_is_wrong_with_a_command_is_told(code):
    with pytest.raises(InputError, match=f"recipe.teacher .*{DAMAGED[code]}"):
        translate(command(code))


@pytest.mark.parametrize(
    ("printed", "told"), [("x", "is no JSON"), ("7", "must be a text"), ("[[1, 2]]", "must be")]
)
def test_what_is_no_translation_is_told(printed, told):
    with pytest.raises(InputError, match=told):
        translate(command(f"for _ in range(3): print({printed!r})", output="json"))


def test_a_program_is_looked_for_before_anything_runs(tmp_path, monkeypatch):
    config = CommandTeacherConfig(kind="command", command=("./mine",), signature="x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"recipe.teacher: command './mine': there is no such"):
        build_teacher(config, ())
    (tmp_path / "mine").write_text("#!/bin/sh\nwhile read line; do echo x; done\n")
    (tmp_path / "mine").chmod(0o755)
    teacher = build_teacher(config, ())
    monkeypatch.chdir(os.sep)
    assert translate(teacher, src=["a"]) == [["x"]], "wherever a worker runs"


def test_how_long_it_may_take_is_no_part_of_what_it_is():
    ours = command(UPPER)
    assert command(UPPER, timeout_seconds=5).fingerprints == ours.fingerprints
    for changes in ({"output": "json"}, {"environment": {"A": "1"}}):
        assert command(UPPER, **changes).fingerprints != ours.fingerprints


def test_a_function_of_a_package_translates():
    with installed():
        assert translate(function("toy_words", options={"ending": "o"}), src=["a b"]) == [["ao bo"]]
        with pytest.raises(InputError, match=r"toy_forgetful: gave 2 translations for 3 sources"):
            translate(function("toy_forgetful"))
        with pytest.raises(ConfigError, match=r"function nobody: .* there are toy_forgetful, toy_"):
            function("nobody")


BROKEN = "import sys; print('no model', file=sys.stderr); sys.exit(3)"
FAILING = [
    (lambda: command(BROKEN), r"\(command\) .*: it ended with exit code 3; .*'no model'"),
    (lambda: function("toy_words", options={"start": 1}), r"function toy_words: .*TypeError: .*'s"),
]


@pytest.mark.parametrize("number", range(len(FAILING)))
def test_what_fails_on_dev_is_told_before_anything_is_decoded(number, toy_corpus, tmp_path):
    teacher, told = FAILING[number]
    with installed():
        check = CheckJob(teacher(), at(toy_corpus.path), "13a")
        with pytest.raises(InputError, match=rf"recipe.teacher.{told}"):
            check.make(tmp_path, fetch, threads=1)


@pytest.fixture
def sixty(tmp_path):
    """A corpus whose line 33 is a bad one."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    src = [f"line {n}" for n in range(60)]
    pq.write_table(pa.table({"pair_id": range(60), "src": src, "ref": src}),
                   folder / "train.parquet")  # fmt: skip
    return folder


def quarantined(teacher, corpus, folder):
    """The pairs that are not translated, where all others are."""
    job = TranslationJob(teacher, at(corpus), HypothesesConfig(), ENCODED)
    _, counts = make(job, folder, shard_rows=30)
    ids = set(read_translations(folder)["pair_id"].to_pylist())
    assert counts["quarantined"] == 60 - len(ids)
    return set(range(60)) - ids


@pytest.mark.slow
def test_a_line_with_which_a_command_fails_goes_to_quarantine(sixty, tmp_path):
    code = "import sys\nfor line in sys.stdin: print(1 / ('line 33' not in line))"
    assert quarantined(command(code), sixty, tmp_path / "made") == {33}


def upper(bad=None, most=None):
    """A function that raises with one line, or has memory for so many."""

    def translate(lines):
        if bad in lines:
            raise ValueError("bad line")
        if most is not None and len(lines) > most:
            raise MemoryError
        return [line.upper() for line in lines]

    return translate


@pytest.mark.parametrize(
    ("how", "lost"), [({"bad": "line 33"}, {33}), ({"most": 7}, set()), ({}, set())]
)
def test_a_line_with_which_a_function_fails_goes_to_quarantine(
    sixty, tmp_path, monkeypatch, how, lost
):
    """Where memory runs out with many lines, fewer are given to it."""
    monkeypatch.setattr(memory, "_tokens", memory.START)
    monkeypatch.setattr(lines, "outside_kinds", lambda group: {"upper": upper(**how)})
    assert quarantined(function("upper"), sixty, tmp_path / "made") == lost


class Forgetful:
    """An engine of another package that loses a line."""

    positions = vocabulary = None

    def translate(self, src, options, refs=None):
        return [[] for _ in src[1:]]


def test_a_teacher_that_loses_a_line_is_found_out(toy_corpus, tmp_path, monkeypatch):
    teacher = command(UPPER)
    monkeypatch.setattr(type(teacher), "open", lambda *_, **__: Forgetful())
    job = TranslationJob(teacher, at(toy_corpus.path), HypothesesConfig(), ENCODED)
    with pytest.raises(InputError, match="Forgetful gave translations of 349 sources"):
        make(job, tmp_path, shard_rows=500)
