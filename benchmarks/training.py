"""How fast does kdray train, compared with a bare loop around its model and with other toolkits?

    python benchmarks/training.py
    python benchmarks/training.py --markdown < lines.jsonl
    python benchmarks/training.py --orchestration

For each model and precision, all systems make the same update one after another, in a new random
order in each round. Each has processes of its own, which sleep while others work. So a disturbance
of the machine affects all systems alike, and two systems are compared by the ratio of their times
for the same update.

* `kdray`: the loop of `kdray.fit.loop` as a job runs it, from Arrow files to the log: padding,
  forward, backward, clipping, AdamW. Label smoothing is 0.1. There is no checkpoint and no
  validation among the updates that are timed.
* `bare`: forward, backward and AdamW of the same model and loss, on batches that are padded before.
  The additional time of `kdray` is the cost of its loop.
* Peers: models of other toolkits in the same shape, in a loop with clipping and AdamW, on batches
  that are padded before. `marian` is MarianMTModel of transformers, without label smoothing, with
  AdamW as in `bare` (`fused`). `joeynmt` is JoeyNMT's Transformer with its own loss, label
  smoothing 0.1, and its own AdamW, which is not fused. A peer that is not installed is left out.
  This command installs them without a change to kdray's own packages:

      pip install --no-deps --target benchmarks/.peers -r benchmarks/requirements.txt

A peer has several forms. Attention of `marian` is `eager` or `sdpa`, and JoeyNMT has its own; fp32
products have kdray's setting (`medium`, if that is exact) or torch's default (`highest`); there are
several workers with DistributedDataParallel, or one. Before a race, the forms are compared two at a
time in a few updates, and only the fastest takes part.

One epoch is a warm-up, and the next one is timed. Its batches have many shapes: a library that
prepares a product for each shape, as oneDNN does, drops and prepares some again, as in real
training.

Every system has the environment of `kdray.fit.machine`; without that, all are slower. Further
toolkits do not run with this torch: OpenNMT-py, Eole and Sockeye pin older versions of it, and
fairseq needs an older numpy and patches before it can be imported.

In bfloat16, `kdray` and `bare` follow the precision of the recipe, and peers run in
`torch.autocast`. One JSON line describes the machine, and one line each system:

* `tokens_per_second`: target tokens without padding, as the median over updates, and `best`.
* `gflops`: GFLOP/s of the matrix products that an update needs, as the median. `peak` is the speed
  of large products in this precision, `in_shape` that of products in the shapes of this model, and
  `mfu` is `gflops / peak`. Peaks are measured with all cores before each race, with nothing else
  running.
* `faster_than`: for each other system, the quartiles over updates of the ratio of speeds.

`--orchestration` measures the cost of Ray and MLflow: see `orchestration.py`.
"""

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
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
from training_peers import PEERS, version
from training_race import Times, fastest, race
from training_setting import Setting, System, sizes_of
from training_systems import SYSTEMS
from world import World

from kdray.config.model import PRESETS, ModelConfig, Preset
from kdray.fit.machine import has_bf16, prepare

MODELS = ("small", "mini", "tiny")
PRECISIONS = ("fp32", "bf16_autocast", "bf16_master")
PEERS_FOLDER = Path(__file__).parent / ".peers"
INSTALL = "pip install --no-deps --target {} -r benchmarks/requirements.txt"


def entrants(args: argparse.Namespace, setting: Setting) -> Iterator[System]:
    """The systems of a race: kdray and the bare loop in all layouts, a peer in its fastest form."""
    for name in args.systems:
        if name in PEERS:
            yield fastest(forms(name, layouts(args), setting.precision), setting)
        else:
            yield from (System(name, workers, threads) for workers, threads in layouts(args))


def forms(name: str, layouts: Sequence[tuple[int, int]], precision: str) -> list[System]:
    """All forms of a peer."""
    own = torch.get_float32_matmul_precision()  # kdray's setting
    products = dict.fromkeys((own, "highest") if precision == "fp32" else (own,))
    return [
        System(name, *layout, *form)
        for layout in layouts
        for form in itertools.product(PEERS[name].attentions, products)
    ]


