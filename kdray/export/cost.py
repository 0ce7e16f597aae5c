"""What does a form cost on this machine? Measured in a process that does nothing else.

`python -m kdray.export.cost` is that process: it reads what to open from standard input, and
prints what it measured.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from kdray.artifacts import canonical_json
from kdray.config.export import ExportConfig
from kdray.export.base import Export
from kdray.fit.machine import ENVIRONMENT
from kdray.model.generate import SearchOptions
from kdray.teacher.engine import Engine

ALONE, TOGETHER, FIRST = 100, 1024, 16
"""Most sentences that are translated one by one and all at once, and how many at once at first."""
SECONDS, LEAST = 5.0, 5
"""After so long nothing further is measured, once a few sentences were translated alone."""
WARM_UP = 1  # sentences before anything is measured
TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a form costs, and where that was measured.

    Attributes:
        latency_p50_ms, latency_p95_ms: of one sentence that is translated alone, by one thread.
        sentences_per_second: of many that are given at once, with `threads`.
        memory_bytes: what the process grew by when it read the form and translated.
        beam: the width of the search.
        sentences: how many were translated alone.
        machine: the processor, its cores that could be used, memory, system, and versions.
    """

    latency_p50_ms: float
    latency_p95_ms: float
    sentences_per_second: float
    memory_bytes: int
    threads: int
    beam: int
    sentences: int
    machine: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def cost_of(
    config: ExportConfig,
    folder: Path,
    src: Sequence[str],
    options: SearchOptions,
    *,
    positions: int,
    threads: int,
) -> Cost:
    """Measure a form in a process of its own.

    Raises:
        RuntimeError: the process failed.
    """
    task = {
        "config": config.model_dump(mode="json"),
        "folder": str(folder),
        "src": list(src[:TOGETHER]),
        "beam": options.beam,
        "length_penalty": options.length_penalty,
        "positions": positions,
        "threads": threads,
    }
    done = subprocess.run(
        [sys.executable, "-m", "kdray.export.cost"],
        input=canonical_json(task),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={
            **os.environ,
            **ENVIRONMENT,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
    )
    if done.returncode:
        raise RuntimeError(f"its cost could not be measured: {done.stderr.strip()[-500:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def measured(
    form: Export, config: ExportConfig, task: dict[str, Any], options: SearchOptions
) -> Cost:
    """Open a form and translate with it, in this process."""
    folder, src = Path(task["folder"]), task["src"]
    if form.open is None:
        raise RuntimeError("nobody can open this form")
    torch.set_num_threads(1)  # of forms that compute with it
    process = psutil.Process()
    before = process.memory_info().rss
    engine = form.open(config, folder, positions=task["positions"], threads=1)
    seconds = _alone(engine, src[:ALONE], options)
    torch.set_num_threads(task["threads"])
    several = form.open(config, folder, positions=task["positions"], threads=task["threads"])
    per_second = _together(several, src, options)
    del several
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return Cost(
        latency_p50_ms=float(p50),
        latency_p95_ms=float(p95),
        sentences_per_second=per_second,
        memory_bytes=max(0, process.memory_info().rss - before),
        threads=task["threads"],
        beam=options.beam,
        sentences=len(seconds),
        machine=machine(),
    )


def _alone(engine: Engine, src: Sequence[str], options: SearchOptions) -> list[float]:
    """The seconds that each sentence takes, which is translated alone."""
    for line in src[:WARM_UP]:
        engine.translate([line], options)
    seconds: list[float] = []
    for line in src:
        began = time.perf_counter()
        engine.translate([line], options)
        seconds.append(time.perf_counter() - began)
        if sum(seconds) > SECONDS and len(seconds) >= LEAST:
            break
    return seconds


def _together(engine: Engine, src: Sequence[str], options: SearchOptions) -> float:
    """Sentences a second where many are given at once: twice as many each time, while it lasts."""
    began, many = time.perf_counter(), FIRST
    while True:
        part = src[:many]
        start = time.perf_counter()
        engine.translate(part, options)
        now = time.perf_counter()
        if many >= len(src) or now - began > SECONDS:
            return len(part) / (now - start)
        many *= 2


def machine() -> dict[str, Any]:
    """What this machine is, as far as it matters to how fast it translates."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("ctranslate2", "torch")},
    }


def _processor() -> str:
    """The name of the processor, as the kernel has it."""
    info = Path("/proc/cpuinfo")
    names = info.read_text("utf-8", "replace").splitlines() if info.exists() else []
    found = next((line.partition(":")[2] for line in names if line.startswith("model name")), "")
    return found.strip() or platform.processor() or platform.machine()


def main() -> None:
    """Measure what standard input names, and print it."""
    from pydantic import TypeAdapter

    from kdray.export.forms import export_of

    task = json.load(sys.stdin)
    config: Any = TypeAdapter(ExportConfig).validate_python(task["config"])
    options = SearchOptions(beam=task["beam"], length_penalty=task["length_penalty"])
    cost = measured(export_of(config.kind), config, task, options)
    sys.stdout.write("\n" + canonical_json(cost.to_json()) + "\n")


if __name__ == "__main__":
    main()
