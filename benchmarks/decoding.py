"""What does decoding through kdray cost beside the same work without it?

    python benchmarks/decoding.py [--sentences 10000] [--preset base] [--beam 5] [--rounds 3]
        [--model FOLDER --text FILE] [--rows 10000 1000000] [--resume 100000000]

Without a model and a text, the model has random weights and the text random words; every
translation is then as long as it may be, which is the same for all that is compared. Both ways of
a pair alternate in one run, and the one that begins changes from round to round. JSON lines:

* beam: sentences a second by kdray, from the start of its processes to joined shards, and by one
  loop of CTranslate2 with a thread for each core, at the best of some sizes of a batch, text to
  text and its loading included; `ratio` is the median over rounds. Ray's session is up before.
* topk: target tokens a second whose 32 likeliest entries are kept, by kdray and by a bare loop of
  PyTorch with as many threads as cores, with the same batches.
* memory: what the driver's resident memory grows by, in MB, while so many rows are decoded by a
  teacher that only copies. The last line has the difference between the first and the last number.
* resume: seconds and MB to see, in a plan of so many rows, which shards are missing.

`load` is that of the machine over the minute before: other work spoils the figures.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from environment import restart_with_environment

from kdray.artifacts import Brought
from kdray.cluster.pool import ShardWork, make_shards
from kdray.cluster.session import session
from kdray.command import exit_codes
from kdray.config.execution import Execution
from kdray.config.model import ModelConfig
from kdray.config.signals import HypothesesConfig, TopKConfig
from kdray.config.text import TokenizerConfig
from kdray.model.memory import START, padded_cuts
from kdray.model.storage import Shape, load_model, save_model, tensors
from kdray.teacher.distributions import DistributionJob
from kdray.teacher.engine import Teacher, Translation
from kdray.teacher.ensemble import TIMES, read_pairs
from kdray.teacher.own import EXPORTED, OnlineModels, OwnModels
from kdray.teacher.shards import ShardPlan
from kdray.teacher.topk import compress
from kdray.teacher.translation import TranslationJob
from kdray.text.encoded import EncodedSplit, build_encoded
from kdray.text.tokenizer import Tokenizer, build_tokenizer

LIMIT = 24  # tokens of a translation; the same for every source
BATCHES = (512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Lines(Teacher):
    """A teacher that gives back what it is given."""

    fingerprints = ("lines",)
    positions = vocabulary = None

    def open(self, fetch, *, device, threads, work=None):  # noqa: ANN001
        """Itself."""
        return self

    def translate(self, src, options, refs=None):  # noqa: ANN001
        """The sources."""
        return [[Translation(line, 0.0, finished=True)] for line in src]


def main() -> None:
    """Measure, and print the lines."""
    restart_with_environment()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--preset", default="base")
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shard", type=int, default=1000)
    parser.add_argument("--start-seconds", type=float, default=300)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 1_000_000])
    parser.add_argument("--resume", type=int, default=100_000_000)
    options = parser.parse_args()
    with exit_codes(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        execution = Execution(
            cpus=options.cores, decode_actors=options.cores, start_seconds=options.start_seconds
        )
        race = Race.prepare(folder, options)
        with session(execution):
            _print(race.beam(execution))
            _print(race.topk(execution))
            _print(_memory(folder, options.rows, execution))
        _print([_resume(folder, options.resume)])


def _print(lines: Iterable[dict[str, object]]) -> None:
    for line in lines:
        print(json.dumps({**line, "load": round(os.getloadavg()[0], 2)}), flush=True)


def fetch(source):  # noqa: ANN001
    """The folder of what is brought."""
    return source.path


@dataclass(frozen=True)
class Race:
    """A model, a corpus, and what both ways are to do with them."""

    folder: Path
    model: Path
    corpus: Path
    encoded: Path
    options: argparse.Namespace

    @classmethod
    def prepare(cls, folder: Path, options: argparse.Namespace) -> "Race":
        """Write what is to be read, whatever there is not."""
        corpus, encoded, model = (folder / name for name in ("corpus", "encoded", "model"))
        for path in (corpus, encoded):
            path.mkdir()
        lines = _lines(options)
        table = pa.table({"pair_id": range(len(lines)), "src": lines, "ref": lines[::-1]})
        for split in ("train", "dev"):
            pq.write_table(table, corpus / f"{split}.parquet")
        if options.model is not None:
            model = options.model
        else:
            model.mkdir()
            config = TokenizerConfig(vocab_size=options.vocabulary, model_type="bpe")
            build_tokenizer(config, corpus, model)
            tokenizer = Tokenizer.load(model)
            torch.manual_seed(1)
            shape = Shape(
                config=ModelConfig(preset=options.preset),
                src_vocab=tokenizer.src_vocab,
                tgt_vocab=tokenizer.tgt_vocab,
                shared=True,
                tokenizer=tokenizer.checksum,
            )
            save_model(model, shape, tensors(shape.build()))
        build_encoded(corpus, Tokenizer.load(model), encoded)
        return cls(folder, model, corpus, encoded, options)

    def beam(self, execution: Execution) -> list[dict[str, object]]:
        """Translations, from text to text."""
        beam = self.options.beam
        config = HypothesesConfig(beam=beam, max_length_ratio=0.001, max_length_slack=LIMIT)
        source = Brought(self.model, "model")
        job = TranslationJob(
            OwnModels((source,)), Brought(self.corpus, "corpus"), config,
            Brought(self.encoded, "encoded"),
        )  # fmt: skip
        job.prepare(self.folder, fetch, device="cpu")  # the export is the same for both
        best = max(BATCHES, key=lambda tokens: 1 / self._bare_beam(tokens, 500))
        rates = self._alternating(
            lambda: self._through_kdray(job, execution),
            lambda: self._bare_beam(best, self.options.sentences),
        )
        return _compared("beam", rates, self.options.sentences, unit="sentences", batch=best)

    def topk(self, execution: Execution) -> list[dict[str, object]]:
        """The 32 likeliest entries of the references."""
        job = DistributionJob(
            OwnModels((Brought(self.model, "model"),)), Brought(self.encoded, "encoded"), None,
            TopKConfig(k=32),
        )  # fmt: skip
        tokens = int(EncodedSplit.load(self.encoded, "train").ref.lengths.sum())
        rates = self._alternating(lambda: self._through_kdray(job, execution), self._bare_topk)
        return _compared("topk", rates, tokens, unit="tokens")

    def _alternating(
        self, ours: Callable[[], float], bare: Callable[[], float]
    ) -> list[tuple[float, float]]:
        seconds = []
        for number in range(self.options.rounds):
            if number % 2:
                other = bare()
                seconds.append((ours(), other))
            else:
                own = ours()
                seconds.append((own, bare()))
        return seconds

    def _through_kdray(self, job, execution: Execution) -> float:  # noqa: ANN001
        """Seconds from the start of the processes to joined shards."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            work = Path(name)
            began = time.perf_counter()
            rows = job.prepare(work, fetch, device="cpu")
            plan = ShardPlan.open(work / "shards", rows=rows, shard_rows=self.options.shard)
            budget = self.folder / f"{type(job).__name__}.json"
            shards = ShardWork(job, plan, _Local(work), work, "cpu", budget)
            for _ in make_shards([shards], execution=execution):
                pass
            joined = work / "joined"
            joined.mkdir()
            job.join(plan.finished(), plan.counts(), joined, fetch)
            return time.perf_counter() - began

    def _bare_beam(self, tokens: int, sentences: int) -> float:
        """Seconds of one loop of CTranslate2."""
        began = time.perf_counter()
        lines = pq.read_table(self.corpus / "train.parquet")["src"].to_pylist()[:sentences]
        tokenizer = Tokenizer.load(self.model)
        translator = ctranslate2.Translator(
            str(self.folder / EXPORTED), inter_threads=self.options.cores, intra_threads=1,
            compute_type="float32",
        )  # fmt: skip
        pieces = tokenizer.src_pieces()
        src = [[pieces[i] for i in ids] for ids in tokenizer.encode_src(lines)]
        results = translator.translate_batch(
            src, beam_size=self.options.beam, max_batch_size=tokens, batch_type="tokens",
            max_decoding_length=LIMIT, max_input_length=0, return_end_token=True,
            suppress_sequences=[["<pad>"], ["<s>"]], disable_unk=True,
        )  # fmt: skip
        ids = {piece: i for i, piece in enumerate(tokenizer.tgt_pieces())}
        tokenizer.decode_tgt([[ids[piece] for piece in each.hypotheses[0]] for each in results])
        return time.perf_counter() - began

    @torch.inference_mode()
    def _bare_topk(self) -> float:
        """Seconds of one loop of PyTorch, which writes one array of each kind."""
        torch.set_num_threads(self.options.cores)
        began = time.perf_counter()
        model = OnlineModels([load_model(self.model)])
        train = EncodedSplit.load(self.encoded, "train")
        longest = np.maximum(train.src.lengths, train.ref.lengths)
        order = np.argsort(longest, kind="stable")
        kept = []
        for rows in np.split(order, padded_cuts(longest[order], most=TIMES * START)):
            read, target = read_pairs(model, train.src, train.ref, rows)
            for block, part in read.blocks():
                labels = target.labels_N[part]
                kept.append(compress(block.logits(), labels, k=32, temperatures=(1.0,)))
        np.save(self.folder / "ids.npy", torch.cat([each.ids for each in kept]).to(torch.int32))
        np.save(self.folder / "logp.npy", torch.cat([each.logp for each in kept]).half())
        return time.perf_counter() - began


