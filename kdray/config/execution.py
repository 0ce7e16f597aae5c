"""The execution: where things run and how wide. It never enters a fingerprint."""

from typing import Literal

from pydantic import Field

from kdray.config.base import Frozen, Place

WEEK = 7 * 24 * 3600.0  # seconds


class TrackingConfig(Frozen):
    """Where MLflow stores the runs. Default: an SQLite file in the storage folder."""

    enabled: bool = True
    uri: Place | None = None
    system_metrics: bool = True
    # students that MLflow keeps as models: the winner of each scenario, all of them, or none
    models: Literal["winner", "all", "none"] = "winner"
    # a name of MLflow's registry, whose alias `champion` is then the winner
    register_as: str | None = Field(default=None, pattern=r"^[\w -]+$", max_length=200)


class Execution(Frozen):
    """Where a study runs, and with how many processes; results do not depend on it."""

    storage: Place = "runs"  # a folder that every node sees, or a URI
    # where each node keeps what it has read from a URI; None: a folder of the user's caches
    cache: Place | None = None
    address: Place | None = None  # of a Ray cluster; None: RAY_ADDRESS, or a local session
    connect_seconds: float = Field(
        default=15.0, gt=0, le=WEEK
    )  # that the cluster may take to answer
    start_seconds: float = Field(
        default=60.0, gt=0, le=WEEK
    )  # that a local session may take to start
    cpus: int | None = Field(default=None, ge=1)  # of a local session; None: all cores
    # of each student and of the teacher; None: the CPUs, or GPUs, of the cluster are divided among
    # the runs that train at the same time, and each worker gets at least some hundred tokens of an
    # update
    train_workers: int | None = Field(default=None, ge=1)
    cpus_per_worker: int | None = Field(default=None, ge=1)  # None: divided evenly
    use_gpu: bool = False
    # target tokens in one pass of a worker, for devices with little memory; None: its whole share
    tokens_per_pass: int | None = Field(default=None, ge=16)
    parallel_students: int = Field(default=1, ge=1)  # lanes, each of one student after another
    decode_actors: int | None = Field(default=None, ge=1)  # None: one for each CPU, or GPU
    # padded source tokens in one batch of a teacher; None: found while shards are made
    decode_tokens: int | None = Field(default=None, ge=16)
    # that each decoding process may have; None: its share of what is free
    decode_memory_gb: float | None = Field(default=None, gt=0)
    shard_pairs: int = Field(default=2000, ge=1)  # training pairs in one decoding shard
    # training text of more megabytes on the disk is prepared on Ray; null: never
    large_text_mb: float | None = Field(default=200.0, ge=0)
    max_failures: int = Field(default=3, ge=0)  # restarts of one training, trial or pool
    evaluation_cpus: int | None = Field(default=None, ge=1)  # of each model; None: of one node
    tracking: TrackingConfig = TrackingConfig()
