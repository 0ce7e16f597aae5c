"""The notebooks run on what kdray's own writers leave, and are stored without outputs."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from kdray.artifacts import Key, Store
from kdray.cell import Cell
from kdray.condition import Condition
from kdray.fit.history import HISTORY, History
from kdray.reporting.facts import ScenarioFacts, StudyFacts
from kdray.reporting.write import write_report
from kdray.schema import Column
from kdray.scoring.metrics import score
from kdray.scoring.result import Result, Score, write_hyps
from kdray.text.corpus import Corpus

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
COMPARE = next(path for path in NOTEBOOKS if path.name == "compare_methods.ipynb")
WRONG = {("ce", 1): 20, ("ce", 2): 22, ("mixed", 1): 2, ("mixed", 2): 3}  # sentences, of 50
STEPS = (10, 20, 30)
FILE = "dev.beam-4.txt"


def cells(path, kind):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def execute(path, **parameters):
    """Run the code cells in order, parameters after the cell that has their defaults."""
    names = {}
    for cell in cells(path, "code"):
        exec(compile("".join(cell["source"]), f"{path.name}: {cell['id']}", "exec"), names)
        if "parameters" in cell["metadata"].get("tags", []):
            assert parameters.keys() <= names.keys()
            names |= parameters
    return names


def history(method, seed, *, gate):
    rows = []
    for step in STEPS:
        rows.append({"step": step, "time": 0.0, "train/loss": 2.0})
        if gate and method == "mixed":
            rows[-1] |= {"train/gate/mean": step / 100, "train/gate/std": 0.1}
        rows.append({"step": step, "time": 0.0, "dev/loss": 1.0, "dev/bleu": float(step + seed)})
    return rows


def write_model(store, method, seed, *, gate):
    def build(folder):
        log = History(folder / HISTORY, step=0)
        for row in history(method, seed, gate=gate):
            log.append(row)
        return {}

    return store.publish(Key("model", 1, {"method": method, "seed": seed}), build)


def write_scores(store, corpus, model, hyps):
    def build(folder):
        write_hyps(folder / FILE, hyps)
        return {}

    inputs = {"corpus": corpus.key.fingerprint, "model": model.key.fingerprint}
    return store.publish(Key("scores", 1, {}, inputs), build)


def write_study(root, toy_corpus, *, gate=True):
    """A study of two methods and two seeds, as far as notebooks read it; -> its results."""

    def build_corpus(folder):
        shutil.copytree(toy_corpus.path, folder, dirs_exist_ok=True)
        return {}

    store = Store.open(root)
    corpus = store.publish(Key("corpus", 1, {}), build_corpus)
    refs = Corpus(corpus.path).table("dev")[Column.REF].to_pylist()
    results = []
    for (method, seed), wrong in WRONG.items():
        hyps = ["quite another <b>" if row < wrong else ref for row, ref in enumerate(refs)]
        model = write_model(store, method, seed, gate=gate)
        path = write_scores(store, corpus, model, hyps).path / FILE
        results.append(result(method, seed, model, path, score(hyps, refs, bleu_tokenize="13a")))
    facts = StudyFacts(
        name="small",
        recipe={},
        corpus={},
        fingerprints={},
        versions={},
        baseline="ce",
        main_beam=4,
        bootstrap_samples=100,
        scenarios={(): ScenarioFacts({"dev": refs}, "13a")},
    )
    write_report(root / "reports" / "small", study=facts, results=results, curves={})
    return results


def result(method, seed, model, path, scores):
    return Result(
        cell=Cell(method, "nano", seed),
        kind="hybrid" if method == "mixed" else "cross_entropy",
        split="dev",
        condition=Condition.of_beam(4),
        scores={
            "bleu": Score(scores.bleu, scores.bleu_signature),
            "chrf": Score(scores.chrf, scores.chrf_signature),
        },
        num_params=40_000,
        target_tokens=1000,
        updates=STEPS[-1],
        train_seconds=1.0,
        decode_tokens_per_second=None,  # nothing for the report to draw, which is slow
        decode_sentences_per_second=None,
        fingerprint=model.key.fingerprint,
        hyps_path=str(path),
    )


@pytest.fixture(autouse=True)
def canvas():
    """Figures are drawn into memory, and leave no style behind."""
    plt.switch_backend("Agg")
    with mpl.rc_context():
        yield
    plt.close("all")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_stored_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_code_cell_has_prose_above_it(path):
    kinds = [cell["cell_type"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert "code" in kinds
    assert all(above == "markdown" for above, kind in pairwise(kinds) if kind == "code")


def test_methods_are_compared_from_a_finished_study(tmp_path, toy_corpus):
    results = write_study(tmp_path / "runs", toy_corpus)
    shutil.move(tmp_path / "runs", tmp_path / "copied")  # as from another machine
    names = execute(COMPARE, STORAGE=str(tmp_path / "copied"), STUDY="small")

    scores = names["scores"]
    assert list(scores.index) == [("dev", "nano", "ce"), ("dev", "nano", "mixed")]
    bleu = {(result.cell.method, result.cell.seed): result.bleu for result in results}
    ce, mixed = scores.loc[("dev", "nano", "ce")], scores.loc[("dev", "nano", "mixed")]
    assert ce["seeds"] == mixed["seeds"] == 2
    assert ce["BLEU"] == pytest.approx((bleu["ce", 1] + bleu["ce", 2]) / 2)
    assert ce["BLEU ±"] == pytest.approx(abs(bleu["ce", 1] - bleu["ce", 2]) / 2**0.5)
    assert mixed["Δ BLEU"] == pytest.approx(mixed["BLEU"] - ce["BLEU"])
    assert mixed["Δ chrF"] == pytest.approx(mixed["chrF"] - ce["chrF"])
    assert mixed["finding"] == "significant"
    assert mixed["p"] < 0.05

    dev, gate = (plt.figure(number).axes for number in plt.get_fignums())
    assert [axes.get_title(loc="left") for axes in dev] == ["nano: dev/bleu", "nano: dev/loss"]
    lines = {line.get_label(): line for line in dev[0].lines}
    assert list(lines) == ["ce", "mixed"]
    assert list(lines["mixed"].get_xdata()) == list(STEPS)
    assert list(lines["mixed"].get_ydata()) == [11.5, 21.5, 31.5]
    assert [axes.get_title(loc="left") for axes in gate] == [
        "nano: train/gate/mean",
        "nano: train/gate/std",
    ]
    assert [line.get_label() for line in gate[0].lines] == ["mixed"]
    assert list(gate[0].lines[0].get_ydata()) == [0.1, 0.2, 0.3]

    assert [(run.cell.method, run.cell.seed) for run in names["pair"]] == [("ce", 1), ("mixed", 1)]
    extremes = names["extremes"]
    table = Corpus(toy_corpus.path).table("dev")
    assert len(extremes) == 8
    for row, shown in extremes.iterrows():
        assert 2 <= row < 20  # wrong in one of the two only
        assert shown[Column.SRC] == table[Column.SRC][row].as_py()
        assert shown[Column.REF] == shown["mixed"] == table[Column.REF][row].as_py()
        assert shown["ce"] == "quite another <b>"
        assert shown["Δ chrF"] == pytest.approx(100 - shown["chrF ce"])
    assert list(extremes["Δ chrF"]) == sorted(extremes["Δ chrF"], reverse=True)


def test_a_study_without_gates_says_so(tmp_path, toy_corpus, capsys):
    write_study(tmp_path, toy_corpus, gate=False)
    execute(COMPARE, STORAGE=str(tmp_path), STUDY="small")
    assert len(plt.get_fignums()) == 1
    assert "No method of this study logged a gate" in capsys.readouterr().out
