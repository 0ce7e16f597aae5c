"""Which local files does a name in a configuration stand for?

A name is a path in the folder of the corpus, or a URL of a file system that fsspec knows. It may
hold `*`. What a URL names is copied once, whole or not at all, into `$XDG_CACHE_HOME/kdray/sources`
(`~/.cache`), which every node of a cluster has to see, and read there.
"""

import glob
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable
from errno import EDQUOT, ENOSPC, EROFS
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import fsspec

from kdray.config.base import is_url
from kdray.errors import DataError, redact
from kdray.storage.caches import cache_folder
from kdray.storage.content import sha256_file
from kdray.storage.disk import disk_errors
from kdray.storage.whole import whole
from kdray.text.lines import one_line

_DONE = "copied"
_WEB = ("http://", "https://")
Asked = TypeVar("Asked")


def files_of(folder: str | Path, name: str) -> list[Path]:
    """The files of a name, those of a pattern in the order of their names.

    Raises:
        DataError: see `files_by_stars`.
    """
    return list(files_by_stars(folder, name).values())


def files_by_stars(folder: str | Path, name: str) -> dict[tuple[str, ...], Path]:
    """The files of a name, in the order of theirs, by what its stars stand for in each.

    Raises:
        DataError: there is none, one lies outside `folder` (a symbolic link may lead there), or it
            cannot be copied from where a URL says that it is.
    """
    if (url := _url(folder, name)) is not None:
        return {stars: _copied(url, found) for stars, found in _remote(url).items()}
    home = Path(_local(str(folder)))
    if "*" not in name or (home / name).is_file():
        return {(): _existing(home, name)}
    pattern = "*".join(glob.escape(part) for part in name.split("*"))
    names = sorted(str(path.relative_to(home)) for path in home.glob(pattern) if path.is_file())
    if not (found := _by_stars(str(PurePosixPath(name)), names)):
        raise DataError(f"{home / name}: no file has such a name; correct it or corpus.folder")
    return {stars: _existing(home, each) for stars, each in found.items()}


def _by_stars(pattern: str, names: Iterable[str]) -> dict[tuple[str, ...], str]:
    """The names that a pattern means, by what its stars stand for; a star ends at a slash."""
    means = re.compile("([^/]*)".join(map(re.escape, pattern.lstrip("/").split("*"))))
    matches = ((means.fullmatch(name.lstrip("/")), name) for name in names)
    return {match.groups(): name for match, name in matches if match}


def folder_of(folder: str | Path, name: str) -> Path | None:
    """The folder of that name in the folder of the corpus, if there is one."""
    if _url(folder, name) is not None:
        return None
    path = Path(_local(str(folder))) / name
    return _inside(Path(_local(str(folder))), path) if path.is_dir() else None


def everywhere(folder: str) -> str:
    """The folder of a corpus, as processes in other folders find it too."""
    is_remote = is_url(folder) and not folder.startswith("file://")
    return folder if is_remote else str(Path(_local(folder)).absolute())


def _url(folder: str | Path, name: str) -> str | None:
    """The URL that a name stands for, unless it is a local file."""
    if is_url(name):
        return None if name.startswith("file://") else name
    if is_url(str(folder)) and not str(folder).startswith("file://"):
        return f"{str(folder).rstrip('/')}/{name}"
    return None


def _local(place: str) -> str:
    return unquote(place.removeprefix("file://")) if place.startswith("file://") else place


def _existing(folder: Path, name: str) -> Path:
    path = Path(_local(name)) if name.startswith("file://") else _inside(folder, folder / name)
    if not path.is_file():
        fault = "is a folder or a device" if path.exists() else "does not exist"
        raise DataError(f"{path}: {fault}; correct the file name or corpus.folder")
    return path


def _inside(folder: Path, path: Path) -> Path:
    try:
        real, within = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be followed ({error}); correct the link") from None
    if not real.is_relative_to(within):
        raise DataError(
            f"{path}: is a link to {real}, outside the corpus folder; copy the file "
            "into the folder, or name the folder that holds it as corpus.folder"
        )
    return path


def _remote(url: str) -> dict[tuple[str, ...], str]:
    """The URLs that a URL means, by what its stars stand for, in the order of their names."""
    if "*" not in url:
        return {(): url}

    def listed() -> dict[tuple[str, ...], str]:
        system, pattern = fsspec.core.url_to_fs(url)
        found = _by_stars(pattern, sorted(system.glob(pattern)))
        return {stars: system.unstrip_protocol(path) for stars, path in found.items()}

    if not (found := _asked(url, listed)):
        raise DataError(f"{redact(url)}: no file has such a name; correct it or corpus.folder")
    return found


def _copied(url: str, found: str) -> Path:
    """The local copy of a remote file, made now unless this content was copied before."""

    def opened() -> tuple[Any, str, str | None]:
        system, path = fsspec.core.url_to_fs(found)
        if not system.isfile(path):
            raise FileNotFoundError("there is no such file")
        return system, path, _version(system, path)

    system, path, version = _asked(url, opened)
    if version is None:
        return _copied_by_content(url, found)
    return _kept(found, version, lambda copy: _asked(url, lambda: system.get_file(path, str(copy))))


def _version(system: Any, path: str) -> str | None:  # noqa: ANN401 (a file system)
    """What changes with a remote file; None for one of a web server that does not say."""
    if not path.startswith(_WEB):
        return str(system.ukey(path))
    info = system.info(path)  # fsspec takes the files of the web for unchanging
    told = [info.get(name) for name in ("ETag", "Last-Modified")]
    return str([*told, info.get("size")]) if any(told) else None


@cache
def _copied_by_content(url: str, found: str) -> Path:
    """The copy of a remote file that only its content tells from another; once in a process."""
    sources = cache_folder("sources")
    with disk_errors(sources):
        sources.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=sources) as aside:
            copy = Path(aside) / "copy"
            system, path = fsspec.core.url_to_fs(found)
            _asked(url, lambda: system.get_file(path, str(copy)))
            return _kept(found, sha256_file(copy), copy.replace)


def _kept(found: str, version: str, bring: Callable[[Path], object]) -> Path:
    """Where a version of a remote file is kept; it is brought there unless it is there."""
    name = hashlib.sha256(f"{redact(found)} {version}".encode()).hexdigest()[:24]
    place = cache_folder("sources") / name
    bare = urlsplit(found).path if found.startswith(_WEB) else found  # a query is no suffix
    copy = place / (PurePosixPath(bare).name or "file")
    if not (place / _DONE).exists():
        with disk_errors(place), whole(place, record=_DONE) as folder:
            bring(folder / copy.name)
            (folder / _DONE).write_text(redact(found), encoding="utf-8")
    return copy


def _asked(url: str, ask: Callable[[], Asked]) -> Asked:
    """What a file system answers. Its errors are of any class, and are told as ours."""
    try:
        return ask()
    except ImportError as error:
        raise DataError(
            f"{redact(url)}: its file system needs a package ({one_line(error)}); install it, for "
            "s3:// with `pip install 'kdray[s3]'`"
        ) from None
    except Exception as error:  # whatever a file system raises
        if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT, EROFS):
            raise  # said by the local disk
        said = redact(one_line(error)) or type(error).__name__
        raise DataError(
            f"{redact(url)}: cannot be read ({said}); correct the URL, your "
            "credentials or the network, or copy the file and name its path"
        ) from None
