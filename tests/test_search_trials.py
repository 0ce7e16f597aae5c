"""A trial is a student of the searched method, whatever the first method of the recipe is."""

import pytest
import yaml
from micro_study import CONFIG

from kdray.config import Experiment, TeacherLayers
from kdray.progress import Display
from kdray.stages import search
from kdray.stages.study import Study, open_study

VALUES = {"gate.initial": 0.3, "gate.stabiliser.strength": 0.1}


@pytest.fixture
def trial_of(tmp_path, monkeypatch):
    """Prepare the search of the micro study with a changed recipe. -> the study and one trial."""
    jobs = []
    monkeypatch.setattr(search, "search", lambda job, **_: jobs.append(job) or [])
    monkeypatch.setattr(Study, "start_ray", lambda study: None)

    def prepare(**recipe):
        raw = yaml.safe_load(CONFIG)
        raw["recipe"] |= recipe
        raw["execution"] = {"storage": str(tmp_path), "tracking": {"enabled": False}}
        with open_study(Experiment.model_validate(raw), Display()) as study:
            search.run_search(study, search.check_search(study))
            return study, jobs[0].trial(VALUES)

    return prepare


def test_a_trial_does_not_go_on_from_a_stage_of_the_first_method(trial_of):
    stage = {"method": {"kind": "cross_entropy"}, "updates": 10}
    methods = {
        "staged": {"kind": "stages", "stages": [stage, stage]},
        "hybrid": {"kind": "hybrid", "gate": {"kind": "sentence"}},
    }
    study, trial = trial_of(methods=methods)
    assert study.plan.students[0].start is not None
    assert trial.job.start is None
    assert trial.job.method.gate.initial == 0.3
    assert trial.job.training == study.recipe.students.training


def test_a_trial_starts_from_the_teacher_where_its_size_does(trial_of):
    students = yaml.safe_load(CONFIG)["recipe"]["students"]
    narrow = {"preset": "nano", "width": 24, "initial": {"kind": "prune"}}
    students["sizes"] = {"narrow": narrow, "nano": {"preset": "nano"}}
    study, trial = trial_of(students=students)
    (teacher,) = study.plan.teachers
    assert trial.job.origin.teacher == study.path(teacher.key)
    assert trial.job.origin.layers == TeacherLayers((0,), (0,))
    assert trial.plan.key.inputs["initial"] == teacher.key.fingerprint
    assert trial.job.model.width == 24
