"""The benchmarks run: every kind of method is timed in relation to the baseline, every form of
signal is compared with the dense loss, and training with other ways to train."""

import itertools
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import get_args

import pytest
import torch

from kdray.config.methods.union import SingleMethodConfig
from kdray.config.model import ModelConfig
from kdray.fit.machine import has_bf16
from kdray.model.storage import Shape, save_model, tensors
from kdray.text.encoded import build_encoded

pytestmark = pytest.mark.long

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = {"model": "nano", "teacher": "nano", "vocabulary": 64, "tokens": 96, "k": 4, "draws": 8,
        "rounds": 1, "threads": 1}  # fmt: skip


RACE = ("--models=nano", "--vocabulary=64", "--tokens=96", "--batches=2", "--rounds=1")
PACKAGES = {"marian": "transformers", "joeynmt": "joeynmt"}
PEERS = [
    name
    for name, package in PACKAGES.items()
    if any(metadata.distributions(name=package, path=[*sys.path, str(BENCHMARKS / ".peers")]))
]


def run(*arguments, **changes):
    """The lines that the benchmark of methods prints."""
    options = [f"--{name}={value}" for name, value in {**TINY, **changes}.items()]
    return printed("methods.py", *options, *arguments)


def printed(script, *arguments):
    done = started(script, *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(row) for row in done.stdout.splitlines()]


def started(script, *arguments, stdin=None):
    line = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(
        line, input=stdin, capture_output=True, text=True, timeout=250, check=False
    )


@pytest.fixture(scope="module")
def rows():
    return run()


def named(rows, kind, variant="", signal="topk"):
    (row,) = (r for r in rows if (r["kind"], r["variant"], r["signal"]) == (kind, variant, signal))
    return row


@pytest.mark.slow
def test_every_kind_is_timed(rows):
    models = get_args(get_args(SingleMethodConfig)[0])
    kinds = {get_args(model.model_fields["kind"].annotation)[0] for model in models}
    assert {row["kind"] for row in rows} == kinds
    assert {row["signal"] for row in rows} == {"none", "topk", "sampled", "hidden", "online"}


@pytest.mark.slow
def test_a_line_holds_a_ratio_and_what_to_expect(rows):
    assert rows[0] | {"kind": "cross_entropy", "expected": 1.0, "limit": None} == rows[0]
    for row in rows:
        assert 0 < row["quartiles"][0] <= row["ratio"] <= row["quartiles"][1]
        assert row["ms"] > 0
        assert row["expected"] >= 1
        assert row["within"] == (None if row["limit"] is None else row["ratio"] <= row["limit"])


@pytest.mark.slow
def test_what_is_expected_follows_from_the_models(rows):
    assert named(rows, "token_level")["expected"] == 1
    two_pass = named(rows, "hybrid", "two_pass, fixed")["expected"]
    assert 1 < two_pass < 2  # one encoder pass, and twice the rest
    online = named(rows, "token_level", signal="online")
    assert online["expected"] == pytest.approx(4 / 3, abs=1e-3)  # a forward pass of equal size
    assert online["limit"] == pytest.approx(1.15 * 4 / 3, abs=2e-3)
    assert 1 < named(rows, "token_level", signal="hidden")["expected"] < online["expected"]


@pytest.mark.slow
def test_kinds_can_be_chosen():
    assert {row["kind"] for row in run("--only", "taid")} == {"taid"}


@pytest.fixture(scope="module")
def signals(toy_corpus, toy_tokenizers, tmp_path_factory):
    """The lines of the benchmark of signals, of two models that were never trained."""
    tokenizer, folder = toy_tokenizers["joint"], tmp_path_factory.mktemp("signals")
    for seed, name in enumerate(("encoded", "teacher", "student")):
        (folder / name).mkdir()
        if name == "encoded":
            build_encoded(toy_corpus.path, tokenizer, folder / name)
            continue
        size = tokenizer.tgt_vocab
        shape = Shape(config=ModelConfig(preset="nano"), src_vocab=size, tgt_vocab=size,
                      shared=True, tokenizer="t")  # fmt: skip
        torch.manual_seed(seed)
        save_model(folder / name, shape, tensors(shape.build()))
    places = [f"--{name}={folder / name}" for name in ("encoded", "teacher", "student")]
    sizes = ["--k", "2", str(tokenizer.tgt_vocab), "--draws", "4", "200", "--tokens", "128"]
    return printed("signals.py", *places, *sizes, "--repeats", "8", "--passes", "1")


def of(signals, form, size=None, temperature=1):
    wanted = (form, size, temperature)
    (row,) = (r for r in signals if (r["form"], r["size"], r["temperature"]) == wanted)
    return row


@pytest.mark.slow
def test_every_form_is_compared_with_the_dense_loss(signals, toy_tokenizers):
    size = toy_tokenizers["joint"].tgt_vocab
    both = [("topk", 2), ("topk", size), ("hidden", None), ("online", None), ("dense", None)]
    expected = [(form, k, t) for t in (1, 2) for form, k in both]
    expected += [("sampled", draws, 1) for draws in (4, 200)]
    assert sorted(map(str, expected)) == sorted(
        str((r["form"], r["size"], int(r["temperature"]))) for r in signals
    )
    dense = of(signals, "dense")
    assert dense["pairs"] == 50
    assert dense["updates"] > 1
    assert min(dense["loss"], dense["entropy"], dense["gradient_noise"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1, 2])
