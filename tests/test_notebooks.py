"""The notebooks run on what kdray's own writers leave, and are stored without outputs."""

import json
import shutil
from itertools import pairwise

import pytest
from notebook_cells import COMPARE, NOTEBOOKS, SEARCH, cells, execute

from kdray.artifacts import Key, Store
from kdray.cell import Cell
from kdray.condition import Condition
from kdray.config.search import SearchConfig
from kdray.fit.history import HISTORY, History
from kdray.reporting.analysis import analyse
from kdray.reporting.facts import ScenarioFacts, SplitText, StudyFacts
from kdray.reporting.searches.facts import SearchFacts
from kdray.reporting.searches.page import write_search
from kdray.reporting.write import write_report
from kdray.schema import Column
from kdray.scoring.counts import score_and_count
from kdray.scoring.result import Result, Score, write_hyps
from kdray.scoring.segments import ENDING, write_counts
from kdray.statistics.trials import TrialResult
from kdray.text.corpus import Corpus

WRONG = {("ce", 1): 20, ("ce", 2): 22, ("mixed", 1): 2, ("mixed", 2): 3}  # sentences, of 50
STEPS = (10, 20, 30)
FILE = "dev.beam-4.txt"


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


def write_scores(store, corpus, model, hyps, segments):
    def build(folder):
        write_hyps(folder / FILE, hyps)
        write_counts((folder / FILE).with_suffix(ENDING), segments)
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
    table = Corpus(corpus.path).table("dev")
    src, refs = (table[name].to_pylist() for name in (Column.SRC, Column.REF))
    results = []
    for (method, seed), wrong in WRONG.items():
        hyps = ["quite another <b>" if row < wrong else ref for row, ref in enumerate(refs)]
        model = write_model(store, method, seed, gate=gate)
        scores, segments = score_and_count(hyps, refs, bleu_tokenize="13a")
        path = write_scores(store, corpus, model, hyps, segments).path / FILE
        results.append(result(method, seed, model, path, scores))
    facts = StudyFacts(
        name="small",
        recipe={},
        corpus={},
        fingerprints={},
        versions={},
        baseline="ce",
        main_beam=4,
        budget="at equal numbers of updates",
        bootstrap_samples=100,
        scenarios={(): ScenarioFacts({"dev": SplitText(src, refs)}, "13a")},
    )
    write_report(
        root / "reports" / "small",
        study=facts,
        results=results,
        analysis=analyse(results, study=facts),
        curves={},
    )
    return results


def result(method, seed, model, path, scores):
    counts = str(path.with_suffix(ENDING))
    return Result(
        cell=Cell(method, "nano", seed),
        kind="hybrid" if method == "mixed" else "cross_entropy",
        split="dev",
        condition=Condition.of_beam(4),
        scores={
            "bleu": Score(scores.bleu, scores.bleu_signature, segments_path=counts),
            "chrf": Score(scores.chrf, scores.chrf_signature, segments_path=counts),
        },
        num_params=40_000,
        target_tokens=1000,
        updates=STEPS[-1],
        train_seconds=1.0,
        decode_tokens_per_second=None,
        decode_sentences_per_second=None,
        fingerprint=model.key.fingerprint,
        hyps_path=str(path),
    )


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


@pytest.mark.slow
def test_methods_are_compared_from_a_finished_study(tmp_path, toy_corpus):
    results = write_study(tmp_path / "runs", toy_corpus)
    shutil.move(tmp_path / "runs", tmp_path / "copied")  # as from another machine
    names = execute(COMPARE, STORAGE=str(tmp_path / "copied"), STUDY="small")

    scores = names["scores"]
    assert {place[:3] for place in scores.index} == {
        *(("dev", "nano", "ce"), ("dev", "nano", "mixed")),
    }
    bleu = {(result.cell.method, result.cell.seed): result.bleu for result in results}
    ce, mixed = (scores.loc[("dev", "nano", name, "bleu")] for name in ("ce", "mixed"))
    assert ce["seeds"] == mixed["seeds"] == 2
    assert ce["mean"] == pytest.approx((bleu["ce", 1] + bleu["ce", 2]) / 2)
    assert ce["sd"] == pytest.approx(abs(bleu["ce", 1] - bleu["ce", 2]) / 2**0.5)
    assert mixed["difference"] == pytest.approx(mixed["mean"] - ce["mean"])
    assert mixed["low"] < mixed["difference"] < mixed["high"]

    (dev,) = names["dev_bleu"].chart.panels
    assert dev.title == "nano"
    lines = {line.name: [(p.x, p.y) for p in line.points] for line in dev.lines}
    assert list(lines) == ["ce", "mixed"]
    assert lines["mixed"] == list(zip(STEPS, (11.5, 21.5, 31.5), strict=True))
    (gate,) = names["gate"].chart.panels
    assert [line.name for line in gate.lines] == ["mixed"]
    assert [point.y for point in gate.lines[0].points] == [0.1, 0.2, 0.3]
    assert all(names[name]._repr_svg_().startswith("<svg") for name in ("dev_loss", "gate"))

    (panel,) = names["trade"].chart.panels  # both had as many tokens: the better one is the front
    assert {dot.name: dot.at.x for dot in panel.dots} == {"ce": 1000, "mixed": 1000}
    assert [point.y for point in panel.front] == [pytest.approx(mixed["mean"])]

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


