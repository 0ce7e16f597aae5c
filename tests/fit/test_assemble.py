"""Joining by pair_id: any stored order gives the same data, and nothing is lost in silence."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from kdray.artifacts import RECORD, write_json
from kdray.config import ModelConfig, SingleMethodConfig
from kdray.errors import DataError
from kdray.fit.assemble import (
    NO_HYPOTHESIS,
    TOO_LONG,
    TOO_LONG_FOR_TEACHER,
    UNFINISHED,
    Signals,
    assemble,
    join,
)
from kdray.fit.data import TrainingData
from kdray.methods.base import Method
from kdray.methods.build import build_method
from kdray.methods.online import OnlineTeacher
from kdray.model.transformer import Transformer
from kdray.schema import Column, Form, Split, View
from kdray.teacher.hypotheses import FILE
from kdray.teacher.topk import TopK
from kdray.text.encoded import EncodedSplit
from kdray.text.sequences import write_table
from kdray.text.tokenizer import EOS

ONE_PASS = {"kind": "hybrid", "layout": "one_pass"}
TWO_PASS = {"kind": "hybrid", "layout": "two_pass"}
CROSS_ENTROPY = {"kind": "cross_entropy"}
SENTENCE_LEVEL = {"kind": "sentence_level"}
BOTH = (View.REFERENCE, View.HYPOTHESIS)
PAIR_IDS = [100, 7, 55, 3, 8, 21]  # neither sorted nor without gaps, as cleaning leaves them


def new_model(*, max_length: int = 512) -> Transformer:
    shape = ModelConfig(preset="nano", width=8, heads=1, max_length=max_length)
    return Transformer(shape, src_vocab=99, tgt_vocab=99, shared=True)


def new_method(raw: dict[str, str]) -> Method:
    config = TypeAdapter(SingleMethodConfig).validate_python(raw)
    return build_method(config, student=new_model())


def texts(*, salt: int) -> dict[int, list[int]]:
    """For each pair ids that tell which pair they are of."""
    lengths = {p: 2 + (p + salt) % 5 for p in PAIR_IDS}
    return {p: [*((7 * p + salt + i) % 90 + 4 for i in range(n)), EOS] for p, n in lengths.items()}


@dataclass(frozen=True)
class Stored:
    """What lies on disk; every order is one in which pairs stand there."""

    refs: dict[int, list[int]] = field(default_factory=lambda: texts(salt=1))
    srcs: dict[int, list[int]] = field(default_factory=lambda: texts(salt=2))
    hyps: dict[int, list[int]] = field(default_factory=lambda: texts(salt=3))
    hyp_order: list[int] = field(default_factory=lambda: list(PAIR_IDS))
    soft_order: list[int] = field(default_factory=lambda: list(PAIR_IDS))
    unfinished: frozenset[int] = frozenset()
    num_hyps: int = 1
    quarantined: int = 0  # as the records of both distributions say

    def assemble(
        self,
        folder: Path,
        method: dict[str, str],
        *,
        max_tokens: int = 50,
        all_hypotheses: bool = False,
    ) -> TrainingData:
        self._write_encoded(folder / "encoded")
        self._write_hypotheses(folder / "hypotheses")
        for view, ids in ((View.REFERENCE, self.refs), (View.HYPOTHESIS, self.hyps)):
            self._write_distributions(folder / view, ids)
        return assemble(
            new_method(method),
            encoded=folder / "encoded",
            signals=Signals(
                hypotheses=folder / "hypotheses",
                all_hypotheses=all_hypotheses,
                distributions={view: (Form.TOPK, folder / view) for view in BOTH},
            ),
            max_tokens=max_tokens,
        )

    def _write_encoded(self, folder: Path) -> None:
        folder.mkdir()
        columns = {
            Column.PAIR_ID: pa.array(PAIR_IDS, pa.int64()),
            Column.SRC_IDS: pa.array([self.srcs[p] for p in PAIR_IDS], pa.list_(pa.uint16())),
            Column.REF_IDS: pa.array([self.refs[p] for p in PAIR_IDS], pa.list_(pa.uint16())),
        }
        write_table(folder / f"{Split.TRAIN}.arrow", pa.table(columns))

    def _write_hypotheses(self, folder: Path) -> None:
        folder.mkdir()
        rows = [(p, rank) for p in self.hyp_order for rank in range(self.num_hyps)]
        ids = [self.hyps[p] if rank == 0 else [4, EOS] for p, rank in rows]
        columns = {
            Column.PAIR_ID: pa.array([p for p, _ in rows], pa.int64()),
            Column.HYP_IDS: pa.array(ids, pa.list_(pa.uint16())),
            Column.HYP_RANK: pa.array([rank for _, rank in rows], pa.int32()),
            Column.FINISHED: pa.array([p not in self.unfinished for p, _ in rows], pa.bool_()),
        }
        write_table(folder / FILE, pa.table(columns))

    def _write_distributions(self, folder: Path, ids: dict[int, list[int]]) -> None:
        """At each position the label and the id above it are kept, so they tell their place."""
        folder.mkdir()
        flat = np.array([i for p in self.soft_order for i in ids[p]], dtype=np.uint16)
        TopK(
            pair_ids=np.array(self.soft_order),
            offsets=np.cumsum([0, *(len(ids[p]) for p in self.soft_order)]),
            ids=np.stack((flat, flat + 1), axis=1),
            logp=np.log(np.full((len(flat), 2), 0.4)).astype(np.float16),
            log_tail=np.full((len(flat), 1), np.log(0.2), dtype=np.float32),
            temperatures=np.ones(1),
            label_rank=np.zeros(len(flat), dtype=np.uint16),
            log_label=np.zeros((len(flat), 1), dtype=np.float16),
        ).save(folder)
        write_json(folder / RECORD, {"counts": {"quarantined": self.quarantined}})


def described(data: TrainingData) -> list[object]:
    """Everything of every row, in the data's order."""
    rows: list[object] = []
    for i, pair_id in enumerate(data.pair_ids.tolist()):
        views = {view: ids[i].tolist() for view, ids in data.views.items()}
        soft = {
            view: stored.targets(np.array([i]), temperature=1.0).ids_NK.tolist()
            for view, stored in data.distributions.items()
        }
        rows.append((pair_id, data.src[i].tolist(), views, soft))
    return rows


@pytest.fixture(scope="module")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("stored")


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
    teacher = OnlineTeacher([new_model()])
    data = assemble(
        new_method({"kind": "token_level"}),
        encoded=tmp_path / "encoded",
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
        new_method({"kind": kind}),
        encoded=tmp_path / "encoded",
        signals=Signals(),
        max_tokens=50,
        teacher=OnlineTeacher([new_model(), new_model(max_length=30)]),
    )
    assert data.left_out == {TOO_LONG_FOR_TEACHER: 1}
    assert data.pair_ids.tolist() == [p for p in PAIR_IDS if p != 8]


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
            new_method(TWO_PASS),
            encoded=tmp_path / "encoded",
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
