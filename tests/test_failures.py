"""What Ray's errors say is the line of the exception that began it."""

import pytest
import ray
from ray.exceptions import RayError, RayTaskError, UserCodeException
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from kdray.cluster.failures import failure, reason
from kdray.errors import ArtifactDamaged, DataError, InputError, StageFailed

FULL = "OSError: [Errno 28] No space left on device: '/runs/a'"
CHAINED = f"""\x1b[36mray::MapWorker(MapBatches(ShardActor)).submit()\x1b[39m (pid=12, ip=10.0.0.1)
  File "plan.py", line 475, in _try_wrap_udf_exception
    return fn()
{FULL}

The above exception was the direct cause of the following exception:

\x1b[36mray::MapWorker(MapBatches(ShardActor)).submit()\x1b[39m (pid=12, ip=10.0.0.1)
  File "plan.py", line 482, in _handle
    raise UserCodeException("UDF failed to process a data block.") from e
ray.exceptions.UserCodeException: UDF failed to process a data block.
To change retry attempts, backoff and so on, set DataContext.retried_io_errors.
"""
OURS = CHAINED.replace(
    "ray.exceptions.UserCodeException: UDF failed to process a data block.",
    "kdray.errors.StageFailed: /runs/a: could not be made ([Errno 28] No space left); make room",
)


def of_task(text: str, cause: Exception) -> RayTaskError:
    return RayTaskError("f", text, cause, proctitle="f", pid=1, ip="1")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (of_task(CHAINED, UserCodeException()), FULL),
        (of_task(OURS, UserCodeException()),
         "/runs/a: could not be made ([Errno 28] No space left); make room"),
        (of_task("...", DataError("line 3: empty")), "line 3: empty"),
        (of_task("...", DataError("line 3: empty")).as_instanceof_cause(), "line 3: empty"),
        (WorkerGroupError("[Rank 1 Error Snippet]:\n...", {1: of_task("", DataError("dev: a"))}),
         "dev: a"),
        (WorkerGroupError("[Rank 0 Error Snippet]:\n" + CHAINED, {}), FULL),
        (RayError("The actor died unexpectedly before finishing this task.\n\tclass: A"),
         "The actor died unexpectedly before finishing this task."),
        (ControllerError(ValueError("no workers")), "no workers"),
        (TrainingFailedError("Training failed:\nkdray.errors.StageFailed: no room\n"), "no room"),
        (TrainingFailedError("Training failed:\n  ValueError: no\n\n"), "ValueError: no"),
        (TrainingFailedError(""), "TrainingFailedError"),
        (ValueError("two\nlines"), "two"),
        (ValueError(), "ValueError"),
    ],
)  # fmt: skip
def test_the_reason_is_one_line(error, expected):
    found = reason(error)
    assert found.endswith(expected)
    assert "\n" not in found
    assert "retry attempts" not in found


@pytest.mark.parametrize("kind", [DataError, ArtifactDamaged, InputError, StageFailed])
@pytest.mark.parametrize("as_text", [False, True])
def test_an_error_of_ours_stays_of_its_kind(kind, as_text):
    text = f"Traceback (most recent call last):\n  File\nkdray.errors.{kind.__name__}: dev: bad"
    error = of_task(text, UserCodeException() if as_text else kind("dev: bad"))
    ours = failure(error, place="scores")
    assert type(ours) is kind
    assert str(ours).startswith("scores: dev: bad")


def test_another_error_ends_with_the_repair():
    ours = failure(of_task(CHAINED, UserCodeException()), place="here")
    assert str(ours) == f"here: {FULL}; run the command again"
    assert type(ours) is StageFailed


@pytest.fixture(scope="module")
def local_ray():
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.parametrize("error", [DataError("line 3: empty"), OSError(28, "No space left")])
def test_so_it_is_with_what_ray_really_raises(local_ray, error):
    def fail(batch):
        raise error

    with pytest.raises(ray.exceptions.RayError) as of_data:
        ray.data.from_items([{"a": 1}]).map_batches(fail).materialize()
    with pytest.raises(ray.exceptions.RayError) as of_core:
        ray.get(ray.remote(fail).remote({}))
    for caught in (of_data, of_core):
        assert reason(caught.value).endswith(str(error))
        assert isinstance(failure(caught.value, place="here"), type(error) if isinstance(
            error, DataError) else StageFailed)  # fmt: skip
