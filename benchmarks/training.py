"""How fast kdray trains, beside a bare loop around its model and beside transformers.

    python benchmarks/training.py
    python benchmarks/training.py --markdown < lines.jsonl
    python benchmarks/training.py --orchestration

For each model and precision, all systems make the same update one after another, in an order drawn
anew each round, each in processes of its own that sleep while others work. So what disturbs the
machine disturbs all, and the ratio of two systems is the median over updates of their ratio in one.

* `kdray`: the loop of `kdray.fit.loop` as a job runs it, from Arrow files to the log: padding,
  forward, backward, clipping, AdamW. Label smoothing 0.1. No checkpoint or validation falls into
  the updates that are timed.
* `bare`: forward, backward and AdamW of the same model and loss, on batches padded beforehand.
  What `kdray` takes longer is what its loop costs.
* `marian`: MarianMTModel of transformers in the same shape, in a loop that clips and takes AdamW's
  step (`fused`), on batches padded beforehand, without label smoothing. Attention is `eager` or
  `sdpa`, fp32 products are kdray's setting (`medium`) or torch's own (`highest`), workers share the
  batch by DistributedDataParallel or are one: the first rounds try all, and the fastest stays.
  To install it, where kdray's own packages are not touched:

      pip install --target benchmarks/.peers -c constraints.txt -r benchmarks/requirements.txt

An epoch is not timed, and then another one is: of batches in so many shapes that a library which
prepares a product for each shape, as oneDNN does, forgets some in between, as in real training.

Every system has the environment of `kdray.fit.machine`: without that, all are slower. Other
toolkits cannot be run beside this torch: OpenNMT-py, Eole and Sockeye pin older ones, and fairseq
needs an older numpy and patches to be imported at all.

In bfloat16 `kdray` and `bare` follow the precision of the recipe, and `marian` runs in
`torch.autocast`. One JSON line describes the machine, and then one each system:

* `tokens_per_second`: target tokens without padding, the median over updates, and `best`.
* `gflops`: of the matrix products that an update needs, by the median; `peak` of what large
  products reach in that precision, and `in_shape` of what those of this model do. `mfu` is the
  share of `peak`. Peaks are measured with all cores, with nothing else running, before each race.
* `faster_than`: for each other system, the quartiles of the ratio of speeds, update by update.

`--orchestration` measures what Ray and MLflow cost: see `orchestration.py`.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import gemm
import numpy as np
import orchestration
import torch
import training_table
from environment import restart_with_environment
from flops import Size, flops_of
from numpy.typing import NDArray
from training_systems import MEDIUM, SYSTEMS, Setting, System, sizes_of, work
from turns import Racer
from world import World

from kdray.config import ModelConfig
from kdray.config.model import PRESETS
from kdray.fit.machine import prepare

MODELS = ("small", "mini", "tiny")
PRECISIONS = ("fp32", "bf16_autocast", "bf16_master")
PEERS = Path(__file__).parent / ".peers"
TRIAL = (2, 4)  # rounds that nobody counts, and those in which the best form of a peer is found

Times = dict[System, list[float]]


def systems(args: argparse.Namespace, precision: str) -> Iterator[System]:
    """Who races, a peer in all its forms."""
    for name in args.systems:
        for workers, threads in layouts(args):
            if name != "marian":
                yield System(name, workers, threads)
                continue
            for attention in ("eager", "sdpa"):
                for products in (MEDIUM, "highest") if precision == "fp32" else (MEDIUM,):
                    yield System(name, workers, threads, attention, products)


def layouts(args: argparse.Namespace) -> list[tuple[int, int]]:
    """Workers and threads of each."""
    if args.workers or args.threads:
        return [(args.workers or 1, args.threads or 1)]
    cores = os.cpu_count() or 1
    return [(cores, 1), (1, cores)] if cores > 1 else [(1, 1)]


def race(chosen: Sequence[System], setting: Setting, *, warm_up: int, count: int) -> Times:
    """Seconds of each system for the same updates; of a peer, of its fastest form only."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        racers: dict[System, Racer] = {}
        for number, system in enumerate(chosen):
            own = Path(folder) / str(number)
            own.mkdir()
            arguments = (system, setting, own)
            racers[system] = stack.enter_context(
                Racer(str(system), work, workers=system.workers, arguments=arguments)
            )
        for racer in racers.values():
            racer.ready()

        def rounds(count: int) -> Times:
            times: Times = {system: [] for system in racers}
            for _ in range(count):
                for index in rng.permutation(len(racers)):
                    system = list(racers)[index]
                    times[system].append(racers[system].take())
            return times

        rounds(TRIAL[0])
        for slower in losers(rounds(TRIAL[1])):
            racers.pop(slower).close()
        rounds(warm_up - sum(TRIAL))
        return rounds(count)


def losers(times: Times) -> list[System]:
    """All forms of a peer but the fastest."""
    forms = sorted((s for s in times if s.attention), key=lambda s: float(np.median(times[s])))
    return forms[1:]