def layouts(args: argparse.Namespace) -> list[tuple[int, int]]:
    """Pairs of a number of workers and a number of threads for each."""
    if args.workers or args.threads:
        return [(args.workers or 1, args.threads or 1)]
    cores = os.cpu_count() or 1
    return [(cores, 1), (1, cores)] if cores > 1 else [(1, 1)]


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
    """Speed of large products and of those of the model, in GFLOP/s."""
    shapes = gemm.layer_shapes(
        setting.model, positions=setting.tokens, vocabulary=setting.vocabulary
    )
    return {
        "peak": round(gemm.gflops([gemm.LARGE], setting.precision), 3),
        "in_shape": round(gemm.gflops(shapes, setting.precision), 3),
    }


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """The machine, versions and settings that the numbers belong to."""
    names = ("torch", "numpy", "ray", "mlflow")
    versions = {name: metadata.version(name) for name in names}
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
        **{peer.package: version(name, args.peers) for name, peer in PEERS.items()},
        "tokens": args.tokens,
        "vocabulary": args.vocabulary,
        "batches": args.batches,
        "rounds": args.rounds,
    }


def processor() -> str:
    """Name of the processor, and the vector instructions of it that torch can use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found = torch.cpu.get_capabilities()
    wide = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if found.get(name)]
    return f"{names[0] if names else platform.processor()} ({', '.join(wide)})"


def main() -> None:
    """Run the benchmark; see the docstring of this file."""
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
    with tempfile.TemporaryDirectory() as folder:
        world = World.make(vocabulary=args.vocabulary, tokens=args.tokens, batches=args.batches)
        world.write(Path(folder))
        for model, precision in itertools.product(args.models, args.precision):
            for line in compare(args, model, precision, Path(folder)):
                print(json.dumps(line), flush=True)


def compare(
    args: argparse.Namespace, model: Preset, precision: str, encoded: Path
) -> Iterator[dict[str, Any]]:
    """The lines of one race."""
    setting = Setting(
        model=ModelConfig(preset=model),
        vocabulary=args.vocabulary,
        tokens=args.tokens,
        precision=precision,
        updates=args.batches + args.rounds,
        encoded=encoded,
        peers=args.peers,
    )
    peaks = peaks_of(setting)
    times = race(list(entrants(args, setting)), setting, count=args.rounds)
    return report(times, setting, sizes_of(setting)[-args.rounds :], peaks)


def arguments() -> argparse.Namespace:
    """The parsed arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=PRESETS)
    parser.add_argument(
        "--precision",
        nargs="+",
        default=PRECISIONS[: 1 + has_bf16(torch.device("cpu"))],
        choices=PRECISIONS,
        help="default: fp32, and bf16_autocast where the CPU has it",
    )
    parser.add_argument(
        "--systems", nargs="+", choices=SYSTEMS, help="default: all that are installed"
    )
    parser.add_argument(
        "--workers", type=int, help="of each system; default: as many as cores, and one"
    )
    parser.add_argument("--threads", type=int, help="of each worker")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--tokens", type=int, default=4096, help="target tokens of an update")
    parser.add_argument("--batches", type=int, default=48, help="of an epoch; one is not timed")
    parser.add_argument("--rounds", type=int, default=48)
    parser.add_argument("--peers", type=Path, default=PEERS_FOLDER, help="where they are installed")
    parser.add_argument(
        "--markdown", action="store_true", help="lines on standard input to a table"
    )
    parser.add_argument("--orchestration", action="store_true", help="what Ray and MLflow cost")
    parser.add_argument("--updates", type=int, default=500, help="of a run with --orchestration")
    args = parser.parse_args()
    if not (args.markdown or args.orchestration):
        choose_systems(parser, args)
    return args


def choose_systems(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Leave out peers that are not installed, and say so; it is an error if they were asked for."""
    missing = [
        name
        for name in args.systems or SYSTEMS
        if name in PEERS and version(name, args.peers) is None
    ]
    if missing:
        absent = f"{' and '.join(missing)}, not installed: {INSTALL.format(args.peers)}"
        if args.systems:
            parser.error(absent)
        print(f"left out: {absent}", file=sys.stderr)
    args.systems = args.systems or [name for name in SYSTEMS if name not in missing]


if __name__ == "__main__":
    restart_with_environment()
    main()
