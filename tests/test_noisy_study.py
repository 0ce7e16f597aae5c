"""A whole study on noisy text: what is read is what was damaged, and the clean teacher is shared.

The stages are as they are, but what they give to Ray is done here, one after another.
"""

import pytest
import yaml
from micro_study import CONFIG

from kdray.config.experiment import Experiment
from kdray.jobs import NOTES
from kdray.pipeline import run_steps, run_study
from kdray.plan.step import SIGNALS, TEACHER
from kdray.progress import Display
from kdray.runner.study import open_study
from kdray.schema import Column
from kdray.teacher.hypotheses import Hypotheses
from kdray.text.corpus import Corpus
from kdray.text.pairing import source_hashes

pytestmark = pytest.mark.slow


def study_of(storage, **noise):
    raw = yaml.safe_load(CONFIG)
    raw["execution"] = {"storage": str(storage), "tracking": {"enabled": False}}
    del raw["search"]
    raw["recipe"]["corpus"]["noise"] = noise
    raw["recipe"]["methods"] |= {"closest": {"kind": "interpolation", "n": 1}}
    return open_study(Experiment.model_validate(raw), Display())


def test_students_learn_noisy_pairs_and_rates_share_the_teacher(tmp_path, without_ray):
    with study_of(tmp_path, rate=0.2) as study:
        findings = run_study(study)
        text, (teacher,) = study.plan.only.text, study.plan.of(TEACHER)
        counts = study.store.find(text.learned.corpus).counts
        folders = [study.store.fetch(each.corpus) for each in (text.clean, text.learned)]
        clean, noisy = (Corpus(folder).table("train") for folder in folders)
        hyps = Hypotheses.load(study.store.fetch(study.plan.only.students.signals.hypotheses))
    assert {row.cell.method for row in findings.results} == {"teacher", *study.recipe.methods}
    page = findings.page.with_suffix(".md").read_text()
    assert counts[NOTES][0].split(" (")[0].replace("%", "") in page.replace("%", "")
    assert "realised" in page
    assert noisy[Column.PAIR_ID] == clean[Column.PAIR_ID]
    assert noisy[Column.SRC] != clean[Column.SRC]
    assert hyps.src_hashes.tolist() == source_hashes(noisy[Column.SRC].to_pylist()).tolist()

    with study_of(tmp_path, rate=0.5, side="target") as other:
        assert other.plan.of(TEACHER) == (teacher,)
        assert other.is_made(teacher.key)
        run_steps(other, "decode")
        hyps = Hypotheses.load(other.store.fetch(other.plan.only.students.signals.hypotheses))
        assert all(other.is_made(step.key) for step in other.plan.of(SIGNALS))
    assert hyps.src_hashes.tolist() == source_hashes(clean[Column.SRC].to_pylist()).tolist()