@pytest.mark.slow
def test_a_study_without_gates_says_so(tmp_path, toy_corpus, capsys):
    write_study(tmp_path, toy_corpus, gate=False)
    assert execute(COMPARE, STORAGE=str(tmp_path), STUDY="small")["gate"] is None
    assert "No method of this study logged a gate" in capsys.readouterr().out


def store_search(root, space, trials):
    """A search as far as its notebook reads it. `trials`: values, score, curve, whether stopped."""
    store, results = Store.open(root), []
    for values, score, curve, is_stopped in trials:
        key = Key("model", 1, values)

        def build(folder, curve=curve):
            log = History(folder / HISTORY, step=0)
            for step, loss in zip(STEPS, curve, strict=False):
                log.append({"step": step, "time": 0.0, "dev/loss": loss})
            return {}

        if is_stopped:
            store.work_path(key).mkdir(parents=True)
            build(store.work_path(key))
        elif score is not None:
            store.publish(key, build)
        step = 0 if score is None else STEPS[len(curve) - 1]
        error = "it diverged" if score is None else None
        results.append(
            TrialResult(
                values, score, step, key.fingerprint, error,
                scores={} if score is None else {"dev/loss": score}, is_stopped=is_stopped,
            )
        )  # fmt: skip
    config = SearchConfig.model_validate(
        {"methods": "mixed", "space": space, "objectives": "dev/loss"}
    )
    facts = SearchFacts.of("small", config, results, task={})
    write_search(root / "reports" / "small", facts, None)


def test_a_search_is_read(tmp_path, capsys):
    space = {
        "gate.initial": {"kind": "uniform", "low": 0, "high": 1},
        "signal": {"kind": "choice", "values": ["topk", "online"]},
    }
    trials = [
        ({"gate.initial": 0.7, "signal": "topk"}, 1.0, (3.0, 2.0, 1.0), False),
        ({"gate.initial": 0.6, "signal": "online"}, 1.5, (3.0, 2.0, 1.5), False),
        ({"gate.initial": 0.2, "signal": "topk"}, 2.0, (2.0,), True),
        ({"gate.initial": 0.1, "signal": "topk"}, None, (), False),
    ]
    store_search(tmp_path / "runs", space, trials)
    shutil.move(tmp_path / "runs", tmp_path / "copied")  # as from another machine
    names = execute(SEARCH, STORAGE=str(tmp_path / "copied"), STUDY="small")

    table = names["trials"]
    assert list(table.index) == [1, 2, 3, 4]
    assert list(table["error"].dropna()) == ["it diverged"]
    said = capsys.readouterr().out
    assert "mixed:\n  gate.initial: 0.7\n  signal: topk\n" in said
    assert "No trial of this search logged a gate: mixed have none." in said
    assert names["ranks"]["gate.initial"] == -1, "the loss falls as the gate rises"
    assert names["means"]["signal"]["count"].to_dict() == {"online": 1, "topk": 2}

    dots = names["first"].chart.panels[0].dots
    assert [(dot.name, dot.at.x, dot.at.y) for dot in dots] == [
        ("trial 1", 0.7, 1.0), ("trial 2", 0.6, 1.5), ("trial 3", 0.2, 2.0),
    ]  # fmt: skip
    of_choice = names["against"]("signal").chart
    assert of_choice.x.ticks == ((0, "topk"), (1, "online"))
    assert [dot.at.x for dot in of_choice.panels[0].dots] == [0, 1, 0]
    (learning,) = names["learning"].chart.panels
    ends = {line.name: line.points[-1].x for line in learning.lines}
    assert ends == {"trial 1": 30, "trial 2": 30, "trial 3": 10}
    (front,) = names["front"].chart.panels
    assert [(at.x, at.y) for at in front.front] == [(10, -2.0), (30, -1.0)]
    assert all(names[name]._repr_svg_().startswith("<svg") for name in ("first", "front"))