def test_what_is_exact_differs_by_rounding_alone(signals, toy_tokenizers, temperature):
    size = toy_tokenizers["joint"].tgt_vocab
    exact = {
        form: of(signals, form, k, temperature)
        for form, k in (("topk", size), ("hidden", None), ("online", None))
    }
    for row in exact.values():
        assert abs(row["bias_relative"]) < 1e-3
        assert row["gradient_error"] == row["gradient_bias"] < 1e-2
    assert exact["online"]["gradient_error"] < 1e-5
    assert exact["topk"]["kept_mass"] == pytest.approx(1, abs=1e-5)
    short = of(signals, "topk", 2, temperature)
    assert short["bias"] < 0  # a lower bound of the KL
    assert short["gradient_error"] > 10 * exact["topk"]["gradient_error"]
    assert 0 < short["kept_mass"] < 1


@pytest.mark.slow
def test_what_is_drawn_is_noisy_and_has_no_bias(signals):
    few, many = of(signals, "sampled", 4), of(signals, "sampled", 200)
    for row in (few, many):
        assert row["gradient_bias"] == pytest.approx(row["gradient_floor"], rel=0.2)
        assert abs(row["cross_entropy_bias"]) < 2 * row["cross_entropy_noise"]
    noise = few["gradient_noise"] / many["gradient_noise"]
    assert noise == pytest.approx((200 / 4) ** 0.5, rel=0.2)


@pytest.mark.slow
def test_bytes_are_those_of_the_forms(signals):
    tokens = of(signals, "dense")["tokens"]
    assert of(signals, "online")["bytes"] == 0
    hidden, width = of(signals, "hidden"), ModelConfig(preset="nano").width
    overhead = hidden["bytes"] - 2 * width  # 16 bytes a pair, and what the files begin with
    assert 0 < overhead < (16 * 51 + 4 * 256) / tokens
    assert hidden["bytes_once"] > 0
    assert of(signals, "topk", 2)["bytes"] > 4 * 2 + 6 * 2 + 2
    drawn = of(signals, "sampled", 200)
    assert drawn["bytes"] > 3 * drawn["entries"] + 1
    for row in signals:
        if row["form"] not in ("dense", "online"):
            assert min(row["written"], row["read"]) > 0


@pytest.fixture(scope="module")
def race():
    """The lines of the benchmark of training, whatever is installed."""
    return printed("training.py", *RACE, "--workers=1", "--threads=1")


@pytest.mark.slow
def test_all_ways_to_train_race_in_every_precision_of_the_cpu(race):
    machine, *lines = race
    assert (machine["tokens"], machine["vocabulary"]) == (96, 64)
    systems = ["kdray", "bare", *PEERS]
    precisions = ("fp32", "bf16_autocast") if has_bf16(torch.device("cpu")) else ("fp32",)
    expected = list(itertools.product(precisions, systems))
    assert [(line["precision"], line["system"]) for line in lines] == expected
    for line in lines:
        assert len(line["faster_than"]) == len(systems) - 1
        assert line["mfu"] == pytest.approx(line["gflops"] / line["peak"], abs=1e-4)
        assert line["in_shape"] > 0


@pytest.mark.slow
def test_ratios_are_those_of_the_same_updates(race):
    kdray, bare = (line for line in race[1:3])
    forth, back = kdray["faster_than"]["bare 1x1"], bare["faster_than"]["kdray 1x1"]
    assert forth[1] * back[1] == pytest.approx(1, rel=0.01)
    speeds = kdray["tokens_per_second"] / bare["tokens_per_second"]
    assert forth[1] == pytest.approx(speeds, rel=0.02)


def table(lines):
    """The cells of each system in the table that is made of the lines."""
    text = "\n".join(map(json.dumps, lines))
    done = started("training.py", "--markdown", stdin=text)
    assert done.returncode == 0, done.stderr
    rows = [row for row in done.stdout.splitlines() if row.startswith("| nano")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.slow
def test_a_table_compares_with_bare_in_the_same_layout_and_with_each_peer():
    names = ["kdray 2x1", "bare 1x2", "bare 2x1", "marian 1x2 sdpa highest", "joeynmt 2x1 medium"]
    places = {name: place for place, name in enumerate(names, start=1)}

    def line(name):
        system, layout, *form = name.split()
        speeds = {"tokens_per_second": 1, "best": 1, "gflops": 1, "in_shape": 1, "mfu": 1}
        workers, threads = layout.split("x")
        others = {other: [0, place, 9] for other, place in places.items() if other != name}
        return {"model": "nano", "precision": "fp32", "system": system, "workers": workers,
                "threads": threads, "form": " ".join(form), **speeds,
                "faster_than": others}  # fmt: skip

    rows = table([line(name) for name in names])
    assert [row[2] for row in rows] == [
        "kdray", "bare", "bare", "marian sdpa highest", "joeynmt medium"
    ]  # fmt: skip
    medians = [[cell.partition(".")[0] for cell in row[-3:]] for row in rows]
    assert medians == [
        ["3", "4", "5"],
        ["", "4", "5"],
        ["", "4", "5"],
        ["2", "", "5"],
        ["3", "4", ""],
    ]
