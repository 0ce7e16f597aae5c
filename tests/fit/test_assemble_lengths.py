"""Pairs that a teacher could not read are left out and counted; no other pair may be missing."""

from dataclasses import replace
from pathlib import Path

import pytest
from stored_pairs import (
    CROSS_ENTROPY,
    ONE_PASS,
    PAIR_IDS,
    TWO_PASS,
    Stored,
    described,
    needs_of,
    new_model,
)

from kdray.errors import DataError
from kdray.fit.assemble import (
    NO_HYPOTHESIS,
    TOO_LONG_FOR_TEACHER,
    Signals,
    assemble,
)
from kdray.teacher.own import OnlineModels
from kdray.text.tokenizer import EOS

LONG = [5] * 30 + [EOS]


def with_long(which: str, *pair_ids: int) -> Stored:
    """Some sequences are longer than all others."""
    stored = Stored()
    return replace(stored, **{which: {**getattr(stored, which), **dict.fromkeys(pair_ids, LONG)}})


@pytest.mark.parametrize(
    ("method", "which"),
    [(ONE_PASS, "srcs"), (ONE_PASS, "hyps"), (TWO_PASS, "srcs"), (TWO_PASS, "refs")],
)
def test_pairs_that_were_too_long_for_the_teacher_are_left_out(tmp_path, method, which) -> None:
    read = [p for p in PAIR_IDS if p not in (8, 21)]
    stored = replace(with_long(which, 8, 21), soft_order=read, quarantined=2)
    data = stored.assemble(tmp_path, method)
    assert data.left_out == {TOO_LONG_FOR_TEACHER: 2}
    assert data.pair_ids.tolist() == read
    plain = replace(stored, quarantined=0, soft_order=PAIR_IDS)
    (tmp_path / "plain").mkdir()
    of_all = described(plain.assemble(tmp_path / "plain", method))
    assert described(data) == [row for row in of_all if row[0] in read]


def test_pairs_that_were_quarantined_without_a_translation_count_too(tmp_path: Path) -> None:
    read = [p for p in PAIR_IDS if p not in (8, 21)]
    stored = replace(with_long("srcs", 8, 21), soft_order=read, hyp_order=read, quarantined=2)
    data = stored.assemble(tmp_path, TWO_PASS)
    assert data.left_out == {NO_HYPOTHESIS: 2}
    assert data.pair_ids.tolist() == read


@pytest.mark.parametrize(
    ("absent", "quarantined"),
    [((8, 21), 0), ((8, 21), 1), ((8, 3), 2), ((8,), 2), ((8, 21, 3), 2), ((8, 21, 3), 3)],
)
def test_pairs_that_are_missing_for_another_reason_are_an_error(
    tmp_path: Path, absent: tuple[int, ...], quarantined: int
) -> None:
    """8 and 21 are longer than the others, so nothing but these can be too long for a teacher."""
    stored = replace(
        with_long("refs", 8, 21),
        soft_order=[p for p in PAIR_IDS if p not in absent],
        quarantined=quarantined,
    )
    with pytest.raises(DataError, match=f"{len(absent)} of 6 pairs are missing"):
        stored.assemble(tmp_path, TWO_PASS)


@pytest.mark.parametrize("kind", ["token_level", "imitation", "on_policy", "tie"])
@pytest.mark.parametrize("which", ["srcs", "refs"])
def test_a_teacher_beside_the_student_is_not_shown_what_it_cannot_read(
    tmp_path: Path, kind: str, which: str
) -> None:
    stored = with_long(which, 8)
    at_limit = {55: [*LONG[:29], EOS]}
    stored = replace(stored, **{which: {**getattr(stored, which), **at_limit}})
    stored.assemble(tmp_path, CROSS_ENTROPY)
    data = assemble(
        needs_of({"kind": kind}),
        encoded=tmp_path / "encoded",
        fetch=Path,
        signals=Signals(),
        max_tokens=50,
        teacher=OnlineModels([new_model(), new_model(max_length=30)]),
    )
    assert data.left_out == {TOO_LONG_FOR_TEACHER: 1}
    assert data.pair_ids.tolist() == [p for p in PAIR_IDS if p != 8]
