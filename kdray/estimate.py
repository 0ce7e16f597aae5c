"""`python -m kdray.plan CONFIG`: what a study will take, measured on a small sample of it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from kdray.command import Config, Overrides, studied
from kdray.errors import InputError

if TYPE_CHECKING:
    from kdray.runner.estimate import Devices, Estimate


def plan(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    pairs: Annotated[
        int,
        typer.Option(
            min=10, help="Training pairs of the sample, and sentences of each text in one language."
        ),
    ] = 5000,
    updates: Annotated[int, typer.Option(min=2, help="Updates of each training in it.")] = 20,
    cpus: Annotated[
        int | None, typer.Option(min=1, help="CPUs of the cluster to plan for; else of this one.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="GPUs of the cluster to plan for; else of this one.")
    ] = None,
    gpu_speed: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="How many CPUs of this cluster a GPU is worth, if it has none itself."
        ),
    ] = None,
) -> None:
    """Estimate hours and bytes of a study, from a sample of its text and a few updates.

    Every method, size and signal is made once, small, on this cluster and in a folder that is
    removed again. Where the study is finished already, its records stand beside the estimate.
    """
    with studied(config, overrides, "study", dry_run=False, only_looks=True) as running:
        from kdray.cluster.session import resources
        from kdray.progress import Display
        from kdray.runner.estimate import Devices, estimates
        from kdray.runner.sampling import sample_of, sampled

        execution = running.experiment.execution
        if gpus and not execution.use_gpu and gpu_speed is None:
            raise InputError(
                "--gpus: nothing is measured on a GPU with execution.use_gpu false; set it where "
                "there is one, or say with --gpu-speed how many of these CPUs one is worth"
            )
        with tempfile.TemporaryDirectory(prefix="kdray-plan-") as folder:
            small = sample_of(running.experiment, Path(folder), pairs=pairs, updates=updates)
            shown, whole = Display(running.display.console), running.plan.scenarios[0].recipe.corpus
            with sampled(small, shown, whole=whole) as sample:
                there = resources()
        devices = Devices.of(
            execution,
            cpus=cpus or there["CPU"],
            gpus=gpus or (there["GPU"] if execution.use_gpu else 0),
            speed=gpu_speed if gpus and gpu_speed and not execution.use_gpu else 1.0,
        )
        found = estimates(running.plan, sample, devices, study=running)
        running.display.console.print(_table(found, devices, sample.all_learned()))


def _table(found: "list[Estimate]", devices: "Devices", pairs: int) -> Table:
    """A row for each stage, and their sum; what a finished study took stands beside it."""
    title = f"{pairs} training pairs on {devices.actors} {devices.kind}s, {devices.lanes} lanes"
    columns = ("stage", f"{devices.kind} hours", "hours", "size", "it took", "error")
    table = Table(*columns, title=title)
    for each in found:
        took, error = _beside(each.work, each.took)
        table.add_row(
            each.what, _hours(each.work), _hours(each.wall), _bytes(each.size), took, error
        )
    work, wall, size = (
        sum(getattr(each, name) for each in found) for name in ("work", "wall", "size")
    )
    told = [each for each in found if each.took]
    both = sum(each.work for each in told), sum(each.took or 0.0 for each in told)
    table.add_section()
    table.add_row("all", _hours(work), _hours(wall), _bytes(size), *_beside(*both))
    return table


def _beside(work: float, took: float | None) -> tuple[str, str]:
    """What a finished study took, and by how much the estimate is off."""
    return (_hours(took), f"{work / took - 1:+.0%}") if took else ("", "")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.3g}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
