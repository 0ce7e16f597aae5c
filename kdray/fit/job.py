"""One training run from plain values: what a worker process is given, and what it leaves behind."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from kdray.artifacts import Fetch, read_json, write_json
from kdray.config.costs import Machine
from kdray.config.training import Precision
from kdray.errors import ArtifactDamaged
from kdray.fit.assemble import assemble
from kdray.fit.averaging import averaged, chosen_step
from kdray.fit.checkpoint import Checkpoints, Progress, newest_progress
from kdray.fit.data import TrainingData
from kdray.fit.history import HISTORY
from kdray.fit.lengths import check_dev
from kdray.fit.loop import fit
from kdray.fit.machine import choose_precision, device_name, probe
from kdray.fit.objective import Objective, build_objective, method_of, student_of
from kdray.fit.record import AVERAGED, DEV, Run, dev_scores
from kdray.fit.spec import AfterStage, TeacherLayers, TrainingSpec
from kdray.fit.trunk import CHECKPOINTS, Trunk, store_trunk
from kdray.fit.validation import Validator
from kdray.fit.worker import Worker
from kdray.methods.build import build_method
from kdray.methods.online import OnlineTeacher
from kdray.model.inherit import Weights, inherit
from kdray.model.storage import WEIGHTS, Shape, load_weights, save_model
from kdray.schema import Column, Split, View
from kdray.seeds import derive_seed
from kdray.storage.mirror import Mirror
from kdray.text.corpus import Corpus
from kdray.text.encoded import EncodedSplit
from kdray.text.pairing import check_pairs, source_hashes
from kdray.text.pieces import SOME, check_pieces, check_rows
from kdray.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

MACHINE, LEFT_OUT = "machine.json", "left_out.json"
METHOD_CONFIG, METHOD_WEIGHTS, TOTALS = "method.json", "method.safetensors", "totals.json"


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A training as a worker is given it: what, where it is kept, and how to get what it reads.

    `folder` holds checkpoints and history. Every worker sees it, or, where there is a `mirror`, has
    one of its own that is like the first worker's.
    """

    spec: TrainingSpec
    folder: Path
    fetch: Fetch
    mirror: Mirror | None = None

    def run(
        self,
        worker: Worker,
        *,
        threads: int,
        tokens_per_pass: int | None = None,
        on_checkpoint: Callable[[int], None] = lambda step: None,
        check: Callable[[], None] = lambda: None,
    ) -> Progress:
        """Train, or continue to the end. -> where the run stands.

        `check` is called before the work folder is kept for other machines, and may raise.
        """
        self._bring(worker)
        spec, encoded = self.spec, self.fetch(self.spec.encoded)
        pairs = EncodedSplit.load(encoded, Split.DEV)
        check_dev(pairs, model=self.folder.name, max_length=spec.model.max_length)
        dev = TrainingData(pairs.pair_ids, pairs.src, {View.REFERENCE: pairs.ref}, {}, {})
        tokenizer = self._tokenizer()
        self._check_teachers(tokenizer)
        teacher = None
        if spec.teacher is not None:
            teacher = spec.teacher.reader(self.fetch, device=str(worker.device))
        objective = self.objective(tokenizer, worker, teacher)
        data = assemble(
            objective.method.needs,
            encoded=encoded,
            signals=spec.signals,
            fetch=self.fetch,
            max_tokens=min(spec.training.max_tokens, spec.model.max_length),
            teacher=teacher,
            weights=spec.training.source_weights,
            tokenizer=tokenizer,
        )
        run = Run(
            config=spec.training,
            seed=spec.seed,
            folder=self.folder,
            validate=self._validator(pairs, dev, tokenizer, threads=threads),
            dev=dev,
            until=spec.ends_at,
            first_step=self.first_step(),
            tokens_per_pass=tokens_per_pass,
            identity=self._identity(tokenizer),
            keep=partial(self._keep, check),
            on_checkpoint=on_checkpoint,
        )
        self._begin(objective, data, run, worker)
        return fit(objective, data, run, worker)

    def _validator(
        self, pairs: EncodedSplit, dev: TrainingData, tokenizer: Tokenizer, *, threads: int
    ) -> Validator:
        """`dev` are the pairs, as what a model learns from has them."""
        folder = self.fetch(self.spec.corpus)
        table = Corpus(folder).table(Split.DEV)
        hashes = source_hashes(table[Column.SRC].to_pylist())
        check_pairs(pairs.src_hashes, hashes, pairs.pair_ids, what=str(folder))
        references = table[Column.REF].to_pylist()
        if pairs.pieces is None:
            ids = [pairs.ref[row].tolist() for row in range(min(SOME, len(pairs)))]
            encoded = self.fetch(self.spec.encoded)
            check_rows(ids, references[:SOME], tokenizer, what=encoded)
        return Validator(dev, references, tokenizer, self.spec.bleu_tokenize, threads)

    def _check_teachers(self, tokenizer: Tokenizer) -> None:
        """Refuse models that the student learns from, or starts from, with other pieces."""
        start = self.spec.start
        of_start = start.teacher if isinstance(start, TeacherLayers) else None
        for teacher in (self.spec.teacher, of_start):
            if teacher is not None:
                found = teacher.tokenizer_checksum(self.fetch)
                what = self.fetch(teacher.sources[0]) if teacher.sources else Path("the teacher")
                check_pieces(found, tokenizer.checksum, what=what, of="the student's tokenizer")

    def _identity(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """What a checkpoint of this run has to be of."""
        return {
            "model": self.shape(tokenizer).model_dump(mode="json"),
            "method": self.spec.method.model_dump(mode="json"),
            "seed": self.spec.seed,
        }

    def _begin(self, objective: Objective, data: TrainingData, run: Run, worker: Worker) -> None:
        """Leave in the folder what the model is trained in and without which pairs, and a trunk."""
        if worker.is_first:
            products = probe(worker.device)
            logger.info("%s: %s, %s", self.folder.name, objective.precision, products)
            self.folder.mkdir(parents=True, exist_ok=True)
            machine = Machine(
                device=device_name(worker.device),
                precision=objective.precision,
                workers=worker.world_size,
            )
            write_json(self.folder / MACHINE, {**machine.model_dump(), **asdict(products)})
            left_out = dict(data.left_out)
            if left_out:
                logger.warning("%s: left out of training: %s", self.folder.name, left_out)
            write_json(self.folder / LEFT_OUT, left_out)
        if (trunk := self._trunk()) is not None:
            if worker.is_first:
                trunk.begin(objective, run)
                run.keep()
            worker.barrier()
            self._bring(worker)

    def _bring(self, worker: Worker) -> None:
        """Have in the folder of each worker what was kept last, before any of them goes on."""
        if self.mirror is not None:
            self.mirror.pull()
            worker.barrier()

    def _keep(self, check: Callable[[], None]) -> None:
        if self.mirror is not None:
            check()
            self.mirror.push()

    def objective(
        self, tokenizer: Tokenizer, worker: Worker, teacher: OnlineTeacher | None = None
    ) -> Objective:
        """The student and its method, with the weights that training starts from.

        They are those of the stage before, of the teacher, or what the seed gives. A trunk's
        replace them later, but another method has to be built beside the student that it learns.
        """
        spec, inherited, trunk, before = self.spec, self._inherited(), self._trunk(), self._before()
        torch.manual_seed(derive_seed("initialise", spec.seed))
        student = self.shape(tokenizer).build()
        if before is not None:
            load_weights(student, before / WEIGHTS)
        elif inherited is not None:
            student.load_state_dict(inherited)
        if trunk is not None and not trunk.same_method:
            trunk.student(student)
        method = build_method(spec.method, student=student, teacher=teacher)
        return build_objective(student, method, worker, precision=self._precision(worker))

    def _precision(self, worker: Worker) -> Precision:
        """What the run or its trunk began in, so that other hardware does not change it half way.

        A run that begins chooses among all workers, before the first one writes it down.
        """
        if newest_progress(self.folder / CHECKPOINTS).step:
            return _noted_precision(self.folder)
        if (trunk := self._trunk()) is not None:
            return _noted_precision(trunk.folder)
        return choose_precision(self.spec.training.precision, worker)

    def shape(self, tokenizer: Tokenizer) -> Shape:
        """The shape of the student."""
        return Shape(
            config=self.spec.model,
            src_vocab=tokenizer.src_vocab,
            tgt_vocab=tokenizer.tgt_vocab,
            shared=tokenizer.joint,
            tokenizer=tokenizer.checksum,
        )

    def publish(self, folder: Path, progress: Progress) -> dict[str, Any]:
        """Write the chosen student, its method, tokenizer and history into an artifact folder.

        Of a trunk its checkpoints and history, from which other runs go on.
        """
        totals, before = self._totals(progress), self._before()
        shutil.copyfile(self.folder / MACHINE, folder / MACHINE)
        if self.spec.is_trunk:
            store_trunk(self.folder, folder)
            return totals
        tokenizer, training = self._tokenizer(), self.spec.training
        checkpoints = Checkpoints(self.folder / CHECKPOINTS)
        weights = averaged(training, checkpoints, progress)
        if weights is None:
            weights = checkpoints.weights(checkpoints.path(chosen_step(training, progress)))
        shape = self.shape(tokenizer)
        save_model(folder, shape, student_of(weights))
        save_file(method_of(weights), folder / METHOD_WEIGHTS)
        write_json(folder / METHOD_CONFIG, self.spec.method.model_dump(mode="json"))
        tokenizer.save(folder)
        runs = (self.folder,) if before is None else (before, self.folder)
        (folder / HISTORY).write_bytes(b"".join((run / HISTORY).read_bytes() for run in runs))
        write_json(folder / TOTALS, totals)
        return {"num_params": shape.build().num_params(), **totals}

    def _totals(self, progress: Progress) -> dict[str, Any]:
        """What all parts of the training took, how the model was chosen, what dev says of it.

        `shared_updates` is how many of its updates a trunk made, `left_out` how many pairs were
        no part of this part, by reason. Updates are counted as in the history.
        """
        before, history, first_step = self._taken(), self.folder / HISTORY, self.first_step()
        config, best, last = self.spec.training, progress.selection, first_step + progress.step
        chosen = first_step + chosen_step(config, progress)
        best_on_dev = {best.metric: best.value, "update": first_step + best.step}
        return {
            "updates": last,
            "shared_updates": 0 if self.spec.trunk is None else self.spec.trunk.ends_at,
            "target_tokens": before["target_tokens"] + progress.target_tokens,
            "train_seconds": round(before["train_seconds"] + progress.train_seconds, 3),
            "left_out": read_json(self.folder / LEFT_OUT),
            "averaging": config.effective_averaging().kind,
            "chosen_update": chosen,
            "stopped_early": best.stopped and progress.step < config.updates,
            "best": None if best.value is None else best_on_dev,
            "dev": {
                "plain": dev_scores(history, chosen, DEV),
                "averaged": dev_scores(history, last, AVERAGED) or None,
            },
        }

    def first_step(self) -> int:
        """Updates that the stages before this one made."""
        return int(self._taken()["updates"])

    def _taken(self) -> dict[str, Any]:
        """What the stages before this one took."""
        before = self._before()
        if before is None:
            return {"updates": 0, "target_tokens": 0, "train_seconds": 0.0}
        return dict(read_json(before / TOTALS))

    def _before(self) -> Path | None:
        """The folder of the stage before this one."""
        start = self.spec.start
        return self.fetch(start.before.key) if isinstance(start, AfterStage) else None

    def _trunk(self) -> Trunk | None:
        trunk = self.spec.trunk
        if trunk is None:
            return None
        same_method = self.spec.own_trunk is not None
        return Trunk(self.fetch(trunk.key), trunk.ends_at, same_method=same_method)

    def _inherited(self) -> Weights | None:
        start = self.spec.start
        if not isinstance(start, TeacherLayers):
            return None
        teacher = start.teacher.reader(self.fetch, device="cpu")
        assert teacher is not None, "the config was checked for this"
        return inherit(teacher.transformer(), self.spec.model, start.layers)

    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.fetch(self.spec.tokenizer))


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