@dataclass(frozen=True)
class _Local:
    """What a pool asks of a store."""

    root: Path

    def fetch(self, source: Brought) -> Path:
        """The folder."""
        return source.path


def _compared(
    what: str, seconds: Sequence[tuple[float, float]], amount: int, **told: object
) -> list[dict[str, object]]:
    rounds = [
        {"what": what, "kdray": round(amount / own, 1), "bare": round(amount / other, 1),
         "ratio": round(other / own, 3), **told}
        for own, other in seconds
    ]  # fmt: skip
    ratio = statistics.median(other / own for own, other in seconds)
    return [*rounds, {"what": what, "ratio": round(ratio, 3), "rounds": len(seconds)}]


def _lines(options: argparse.Namespace) -> list[str]:
    if options.text is not None:
        return options.text.read_text("utf-8").splitlines()[: options.sentences]
    draw = random.Random(1)
    syllables = [a + b for a in "bdfghklmnprstvz" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(20_000)]
    return [" ".join(draw.choices(words, k=draw.randint(4, 20))) for _ in range(options.sentences)]


def _memory(folder: Path, rows: Sequence[int], execution: Execution) -> list[dict[str, object]]:
    """What the driver grows by, of each number of rows."""
    lines, process = [], psutil.Process()
    for number in rows:
        corpus, work = folder / f"rows-{number}", folder / f"work-{number}"
        corpus.mkdir()
        with pq.ParquetWriter(corpus / "train.parquet", _PAIRS) as writer:
            for start in range(0, number, 50_000):
                ids = range(start, min(start + 50_000, number))
                texts = [f"line {n} of some words that are copied" for n in ids]
                columns = {"pair_id": ids, "src": texts, "ref": texts}
                writer.write_table(pa.table(columns, schema=_PAIRS))
        pa.default_memory_pool().release_unused()
        before, most = process.memory_info().rss, 0
        brought = Brought(corpus, "corpus")
        job = TranslationJob(Lines(), brought, HypothesesConfig(), brought)
        plan = ShardPlan.open(
            work / "shards", rows=job.prepare(work, fetch, device="cpu"), shard_rows=10_000
        )
        shards = ShardWork(job, plan, _Local(work), work, "cpu")
        began = time.perf_counter()
        for _ in make_shards([shards], execution=execution):
            most = max(most, process.memory_info().rss)
        joined = folder / f"joined-{number}"
        joined.mkdir()
        job.join(plan.finished(), plan.counts(), joined, fetch)
        most = max(most, process.memory_info().rss)
        seconds = time.perf_counter() - began
        grown = round((most - before) / 1e6, 1)
        lines.append({"what": "memory", "rows": number, "mb": grown, "s": round(seconds, 1)})
    if len(lines) > 1:
        more = round(float(str(lines[-1]["mb"])) - float(str(lines[0]["mb"])), 1)
        lines.append({"what": "memory", "more_mb": more})
    return lines


_PAIRS = pa.schema([("pair_id", pa.int64()), ("src", pa.string()), ("ref", pa.string())])


def _resume(folder: Path, rows: int) -> dict[str, object]:
    """A plan of which every other shard is made."""
    ShardPlan.open(folder / "resume", rows=rows, shard_rows=2000)
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    plan = ShardPlan.open(folder / "resume", rows=rows, shard_rows=2000)
    missing = plan.missing()
    seconds = time.perf_counter() - began
    grown = (psutil.Process().memory_info().rss - before) / 1e6
    return {"what": "resume", "rows": rows, "missing": len(missing), "s": round(seconds, 2),
            "mb": round(grown, 1)}  # fmt: skip


if __name__ == "__main__":
    main()
