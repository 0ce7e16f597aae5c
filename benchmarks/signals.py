"""How much disk does each form of a teacher's signal take, and how exact is it?

    python benchmarks/signals.py --encoded FOLDER --teacher MODEL --student MODEL

The loss is that of token-level distillation on the references of one split. It is computed by
kdray's own method and loss kernel, with the settings of training, from a signal that kdray's own
codecs wrote and read again, and compared with the dense loss of the teacher in float64. The student
runs in float64 both times: otherwise a ReLU that rounding flips would count as an error of the
signal. There is no dropout, and the student does not change. For each temperature, one JSON line
describes the dense loss, and one line for each signal gives its errors:

* `bias`: the loss minus the dense loss, in nats per token, and `bias_relative`: as a share of the
  dense loss. The loss is the KL divergence at T, without the factor T². `cross_entropy_bias`: the
  same without the teacher's entropy, which does not depend on the student. All are means over
  repeats, and `cross_entropy_noise` is the standard deviation between repeats.
* `gradient_error`: error of the gradients with respect to all parameters of the student. It is the
  L2 norm of the difference from the dense gradients, divided by the norm of these, both over all
  updates together. It has two parts: `gradient_bias` is the error of the mean over repeats, to
  which noise alone contributes about `gradient_floor`; `gradient_noise` is the deviation between
  repeats. In the line of the dense loss, `gradient_noise` is the deviation of an update's gradient
  from the mean over all updates. `gradient_cosine`: mean cosine between both gradients.
* `entries`: mean number of entries that are kept for a token. `kept_mass`: their probability, only
  for topk.
* `bytes`: for each target token, of files that grow with the pairs; `bytes_once`: of the others.
  topk is stored at all temperatures that are measured.
* `written` and `read`: target tokens per second in the fastest of several passes through the page
  cache, from the teacher's states to finished files, and from files to the input of the loss. For
  `online`, `read` is the speed of the teacher's forward pass.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from environment import restart_with_environment
from pydantic import ValidationError
from signal_errors import Errors, Learnt, World, batch_noise, dense, learn

from kdray.config.signals import HiddenConfig, SampledConfig, TopKConfig
from kdray.errors import KdrayError
from kdray.fit.machine import prepare
from kdray.methods.targets import SoftTargets
from kdray.schema import Form, Split, View
from kdray.teacher.distributions import StoredConfig, check_k, write
from kdray.teacher.hidden import OUTPUT
from kdray.teacher.loading import load_distributions
from kdray.teacher.stored import Layout, Read, Stored, bytes_in
from kdray.teacher.topk import TopK
from kdray.text.encoded import EncodedSplit


@dataclass(frozen=True)
class Signal:
    """A stored form. size: k of topk, draws of sampled. repeats: more than 1 only for sampled."""

    form: Form
    config: StoredConfig
    size: int | None = None
    repeats: int = 1

    def write(self, folder: Path, world: World, said: Sequence[Read], *, seed: int) -> float:
        """Write the teacher's distributions for all batches into a folder. -> seconds."""
        began = time.perf_counter()
        layout = Layout(folder, world.data.pair_ids, world.data.views[View.REFERENCE].offsets)
        config = self.config
        if isinstance(config, SampledConfig):
            config = config.model_copy(update={"seed": seed})
        with torch.inference_mode():
            write(layout, said, config, world.teacher.output_weights)
        return time.perf_counter() - began


def timed_reading(stored: Stored, world: World, temperature: float) -> float:
    """Read the signal of every batch in the form that the loss takes. -> seconds."""
    began = time.perf_counter()
    for rows in world.batches:
        stored.targets(rows, temperature=temperature)
    return time.perf_counter() - began


def contents(stored: Stored, world: World, temperature: float) -> dict[str, float | None]:
    """Mean entries of a token, and their probability for topk; None where that has no meaning."""
    entries, mass = 0, 0.0
    for rows in world.batches:
        targets = stored.targets(rows, temperature=temperature)
        if not isinstance(targets, SoftTargets):
            return {"entries": None, "kept_mass": None}
        entries += int(targets.logp_NK.isfinite().sum())
        mass += float((1 - targets.log_tail_N.double().exp()).sum())
    kept = mass / world.tokens if isinstance(stored, TopK) else None
    return {"entries": entries / world.tokens, "kept_mass": kept}


