"""What does an update cost with each method, relative to cross-entropy on the same sentences?

    python benchmarks/methods.py --model tiny --teacher mini

All methods train the same student in one process, with the update of `kdray.fit.loop` itself:
reading the signal, forward, backward, clipping, AdamW. In each round every method makes one update
on the same rows, in a random order. The baseline makes the same update directly before or after it,
at random, and the ratio of the two times is recorded. For each method, one JSON line goes to
standard output: the median ratio and its quartiles, the median time, the ratio expected from the
FLOPs of the matrix products, and a limit if there is one. The first line compares the baseline with
itself, so the difference of its ratio from 1 is noise.

The data and settings are made up, but in a way that keeps the comparison fair:

* Lengths are like those of Multi30k; within each batch, the hypotheses have the lengths of the
  references in another order (`world`). What a student samples is as long as the reference, since a
  model with random weights would not end a sentence.
* The teacher's distributions have a mean entropy of ENTROPY, like those of a trained teacher: with
  flatter ones, almost every draw would be a different token. Stored forms are written and read by
  kdray's own codecs.
* All updates are from the middle of a training, and with a learning rate that leaves the student as
  it is.
* A gate that learns from dev takes its step in every update (`every: 1`), not in every fifth.
"""

import argparse
import itertools
import json
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import restart_with_environment
from flops import Flops, flops_of
from method_cases import NONE, Case, cases
from world import World

from kdray.config.model import PRESETS, ModelConfig
from kdray.config.signals import HiddenConfig, SampledConfig, TopKConfig
from kdray.config.training import TrainingConfig
from kdray.fit.checkpoint import Progress
from kdray.fit.data import Distributions, TrainingData
from kdray.fit.machine import choose_precision, prepare
from kdray.fit.meter import Meter
from kdray.fit.objective import build_objective
from kdray.fit.record import Run
from kdray.fit.update import Updater
from kdray.fit.worker import Worker
from kdray.methods import student_sequences
from kdray.methods.build import build_method
from kdray.methods.targets import DenseTargets, Member
from kdray.model.transformer import Transformer
from kdray.schema import Form, View
from kdray.teacher.distributions import StoredConfig, write
from kdray.teacher.ensemble import read_pairs
from kdray.teacher.loading import load_distributions
from kdray.teacher.own import OnlineModels
from kdray.teacher.stored import Layout, Read
from kdray.text.batching import Rows

ENTROPY = 0.72  # nats a token: a small teacher on the references of Multi30k
BATCHES = 6  # that rounds take turns with
WARM_UP = 2  # rounds that are not counted
UPDATES = 100_000  # of the training in whose middle everything is timed
STORED = (View.REFERENCE, View.HYPOTHESIS)


def sharpen(teacher: Transformer, world: World) -> None:
    """Scale the last layer norm until the mean entropy of the teacher is ENTROPY."""
    rows = world.batches[0][:32]
    read, _ = read_pairs(OnlineModels([teacher]), world.src, world.views[View.REFERENCE], rows)
    (member,) = read.members
    low, high = 0.01, 1000.0
    for _ in range(20):
        scale = math.sqrt(low * high)
        scaled = DenseTargets((Member(member.hidden_ND * scale, member.weight_VD),))
        low, high = (scale, high) if float(scaled.entropy().mean()) > ENTROPY else (low, scale)
    with torch.no_grad():
        teacher.decoder_norm.weight.mul_(low)


def store(
    teacher: OnlineModels, world: World, args: argparse.Namespace, folder: Path
) -> dict[tuple[View, Form], Distributions]:
    """Write every stored form on every view with kdray's codecs, and open it."""
    found: dict[tuple[View, Form], Distributions] = {}
    configs: dict[Form, StoredConfig] = {
        Form.TOPK: TopKConfig(k=args.k, temperatures=(1.0, 1.5, 2.0)),
        Form.SAMPLED: SampledConfig(draws=args.draws),
        Form.HIDDEN: HiddenConfig(),
    }
    for view, (form, config) in itertools.product(STORED, configs.items()):
        place = folder / f"{form}-{view}"
        place.mkdir()
        ids = world.views[view]
        layout = Layout(place, np.arange(len(ids)), ids.offsets)
        pairs = ((rows, *read_pairs(teacher, world.src, ids, rows)) for rows in world.batches)
        reads = (Read(rows, target.labels_N, read) for rows, read, target in pairs)
        write(layout, reads, config, teacher.output_weights)
        found[view, form] = load_distributions(form, place)
    return found


class _SharedRows(Updater):
    """Updates of the loop, on the batches that all methods share."""

    batches_of_all: Sequence[Rows]

    def _rows(self, step: int) -> Rows:
        return self.batches_of_all[step % len(self.batches_of_all)]


