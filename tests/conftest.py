"""What all tests share: a toy translation task and its tokenizers.

Sentences of short invented words are translated word for word: a nano model learns it in seconds.
"""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import micro_study
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from kdray.artifacts import Artifact, Brought, Key, Store
from kdray.config.methods.cross_entropy import CrossEntropyConfig
from kdray.config.model import ModelConfig
from kdray.config.text import TokenizerConfig
from kdray.config.training import TrainingConfig
from kdray.errors import KdrayError
from kdray.fit.assemble import Signals
from kdray.fit.job import TrainingJob
from kdray.fit.spec import TrainingSpec
from kdray.schema import Column
from kdray.text.encoded import build_encoded
from kdray.text.tokenizer import Tokenizer, build_tokenizer

settings.register_profile("kdray", deadline=None, max_examples=40)  # a busy machine is not a bug
settings.load_profile("kdray")

WORDS = {
    "ba": "wox", "de": "vuz", "fi": "yat", "go": "xel", "hu": "zim", "ka": "tov",
    "le": "suy", "mi": "rax", "no": "qev", "pu": "yiw",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with Ray, then with other slow tests: the last to begin should not be the longest."""
    ray, slow = (
        {item.path for item in items if item.get_closest_marker(mark)} for mark in ("ray", "slow")
    )
    items.sort(key=lambda item: (item.path not in ray, item.path not in slow))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A test begins with the settings of a fresh process, whatever a training before it has set.

    But for the threads: tensors this small gain nothing from a second one.
    """
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run of the tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def toy_pairs() -> list[tuple[str, str]]:
    """500 pairs of 3 to 8 words."""
    rng = random.Random(1)
    pairs = []
    for _ in range(500):
        words = rng.choices(list(WORDS), k=rng.randint(3, 8))
        pairs.append((" ".join(words), " ".join(WORDS[word] for word in words)))
    return pairs


@pytest.fixture(scope="session")
def toy_corpus(
    toy_pairs: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    """The pairs as a corpus: 350 to train on, 50 for dev; 100 are left to test with."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, pairs in (("train", toy_pairs[:350]), ("dev", toy_pairs[350:400])):
        src, ref = zip(*pairs, strict=True)
        table = {Column.PAIR_ID: range(len(pairs)), Column.SRC: src, Column.REF: ref}
        pq.write_table(pa.table({k: list(v) for k, v in table.items()}), folder / f"{name}.parquet")
    return Artifact(Key("corpus", 1, {}), folder, {})


@pytest.fixture(scope="session")
def toy_tokenizers(
    toy_corpus: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Tokenizer]:
    """A `joint` and a `separate` tokenizer in which each word is about one piece."""
    found = {}
    for name, joint, size in (("joint", True, 70), ("separate", False, 40)):
        config = TokenizerConfig(joint=joint, model_type="bpe", vocab_size=size)
        folder: Path = tmp_path_factory.mktemp(name)
        build_tokenizer(config, toy_corpus.path, folder)
        found[name] = Tokenizer.load(folder)
    return found


@pytest.fixture(scope="session")
def toy_job(
    toy_corpus: Artifact,
    toy_tokenizers: dict[str, Tokenizer],
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainingJob:
    """A nano model that learns the toy references, 12 updates; each test gives it a folder."""
    folder = tmp_path_factory.mktemp("toy-job")
    encoded, tokenizer = folder / "encoded", folder / "tokenizer"
    encoded.mkdir()
    tokenizer.mkdir()
    build_encoded(toy_corpus.path, toy_tokenizers["joint"], encoded)
    toy_tokenizers["joint"].save(tokenizer)
    schedule = {"kind": "cosine", "peak": 0.01, "warmup": 2}
    training = {"updates": 12, "tokens_per_update": 512, "schedule": schedule}
    spec = TrainingSpec(
        model=ModelConfig(preset="nano", max_length=64),
        method=CrossEntropyConfig(kind="cross_entropy"),
        training=TrainingConfig.model_validate(training),
        seed=1,
        ends_at=12,
        corpus=Brought(toy_corpus.path, "corpus"),
        tokenizer=Brought(tokenizer, "tokenizer"),
        encoded=Brought(encoded, "encoded"),
        signals=Signals(),
    )
    return TrainingJob(spec, folder / "work", Store(folder).fetch)


@pytest.fixture(scope="session")
def changed_job() -> Callable[..., TrainingJob]:
    """Makes another job of one: with another folder, and other values of its spec."""

    def changed(job: TrainingJob, *, folder: Path | None = None, **spec: Any) -> TrainingJob:
        if "training" in spec:
            spec.setdefault("ends_at", spec["training"].updates)
        return replace(job, spec=replace(job.spec, **spec), folder=folder or job.folder)

    return changed


@pytest.fixture(scope="session")
def undisturbed(shared_folder: Path) -> Path:
    """The storage of a micro study that ran to its end; the first process that asks runs it."""
    folder = shared_folder / "undisturbed"
    config = folder / "micro.yaml"
    with FileLock(shared_folder / "undisturbed.lock"):
        if not folder.exists():
            folder.mkdir()
            config.write_text(micro_study.CONFIG)
            done = micro_study.run("study", config, folder / "storage")
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / "storage"


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner as it is, but what it gives to Ray is done here, one after another."""
    from kdray.cluster import lanes, pool, task  # imports Ray: only where it is needed
    from kdray.cluster.pool import Made, ShardActor
    from kdray.cluster.train import train_and_publish
    from kdray.fit.worker import Worker
    from kdray.runner.study import Study

    def shards_here(works, *, execution):
        actor = ShardActor(works, execution.decode_tokens, None, 1)
        for number, work in enumerate(works):
            for index in work.plan.missing():
                actor({"work": [number], "shard": [index]})
                yield Made(number, index, "here")

    def train_here(trainings, *, execution, runs, folder, watch):
        for name, training in trainings.items():
            train_and_publish(training.begin(Worker()), Worker(), threads=1)
            yield name, None

    def each_here(steps, *, store, threads):
        for step in steps:
            build = partial(step.job.make, fetch=store.fetch, threads=threads)
            failure = None
            try:
                store.publish(step.key, build)
            except KdrayError as error:
                failure = error
            yield step, failure

    monkeypatch.setattr(pool, "make_shards", shards_here)
    monkeypatch.setattr(lanes, "train", train_here)
    monkeypatch.setattr(task, "make_each", each_here)
    monkeypatch.setattr(task, "evaluation_threads", lambda asked: asked or 1)
    monkeypatch.setattr(Study, "start_ray", lambda study: None)
