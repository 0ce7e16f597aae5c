"""One training run from plain values: what a worker process is given, and what it leaves behind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kdray.config import MethodConfig, ModelConfig, TrainingConfig
from kdray.fit.assemble import assemble
from kdray.fit.checkpoint import HISTORY, Checkpoints, Progress, read_history
from kdray.fit.loop import Objective, Run, build_objective, fit
from kdray.fit.validation import Validator
from kdray.fit.worker import Worker
from kdray.methods.build import build_method
from kdray.model.storage import Shape, save_model
from kdray.schema import Column, Split, View
from kdray.seeds import derive_seed
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit
from kdray.text.tokenizer import Tokenizer

PREFIX = "student."


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A student, or the teacher, to be trained. Everything in it can be pickled cheaply."""

    model: ModelConfig
    method: MethodConfig
    training: TrainingConfig
    seed: int
    corpus: Path
    tokenizer: Path
    encoded: Path
    folder: Path  # checkpoints and history, seen by every worker
    hypotheses: Path | None = None
    distributions: Mapping[View, Path] = field(default_factory=dict)
    temperatures: tuple[float, ...] = ()
    bleu_tokenize: str = "13a"

    def run(
        self,
        worker: Worker,
        *,
        threads: int,
        on_checkpoint: Callable[[], None] = lambda: None,
        stop: Callable[[int, Mapping[str, float]], bool] = lambda step, metrics: False,
    ) -> Progress:
        """Train, or continue to the end. -> where the run stands."""
        tokenizer = Tokenizer.load(self.tokenizer)
        objective = self.objective(tokenizer, worker)
        data = assemble(
            objective.method,
            encoded=self.encoded,
            hypotheses=self.hypotheses,
            distributions=self.distributions,
            temperatures=self.temperatures,
            max_tokens=min(self.training.max_tokens, self.model.max_length),
        )
        validator = Validator(
            dev=EncodedSplit.load(self.encoded, Split.DEV),
            references=Corpus(self.corpus).table(Split.DEV)[Column.REF].to_pylist(),
            tokenizer=tokenizer,
            bleu_tokenize=self.bleu_tokenize,
            threads=threads,
        )
        run = Run(
            config=self.training,
            seed=self.seed,
            folder=self.folder,
            validate=validator,
            on_checkpoint=on_checkpoint,
            stop=stop,
        )
        return fit(objective, data, run, worker)

    def objective(self, tokenizer: Tokenizer, worker: Worker) -> Objective:
        """The student and its method with the weights that the seed gives."""
        torch.manual_seed(derive_seed("initialise", self.seed))
        student = self.shape(tokenizer).build()
        method = build_method(self.method, width=self.model.width)
        return build_objective(student, method, worker)

    def shape(self, tokenizer: Tokenizer) -> Shape:
        """The shape of the student."""
        return Shape(
            config=self.model,
            src_vocab=tokenizer.src_vocab,
            tgt_vocab=tokenizer.tgt_vocab,
            shared=tokenizer.joint,
            tokenizer=tokenizer.checksum,
        )

    def publish(self, folder: Path, progress: Progress) -> dict[str, Any]:
        """Write the averaged student, its tokenizer and its history into an artifact folder."""
        tokenizer = Tokenizer.load(self.tokenizer)
        checkpoints = Checkpoints(self.folder / "checkpoints", keep=self.training.average_last)
        weights = checkpoints.average(last=self.training.average_last)
        student = {
            name.removeprefix(PREFIX): value
            for name, value in weights.items()
            if name.startswith(PREFIX)
        }
        shape = self.shape(tokenizer)
        save_model(folder, shape, student)
        tokenizer.save(folder)
        (folder / HISTORY).write_bytes((self.folder / HISTORY).read_bytes())
        return {
            "num_params": shape.build().num_params(),
            "updates": progress.step,
            "target_tokens": progress.target_tokens,
            "train_seconds": round(progress.train_seconds, 1),
            "last": dict(read_history(self.folder / HISTORY)[-1]),
        }
