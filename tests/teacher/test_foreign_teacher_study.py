"""Whole studies with a teacher of another tool, from the configuration to the report.

The stages are as they are, but what they give to Ray is done here, one after another.
"""

import sys

import pytest
import yaml
from micro_study import CONFIG
from pegasus_teacher import pegasus_teacher

from kdray.config.experiment import Experiment
from kdray.errors import DataError
from kdray.pipeline import run_study
from kdray.plan.step import CHECKED, CONVERTED
from kdray.progress import Display
from kdray.runner.study import open_study

pytestmark = pytest.mark.slow
METHODS = {
    "baseline": {"kind": "cross_entropy"},
    "sentence": {"kind": "sentence_level"},
    "token": {"kind": "token_level", "signal": "topk"},
    "beside": {"kind": "token_level", "signal": "online"},
}


@pytest.fixture
def study_of(toy_pairs, tmp_path):
    """A function from a teacher and other changes of a recipe to a study of the toy task."""
    for name, pairs in (("train", toy_pairs[:350]), ("dev", toy_pairs[350:400])):
        for side, lines in zip(("src", "tgt"), zip(*pairs, strict=True), strict=True):
            (tmp_path / f"{name}.{side}").write_text("\n".join(lines) + "\n")
    text = {name: {"src": f"{name}.src", "tgt": f"{name}.tgt"} for name in ("train", "dev")}

    def of(teacher, methods, **changes):
        raw = yaml.safe_load(CONFIG)
        del raw["search"]
        raw["execution"] = {"storage": str(tmp_path / "storage"), "tracking": {"enabled": False}}
        corpus = {"kind": "files", "folder": str(tmp_path), "src_lang": "aa", "tgt_lang": "bb"}
        corpus |= {**text, "tests": {"toy": text["dev"]}}
        raw["recipe"] |= {"corpus": corpus, "teacher": teacher, "methods": methods, **changes}
        return open_study(Experiment.model_validate(raw), Display())

    return of


def test_students_share_the_vocabulary_of_a_folder_that_kdray_wrote(
    study_of, all_translators, toy_tokenizers, shared_folder, tmp_path, without_ray
):
    all_translators("joint")
    model = shared_folder / "translator-joint"
    pegasus_teacher(model, toy_tokenizers["joint"], tmp_path)
    teacher = {"kind": "huggingface", "path": str(tmp_path / "pegasus")}
    signals = {"hypotheses": {"beam": 2}, "topk": {"k": 4}, "online": True}
    with study_of(teacher, METHODS, tokenizer=None, signals=signals) as study:
        findings = run_study(study)
        (check,) = study.plan.of(CHECKED)
        (_,) = study.plan.of(CONVERTED)
        assert study.store.find(check.key).counts["bleu"] > 50
        assert "tried on 50 sentences of dev" in findings.page.with_suffix(".md").read_text()
    assert {row.cell.method for row in findings.results} == {"teacher", *METHODS}


def test_a_teacher_that_is_refused_costs_nothing_but_the_check(study_of, without_ray):
    code = "import sys\nfor line in sys.stdin: print(line.strip())"
    teacher = {"kind": "command", "command": [sys.executable, "-c", code], "signature": "copy"}
    methods = {"sentence": METHODS["sentence"]}
    with study_of(teacher, methods, tokenizer={"vocab_size": 44}) as study:
        with pytest.raises(DataError, match=r"refused for what was seen on 50 sentences .* copied"):
            run_study(study)
        made = {step.stage for step in study.plan.steps if study.is_made(step.key)}
    assert made == {"corpus", "tokenizer", "encoded"}
