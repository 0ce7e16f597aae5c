"""Objects of whatever file system fsspec knows: s3://, gs://, and others.

Credentials and endpoints are those that the library of a service finds in the environment, as in
AWS_PROFILE and AWS_ENDPOINT_URL. They are never part of a URI, a record or a message.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
from fsspec.core import url_to_fs

from kdray.errors import InputError, KdrayError, StorageLost, redact
from kdray.storage.remote import OF_OUR_DISK

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""The extra of this package that brings what a scheme needs."""
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gcs": "set GOOGLE_APPLICATION_CREDENTIALS, or log in by `gcloud auth application-default`",
}
_OPTIONS = {"s3": {"max_concurrency": 1}}  # more would ask for the size of all that is read
_REFUSED = ("NoCredentials", "PartialCredentials", "CredentialRetrieval", "InvalidToken", "Refresh")
"""Beginnings of the names of errors that say that there are no credentials, or none that hold."""
_IS_THERE = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


def is_known(scheme: str) -> bool:
    """Whether fsspec has a file system for a scheme, installed or not."""
    return scheme in fsspec.available_protocols()


class FsspecStorage:
    """Objects below a URI, which is a bucket and a prefix. See `RemoteStorage`."""

    def __init__(self, uri: str) -> None:
        self.location, self.scheme = redact(uri), uri.partition("://")[0]
        self.is_object_store = self.scheme in EXTRAS or self.scheme in ("az", "abfs", "abfss")
        bucket = urlsplit(uri).netloc
        extra = EXTRAS.get(self.scheme, "")
        if extra and "@" in bucket:
            raise InputError(
                f"execution.storage {self.location}: credentials do not belong into a URI, which "
                f"others see; leave them out, and {self._credentials()}"
            )
        if self.is_object_store and not bucket:
            raise InputError(
                f"execution.storage {self.location}: names no bucket; write "
                f"{self.scheme}://bucket/folder"
            )
        try:
            self.fs, root = url_to_fs(
                uri, use_listings_cache=False, skip_instance_cache=True, **_OPTIONS.get(extra, {})
            )
        except ImportError as error:
            install = f"pip install 'kdray[{extra}]'" if extra else str(error)
            raise InputError(
                f"execution.storage {self.location}: what {self.scheme}:// needs is not "
                f"installed; run `{install}`"
            ) from None
        except Exception as error:
            raise self._told(error) from error
        self.root = root.rstrip("/")

    def read(self, name: str) -> bytes | None:
        """See `RemoteStorage`."""
        with self._errors():
            try:
                return bytes(self.fs.cat_file(self._path(name)))
            except FileNotFoundError as error:
                if _code(error) == "NoSuchBucket":
                    raise
                return None

    def create(self, name: str, content: bytes) -> bool:
        """See `RemoteStorage`. What fsspec calls the mode `create` is If-None-Match on S3."""
        with self._errors():
            try:
                self._written(lambda path: self.fs.pipe_file(path, content, mode="create"), name)
            except FileExistsError:
                return False
            except OSError as error:
                if _code(error) in _IS_THERE and self.fs.exists(self._path(name)):
                    return False
                raise
            return True

    def write(self, name: str, content: bytes) -> None:
        """See `RemoteStorage`."""
        with self._errors():
            self._written(lambda path: self.fs.pipe_file(path, content), name)

    def upload(self, file: Path, name: str) -> None:
        """See `RemoteStorage`."""
        with self._errors():
            self._written(lambda path: self.fs.put_file(str(file), path), name)

    def download(self, name: str, file: Path) -> None:
        """See `RemoteStorage`."""
        with self._errors(is_absent=FileNotFoundError(name)):
            self.fs.get_file(self._path(name), str(file))

    def names(self, below: str) -> list[str]:
        """See `RemoteStorage`."""
        with self._errors():
            path = self._path(below) if below else self.root
            folder, slash, last = path.rpartition("/")
            if slash and self.scheme in EXTRAS:  # one request; else an empty answer is asked again
                found = self.fs.find(folder, prefix=f"{last}/")
            else:
                found = self.fs.find(path)
            return sorted(path[len(self.root) + 1 :] for path in found)

    def remove(self, names: Iterable[str]) -> None:
        """See `RemoteStorage`."""
        with self._errors():
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self.fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _written(self, write: Callable[[str], object], name: str) -> None:
        """Write to a place, whose folder is made where there are folders."""
        path = self._path(name)
        try:
            write(path)
        except FileNotFoundError:
            if self.is_object_store:
                raise
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            write(path)

    @contextmanager
    def _errors(self, *, is_absent: FileNotFoundError | None = None) -> Iterator[None]:
        """Whatever the library of a service raises, as one of ours."""
        try:
            yield
        except KdrayError:
            raise
        except Exception as error:  # the libraries have no base of their errors in common
            if getattr(error, "errno", None) in OF_OUR_DISK:
                raise
            if is_absent is not None and isinstance(error, FileNotFoundError):
                raise is_absent from None
            raise self._told(error) from error

    def _told(self, error: BaseException) -> KdrayError:
        """What happened, in one sentence that holds no secret."""
        said = redact(" ".join(str(error).split())) or type(error).__name__
        where = f"execution.storage {self.location}"
        if isinstance(error, PermissionError) or type(error).__name__.startswith(_REFUSED):
            return InputError(
                f"{where}: is refused ({said}); {self._credentials()}, of someone who may read, "
                "write, list and remove there"
            )
        if isinstance(error, FileNotFoundError):
            return InputError(f"{where}: no such bucket ({said}); create it, or correct it")
        return StorageLost(
            f"{where}: does not answer as it should ({type(error).__name__}: {said}); see that it "
            "runs and can be reached, and run the same command again"
        )

    def _credentials(self) -> str:
        return _CREDENTIALS.get(EXTRAS.get(self.scheme, ""), "see that its library finds some")


def _code(error: BaseException) -> str:
    """The code that S3 gives an error, if it is one of its own."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
