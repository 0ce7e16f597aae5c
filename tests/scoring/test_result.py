"""A result and its translations come back from disk unchanged, or an error says what is wrong."""

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdray.cell import Cell
from kdray.condition import Condition
from kdray.errors import DataError
from kdray.scoring.result import Result, Score, read_hyps, write_hyps

RESULT = Result(
    cell=Cell("hybrid", "tiny", 3),
    kind="hybrid",
    split="test-news",
    condition=Condition.of_beam(5),
    scores={"bleu": Score(31.25, "tok:13a"), "comet": Score(0.8, "x", True, "comet.txt")},
    num_params=1_250_000,
    target_tokens=40_000_000,
    updates=20_000,
    train_seconds=3600.5,
    decode_tokens_per_second=5000.0,
    decode_sentences_per_second=200.0,
    fingerprint="0123456789abcdef",
    hyps_path="hyps.txt",
)
UNKNOWN = (
    "target_tokens",
    "updates",
    "train_seconds",
    "decode_tokens_per_second",
    "decode_sentences_per_second",
)


def test_json_round_trip():
    assert Result.from_json(json.loads(json.dumps(RESULT.to_json()))) == RESULT


def test_what_is_unknown_survives_the_round_trip_as_unknown():
    brought = replace(RESULT, **dict.fromkeys(UNKNOWN))
    assert Result.from_json(json.loads(json.dumps(brought.to_json()))) == brought


@pytest.mark.parametrize("key", RESULT.to_json())
def test_a_missing_key_is_named(key):
    data = RESULT.to_json()
    del data[key]
    with pytest.raises(DataError, match=f"missing key '{key}'"):
        Result.from_json(data)


def test_an_unknown_key_is_named():
    with pytest.raises(DataError, match="unknown key 'blue'"):
        Result.from_json({**RESULT.to_json(), "blue": 1.0})


@pytest.mark.parametrize("key", RESULT.to_json())
def test_a_value_of_another_type_is_named(key):
    wrong = 1 if isinstance(RESULT.to_json()[key], str) else "1"
    with pytest.raises(DataError, match=f"{key} is {wrong!r}: Input should be "):
        Result.from_json({**RESULT.to_json(), key: wrong})


@pytest.mark.parametrize("key", ["scores", "seed", "method"])
def test_null_is_only_for_what_may_be_unknown(key):
    with pytest.raises(DataError, match=f"{key} is None"):
        Result.from_json({**RESULT.to_json(), key: None})


def test_true_is_no_number():
    with pytest.raises(DataError, match="seed is True: Input should be a valid integer"):
        Result.from_json({**RESULT.to_json(), "seed": True})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_is_finite(value):
    with pytest.raises(DataError, match=r"hybrid/tiny/seed 3 on test-news.*bleu is"):
        replace(RESULT, scores={"bleu": Score(value, "tok:13a")})


@pytest.mark.parametrize("split", ["test", "test-", "train", "Dev", ""])
def test_a_split_is_dev_or_a_named_test(split):
    with pytest.raises(DataError, match="is unknown"):
        replace(RESULT, split=split)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12),
        max_size=6,
    )
)
def test_translations_survive_their_file_whatever_they_hold(hyps):
    # Python's own line splitting would also cut at carriage returns, U+2028 and form feeds.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hyps.txt"
        write_hyps(path, hyps)
        assert read_hyps(path) == tuple(hyps)


def test_a_translation_with_a_line_break_is_refused(tmp_path):
    with pytest.raises(DataError, match="translation 1 holds a line break"):
        write_hyps(tmp_path / "hyps.txt", ["a", "b\nc"])
    assert not (tmp_path / "hyps.txt").exists()


def test_a_file_that_was_cut_is_refused(tmp_path):
    path = tmp_path / "hyps.txt"
    path.write_text("whole\nhal", encoding="utf-8")
    with pytest.raises(DataError, match="was cut"):
        read_hyps(path)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt: translations are missing"):
        read_hyps(tmp_path / "none.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match=r"bytes\.txt: cannot be read"):
        read_hyps(tmp_path / "bytes.txt")
