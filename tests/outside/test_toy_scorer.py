"""A scorer from another package: what it says is checked as the output of a command is."""

import json
import sys
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from kdray_toys.scorer import OVERLAP
from kdray_toys.scorer_config import OverlapConfig
from outside_packages import installed
from sharded import at, fetch

from kdray.artifacts import Key
from kdray.config.scorers import CommandScorerConfig, ScorerConfig
from kdray.errors import ConfigError
from kdray.schema import Column
from kdray.scoring import job as jobs
from kdray.scoring.evaluation import SCORES
from kdray.scoring.job import ScorerJob
from kdray.scoring.result import write_hyps
from kdray.scoring.scorer import Scorer, ScorerFailed, outside_scorer
from kdray.scoring.segments import read_segments

CONFIG = OverlapConfig(kind="toy_overlap", signature="overlap 1")


@pytest.fixture
def with_toys():
    with installed():
        yield


@pytest.fixture
def job(toy_corpus, tmp_path):
    """Translations of dev of which the second half is empty, whole and after a prefix."""
    folder = tmp_path / "translations"
    folder.mkdir()
    refs = pq.read_table(toy_corpus.path / "dev.parquet")[Column.REF].to_pylist()
    rows = []
    for name, hyps in (("beam-1", refs), ("prefix-0.5", [ref.split()[-1] for ref in refs])):
        write_hyps(folder / f"{name}.txt", [*hyps[:25], *([""] * 25)])
        rows.append({"split": "dev", "condition": name, "file": f"{name}.txt"})
    rows += [{"split": "dev", "condition": "sampling", "unscored": "it only knows text"}]
    rows += [{"split": "dev", "condition": "teacher-forcing", "loss": 2.0, "accuracy": 50.0}]
    (folder / SCORES).write_text(json.dumps(rows))
    return ScorerJob("overlap", CONFIG, at(folder), at(toy_corpus.path))


def test_each_translation_gets_a_number_and_each_file_their_mean(with_toys, job, tmp_path):
    job.make(tmp_path, fetch, threads=1)
    plain, rest = json.loads((tmp_path / SCORES).read_text())
    assert (plain["condition"], rest["condition"]) == ("beam-1", "prefix-0.5")
    assert plain["value"] == 0.5
    numbers = read_segments(tmp_path / plain["file"], "overlap", lines=50)
    assert numbers.counts[:, 0].tolist() == [1.0] * 25 + [0.0] * 25
    assert 0 < rest["value"] < 0.5, "of the last word alone"


def test_its_configuration_completes_the_union(with_toys):
    from kdray.config.outside import with_outside

    union = with_outside(
        CommandScorerConfig, "kdray.config.scorers", base=ScorerConfig, beside="kdray.scorers"
    )
    assert "OverlapConfig" in str(union)


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (lambda config, segments: [1.0], "gave 1 scores for 100 segments"),
        (lambda config, segments: [float("nan")] * len(segments), "segment 1 the score nan"),
        (lambda config, segments: 1 / 0, "ZeroDivisionError"),
        (lambda config, segments: sys.exit(0), "SystemExit: 0"),
        (lambda config, segments: None, "TypeError"),
        (lambda config, segments: ["x"] * len(segments), "ValueError"),
    ],
)
def test_one_that_is_damaged_is_told(job, tmp_path, monkeypatch, score, told):
    monkeypatch.setattr(jobs, "outside_scorer", lambda kind: Scorer(score))
    with pytest.raises(ScorerFailed, match=told):
        job.make(tmp_path, fetch, threads=1)


@pytest.mark.parametrize("check", [lambda config: 1 / 0, lambda config: sys.exit(0)])
def test_a_check_that_fails_is_told_with_its_place(job, monkeypatch, check):
    monkeypatch.setattr(jobs, "outside_scorer", lambda kind: Scorer(len, check))
    told = r"recipe\.evaluation\.scorers\.overlap: (ZeroDivisionError|SystemExit)"
    with pytest.raises(ConfigError, match=told):
        job.check()


def test_a_field_of_its_own_decides_whatever_it_is_called(with_toys, job):
    class Timed(OverlapConfig):
        timeout_seconds: float = 1.0

    config = Timed(kind="toy_overlap", signature="1")
    job = replace(job, scores=Key("scores", 1, {}), config=config)
    later = config.model_copy(update={"timeout_seconds": 2.0})
    assert replace(job, config=later).key.fingerprint != job.key.fingerprint


def test_a_field_that_would_hide_the_version_of_the_scorer_is_refused(with_toys, job):
    class Versioned(OverlapConfig):
        version: int = 1

    config = Versioned(kind="toy_overlap", signature="1")
    job = replace(job, scores=Key("scores", 1, {}), config=config)
    with pytest.raises(ConfigError, match=r"scorers\.overlap: Versioned has a field `version`"):
        _ = job.key


def test_what_decides_numbers_is_in_the_fingerprint(with_toys, job):
    job = replace(job, scores=Key("scores", 1, {}))
    ours = job.key.fingerprint
    for changes in ({"signature": "overlap 2"}, {"shortest": 3}):
        assert replace(job, config=CONFIG.model_copy(update=changes)).key.fingerprint != ours
    worse = CONFIG.model_copy(update={"higher_is_better": False})
    assert replace(job, config=worse, name="other").key.fingerprint == ours
    command = CommandScorerConfig(kind="command", command=("x",), signature="x")
    patient = command.model_copy(update={"timeout_seconds": 1.0})
    assert len({replace(job, config=c).key.fingerprint for c in (command, patient)}) == 1


def test_a_kind_that_nobody_has_is_refused(with_toys):
    assert outside_scorer("toy_overlap") is OVERLAP
    with pytest.raises(ConfigError, match=r"entry point other in the group kdray\.scorers gives"):
        outside_scorer("other")
