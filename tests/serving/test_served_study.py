"""The models of a finished study, as a server takes them."""

import pytest
import yaml
from micro_study import CONFIG

from kdray.config.experiment import Experiment
from kdray.errors import InputError
from kdray.fit.gate_job import FILE, read_rows
from kdray.plan.step import GATES
from kdray.progress import Display
from kdray.runner.served import served_models
from kdray.runner.study import open_study

NAMES = ["nano/hybrid/seed-1", "nano/cross_entropy/seed-1", "teacher"]


@pytest.mark.ray
@pytest.mark.slow
def test_models_of_a_study_are_served_with_its_languages_and_gates(
    undisturbed, tmp_path, client_of
):
    raw = yaml.safe_load(CONFIG)
    raw["execution"] |= {"storage": str(undisturbed), "tracking": {"enabled": False}}
    given = {"storage": "nowhere", "languages": [], "beam": None, "work": tmp_path}
    with open_study(Experiment.model_validate(raw), Display(), only_looks=True) as study:
        models = served_models(NAMES, study=study, **given)
        with pytest.raises(InputError, match="no such model; there are teacher"):
            served_models(["nano/hybrid/seed-9"], study=study, **given)
        (step,) = study.plan.of(GATES)
        rows = read_rows(study.store.fetch(step.key) / FILE)
        beam = study.recipe.evaluation.main_beam
    assert [model.name for model in models] == NAMES
    assert {(model.src_lang, model.tgt_lang, model.beam) for model in models} == {
        ("src", "tgt", beam)
    }
    client = client_of(*models)
    told = client.get("/models").json()["models"]
    assert [each["teacher"] for each in told] == [False, False, True]
    assert [each["gate"] for each in told] == ["sentence", None, None]
    for row in rows:
        shown = client.post("/gate", json={"q": row.src, "model": NAMES[0]}).json()
        assert shown["gate"] == pytest.approx(row.gate, abs=1e-5)
    asked = {"q": [row.src for row in rows], "source": "src", "target": "tgt"}
    for name in NAMES:
        answer = client.post("/translate", json={**asked, "model": name})
        assert (answer.status_code, len(answer.json()["translatedText"])) == (200, len(rows))