def of_stored(
    signal: Signal, world: World, said: Sequence[Read], reference: Learnt, *, passes: int
) -> dict[str, Any]:
    """The line of a stored form, without its name."""
    errors, writing, reading = Errors(reference), [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for turn in range(max(passes, signal.repeats)):
            writing.append(signal.write(folder, world, said, seed=1 + turn))
            stored = load_distributions(signal.form, folder)
            reading.append(timed_reading(stored, world, reference.temperature))
            if turn < signal.repeats:
                errors.add(learn(world, reference.temperature, stored))
        once = folder / OUTPUT
        bytes_once = once.stat().st_size if once.exists() else 0
        return {
            **contents(stored, world, reference.temperature),
            **errors.row(),
            "bytes": (bytes_in(folder) - bytes_once) / world.tokens,
            "bytes_once": bytes_once,
            "written": world.tokens / min(writing),
            "read": world.tokens / min(reading),
        }


def of_online(world: World, reference: Learnt, *, passes: int) -> dict[str, Any]:
    """The line of `online`, where the teacher runs beside the student, without its name."""
    errors, seconds = Errors(reference), []
    errors.add(learn(world, reference.temperature, None))
    for _ in range(passes):
        began = time.perf_counter()
        for _read in world.read(world.teacher):
            pass
        seconds.append(time.perf_counter() - began)
    return {
        "entries": None,
        "kept_mass": None,
        **errors.row(),
        "bytes": 0.0,
        "bytes_once": 0,
        "written": None,
        "read": world.tokens / min(seconds),
    }


def of_dense(world: World, reference: Learnt) -> dict[str, Any]:
    """The line of the dense loss, without its name."""
    return {
        "pairs": len(world.data),
        "left_out": sum(world.data.left_out.values()),
        "tokens": world.tokens,
        "updates": len(world.batches),
        "loss": reference.loss,
        "entropy": reference.entropy,
        "gradient_noise": batch_noise(reference),
    }


def signals_of(args: argparse.Namespace) -> list[Signal]:
    """Every stored form in every size.

    Raises:
        ValidationError: a size or a temperature is out of range.
    """
    temperatures = tuple(args.temperatures)
    topk = [TopKConfig(k=k, temperatures=temperatures) for k in args.k]
    sampled = [SampledConfig(draws=draws) for draws in args.draws]
    return [
        *(Signal(Form.TOPK, config, config.k) for config in topk),
        *(Signal(Form.SAMPLED, config, config.draws, args.repeats) for config in sampled),
        Signal(Form.HIDDEN, HiddenConfig()),
    ]


def lines(
    world: World, signals: Sequence[Signal], temperatures: Sequence[float], *, passes: int
) -> Iterator[dict[str, Any]]:
    """All lines that are printed."""
    said = list(world.read(world.teacher))
    for temperature in temperatures:
        reference = dense(world, temperature)
        yield line("dense", None, temperature, of_dense(world, reference))
        for signal in signals:
            if signal.form is Form.SAMPLED and temperature != 1:
                continue  # drawn at 1 alone
            found = of_stored(signal, world, said, reference, passes=passes)
            yield line(signal.form, signal.size, temperature, found)
        found = of_online(world, reference, passes=passes)
        yield line(Form.ONLINE, None, temperature, found)


def line(form: str, size: int | None, temperature: float, found: dict[str, Any]) -> dict[str, Any]:
    """A complete line, with numbers rounded to five significant digits."""
    short = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in found.items()}
    return {"form": form, "size": size, "temperature": temperature, **short}


def main() -> None:
    """Run the benchmark; see the docstring of this file."""
    parser, args = arguments()
    prepare(threads=args.threads)
    try:
        signals = signals_of(args)
        split = EncodedSplit.load(args.encoded, args.split)
        world = World.load(args.teacher, args.student, split, pairs=args.pairs, tokens=args.tokens)
        for signal in signals:
            check_k(signal.config, world.student.tgt_vocab)
    except (KdrayError, ValidationError) as error:
        parser.error(str(error))
    for found in lines(world, signals, args.temperatures, passes=args.passes):
        print(json.dumps(found), flush=True)


def arguments() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The parser of the command line, and the parsed arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--encoded", type=Path, required=True, metavar="FOLDER", help="an encoded corpus")
    add("--teacher", type=Path, required=True, nargs="+", metavar="MODEL", help="or its members")
    add("--student", type=Path, required=True, metavar="MODEL")
    add("--split", default=Split.DEV, choices=(Split.TRAIN, Split.DEV))
    add("--pairs", type=int, default=0, help="the first of the split; 0 is all")
    add("--tokens", type=int, default=4096, help="target tokens of an update, about")
    add("--k", type=int, nargs="+", default=[1, 8, 32, 64, 256], help="entries that topk keeps")
    add("--draws", type=int, nargs="+", default=[4, 16, 64], help="draws of sampled")
    add("--repeats", type=int, default=16, help="of what is drawn, each with a seed of its own")
    add("--temperatures", type=float, nargs="+", default=[1.0, 2.0])
    add("--passes", type=int, default=3, help="that are timed, of which the fastest counts")
    add("--threads", type=int, default=1)
    return parser, parser.parse_args()


if __name__ == "__main__":
    restart_with_environment()
    main()
