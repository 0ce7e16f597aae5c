"""The nano run in processes of its own, which import this file, and places to kill it."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from nano_training import TRAINING, new_objective, new_run, training_data
from torch import distributed
from torch.optim.optimizer import register_optimizer_step_pre_hook

from kdray.config.training import TrainingConfig
from kdray.fit import checkpoint, history, record, update
from kdray.fit.loop import fit
from kdray.fit.worker import Worker


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class At:
    """Calls a function as it is, but at call number `nth` does something else instead."""

    plain: Callable[..., Any]
    nth: int
    instead: Callable[..., Any]
    calls: int = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        do = self.instead if self.calls == self.nth else self.plain
        return do(*args, **kwargs)


def half_a_file(content: object, path: Path, *_: object) -> None:
    path.write_bytes(b"half of what should be here")
    kill()


def half_a_file_for_ever(content: object, path: Path) -> None:
    path.write_bytes(b"half of what should be here")
    time.sleep(600)


def begin_and_die(recorder: record.Recorder, progress: checkpoint.Progress) -> None:
    recorder.checkpoints.wait()
    recorder.checkpoints.save(recorder.objective, recorder.optimizer, progress)
    kill()


class AtMethod:
    """A method that does something else when it is called for the `nth` time, as `At` does."""

    def __init__(
        self, plain: Callable[..., Any], nth: int, instead: Callable[..., Any] = lambda *_: kill()
    ) -> None:
        self.at = At(plain, nth, instead)

    def __get__(self, owner: object, kind: type) -> Callable[..., Any]:
        return partial(self.at, owner)


def half_a_line(rows: history.History, row: Mapping[str, float]) -> None:
    with rows.path.open("a", encoding="utf-8") as file:
        file.write('{"step": 1')
    kill()


def half_a_removal(path: Path, plain: Callable[..., None], **options: bool) -> None:
    """Only checkpoints that are no longer needed are removed without `ignore_errors`."""
    if options:
        plain(path, **options)
        return
    (path / checkpoint.WEIGHTS).unlink()
    kill()


def arm(place: str, nth: int) -> None:
    """Make this process end with SIGKILL the nth time that it comes to a place."""
    if place == "update":
        update.learning_rate = At(update.learning_rate, nth, lambda *_, **__: kill())
    elif place == "weights":
        checkpoint.save_file = At(checkpoint.save_file, nth, half_a_file)
    elif place == "optimizer":
        torch.save = At(torch.save, nth, half_a_file)
    elif place == "state":
        checkpoint.write_json = At(checkpoint.write_json, nth, lambda *_: kill())
    elif place == "history":
        history.History.append = AtMethod(history.History.append, nth, half_a_line)
    elif place == "removal":
        checkpoint.shutil.rmtree = partial(half_a_removal, plain=checkpoint.shutil.rmtree)
    elif place == "means":
        plain_save = checkpoint.save_file
        checkpoint.save_file = lambda values, path: (
            half_a_file(values, path)
            if path.name == checkpoint.MEANS and path.parent.name.startswith(f".{nth:08d}-")
            else plain_save(values, path)
        )
    elif place == "rename":
        plain_move, at = Path.replace, At(Path.replace, nth, lambda *_: kill())
        Path.replace = lambda path, to: (at if path.is_dir() else plain_move)(path, to)
    elif place == "meanwhile":  # a write that takes long, and a kill while updates go on
        checkpoint.save_file = At(checkpoint.save_file, nth, half_a_file_for_ever)
        update.learning_rate = At(update.learning_rate, 5 * nth + 3, lambda *_, **__: kill())
    elif place == "begun":  # a checkpoint is being written, nobody knows how far
        record.Recorder.checkpoint = AtMethod(record.Recorder.checkpoint, nth, begin_and_die)
    elif place == "averaged":
        record.averaged = lambda *_: kill()
    elif place == "told":
        record.Recorder._announce = AtMethod(record.Recorder._announce, nth)
    else:
        raise ValueError(place)


def train_in_child(
    method: str,
    folder: Path,
    kill_at: tuple[str, int] | None,
    config: TrainingConfig = TRAINING,
) -> None:
    """One process of a run. It leaves the number of updates that it made, if it lives.

    The curve that a tracker would have been sent is added to the file `told`.
    """
    torch.set_num_threads(1)
    if kill_at is not None:
        arm(*kill_at)
    counted = At(update.learning_rate, 0, kill)
    update.learning_rate = counted
    objective = new_objective(method)

    def tell(step: int) -> None:
        rows = history.certain_rows(folder / history.HISTORY, step)
        with (folder / "told").open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows) + "\n")

    run = new_run(folder, config, on_checkpoint=tell)
    fit(objective, training_data(objective.method), run, Worker())
    (folder / "updates_made").write_text(str(counted.calls))


def train_among_workers(
    method: str, folder: Path, config: TrainingConfig, until: int | None, rank: int, world_size: int
) -> None:
    """One of several workers. It leaves the first update's gradient and its method's state."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    worker = Worker(rank=rank, world_size=world_size)
    if world_size > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world_size
        )
    objective = new_objective(method, dropout=0.0, worker=worker)
    gradients: dict[str, torch.Tensor] = {}

    def keep(*_: object) -> None:
        if not gradients:
            named = objective.named_parameters()
            gradients.update({name: p.grad.clone() for name, p in named if p.grad is not None})

    register_optimizer_step_pre_hook(keep)
    run = new_run(folder, config, until=until)
    progress = fit(objective, training_data(objective.method), run, worker)
    torch.save(gradients, folder / f"gradients{rank}.pt")
    torch.save(objective.method.state_dict(), folder / f"method{rank}.pt")
    (folder / f"ended{rank}").write_text(str(progress.step))
    if world_size > 1:
        distributed.destroy_process_group()


def in_processes(target: Callable[..., None], *calls: tuple[Any, ...]) -> list[int | None]:
    """Run one process for each call, side by side. -> exit codes; −9 is SIGKILL.

    A server that has imported torch once forks them.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["kdray.fit.job", "torch._dynamo", "torch.distributed.tensor"])
    processes = [context.Process(target=target, args=args, daemon=True) for args in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=90)
    alive = [process for process in processes if process.is_alive()]
    for process in alive:
        process.kill()
        process.join()
    assert not alive, f"{len(alive)} processes did not end"
    return [process.exitcode for process in processes]
