"""Does a server answer everybody, and how much longer than alone does it take at half of its load?

    python benchmarks/serving.py STUDENT --languages de-en [--requests 10000] [--at-once 50]
        [--text FILE] [--seconds 120] [--threads 2] [--url http://127.0.0.1:5000]

It starts `kdray serve` on a free port, unless it is given the address of one. JSON lines:

* alone: one request after another, each of one sentence: milliseconds, p50 and p95 (batch 1).
* load: so many requests, so many at once. Four of a hundred are malformed, two of a hundred too
  large. `wrong` counts answers that are not what the request deserves: a good one that is not
  answered by 200, or by 503 more often than `RETRIES` times; a bad one that is not answered by 4xx.
* saturation: good requests alone, so many at once: answers a second.
* poisson: requests that arrive at random at half of that rate: p50 and p95, and `ratio`, p95 over
  the p50 of `alone`.

The client is one process of the same machine and takes some of its time.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import httpx2 as httpx

RETRIES = 20
MALFORMED = (
    b"{", b"[]", b"\xff\xfe", b'{"q": 1, "source": "SRC", "target": "TGT"}',
    b'{"q": "a\\u0000", "source": "SRC", "target": "TGT"}', b'{"q": "a", "source": "nowhere"}',
)  # fmt: skip
WORDS = ["ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu"]


def main() -> None:
    """Measure, and print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student")
    parser.add_argument("--languages", default="src-tgt")
    parser.add_argument("--text", type=Path, help="sentences, one a line")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--alone", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--start-seconds", type=float, default=300.0)
    parser.add_argument("--url")
    options = parser.parse_args()
    with _server(options) as url:
        for line in asyncio.run(_measured(url, options)):
            print(json.dumps({**line, "load": round(os.getloadavg()[0], 2)}), flush=True)


@contextmanager
def _server(options: argparse.Namespace) -> Iterator[str]:
    """A server for the length of a `with` block; its address."""
    if options.url is not None:
        yield options.url
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "kdray.serve", options.student, "--port", str(port)]
    line += ["--languages", options.languages, "--threads", str(options.threads)]
    line += ["--start-seconds", str(options.start_seconds)]
    with tempfile.NamedTemporaryFile() as log:
        server = subprocess.Popen(line, stderr=log, stdout=log)
        try:
            while b"Serving" not in Path(log.name).read_bytes():
                if server.poll() is not None:
                    sys.exit(Path(log.name).read_text(encoding="utf-8"))
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


async def _measured(url: str, options: argparse.Namespace) -> list[dict[str, object]]:
    source, _, target = options.languages.partition("-")
    draw = random.Random(1)
    texts = options.text.read_text("utf-8").splitlines() if options.text else _sentences(draw)
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as http:
        asker = _Asker(http, source, target, draw, texts)
        await asker.many(32, at_once=8)  # processes are warm afterwards
        alone = await asker.many(options.alone, at_once=1)
        began = time.perf_counter()
        wrong = await asker.load(options.requests, at_once=options.at_once)
        load_seconds = time.perf_counter() - began
        began = time.perf_counter()
        most = await asker.many(max(options.requests // 4, 100), at_once=options.at_once)
        rate = len(most) / (time.perf_counter() - began)
        poisson = await asker.poisson(rate / 2, seconds=options.seconds)
    return [
        {"what": "alone", "requests": len(alone), **_milliseconds(alone)},
        {"what": "load", "requests": options.requests, "at_once": options.at_once,
         "seconds": round(load_seconds, 2), "wrong": sum(wrong.values()),
         "which": dict(wrong), "again": asker.again},
        {"what": "saturation", "answers_per_second": round(rate, 1), **_milliseconds(most)},
        {"what": "poisson", "per_second": round(rate / 2, 1), "requests": len(poisson),
         **_milliseconds(poisson), "ratio": round(_at(poisson, 95) / _at(alone, 50), 2)},
    ]  # fmt: skip


class _Asker:
    """Sends requests, and notes how long their answers take."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        source: str,
        target: str,
        draw: random.Random,
        texts: Sequence[str],
    ) -> None:
        self.http, self.draw, self.texts = http, draw, texts
        self.languages = {"source": source, "target": target}
        self.again = 0

    async def many(self, number: int, *, at_once: int) -> list[float]:
        """Seconds of good requests, so many at once."""
        room = asyncio.Semaphore(at_once)

        async def one() -> float:
            async with room:
                return await self.good()

        return await asyncio.gather(*(one() for _ in range(number)))

    async def load(self, number: int, *, at_once: int) -> Counter[str]:
        """Good and bad requests. -> what was answered wrongly, by kind and status."""
        room, wrong = asyncio.Semaphore(at_once), Counter[str]()

        async def one(kind: str) -> None:
            async with room:
                status = await self.status_of(kind)
            deserved = status == 200 if kind == "good" else 400 <= status < 500
            if not deserved:
                wrong[f"{kind} {status}"] += 1

        kinds = self.draw.choices(["good", "malformed", "oversized"], [94, 4, 2], k=number)
        await asyncio.gather(*(one(kind) for kind in kinds))
        return wrong

    async def poisson(self, rate: float, *, seconds: float) -> list[float]:
        """Seconds of good requests that arrive at random, so many a second."""
        tasks: list[asyncio.Task[float]] = []
        ends = time.perf_counter() + seconds
        due = time.perf_counter()
        while (due := due + self.draw.expovariate(rate)) < ends:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(self.good()))
        return list(await asyncio.gather(*tasks))

    async def good(self) -> float:
        """Seconds of one good request."""
        began = time.perf_counter()
        status = await self.status_of("good")
        if status != 200:
            raise SystemExit(f"a good request was answered by {status}")
        return time.perf_counter() - began

    async def status_of(self, kind: str) -> int:
        """The status of an answer; 0 if there is none. A full queue is asked again."""
        body = self._body(kind)
        headers = {"content-type": "application/json"}
        for _ in range(RETRIES):
            try:
                answer = await self.http.post("/translate", content=body, headers=headers)
            except httpx.TransportError:
                return 0
            if answer.status_code != 503:
                return int(answer.status_code)
            self.again += 1
            await asyncio.sleep(self.draw.uniform(0.1, 0.5))
        return 503

    def _body(self, kind: str) -> bytes:
        if kind == "malformed":
            body = self.draw.choice(MALFORMED)
            for name, code in (("SRC", "source"), ("TGT", "target")):
                body = body.replace(name.encode(), self.languages[code].encode())
            return body
        text = "x" * 1_000_000 if kind == "oversized" else self.draw.choice(self.texts)
        return json.dumps({"q": text, **self.languages}).encode()


def _sentences(draw: random.Random) -> list[str]:
    return [" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) for _ in range(1000)]


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{share}_ms": round(_at(seconds, share) * 1000, 2) for share in (50, 95)}


def _at(seconds: Sequence[float], share: int) -> float:
    return quantiles(seconds, n=100, method="inclusive")[share - 1]


if __name__ == "__main__":
    main()
