"""How do training runs get into MLflow? The tracker that writes one experiment of a store."""

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from kdray.errors import redact, redacted
from kdray.tracking.contract import FINGERPRINT, NOTE, ROLE, TOLD, DataSet, RunStatus, Tracker
from kdray.tracking.models import log_translator
from kdray.tracking.pages import list_page, run_page
from kdray.tracking.points import Curves
from kdray.tracking.store import PRIMARY_METRIC, cause, connect, public

logger = logging.getLogger(__name__)

RETRY_SECONDS = 60.0  # after a failure of MLflow, curves wait for at least this long
RETRY_COST = 10  # and at least this many times as long as the failed attempt took
PARENT = "mlflow.parentRunId"
_CUT = "… (whole value in config.yaml)"


@dataclass
class MlflowTracker(Tracker):
    """Writes into one experiment of an MLflow store. Pickling leaves out the open connection."""

    uri: str = field(repr=False)  # may hold credentials
    experiment_id: str
    with_system_metrics: bool = True

    def __post_init__(self) -> None:
        self._curves = Curves()
        self._warned: set[tuple[str, str]] = set()
        self._retry_at = 0.0
        self._has_failed = False

    def __reduce__(self) -> tuple[Callable[..., "MlflowTracker"], tuple[str, str, bool]]:
        return MlflowTracker, (self.uri, self.experiment_id, self.with_system_metrics)

    def ensure_run(
        self,
        name: str,
        *,
        parent_id: str | None,
        run_id: str | None,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        began: float | None = None,
    ) -> str:
        """The tag `mlflow.parentRunId` names the parent, as MLflow's own nested runs have it."""
        if parent_id:
            tags = {**tags, PARENT: parent_id}
        with self._tolerating("opening a run"):
            known = run_id or self._child(parent_id, tags)
            run = self._continue(known, tags=tags) or self._client.create_run(
                self.experiment_id, run_name=name, tags=tags, start_time=_ms(began)
            )
            run_id = str(run.info.run_id)
            self._log_params(run_id, params, known=run.data.params)
        return run_id or ""

    def log_history(self, run_id: str, rows: Iterable[Mapping[str, float]]) -> None:
        """After a failure nothing is sent for a while, so that timeouts take little time in all."""
        if not run_id:
            return
        for row in rows:
            metrics = {name: row[name] for name in row if name not in ("step", "time")}
            self._curves.add(
                run_id, self._finite(metrics), step=int(row["step"]), ms=int(row["time"] * 1000)
            )
        if time.monotonic() >= self._retry_at:
            self._send(run_id)

    def last_step(self, run_id: str) -> int:
        """MLflow is asked once; if that fails, the answer is -1."""
        steps: dict[str, int] = {}
        if run_id:
            with self._tolerating("reading curves"):
                steps = self._curves.last_steps(self._client, run_id)
        return max(steps.values(), default=-1)

    def log_scores(self, run_id: str, scores: Mapping[str, float]) -> None:
        """A score is stored again only with another value."""
        if run_id:
            self._send(run_id)
            finite = self._finite(scores)
            with self._tolerating("logging scores"):
                self._curves.send_scores(self._client, run_id, finite)

    def log_config(self, run_id: str, config: Mapping[str, Any]) -> None:
        """The keys keep their order; the credentials of URIs are left out."""
        if run_id:
            text = yaml.safe_dump(redacted(config), sort_keys=False, allow_unicode=True)
            with self._tolerating("storing a configuration"):
                self._client.log_text(run_id, text, "config.yaml")

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """A file of the same name is replaced."""
        if run_id:
            with self._tolerating("storing a text"):
                self._client.log_text(run_id, text, artifact_file)

    def log_data(self, run_id: str, datasets: Sequence[DataSet]) -> None:
        """They are told apart by name and digest."""
        if run_id and datasets:
            with self._tolerating("naming the data"):
                self._client.log_inputs(run_id, [_input(each) for each in datasets])

    def describe_experiment(self, text: str) -> None:
        """An earlier description is replaced."""
        with self._tolerating("describing the experiment"):
            self._client.set_experiment_tag(self.experiment_id, NOTE, text)

    def describe(self, run_id: str, text: str) -> None:
        """An earlier description is replaced."""
        if run_id:
            with self._tolerating("describing a run"):
                self._client.set_tag(run_id, NOTE, text)

    def pages(self, run_id: str) -> Mapping[str, str]:
        """Relative addresses, so that they hold for every server."""
        if not run_id:
            return {}
        of, best = self.experiment_id, PRIMARY_METRIC
        return {
            "report": run_page(of, run_id, "report/report.html"),
            "students, best first": list_page(of, "student", metric=best),
            "their curves": list_page(of, "student", metric=best, charts=True),
        }

    def log_model(
        self,
        run_id: str,
        write: Callable[[Path], None],
        *,
        example: Sequence[str],
        register_as: str | None,
    ) -> None:
        """The run's end stays as it is."""
        if run_id:
            with self._tolerating("storing a model"):
                log_translator(
                    self._client, run_id, write, example=example, register_as=register_as
                )

    def log_artifacts(self, run_id: str, folder: Path, artifact_path: str) -> None:
        """Files of the same name are replaced."""
        if run_id:
            with self._tolerating("storing artifacts"):
                self._client.log_artifacts(run_id, str(folder), artifact_path)

    @contextlib.contextmanager
    def system_metrics(self, run_id: str) -> Iterator[None]:
        """Curves named `system/…` with MLflow's sampling interval, continued after a crash."""
        monitor: Any = None
        if run_id and self.with_system_metrics:
            with self._tolerating("starting system metrics"):
                from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

                monitor = SystemMetricsMonitor(
                    run_id, resume_logging=True, tracking_uri=public(self.uri)
                )
                monitor.start()
        try:
            yield
        finally:
            if monitor is not None:
                with self._tolerating("stopping system metrics"):
                    monitor.finish()

    def told(self, parent_id: str) -> Mapping[str, str]:
        """The runs are found by a search in MLflow; if that fails, nothing is known of any."""
        query = f"attributes.status = 'FINISHED' and tags.`{PARENT}` = '{parent_id}'"
        told: dict[str, str] = {}
        token: str | None = ""
        if parent_id:
            with self._tolerating("looking at runs"):
                while token is not None:
                    page = self._client.search_runs([self.experiment_id], query, page_token=token)
                    token = page.token
                    told |= {
                        run.info.run_id: run.data.tags[TOLD]
                        for run in page
                        if TOLD in run.data.tags
                    }
        return told

    def finish(
        self,
        run_id: str,
        status: RunStatus,
        *,
        ended: float | None = None,
        told: str | None = None,
    ) -> None:
        """A warning counts the points that cannot be sent even now."""
        if not run_id:
            return
        self._send(run_id)
        with self._tolerating("ending a run"):
            if told is not None and not self._has_failed:
                self._client.set_tag(run_id, TOLD, told)
            self._client.set_terminated(run_id, status, end_time=_ms(ended))
        lost = self._curves.forget(run_id)
        if lost:
            logger.warning("run %s: %d points of its curves are not in MLflow", run_id, lost)

    def finish_children(self, parent_id: str, status: RunStatus) -> None:
        """The child runs are found by a search in MLflow."""
        children = f"tags.`mlflow.parentRunId` = '{parent_id}'"
        query = f"attributes.status = 'RUNNING' and {children}"
        if parent_id:
            with self._tolerating("ending runs"):
                for run in self._client.search_runs([self.experiment_id], query):
                    self.finish(run.info.run_id, status)

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 (MlflowClient)
        return connect(self.uri)

    def _child(self, parent_id: str | None, tags: Mapping[str, str]) -> str | None:
        """The run of the same parent, role and fingerprint, if these tags name one."""
        if not parent_id or FINGERPRINT not in tags:
            return None
        same = {name: tags[name] for name in (FINGERPRINT, ROLE, PARENT) if name in tags}
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in same.items())
        runs = self._client.search_runs([self.experiment_id], query, max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _continue(self, run_id: str | None, *, tags: Mapping[str, str]) -> Any:  # noqa: ANN401
        """The run, which is then RUNNING and tagged; None if it does not exist or was deleted."""
        from mlflow.entities import RunTag
        from mlflow.exceptions import MlflowException

        if not run_id:
            return None
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        if run.info.lifecycle_stage != "active":
            return None
        self._client.update_run(run_id, status="RUNNING")
        new = [RunTag(key, value) for key, value in tags.items()]
        self._client.log_batch(run_id, tags=new, synchronous=True)
        return run

    def _log_params(
        self, run_id: str, params: Mapping[str, Any], *, known: Mapping[str, str]
    ) -> None:
        from mlflow.entities import Param
        from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH as LIMIT

        whole = flat_params(redacted(params))
        short = {
            k: v if len(v) <= LIMIT else v[: LIMIT - len(_CUT)] + _CUT for k, v in whole.items()
        }
        changed = [name for name, value in short.items() if known.get(name, value) != value]
        if changed:
            names = ", ".join(changed)
            logger.warning("run %s: MLflow keeps the first values of %s", run_id, names)
        new = [Param(name, value) for name, value in short.items() if name not in known]
        self._client.log_batch(run_id, params=new, synchronous=True)
        if short != whole:
            self.log_config(run_id, params)

    def _send(self, run_id: str) -> None:
        with self._tolerating("logging curves"):
            self._curves.send(self._client, run_id)

    def _finite(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Leave out NaN and infinity: SQL stores would write infinity as the largest float."""
        for name, value in metrics.items():
            if not math.isfinite(value):
                self._warn_once("not finite", name, f"left out {name}, which is {value}")
        return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}

    @contextlib.contextmanager
    def _tolerating(self, action: str) -> Iterator[None]:
        """Turn a failure into a warning, one for each action and type of error."""
        started = time.monotonic()
        try:
            yield
        # The errors of databases, servers and cloud storage have no base class in common, and none
        # of them may end a training run: kdray's own artifacts hold all that MLflow lacks.
        except Exception as error:
            self._has_failed = True
            ended = time.monotonic()
            self._retry_at = ended + max(RETRY_SECONDS, RETRY_COST * (ended - started))
            message = f"{action} failed, which stops nothing else ({cause(error)})"
            self._warn_once(action, type(error).__name__, message)

    def _warn_once(self, kind: str, detail: str, message: str) -> None:
        if (kind, detail) not in self._warned:
            self._warned.add((kind, detail))
            logger.warning("MLflow at %s: %s", redact(public(self.uri)), message)


def _input(data: DataSet) -> Any:  # noqa: ANN401 (mlflow's DatasetInput)
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    profile = json.dumps({"num_rows": data.rows})
    source = json.dumps({"uri": data.source})
    dataset = Dataset(data.name, data.digest, "local", source, profile=profile)
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, data.context)])


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def flat_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Flatten nested mappings to dotted names. Values that are not text are written as JSON."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat.update({f"{name}.{inner}": v for inner, v in flat_params(value).items()})
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat
