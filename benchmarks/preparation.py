"""How fast, and in how much memory, is training text prepared, by one process and on Ray?

    python -m benchmarks.preparation --pairs 10000000 --folder /tmp/preparation

Writes pairs of invented words, a tenth of them duplicates and some with every fault, prepares them
in both ways, and prints a JSON object on a line for each: seconds with the start of Ray, pairs a
second, the most memory of the driver above what it had before, and whether tables are equal.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from kdray.artifacts import Store
    from kdray.config.execution import Execution
    from kdray.text.jobs import CorpusJob

WAYS = ("one", "ray")


def main() -> None:
    """Write the text, then run each way in a process of its own, which is the driver."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cpus", type=int, default=os.cpu_count())
    parser.add_argument("--way", choices=WAYS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measured(args.way, args.folder, args.cpus)))
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    write_text(args.folder, args.pairs)
    options = ["--folder", str(args.folder), "--cpus", str(args.cpus)]
    lines = []
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.preparation", "--way", way, *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        lines.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(lines[-1]), flush=True)
    equal = lines[0]["tables"] == lines[1]["tables"]
    faster = lines[0]["seconds"] / lines[1]["seconds"]
    print(json.dumps({"pairs": args.pairs, "equal": equal, "ray_is_faster": round(faster, 2)}))


def write_text(folder: Path, pairs: int) -> None:
    """Four shards of training text, and small dev and test sets."""
    rng, words = random.Random(1), [f"w{n:x}" for n in range(30_000)]
    shards = 4
    for number in range(shards):
        with (
            (folder / f"train-{number}.src").open("w", encoding="utf-8") as src_file,
            (folder / f"train-{number}.tgt").open("w", encoding="utf-8") as tgt_file,
        ):
            before = ("w1", "w2")
            for row in range(pairs // shards):
                if row % 10:
                    some = rng.choices(words, k=rng.randint(4, 24))
                    before = " ".join(some), " ".join(reversed(some)) + " ä"
                src, tgt = ("", "x") if row % 1000 == 1 else before
                src_file.write(f"{src}\n")
                tgt_file.write(f"{tgt}\n")
    for name in ("dev", "test"):
        for side in ("src", "tgt"):
            text = "".join(f"{name} {side} {n}\n" for n in range(1000))
            (folder / f"{name}.{side}").write_text(text, encoding="utf-8")


def measured(way: str, folder: Path, cpus: int) -> dict[str, object]:
    """Prepare the text in one way. -> what the module's docstring says."""
    from kdray.artifacts import Store
    from kdray.config.execution import Execution
    from kdray.config.text import FilesCorpusConfig
    from kdray.text.jobs import CorpusJob

    config = FilesCorpusConfig.model_validate({
        "kind": "files", "folder": str(folder), "src_lang": "src", "tgt_lang": "tgt",
        "train": {"src": "train-*.src", "tgt": "train-*.tgt"},
        "dev": {"src": "dev.src", "tgt": "dev.tgt"},
        "tests": {"test": {"src": "test.src", "tgt": "test.tgt"}},
    })  # fmt: skip
    job, out = CorpusJob.of(config), folder / f"out-{way}"
    subprocess.run(["rm", "-rf", str(out)], check=True)
    out.mkdir()
    store = Store.open(out / "store")
    process = psutil.Process()
    first = private(process)
    began, peak = time.perf_counter(), Peak(process)
    with peak:
        if way == "one":
            counts = job.make(out, store.fetch, threads=1)
        else:
            counts = on_ray(job, out, store, Execution(cpus=cpus, start_seconds=300))
    seconds = time.perf_counter() - began
    read = counts["train_read"]
    return {
        "way": way,
        "pairs": read,
        "kept": counts["pairs"]["train"],
        "seconds": round(seconds, 1),
        "pairs_per_second": round(read / seconds),
        "driver_mb": round((peak.most - first) / 1e6),
        "times": counts.get("times", {}),
        "tables": {path.name: digest(path) for path in sorted(out.glob("*.parquet"))},
    }


def on_ray(job: "CorpusJob", out: Path, store: "Store", execution: "Execution") -> dict:
    """All phases in a session of Ray, then the join. -> counts, and the seconds of each."""
    from kdray.cluster.pool import ShardWork, make_shards
    from kdray.cluster.session import session
    from kdray.teacher.shards import ShardPlan

    work, times, began = out / "work", {}, time.perf_counter()
    work.mkdir()

    def ended(name: str) -> None:
        times[name] = round(time.perf_counter() - began - sum(times.values()), 1)

    with session(execution):
        ended("start")
        for phase in job.phases():
            rows = phase.prepare(work, store.fetch, device="cpu")
            plan = ShardPlan.open(work / phase.name, rows=rows, shard_rows=1)
            shards = ShardWork(phase, plan, store, work, "cpu")
            for _ in make_shards([shards], execution=execution):
                pass
            ended(phase.name)
        counts = job.join(work, out, store.fetch)
        ended("join")
    return {**counts, "times": times}


class Peak:
    """The most private memory of this process while a `with` block runs; it looks every 0.1 s."""

    def __init__(self, process: psutil.Process) -> None:
        self.process, self.most, self._ends = process, private(process), False

    def __enter__(self) -> "Peak":
        import threading

        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self._thread.join()

    def _look(self) -> None:
        while not self._ends:
            self.most = max(self.most, private(self.process))
            time.sleep(0.1)


def private(process: psutil.Process) -> int:
    """Bytes that are the process's own; mapped files are not among them."""
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


def digest(path: Path) -> str:
    """Of the content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


if __name__ == "__main__":
    main()
