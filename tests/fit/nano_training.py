"""A training run that takes a second, and ways to kill it. Child processes import this file."""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import distributed
from torch.optim.optimizer import register_optimizer_step_pre_hook

from kdray.config import ModelConfig, SingleMethodConfig, TrainingConfig
from kdray.fit import checkpoint, update
from kdray.fit.data import TrainingData
from kdray.fit.loop import Run, fit
from kdray.fit.objective import Objective, build_objective
from kdray.fit.worker import Worker
from kdray.methods.base import Method
from kdray.methods.build import build_method
from kdray.methods.online import OnlineTeacher
from kdray.model.transformer import Transformer
from kdray.schema import View
from kdray.teacher.topk import TopK, compress
from kdray.text.sequences import Sequences
from kdray.text.tokenizer import EOS

VOCAB, PAIRS, KEPT = 40, 60, 6
MODEL = ModelConfig(preset="nano", width=16, feedforward=32, dropout=0.1, max_length=32)
METHODS = {
    "cross_entropy": {"kind": "cross_entropy"},
    **{
        stabiliser["kind"]: {
            "kind": "hybrid",
            "gate": {"kind": "sentence", "stabiliser": stabiliser},
        }
        for stabiliser in (
            {"kind": "prior"},
            {"kind": "centred", "momentum": 0.9},
            {"kind": "bilevel", "every": 2, "dev_tokens": 64},
        )
    },
    "selective": {"kind": "selective", "queue": 200},
    "on_policy": {"kind": "on_policy"},
    "imitation": {"kind": "imitation"},
}
TRAINING = TrainingConfig.model_validate(
    {
        "updates": 30,
        "tokens_per_update": 64,
        "schedule": {"kind": "cosine", "peak": 0.01, "warmup": 5},
        "checkpoint_every": 5,
        "validate_every": 10,
        "average_last": 2,
    }
)


def changed(**values: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({**TRAINING.model_dump(), **values})


def random_sequences(rng: np.random.Generator) -> Sequences:
    """60 sequences of 3 to 8 tokens with `</s>`; the first has 20, more than a small batch."""
    lengths = [19, *rng.integers(2, 8, PAIRS - 1)]
    return Sequences.from_lists([[*rng.integers(4, VOCAB, n), EOS] for n in lengths])


def training_data(method: Method) -> TrainingData:
    """What a method reads: of what the student writes only a teacher can speak, else top k."""
    teacher = new_teacher() if View.STUDENT in method.reads else None
    rng = np.random.default_rng(7)
    torch.manual_seed(7)
    views = {View.REFERENCE: random_sequences(rng), View.HYPOTHESIS: random_sequences(rng)}
    src, pair_ids = random_sequences(rng), np.arange(PAIRS)
    distributions = {}
    for view in () if teacher else method.reads:
        offsets = views[view].offsets
        logits = 3 * torch.randn(int(offsets[-1]), VOCAB)
        labels = torch.from_numpy(views[view].values)
        kept = compress(logits, labels, k=KEPT, temperatures=(1.0,))
        stored = TopK(
            pair_ids=pair_ids,
            offsets=offsets,
            temperatures=np.ones(1),
            **{name: values.numpy() for name, values in kept._asdict().items()},
        )
        distributions[view] = stored.rows(np.arange(PAIRS))
    return TrainingData(
        pair_ids=pair_ids,
        src=src,
        views={view: views[view] for view in method.views},
        distributions=distributions,
        left_out={},
        teacher=teacher,
    )


def dev_data() -> TrainingData:
    """Other pairs, for gates that learn from dev."""
    rng = np.random.default_rng(8)
    src, refs = random_sequences(rng), random_sequences(rng)
    return TrainingData(np.arange(PAIRS), src, {View.REFERENCE: refs}, {}, {})


def new_teacher() -> OnlineTeacher:
    torch.manual_seed(4)
    return OnlineTeacher([Transformer(MODEL, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True)])


def new_objective(method: str, *, dropout: float = 0.1, worker: Worker | None = None) -> Objective:
    config: SingleMethodConfig = TypeAdapter(SingleMethodConfig).validate_python(METHODS[method])
    torch.manual_seed(3)
    model = MODEL.model_copy(update={"dropout": dropout})
    student = Transformer(model, src_vocab=VOCAB, tgt_vocab=VOCAB, shared=True)
    return build_objective(student, build_method(config, student=student), worker or Worker())


def validate(model: Transformer) -> dict[str, float]:
    """Numbers of the weights. It draws random numbers, which must not reach the training."""
    torch.rand(3)
    return {"dev/sum": float(model.output_weight.detach().double().sum())}


def new_run(folder: Path, config: TrainingConfig = TRAINING, **changes: Any) -> Run:
    run = Run(config=config, seed=5, folder=folder, validate=validate, dev=dev_data())
    return replace(run, **changes)


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


def half_a_line(history: checkpoint.History, row: Mapping[str, float]) -> None:
    with history.path.open("a", encoding="utf-8") as file:
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
        plain = checkpoint.History.append
        at = At(plain, nth, half_a_line)
        checkpoint.History.append = lambda self, row: at(self, row)
    elif place == "removal":
        checkpoint.shutil.rmtree = partial(half_a_removal, plain=checkpoint.shutil.rmtree)
    else:
        raise ValueError(place)


def train_in_child(method: str, folder: Path, kill_at: tuple[str, int] | None) -> None:
    """One process of a run. It leaves the number of updates that it made, if it lives."""
    torch.set_num_threads(1)
    if kill_at is not None:
        arm(*kill_at)
    counted = At(update.learning_rate, 0, kill)
    update.learning_rate = counted
    objective = new_objective(method)
    fit(objective, training_data(objective.method), new_run(folder), Worker())
    (folder / "updates_made").write_text(str(counted.calls))


def train_among_workers(
    method: str, folder: Path, config: TrainingConfig, stop_at: int, rank: int, world_size: int
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
    run = new_run(folder, config, stop=lambda step, _: step == stop_at)
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
