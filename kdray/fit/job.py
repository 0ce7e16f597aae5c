"""One training run from plain values: what a worker process is given, and what it leaves behind."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from kdray.artifacts import write_json
from kdray.config.initial import TeacherLayers
from kdray.config.methods.union import SingleMethodConfig
from kdray.config.model import ModelConfig
from kdray.config.training import Precision, TrainingConfig
from kdray.errors import ArtifactDamaged
from kdray.fit.assemble import Signals, assemble
from kdray.fit.averaging import averaged, chosen_step, facts
from kdray.fit.checkpoint import Progress, newest_progress
from kdray.fit.data import TrainingData
from kdray.fit.history import HISTORY, read_history
from kdray.fit.loop import fit, run_checkpoints
from kdray.fit.machine import choose_precision, probe
from kdray.fit.objective import Objective, build_objective, method_of, student_of
from kdray.fit.record import Run, averaged_scores, plain_scores
from kdray.fit.trunk import CHECKPOINTS, Trunk, store_trunk
from kdray.fit.validation import Validator, check_dev
from kdray.fit.worker import Worker
from kdray.methods.build import build_method
from kdray.methods.online import OnlineTeacher
from kdray.model.inherit import Weights, inherit
from kdray.model.storage import WEIGHTS, Shape, load_model, load_weights, save_model
from kdray.schema import Column, Split, View
from kdray.seeds import derive_seed
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit
from kdray.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

MACHINE, LEFT_OUT = "machine.json", "left_out.json"
METHOD_CONFIG, METHOD_WEIGHTS, TOTALS = "method.json", "method.safetensors", "totals.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """The folder of a teacher, and the layers of it that a student starts from."""

    teacher: Path
    layers: TeacherLayers


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A student, or the teacher, to be trained. Everything in it can be pickled cheaply.

    `start` is the model of the stage before, from which this one goes on; `origin` is what a first
    stage starts from. Without both, weights are random. A run that ends at `until` is a trunk, and
    one with a `trunk` goes on from it.
    """

    model: ModelConfig
    method: SingleMethodConfig
    training: TrainingConfig
    seed: int
    corpus: Path
    tokenizer: Path
    encoded: Path
    folder: Path  # checkpoints and history, seen by every worker
    signals: Signals = field(default_factory=Signals)
    start: Path | None = None
    origin: Origin | None = None
    trunk: Trunk | None = None
    until: int | None = None
    bleu_tokenize: str = "13a"

    def run(
        self,
        worker: Worker,
        *,
        threads: int,
        tokens_per_pass: int | None = None,
        on_checkpoint: Callable[[int], None] = lambda step: None,
        stop: Callable[[int, Mapping[str, float]], bool] = lambda step, metrics: False,
    ) -> Progress:
        """Train, or continue to the end. -> where the run stands."""
        dev = EncodedSplit.load(self.encoded, Split.DEV)
        check_dev(dev, model=self.folder.name, max_length=self.model.max_length)
        tokenizer = Tokenizer.load(self.tokenizer)
        teacher = self._teacher(worker)
        objective = self.objective(tokenizer, worker, teacher)
        data = assemble(
            objective.method.needs,
            encoded=self.encoded,
            signals=self.signals,
            max_tokens=min(self.training.max_tokens, self.model.max_length),
            teacher=teacher,
        )
        run = replace(
            self._run(tokenizer),
            validate=self._validator(dev, tokenizer, threads=threads),
            dev=TrainingData(dev.pair_ids, dev.src, {View.REFERENCE: dev.ref}, {}, {}),
            tokens_per_pass=tokens_per_pass,
            on_checkpoint=on_checkpoint,
            stop=stop,
        )
        self._note(worker, objective, data)
        if self.trunk is not None:
            if worker.is_first:
                self.trunk.begin(objective, run)
            worker.barrier()
        return fit(objective, data, run, worker)

    def _validator(self, dev: EncodedSplit, tokenizer: Tokenizer, *, threads: int) -> Validator:
        return Validator(
            dev=dev,
            references=Corpus(self.corpus).table(Split.DEV)[Column.REF].to_pylist(),
            tokenizer=tokenizer,
            bleu_tokenize=self.bleu_tokenize,
            threads=threads,
        )

    def _run(self, tokenizer: Tokenizer) -> Run:
        """What training and publishing must agree on."""
        return Run(
            config=self.training,
            seed=self.seed,
            folder=self.folder,
            validate=lambda student: {},
            until=self.until,
            first_step=self.first_step(),
            identity={
                "model": self.shape(tokenizer).model_dump(mode="json"),
                "method": self.method.model_dump(mode="json"),
                "seed": self.seed,
            },
        )

    def _note(self, worker: Worker, objective: Objective, data: TrainingData) -> None:
        """Leave in the folder what the model is trained in, on what, and without which pairs."""
        if not worker.is_first:
            return
        products = probe(worker.device)
        logger.info("%s: %s, %s", self.folder.name, objective.precision, products)
        self.folder.mkdir(parents=True, exist_ok=True)
        noted = {"precision": objective.precision, "workers": worker.world_size}
        write_json(self.folder / MACHINE, {**noted, **asdict(products)})
        if data.left_out:
            logger.warning("%s: left out of training: %s", self.folder.name, dict(data.left_out))
        write_json(self.folder / LEFT_OUT, dict(data.left_out))

    def objective(
        self, tokenizer: Tokenizer, worker: Worker, teacher: OnlineTeacher | None = None
    ) -> Objective:
        """The student and its method, with the weights that training starts from.

        They are those of the stage before, of the teacher, or what the seed gives. A trunk's
        replace them later, but another method has to be built beside the student that it learns.
        """
        inherited = self._inherited()
        torch.manual_seed(derive_seed("initialise", self.seed))
        student = self.shape(tokenizer).build()
        if self.start is not None:
            load_weights(student, self.start / WEIGHTS)
        elif inherited is not None:
            student.load_state_dict(inherited)
        if self.trunk is not None and not self.trunk.same_method:
            self.trunk.student(student)
        method = build_method(self.method, student=student, teacher=teacher)
        return build_objective(student, method, worker, precision=self._precision(worker))

    def _precision(self, worker: Worker) -> Precision:
        """What the run or its trunk began in, so that other hardware does not change it half way.

        A run that begins chooses among all workers, before the first one writes it down.
        """
        if newest_progress(self.folder / CHECKPOINTS).step:
            return _noted_precision(self.folder)
        if self.trunk is not None:
            return _noted_precision(self.trunk.folder)
        return choose_precision(self.training.precision, worker)

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
        """Write the chosen student, its method, tokenizer and history into an artifact folder.

        Of a trunk its checkpoints and history, from which other runs go on.
        """
        if self.until is not None:
            store_trunk(self.folder, folder)
            shutil.copyfile(self.folder / MACHINE, folder / MACHINE)
            return self._totals(progress)
        tokenizer = Tokenizer.load(self.tokenizer)
        checkpoints = run_checkpoints(self._run(tokenizer))
        weights = averaged(self.training, checkpoints, progress)
        if weights is None:
            step = chosen_step(self.training, progress)
            weights = checkpoints.weights(checkpoints.path(step))
        shape = self.shape(tokenizer)
        save_model(folder, shape, student_of(weights))
        save_file(method_of(weights), folder / METHOD_WEIGHTS)
        write_json(folder / METHOD_CONFIG, self.method.model_dump(mode="json"))
        tokenizer.save(folder)
        rows = [] if self.start is None else list(read_history(self.start / HISTORY))
        rows += read_history(self.folder / HISTORY)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / HISTORY).write_text(lines, encoding="utf-8")
        totals = self._totals(progress)
        write_json(folder / TOTALS, totals)
        shutil.copyfile(self.folder / MACHINE, folder / MACHINE)
        return {"num_params": shape.build().num_params(), **totals}

    @property
    def ends_at(self) -> int:
        """The update after which the run has ended."""
        return self.until or self.training.updates

    def _totals(self, progress: Progress) -> dict[str, Any]:
        """What all parts of the training took, how the model was chosen, what dev says of it.

        `shared_updates` is how many of its updates a trunk made, `left_out` how many pairs were
        no part of this part, by reason.
        """
        before, history, first_step = self._before(), self.folder / HISTORY, self.first_step()
        found = facts(self.training, progress, first_step=first_step)
        return {
            "updates": before["updates"] + progress.step,
            "shared_updates": 0 if self.trunk is None else self.trunk.until,
            "target_tokens": before["target_tokens"] + progress.target_tokens,
            "train_seconds": round(before["train_seconds"] + progress.train_seconds, 1),
            "left_out": json.loads((self.folder / LEFT_OUT).read_text(encoding="utf-8")),
            **found,
            "dev": {
                "plain": plain_scores(history, found["chosen_update"]),
                "averaged": averaged_scores(history, first_step + progress.step) or None,
            },
        }

    def first_step(self) -> int:
        """Updates that the stages before this one made."""
        return int(self._before()["updates"])

    def _before(self) -> dict[str, Any]:
        """What the stages before this one took."""
        if self.start is None:
            return {"updates": 0, "target_tokens": 0, "train_seconds": 0.0}
        return dict(json.loads((self.start / TOTALS).read_text(encoding="utf-8")))

    def _inherited(self) -> Weights | None:
        if self.origin is None:
            return None
        return inherit(load_model(self.origin.teacher), self.model, self.origin.layers)

    def _teacher(self, worker: Worker) -> OnlineTeacher | None:
        if not self.signals.teachers:
            return None
        return OnlineTeacher([load_model(f).to(worker.device) for f in self.signals.teachers])


def _noted_precision(folder: Path) -> Precision:
    path = folder / MACHINE
    try:
        precision: Precision = json.loads(path.read_text(encoding="utf-8"))["precision"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactDamaged(
            f"{path}: does not say which precision the run began in ({error}); remove {folder} and "
            "run again"
        ) from None
    return precision
