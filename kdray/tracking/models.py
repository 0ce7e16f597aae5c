"""A finished student as a model of MLflow: logged once, registered if a name is given.

Only a client is used, and none of MLflow's global state: other runs may go on meanwhile.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kdray.tracking.contract import NOTE

CODE = Path(__file__).with_name("translator.py")
ALIAS = "champion"
SCORES = ("dev_final/", "test/", "best_")  # names of metrics that say how good a student is
_NEEDED = ("ctranslate2", "sentencepiece", "numpy")  # MLflow adds itself


def log_translator(
    client: Any,  # noqa: ANN401 (MlflowClient)
    run_id: str,
    write: Callable[[Path], None],
    *,
    example: Sequence[str],
    register_as: str | None,
) -> None:
    """Store a student as the model of a run, unless the run has one; the run stays as it is.

    Args:
        client: of the store.
        run_id: of the run that the student was trained in.
        write: fills a folder with the student: `model` in CTranslate2's form, SentencePiece
            models, and `decoding.json`.
        example: sentences that MLflow shows how to use the model with; it tries them.
        register_as: a name in the registry, whose alias `champion` is then this student.
    """
    run = client.get_run(run_id)
    if known := list(run.outputs.model_outputs) if run.outputs else []:
        model_id = known[0].model_id
    else:
        model_id = _store(client, run, write, example=example)
    if register_as is not None:
        _register(client, model_id, run_id, register_as)


def _store(
    client: Any,  # noqa: ANN401
    run: Any,  # noqa: ANN401
    write: Callable[[Path], None],
    *,
    example: Sequence[str],
) -> str:
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    run_id, step = run.info.run_id, _last_step(client, run)
    model = client.create_logged_model(
        run.info.experiment_id,
        name=run.info.run_name.replace("/", "-").replace(".", "-").replace(":", "-"),
        source_run_id=run_id,
        tags={name: tag for name, tag in run.data.tags.items() if _is_of_the_model(name)},
        params=run.data.params,
        model_type="translation",
    )
    with tempfile.TemporaryDirectory() as folder, _quietly():
        place, student = Path(folder) / "model", Path(folder) / "student"
        student.mkdir()
        write(student)
        save_model(
            str(place),
            mlflow_model=Model(run_id=run_id, model_id=model.model_id),
            python_model=str(CODE),
            artifacts={"student": str(student)},
            input_example=list(example),
            pip_requirements=[f"{name}=={version(name)}" for name in _NEEDED],
        )
        for compiled in place.rglob("__pycache__"):
            shutil.rmtree(compiled)
        client.log_model_artifacts(model.model_id, str(place))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    _link_scores(client, run, model.model_id)
    return str(model.model_id)


def _is_of_the_model(tag: str) -> bool:
    return tag.startswith("kdray.") or tag in (NOTE, "mlflow.user")


def _link_scores(client: Any, run: Any, model_id: str) -> None:  # noqa: ANN401
    """Show the scores of a run beside its model. The run's own points are the same ones again."""
    from mlflow.entities import Metric

    run_id = run.info.run_id
    scores = [
        Metric(point.key, point.value, point.timestamp, point.step, model_id=model_id)
        for name in run.data.metrics
        if name.startswith(SCORES)
        for point in client.get_metric_history(run_id, name)[-1:]
    ]
    client.log_batch(run_id, metrics=scores, synchronous=True)


def _register(client: Any, model_id: str, run_id: str, name: str) -> None:  # noqa: ANN401
    """Make this model the champion of a registered name, in a version of its own."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = client.get_logged_model(model_id).artifact_location
    versions = client.search_model_versions(f"name = '{name}'")
    found = next((each for each in versions if each.source == source), None)
    if found is None:
        found = client.create_model_version(name, source, run_id=run_id, model_id=model_id)
    client.set_registered_model_alias(name, ALIAS, found.version)


def _last_step(client: Any, run: Any) -> int:  # noqa: ANN401
    """At which the scores of a run stand."""
    if not run.data.metrics:
        return 0
    name = next(iter(run.data.metrics))
    return int(client.get_metric_history(run.info.run_id, name)[-1].step)


class _quietly:  # noqa: N801 (a context manager, used like a function)
    """MLflow tells its progress as warnings while it saves and tries a model."""

    def __enter__(self) -> None:
        self.logger = logging.getLogger("mlflow")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)
