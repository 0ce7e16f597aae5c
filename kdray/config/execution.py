"""The execution: where things run and how wide. It never enters a fingerprint."""

from pydantic import Field

from kdray.config.base import Frozen


class TrackingConfig(Frozen):
    """Where MLflow keeps the runs. Default: a sqlite file in the storage folder."""

    enabled: bool = True
    uri: str | None = None
    system_metrics: bool = True


class Execution(Frozen):
    """Where and how wide."""

    storage: str = "runs"  # a folder that every node sees, or a URI
    address: str | None = None  # of a Ray cluster; None: RAY_ADDRESS, or a local session
    cpus: int | None = Field(default=None, ge=1)  # of a local session; None: all cores
    # of each student and of the teacher; None: as many as the CPUs, or GPUs, of the cluster give
    # to each of the runs that go side by side, while each has some hundred tokens an update
    train_workers: int | None = Field(default=None, ge=1)
    cpus_per_worker: int | None = Field(default=None, ge=1)  # None: shared out evenly
    use_gpu: bool = False
    # target tokens that a worker learns at once, for devices whose memory is short; None: its share
    tokens_per_pass: int | None = Field(default=None, ge=16)
    parallel_students: int = Field(default=1, ge=1)  # trained side by side
    decode_actors: int | None = Field(default=None, ge=1)  # None: one for each CPU, or GPU
    shard_pairs: int = Field(default=2000, ge=1)  # training pairs in one decoding shard
    max_failures: int = Field(default=3, ge=0)  # of one training run, each resumed
    evaluation_cpus: int | None = Field(default=None, ge=1)  # None: those of one node
    tracking: TrackingConfig = TrackingConfig()