def report(
    times: Times, setting: Setting, sizes: Sequence[Size], peaks: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """A line for each system; `sizes` of the updates that were timed."""
    model, tokens = setting.model, np.array([size[-1] for size in sizes])
    flops = np.array([flops_of(model, model, setting.vocabulary, [size]).train() for size in sizes])
    for system, seconds in times.items():
        speeds = tokens / np.array(seconds)
        gflops = float(np.median(flops / np.array(seconds))) / 1e9
        yield {
            "model": model.preset,
            "precision": setting.precision,
            "system": system.name,
            "workers": system.workers,
            "threads": system.threads,
            "form": system.form,
            "tokens_per_second": round(float(np.median(speeds))),
            "best": round(float(speeds.max())),
            "gflops": round(gflops, 3),
            **peaks,
            "mfu": round(gflops / peaks["peak"], 4),
            "faster_than": {
                str(other): quartiles(np.array(theirs) / np.array(seconds))
                for other, theirs in times.items()
                if other != system
            },
        }


def quartiles(ratios: NDArray[np.float64]) -> list[float]:
    """25, 50 and 75 percent."""
    return [round(float(each), 3) for each in np.percentile(ratios, (25, 50, 75))]


def peaks_of(setting: Setting) -> dict[str, float]:
    """In GFLOP/s."""
    shapes = gemm.layer_shapes(
        setting.model, positions=setting.tokens, vocabulary=setting.vocabulary
    )
    return {
        "peak": round(gemm.gflops([gemm.LARGE], setting.precision), 3),
        "in_shape": round(gemm.gflops(shapes, setting.precision), 3),
    }


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """What the numbers belong to."""
    names = ("torch", "numpy", "ray", "mlflow")
    versions = {name: metadata.version(name) for name in names}
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
        "transformers": transformers(args),
        "tokens": args.tokens,
        "vocabulary": args.vocabulary,
        "batches": args.batches,
        "rounds": args.rounds,
    }


def transformers(args: argparse.Namespace) -> str | None:
    """The version that a race would use."""
    places = [*sys.path, str(args.peers)]
    found = next(iter(metadata.distributions(name="transformers", path=places)), None)
    return None if found is None else str(found.version)


def processor() -> str:
    """Its name, and the widest instructions that torch finds."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found = torch.cpu.get_capabilities()
    wide = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if found.get(name)]
    return f"{names[0] if names else platform.processor()} ({', '.join(wide)})"


def main() -> None:
    """See the module."""
    args = arguments()
    if args.markdown:
        sys.stdout.write(training_table.render(sys.stdin))
        return
    if args.orchestration:
        workers, threads = layouts(args)[0]
        for model in args.models:
            line = orchestration.measure(
                model, updates=args.updates, rounds=args.rounds, workers=workers, threads=threads
            )
            print(json.dumps(line), flush=True)
        return
    prepare(threads=os.cpu_count() or 1)
    print(json.dumps(machine(args)), flush=True)
    world = World.make(vocabulary=args.vocabulary, tokens=args.tokens, batches=args.batches)
    warm_up = max(args.batches, sum(TRIAL))
    with tempfile.TemporaryDirectory() as folder:
        world.write(Path(folder))
        for model in args.models:
            for precision in args.precision:
                setting = Setting(
                    model=ModelConfig(preset=model),
                    vocabulary=args.vocabulary,
                    tokens=args.tokens,
                    precision=precision,
                    updates=warm_up + args.rounds,
                    encoded=Path(folder),
                    peers=args.peers,
                )
                peaks = peaks_of(setting)
                chosen = list(systems(args, precision))
                times = race(chosen, setting, warm_up=warm_up, count=args.rounds)
                sizes = sizes_of(setting)[-args.rounds :]
                for line in report(times, setting, sizes, peaks):
                    print(json.dumps(line), flush=True)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=PRESETS)
    parser.add_argument("--precision", nargs="+", default=PRECISIONS[:2], choices=PRECISIONS)
    parser.add_argument("--systems", nargs="+", default=tuple(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--workers", type=int, help="of each system, not as many as cores and one")
    parser.add_argument("--threads", type=int, help="of each worker")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--tokens", type=int, default=4096, help="target tokens of an update")
    parser.add_argument("--batches", type=int, default=48, help="of an epoch; one is not timed")
    parser.add_argument("--rounds", type=int, default=48)
    parser.add_argument("--peers", type=Path, default=PEERS, help="where transformers is installed")
    parser.add_argument(
        "--markdown", action="store_true", help="lines on standard input to a table"
    )
    parser.add_argument("--orchestration", action="store_true", help="what Ray and MLflow cost")
    parser.add_argument("--updates", type=int, default=500, help="of a run with --orchestration")
    args = parser.parse_args()
    if "marian" in args.systems and not (args.markdown or args.orchestration or transformers(args)):
        parser.error(f"transformers is not in {args.peers}; install it there, or choose --systems")
    return args


if __name__ == "__main__":
    restart_with_environment()
    main()
