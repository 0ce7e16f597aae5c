"""What a report computes from is what was counted when the models were scored."""

import numpy as np
import pytest
from made_tables import sentences

from kdray.errors import DataError
from kdray.reporting.build_tables import build_tables
from kdray.reporting.samples import sample_table
from kdray.scoring.counts import score_and_count
from kdray.scoring.metrics import score
from kdray.scoring.result import Score
from kdray.scoring.segments import read_segments, write_counts, write_numbers


def sampled(study, **changes):
    ((table, results),) = build_tables(study.results, study=study.facts(**changes))
    return sample_table(table, results, study=study.facts(bootstrap_samples=50))


@pytest.mark.parametrize("tokenize", ["13a", "char"])
def test_counts_that_are_written_give_the_scores_of_the_whole(tmp_path, tokenize):
    refs, hyps = sentences(40, seed=1), sentences(40, seed=3)
    hyps = refs[:20] + hyps[20:]
    scores, segments = score_and_count(hyps, refs, bleu_tokenize=tokenize)
    assert scores == score(hyps, refs, bleu_tokenize=tokenize)
    write_counts(tmp_path / "counts.npz", segments)
    for metric, value in (("bleu", scores.bleu), ("chrf", scores.chrf)):
        read = read_segments(tmp_path / "counts.npz", metric, lines=40)
        assert np.array_equal(read.counts, segments[metric].counts)
        assert read.score(read.counts.sum(axis=0)) == pytest.approx(value, abs=1e-9)


def test_numbers_that_are_written_are_read_and_damaged_ones_told(tmp_path):
    path = tmp_path / "numbers.txt"
    write_numbers(path, [0.1, 1 / 3])
    assert read_segments(path, "comet", lines=2).counts[:, 0].tolist() == [0.1, 1 / 3]
    with pytest.raises(DataError, match="of 2 segments, not of 3; score again"):
        read_segments(path, "comet", lines=3)
    for damaged in ("0.1\nhalf\n", "0.1\nnan\n", ""):
        path.write_text(damaged)
        with pytest.raises(DataError, match="score"):
            read_segments(path, "comet", lines=2)


@pytest.mark.parametrize(
    "counts",
    [
        np.ones((2, 4), np.int32),
        np.ones(2, np.int32),
        np.full((2, 10), -1, np.int32),
        np.full((2, 10), np.nan),
        np.array(["x"]),
    ],
)
def test_counts_that_nobody_wrote_so_are_refused(tmp_path, counts):
    path = tmp_path / "counts.npz"
    np.savez_compressed(path, bleu=counts)
    with pytest.raises(DataError, match=r"counts\.npz: cannot be read: bleu has"):
        read_segments(path, "bleu", lines=2)


def test_a_damaged_archive_is_one_message_that_gives_no_dangerous_advice(tmp_path):
    path = tmp_path / "counts.npz"
    np.savez_compressed(path, bleu=np.ones((200, 10), np.int32))
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[:-30], whole[:80] + bytes(40) + whole[120:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"counts\.npz: cannot be read") as caught:
            read_segments(path, "bleu", lines=200)
        assert "pickle" not in str(caught.value)


def test_models_of_a_table_are_sampled_alike_and_the_teacher_by_itself(study):
    run = study.run("ce", error=0.3)
    twin = study.run("ce", error=0.3, seed=2)
    twin.scores.update(run.scores)
    study.run("teacher", error=0.1, role="teacher", size="base")
    by_metric = sampled(study)
    assert set(by_metric) == {"bleu", "chrf"}
    bleu = by_metric["bleu"]
    assert set(bleu.cells) == {("tiny", "ce")}
    one, other = bleu.cells["tiny", "ce"].values()
    assert np.array_equal(one.resampled, other.resampled), "they made the same translations"
    assert bleu.teacher.observed == pytest.approx(study.results[2].bleu, abs=1e-9)
    assert set(bleu.runs("tiny")) == {"ce"}


def test_a_metric_that_says_nothing_of_segments_is_not_compared(study):
    run = study.run("ce", error=0.3)
    run.scores["loss"] = Score(2.5, "nats a token", higher_is_better=False)
    assert set(sampled(study)) == {"bleu", "chrf"}