@dataclass
class Contestant:
    """A method in the middle of its training, and the times of its updates."""

    case: Case
    step: _SharedRows
    meter: Meter
    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def update(self, number: int) -> float:
        """Make one update. -> seconds."""
        cuda = self.step.worker.device.type == "cuda"
        if cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        self.step.take(Progress(step=UPDATES // 2 + number), self.meter)
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def race(self, baseline: "Contestant", number: int, *, first: bool) -> None:
        """Make the update of a round directly before or after the baseline's."""
        if first:
            own, base = self.update(number), baseline.update(number)
        else:
            base, own = baseline.update(number), self.update(number)
        if number >= WARM_UP:
            self.seconds.append(own)
            self.ratios.append(own / base)


def contestants(
    chosen: Sequence[Case],
    world: World,
    models: tuple[Transformer, OnlineModels],
    stored: Mapping[tuple[View, Form], Distributions],
    args: argparse.Namespace,
) -> list[Contestant]:
    """One contestant for each method, all with the same student."""
    student, teacher = models
    worker = Worker(device=torch.device(args.device))
    schedule = {"kind": "inverse_sqrt", "peak": 1e-12, "warmup": 1}
    training = {"updates": UPDATES, "tokens_per_update": args.tokens, "schedule": schedule}
    reference = {View.REFERENCE: world.views[View.REFERENCE]}
    ids = np.arange(len(world.src))
    config = TrainingConfig.model_validate(training)
    dev = TrainingData(ids, world.src, reference, {}, {})
    precision = choose_precision(args.precision, worker)
    found = []
    for case in chosen:
        method = build_method(case.config(), student=student, teacher=teacher)
        objective = build_objective(student, method, worker, precision=precision)
        form = Form(case.signal) if case.signal != NONE else Form.ONLINE
        data = TrainingData(
            pair_ids=ids,
            src=world.src,
            views={view: world.views[view] for view in method.needs.views},
            distributions={
                v: stored[v, form] for v in method.needs.distributions if form is not Form.ONLINE
            },
            left_out={},
            teacher=teacher if case.signal == Form.ONLINE else None,
        )
        optimizer = torch.optim.AdamW(
            [p for p in objective.parameters() if p.requires_grad], fused=True
        )
        run = Run(config=config, seed=1, folder=Path("none"), validate=lambda _: {}, dev=dev)
        step = _SharedRows(objective, optimizer, data, run, worker)
        step.batches_of_all = world.batches
        found.append(Contestant(case, step, Meter()))
    return found


def report(each: Contestant, flops: Flops) -> dict[str, Any]:
    """The line that is printed for a method."""
    low, ratio, high = (round(float(r), 3) for r in np.percentile(each.ratios, (25, 50, 75)))
    expected = each.case.expected(flops)
    limit = each.case.limit_at(expected)
    limit = None if limit is None else round(limit, 3)
    return {
        "kind": each.case.kind,
        "variant": each.case.variant,
        "signal": each.case.signal,
        "ratio": ratio,
        "quartiles": [low, high],
        "ms": round(1000 * float(np.median(each.seconds)), 2),
        "expected": round(expected, 3),
        "limit": limit,
        "within": None if limit is None else ratio <= limit,
    }


def main() -> None:
    """Run the benchmark; see the docstring of this file."""
    args = arguments()
    prepare(threads=args.threads)
    torch.manual_seed(1)
    student_sequences.LENGTH_RATIO, student_sequences.LENGTH_SLACK = 1.0, 0
    world = World.make(vocabulary=args.vocabulary, tokens=args.tokens, batches=BATCHES)
    shapes = [ModelConfig(preset=name) for name in (args.model, args.teacher)]
    vocabulary = args.vocabulary
    student, model = (
        Transformer(shape, src_vocab=vocabulary, tgt_vocab=vocabulary, shared=True).to(args.device)
        for shape in shapes
    )
    teacher = OnlineModels([model])
    sharpen(model, world)
    flops = flops_of(*shapes, vocabulary, world.sizes())
    chosen = [case for case in cases(args.tokens) if not args.only or case.kind in args.only]
    with tempfile.TemporaryDirectory() as folder:
        stored = store(teacher, world, args, Path(folder))
        baseline, *others = contestants(
            [Case("cross_entropy"), *chosen], world, (student, teacher), stored, args
        )
        rng = np.random.default_rng(1)
        for number in range(WARM_UP + args.rounds):
            for index in rng.permutation(len(others)):
                others[index].race(baseline, number, first=bool(rng.integers(2)))
    for each in others:
        print(json.dumps(report(each, flops)))


def arguments() -> argparse.Namespace:
    """The parsed arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="tiny", choices=PRESETS, help="the student")
    parser.add_argument("--teacher", default="mini", choices=PRESETS)
    parser.add_argument("--precision", default="auto", help="as in recipe.students.training")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--tokens", type=int, default=4096, help="target tokens of an update")
    parser.add_argument("--k", type=int, default=32, help="entries that topk keeps")
    parser.add_argument("--draws", type=int, default=50, help="draws of sampled")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="*", default=[], metavar="KIND", help="methods to time")
    args = parser.parse_args()
    if args.k > args.vocabulary:
        parser.error(f"--k {args.k} is more than the --vocabulary of {args.vocabulary} holds")
    return args


if __name__ == "__main__":
    restart_with_environment()
    main()
