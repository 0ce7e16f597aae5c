"""The S3 protocol: the laws of a storage, on a server, and what is refused."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from s3_server import BUCKET, SECRET, S3Server, s3_server
from small_artifact import KEY, fill
from storage_laws import RemoteLaws, forked, opened, wait

from kdray.artifacts import Store
from kdray.errors import InputError, StorageLost
from kdray.storage.objects import FsspecStorage


@pytest.fixture(scope="module")
def server():
    with s3_server() as server:
        yield server


@pytest.mark.slow
@pytest.mark.long
class TestS3(RemoteLaws):
    @pytest.fixture
    def location(self, server: S3Server, tmp_path: Path) -> str:
        return f"s3://{BUCKET}/{tmp_path.name}"

    def killed_before(self, step: int, work: Callable[[], object]) -> bool:
        """A step is a call of the storage: what is local is the same for all of them."""
        names = ("read", "create", "write", "upload", "download", "names", "remove")

        def counted(call: Callable[..., object]) -> Callable[..., object]:
            def counting(*arguments: object) -> object:
                nonlocal step
                step -= 1
                if step < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments)

            return counting

        def run() -> None:
            for name in names:
                setattr(FsspecStorage, name, counted(getattr(FsspecStorage, name)))
            work()

        (status,) = wait(forked(run))
        assert status in (0, -signal.SIGKILL)
        return status != 0


def told(location: str, **environment: str) -> str:
    """How opening a store there is refused, in a process of its own."""
    line = "import sys; from kdray.artifacts import Store; Store.open(sys.argv[1])"
    run = f"from kdray.command import program\nwith program():\n    {line}"
    done = subprocess.run(
        [sys.executable, "-c", run, location],
        env={**os.environ, **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    return " ".join(done.stderr.split())


@pytest.fixture
def guarded(server: S3Server):
    """The server, which looks at keys. -> environments of someone unknown and of a reader."""
    iam, name = server.client("iam"), f"reader-{uuid.uuid4().hex}"
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="reads", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    server.reset_auth(0)
    reader = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"]}
    yield {"reader": {**reader, "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}, "unknown": {}}
    server.reset_auth(1_000_000)


@pytest.mark.slow
def test_credentials_that_are_refused_are_told(guarded) -> None:
    message = told(f"s3://{BUCKET}/x", **guarded["unknown"])
    assert f"execution.storage s3://{BUCKET}/x: is refused (" in message
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of someone" in message


@pytest.mark.slow
def test_a_bucket_that_cannot_be_written_is_told(guarded) -> None:
    message = told(f"s3://{BUCKET}/x", **guarded["reader"])
    assert "is refused (" in message
    assert "may read, write, list and remove there" in message


@pytest.mark.slow
def test_no_credentials_at_all_are_told(server, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "is refused (" in told(f"s3://{BUCKET}/x", HOME=str(tmp_path))


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_told(server: S3Server) -> None:
    with pytest.raises(InputError) as caught:
        Store.open("s3://nowhere/x")
    assert str(caught.value).startswith("execution.storage s3://nowhere/x: no such bucket (")


@pytest.mark.parametrize("location", ["s3://", "s3:///x"])
def test_a_bucket_has_a_name(location: str) -> None:
    with pytest.raises(InputError, match="names no bucket; write s3://bucket/folder"):
        Store.open(location)


def test_credentials_in_a_uri_are_refused_and_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        Store.open(f"s3://AKIAEXAMPLE:{SECRET}@bucket/x")
    assert "s3://***@bucket/x: credentials do not belong into a URI" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        message = told(
            f"s3://{BUCKET}/x",
            AWS_ENDPOINT_URL=endpoint, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY=SECRET,
        )  # fmt: skip
    assert f"execution.storage s3://{BUCKET}/x: does not answer as it should (" in message


@pytest.mark.slow
def test_a_server_that_goes_away_is_told_and_nothing_is_lost(server, tmp_path) -> None:
    store = opened(f"s3://{BUCKET}/{tmp_path.name}", tmp_path / "here")
    other = opened(f"s3://{BUCKET}/{tmp_path.name}", tmp_path / "there")
    store.publish(KEY, fill)
    server.stop()
    try:
        with pytest.raises(StorageLost, match="does not answer as it should"):
            other.fetch(KEY)
    finally:
        server.start()
    assert other.fetch(KEY).is_dir()


def test_what_is_not_installed_names_the_command(monkeypatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install gcsfs to access Google Storage")

    monkeypatch.setattr("kdray.storage.objects.url_to_fs", missing)
    with pytest.raises(InputError, match=r"run `pip install 'kdray\[gcs\]'`"):
        Store.open("gs://bucket/unmade")


@pytest.mark.slow
def test_a_storage_that_cannot_tell_who_was_first_is_refused(monkeypatch) -> None:
    import fsspec

    memory = fsspec.get_filesystem_class("memory")
    monkeypatch.setattr(memory, "pipe_file", lambda *_, **__: None)
    with pytest.raises(InputError, match="does not refuse to create an object that is there"):
        Store.open("memory://unsafe/x")
