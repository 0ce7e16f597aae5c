"""How is an MLflow store reached? Its URI, its experiments, and messages without credentials."""

import contextlib
import logging
import os
import re
from pathlib import Path
from typing import Any

from filelock import FileLock

import kdray
from kdray.errors import InputError

_DATABASE = re.compile(r"(sqlite|postgresql|mysql|mssql)[+:]")
_SQLITE = "sqlite:///"
_USERINFO = re.compile(r"://[^\s'\"]*@")
_SECRET = re.compile(r"([?&](?:password|token|secret)=)[^\s&'\"]*", re.IGNORECASE)

# With MLflow's defaults, a training run would wait minutes for a server that is gone.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
# These loggers repeat errors that name the URI, and report each start and stop.
_LOGGERS = ("mlflow.store.db.utils", "mlflow.system_metrics.system_metrics_monitor")


def connect(uri: str) -> Any:  # noqa: ANN401 (mlflow is imported here, not before)
    """An `MlflowClient`; it creates the tables of an empty database."""
    from mlflow import MlflowClient

    for variable, value in _PATIENCE.items():
        os.environ.setdefault(variable, value)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_discreet)
    return MlflowClient(tracking_uri=uri)


def redact(text: str) -> str:
    """The text without the credentials of the URIs in it."""
    return _USERINFO.sub("://***@", _SECRET.sub(r"\1***", text))


def cause(error: BaseException) -> str:
    """Type and message of an error on one line of bounded length, without credentials."""
    words = redact(" ".join(str(error).split()))
    return f"{type(error).__name__}: {words if len(words) <= 300 else words[:299] + '…'}"


def absolute_uri(uri: str) -> str:
    """The URI, with an absolute path for an SQLite file, since workers run in other folders.

    Raises:
        InputError: it names a database in memory, which other processes cannot see.
    """
    if not uri.startswith("sqlite:"):
        return uri
    path, mark, query = uri.removeprefix(_SQLITE).partition("?")
    if not uri.startswith(_SQLITE) or path in ("", ":memory:"):
        raise InputError(
            f"execution.tracking.uri {uri}: a database in memory is lost between processes; "
            "name a file, as in sqlite:///mlflow.db"
        )
    return f"{_SQLITE}{Path(path).resolve()}{mark}{query}"


def ensure_experiment(uri: str, name: str, *, storage: Path) -> str:
    """Create database and experiment where they are missing, and write to it. -> its id.

    The clients of a database store the artifacts themselves, in `storage`, which all of them see. A
    server chooses the place. A tag of the experiment proves that the store can be written.

    Raises:
        InputError: the experiment was deleted.
        Exception: whatever MLflow raises if the store cannot be used.
    """
    from mlflow.exceptions import MlflowException

    place = (storage / "mlartifacts").as_uri() if _DATABASE.match(uri) else None
    # Two processes that both find an empty database would both create its tables, and one fails.
    with _creation_lock(uri):
        client = connect(uri)
        if (experiment := client.get_experiment_by_name(name)) is None:
            try:
                client.create_experiment(name, artifact_location=place)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = client.get_experiment_by_name(name)
    if experiment.lifecycle_stage != "active":
        raise InputError(
            f"MLflow at {redact(uri)}: the experiment {name!r} was deleted; restore it with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`, "
            "or give the study another name"
        )
    client.set_experiment_tag(experiment.experiment_id, "kdray.version", kdray.__version__)
    return str(experiment.experiment_id)


def _creation_lock(uri: str) -> contextlib.AbstractContextManager[object]:
    if not uri.startswith(_SQLITE):
        return contextlib.nullcontext()
    path = Path(uri.removeprefix(_SQLITE).partition("?")[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{path}.lock")


def _discreet(record: logging.LogRecord) -> bool:
    """Logging filter: only warnings pass, and without credentials."""
    record.msg, record.args = redact(record.getMessage()), None
    return record.levelno >= logging.WARNING
