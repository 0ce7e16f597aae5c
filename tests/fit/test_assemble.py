"""Joining by pair_id: any stored order gives the same data, and nothing is lost in silence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_pairs import (
    CROSS_ENTROPY,
    ONE_PASS,
    PAIR_IDS,
    SENTENCE_LEVEL,
    TWO_PASS,
    Stored,
    described,
    needs_of,
    new_model,
)

from kdray.errors import DataError
from kdray.fit.assemble import (
    NO_HYPOTHESIS,
    TOO_LONG,
    UNFINISHED,
    Signals,
    assemble,
)
from kdray.schema import Form, Split, View
from kdray.teacher.hypotheses import FILE
from kdray.teacher.own import OnlineModels
from kdray.text.encoded import EncodedSplit
from kdray.text.pairing import join
from kdray.text.sequences import write_table
from kdray.text.tokenizer import EOS


@pytest.fixture(scope="module")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("stored")


@pytest.mark.slow
@pytest.mark.parametrize("method", [ONE_PASS, TWO_PASS], ids=["one_pass", "two_pass"])
@given(hyp_order=st.permutations(PAIR_IDS), soft_order=st.permutations(PAIR_IDS))
@settings(max_examples=15)
def test_the_stored_order_does_not_count(new_folder, method, hyp_order, soft_order) -> None:
    stored = Stored(hyp_order=hyp_order, soft_order=soft_order)
    data = stored.assemble(new_folder(), method)
    targets = {View.REFERENCE: stored.refs, View.HYPOTHESIS: stored.hyps}
    soft_view = View.REFERENCE if method is TWO_PASS else View.HYPOTHESIS
    expected = [
        (
            pair_id,
            stored.srcs[pair_id],
            {view: targets[view][pair_id] for view in data.views},
            {soft_view: [[i, i + 1] for i in targets[soft_view][pair_id]]},
        )
        for pair_id in PAIR_IDS
    ]
    assert described(data) == expected
    assert set(data.views) == ({soft_view, View.HYPOTHESIS})
    assert data.left_out == {}


def test_the_best_of_several_hypotheses_is_taken(tmp_path: Path) -> None:
    stored = Stored(num_hyps=3, hyp_order=PAIR_IDS[::-1])
    data = stored.assemble(tmp_path, SENTENCE_LEVEL)
    hyps = data.views[View.HYPOTHESIS]
    assert [hyps[i].tolist() for i in range(len(data))] == [stored.hyps[p] for p in PAIR_IDS]


def test_all_hypotheses_of_a_pair_are_rows_of_their_own_best_first(tmp_path: Path) -> None:
    stored = Stored(num_hyps=3, hyp_order=PAIR_IDS[::-1], unfinished=frozenset({7}))
    data = stored.assemble(tmp_path, {"kind": "multi_hypothesis"}, all_hypotheses=True)
    good = [p for p in PAIR_IDS if p != 7]
    assert data.pair_ids.tolist() == [p for p in good for _ in range(3)]
    assert data.left_out == {UNFINISHED: 3}
    hyps = data.views[View.HYPOTHESIS]
    wanted = [stored.hyps[p] if rank == 0 else [4, EOS] for p in good for rank in range(3)]
    assert [hyps[i].tolist() for i in range(len(data))] == wanted
    assert [data.src[i].tolist() for i in range(len(data))] == [
        stored.srcs[p] for p in good for _ in range(3)
    ]


def test_a_teacher_that_runs_beside_the_student_needs_nothing_stored(tmp_path: Path) -> None:
    Stored().assemble(tmp_path, CROSS_ENTROPY)
    teacher = OnlineModels([new_model()])
    data = assemble(
        needs_of({"kind": "token_level"}),
        encoded=tmp_path / "encoded",
        fetch=Path,
        signals=Signals(),
        max_tokens=50,
        teacher=teacher,
    )
    assert data.teacher is teacher
    assert data.distributions == {}
    assert len(data) == len(PAIR_IDS)


def test_a_method_loads_only_what_it_reads(tmp_path: Path) -> None:
    stored = Stored(unfinished=frozenset(PAIR_IDS), soft_order=[])
    data = stored.assemble(tmp_path, CROSS_ENTROPY)
    assert (len(data), data.left_out, data.distributions) == (len(PAIR_IDS), {}, {})
    assert list(data.views) == [View.REFERENCE]


def test_what_cannot_be_used_is_left_out_and_counted_once(tmp_path: Path) -> None:
    plain = Stored()
    long = [5] * 30 + [EOS]
    stored = replace(
        plain,
        hyp_order=[p for p in PAIR_IDS if p != 100],
        unfinished=frozenset({7}),
        srcs={**plain.srcs, 55: long, 7: long},  # 7 is unfinished too: the first reason counts
        hyps={**plain.hyps, 3: long},
        refs={**plain.refs, 8: long},
    )
    data = stored.assemble(tmp_path, TWO_PASS, max_tokens=30)
    assert data.left_out == {NO_HYPOTHESIS: 1, UNFINISHED: 1, TOO_LONG: 3}
    assert data.pair_ids.tolist() == [21]
    assert described(data) == [
        (
            21,
            plain.srcs[21],
            {View.REFERENCE: plain.refs[21], View.HYPOTHESIS: plain.hyps[21]},
            {View.REFERENCE: [[i, i + 1] for i in plain.refs[21]]},
        )
    ]


def test_a_view_that_is_not_read_may_be_too_long(tmp_path: Path) -> None:
    stored = Stored()
    stored = replace(stored, refs={**stored.refs, 8: [5] * 30 + [EOS]})
    assert stored.assemble(tmp_path, SENTENCE_LEVEL, max_tokens=30).left_out == {}


def test_a_pair_of_exactly_the_limit_is_kept(tmp_path: Path) -> None:
    stored = Stored()
    stored = replace(stored, refs={**stored.refs, 8: [5] * 29 + [EOS]})
    assert stored.assemble(tmp_path, CROSS_ENTROPY, max_tokens=30).left_out == {}


@pytest.mark.parametrize("method", [ONE_PASS, TWO_PASS], ids=["one_pass", "two_pass"])
def test_a_pair_without_distributions_is_an_error(tmp_path: Path, method) -> None:
    stored = Stored(soft_order=[p for p in PAIR_IDS if p not in (8, 21)])
    with pytest.raises(DataError, match=r"2 of 6 pairs are missing, first 8; remove it and run"):
        stored.assemble(tmp_path, method)


def test_distributions_of_pairs_that_are_left_out_are_not_asked_for(tmp_path: Path) -> None:
    stored = Stored(soft_order=[p for p in PAIR_IDS if p != 8], unfinished=frozenset({8}))
    assert len(stored.assemble(tmp_path, ONE_PASS)) == len(PAIR_IDS) - 1


@pytest.mark.parametrize("which", ["hyp_order", "soft_order"])
def test_a_pair_that_stands_twice_is_an_error(tmp_path: Path, which: str) -> None:
    stored = replace(Stored(), **{which: [*PAIR_IDS, PAIR_IDS[2]]})
    with pytest.raises(DataError, match="the same pair_id stands there twice"):
        stored.assemble(tmp_path, TWO_PASS)


def test_distributions_of_another_text_are_an_error(tmp_path: Path) -> None:
    stored = Stored()
    stored.assemble(tmp_path, TWO_PASS)
    with pytest.raises(DataError, match="pairs have another number of positions than their target"):
        assemble(
            needs_of(TWO_PASS),
            encoded=tmp_path / "encoded",
            fetch=Path,
            signals=Signals(
                hypotheses=tmp_path / "hypotheses",
                distributions={View.REFERENCE: (Form.TOPK, tmp_path / View.HYPOTHESIS)},
            ),
            max_tokens=50,
        )


def test_a_teacher_that_said_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no hypothesis"):
        Stored(hyp_order=[]).assemble(tmp_path, SENTENCE_LEVEL)


def test_the_split_is_left_in_its_order(tmp_path: Path) -> None:
    data = Stored().assemble(tmp_path, CROSS_ENTROPY)
    loaded = EncodedSplit.load(tmp_path / "encoded", Split.TRAIN)
    assert data.pair_ids.tolist() == loaded.pair_ids.tolist() == PAIR_IDS


@pytest.mark.slow
@given(st.lists(st.integers(0, 60), unique=True), st.lists(st.integers(0, 60), unique=True))
def test_join_finds_each_pair_or_says_that_it_is_not_there(wanted, stored) -> None:
    wanted_ids, stored_ids = np.array(wanted, dtype=np.int64), np.array(stored, dtype=np.int64)
    missing = sorted(set(wanted) - set(stored))
    if missing:
        expected = f"^here: {len(missing)} of {len(wanted)} pairs are missing, first {missing[0]};"
        with pytest.raises(DataError, match=expected):
            join(wanted_ids, stored_ids, what="here")
    else:
        places = join(wanted_ids, stored_ids, what="here")
        assert places.tolist() == [stored.index(p) for p in wanted]


def rotate(folder: Path, view: View | None, column: str) -> None:
    """Give each row of a stored signal the value of its neighbour."""
    if view is not None:
        path = folder / view / f"{column}.npy"
        np.save(path, np.roll(np.load(path), 1))
        return
    path = folder / "hypotheses" / FILE
    table = pa.ipc.open_file(path).read_all()
    place = table.schema.get_field_index(column)
    rotated = pa.array(np.roll(table[column].to_numpy(), 1))
    write_table(path, table.set_column(place, column, rotated))


@pytest.mark.parametrize("lengths", ["equal", "different"])
@pytest.mark.parametrize("method", [ONE_PASS, TWO_PASS], ids=["one_pass", "two_pass"])
@pytest.mark.parametrize(
    ("view", "column"),
    [(None, "pair_id"), (None, "src_hash"), (View.REFERENCE, "pair_ids"),
     (View.HYPOTHESIS, "pair_ids"), (View.REFERENCE, "pair_hashes")],
)  # fmt: skip
def test_rows_of_another_pair_are_an_error_whatever_the_checksums_say(
    tmp_path: Path, method, view, column, lengths
) -> None:
    read = {ONE_PASS["layout"]: View.HYPOTHESIS, TWO_PASS["layout"]: View.REFERENCE}
    if view not in (None, read[method["layout"]]):
        pytest.skip("the method does not read these")
    stored = Stored()
    if lengths == "equal":
        same = {p: [*range(p % 50 + 4, p % 50 + 8), EOS] for p in PAIR_IDS}
        stored = replace(stored, refs=same, hyps=same)
    stored.assemble(tmp_path, method)
    rotate(tmp_path, view, column)
    form = {read[method["layout"]]: (Form.TOPK, tmp_path / read[method["layout"]])}
    with pytest.raises(DataError, match=r"made of another pair|another number of positions"):
        assemble(
            needs_of(method),
            encoded=tmp_path / "encoded",
            fetch=Path,
            signals=Signals(hypotheses=tmp_path / "hypotheses", distributions=form),
            max_tokens=50,
        )


def test_distributions_of_another_target_of_the_same_length_are_an_error(tmp_path: Path) -> None:
    stored = Stored()
    of_other = {p: [i + 1 if i != EOS else i for i in ids] for p, ids in stored.refs.items()}
    replace(stored, hyps=of_other).assemble(tmp_path, TWO_PASS)
    with pytest.raises(DataError, match="6 of 6 rows were made of another pair"):
        assemble(
            needs_of(TWO_PASS),
            encoded=tmp_path / "encoded",
            fetch=Path,
            signals=Signals(
                hypotheses=tmp_path / "hypotheses",
                distributions={View.REFERENCE: (Form.TOPK, tmp_path / View.HYPOTHESIS)},
            ),
            max_tokens=50,
        )
