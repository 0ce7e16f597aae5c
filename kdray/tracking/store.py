"""How is an MLflow store reached? Its URI, its experiments, and messages without credentials."""

import contextlib
import logging
import os
import re
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from filelock import FileLock

import kdray
from kdray.errors import InputError, redact

_DATABASE = re.compile(r"(sqlite|postgresql|mysql|mssql)[+:]")
_SQLITE = re.compile(r"sqlite(\+pysqlite)?:///")
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"  # in a storage
# A password may hold anything, unless what stands after the colon is a port.
_SERVER = re.compile(r"(https?://)((?![^/@:]*:\d+/)[^/@:]*:.*|[^/@:]*)@(.*)")

_ENVIRONMENT = {
    # With MLflow's defaults, a training run would wait minutes for a server that is gone.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for each run that ends
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # of the files of a model that is kept
}
PRIMARY_METRIC = "dev_final/bleu"  # dev chooses; tests are looked at afterwards
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database that hold places of artifacts."""
_FIRST_LOOK = {
    "kdray.version": kdray.__version__,
    "mlflow.experimentKind": "custom_model_development",  # opens at its runs, not at traces
    "mlflow.experiment.primaryMetric.name": PRIMARY_METRIC,
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
}
# These loggers repeat errors that name the URI, and report each start and stop.
_LOGGERS = ("mlflow.store.db.utils", "mlflow.system_metrics.system_metrics_monitor")


def connect(uri: str) -> Any:  # noqa: ANN401 (mlflow is imported here, not before)
    """An `MlflowClient`; it creates the tables of an empty database.

    MLflow, which prints and logs the URI of a server, is never told the credentials in it: they go
    into the variables that MLflow has for them.
    """
    from mlflow import MlflowClient

    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    if server := _SERVER.match(uri):
        user, _, password = server[2].partition(":")
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(user)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(password)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_discreet)
    return MlflowClient(tracking_uri=public(uri))


def public(uri: str) -> str:
    """The URI of a server without credentials; every other URI as it is."""
    return _SERVER.sub(r"\1\3", uri)


def cause(error: BaseException) -> str:
    """Type and message of an error on one line of bounded length, without credentials."""
    words = redact(" ".join(str(error).split()))
    return f"{type(error).__name__}: {words if len(words) <= 300 else words[:299] + '…'}"


def sqlite_uri(path: Path) -> str:
    """The URI of an SQLite file, whatever characters its absolute path has.

    Raises:
        InputError: SQLAlchemy would look for the file elsewhere.
    """
    if not re.search("[%?]", str(path)):
        return f"sqlite:///{path}"
    from sqlalchemy import make_url

    # With the driver's name, or MLflow would make a folder with the codes in its name.
    uri = "sqlite+pysqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")
    if (there := make_url(uri).database) != str(path):
        raise InputError(
            f"{path}: this version of SQLAlchemy would open {there} instead; install 2.1 or "
            "a newer one, or name a folder without ? and %"
        )
    return uri


def absolute_uri(uri: str) -> str:
    """The URI, with an absolute path for an SQLite file, since workers run in other folders.

    Raises:
        InputError: it names a database in memory, which other processes cannot see, or it has
            credentials and is no URI.
    """
    if "@" in uri and "://" not in uri:
        shown = re.sub(".*@", "***@", uri)
        raise InputError(
            f"execution.tracking.uri {shown}: is no URI; write that of a server as "
            "https://USER:PASSWORD@HOST"
        )
    if not re.match(r"sqlite(\+pysqlite)?:", uri):
        return uri
    path, mark, query = _SQLITE.sub("", uri, count=1).partition("?")
    if not _SQLITE.match(uri) or path in ("", ":memory:"):
        raise InputError(
            f"execution.tracking.uri {uri}: a database in memory is lost between processes; "
            "name a file, as in sqlite:///mlflow.db"
        )
    return f"{sqlite_uri(Path(unquote(path)).resolve())}{mark}{query}"


def ensure_experiment(uri: str, name: str, *, storage: Path) -> str:
    """Create database and experiment where they are missing, and write to it. -> its id.

    The clients of a database store the artifacts themselves, in `storage`, which all of them see. A
    server chooses the place. A tag of the experiment proves that the store can be written. A
    database that is in `storage` moves with it: its artifacts are looked for where they are now.

    Raises:
        InputError: the experiment was deleted.
        Exception: whatever MLflow raises if the store cannot be used.
    """
    from mlflow.exceptions import MlflowException

    place = (storage / ARTIFACTS).as_uri() if _DATABASE.match(uri) else None
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
        if place not in (None, experiment.artifact_location) and uri == own_database(storage):
            _relocate(storage / DATABASE, experiment.artifact_location, to=str(place))
    if experiment.lifecycle_stage != "active":
        raise InputError(
            f"MLflow at {redact(public(uri))}: the experiment {name!r} was deleted; restore it "
            f"with `mlflow experiments restore --experiment-id {experiment.experiment_id}`, "
            "or give the study another name"
        )
    for tag, value in _FIRST_LOOK.items():
        client.set_experiment_tag(experiment.experiment_id, tag, value)
    return str(experiment.experiment_id)


def own_database(storage: Path) -> str:
    """The URI of the database that is part of a storage."""
    return sqlite_uri(storage / DATABASE)


def check_database(uri: str) -> None:
    """Refuse what stands in the place of an SQLite file; MLflow would try for minutes.

    Raises:
        InputError: it is a folder, or another file.
    """
    if not _SQLITE.match(uri):
        return
    path = Path(unquote(_SQLITE.sub("", uri, count=1).partition("?")[0]))
    if path.is_dir():
        wrong = "is a folder"
    elif path.is_file() and path.stat().st_size and not _begins_as_sqlite(path):
        wrong = "is no SQLite database"
    else:
        return
    raise InputError(f"{path}: {wrong}; move it away, or name another in execution.tracking.uri")


def _begins_as_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _relocate(database: Path, old: str, *, to: str) -> None:
    """Correct the places of all artifacts that begin with the old one, which MLflow cannot do."""
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, column in _PLACES:
            columns = connection.execute(f"SELECT name FROM pragma_table_info('{table}')")
            if (column,) not in columns.fetchall():  # in this version of MLflow
                continue
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (to, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )


def _creation_lock(uri: str) -> contextlib.AbstractContextManager[object]:
    if not _SQLITE.match(uri):
        return contextlib.nullcontext()
    path = Path(unquote(_SQLITE.sub("", uri).partition("?")[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{path}.lock")


def _discreet(record: logging.LogRecord) -> bool:
    """Logging filter: only warnings pass, and without credentials."""
    record.msg, record.args = redact(record.getMessage()), None
    return record.levelno >= logging.WARNING
