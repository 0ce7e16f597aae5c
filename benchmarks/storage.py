"""The demo's study through the S3 protocol on the loopback, against a local folder.

Each pair is a run in a folder and one in a bucket, in both orders in turn, both from nothing, each
in a process of its own. The server is moto's, in a process beside them, which costs CPU too.

    python benchmarks/storage.py [--config tune_configs/demo.yaml] [--pairs 3]

It prints a JSON line for each run, and one with the quotient of each pair and their median.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3

BUCKET = "benchmark"
KEYS = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def study(config: Path, storage: str, work: Path) -> float:
    """Seconds of a study from nothing."""
    line = [sys.executable, "-m", "kdray.study", str(config), f"--set=execution.storage={storage}"]
    began = time.perf_counter()
    subprocess.run(
        line,
        env={**os.environ, "XDG_CACHE_HOME": str(work / "cache")},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def main() -> None:
    """Run the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("tune_configs/demo.yaml"))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--port", type=int, default=5055)
    given = parser.parse_args()
    os.environ |= {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{given.port}"}
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(given.port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client = boto3.client("s3")
        _until_up(client)
        quotients = []
        for number in range(given.pairs):
            taken = {}
            for kind in ("folder", "bucket") if number % 2 == 0 else ("bucket", "folder"):
                work = Path(tempfile.mkdtemp(prefix="kdray-storage-"))
                place = str(work / "runs") if kind == "folder" else f"s3://{BUCKET}/{number}"
                taken[kind] = study(given.config, place, work)
                shutil.rmtree(work)
                row = {"pair": number, "storage": kind, "seconds": round(taken[kind], 1)}
                print(json.dumps(row), flush=True)
            quotients.append(taken["bucket"] / taken["folder"])
        rounded = [round(each, 3) for each in quotients]
        median = round(statistics.median(quotients), 3)
        print(json.dumps({"bucket_over_folder": rounded, "median": median}), flush=True)
    finally:
        server.terminate()
        server.wait()


def _until_up(client) -> None:  # noqa: ANN001 (boto3 makes its classes while it runs)
    ends = time.monotonic() + 120
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            return
        except Exception:
            if time.monotonic() > ends:
                raise
            time.sleep(0.5)


if __name__ == "__main__":
    main()
