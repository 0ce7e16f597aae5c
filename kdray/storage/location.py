"""Where a storage is: the folder or the URI that `execution.storage` names."""

import hashlib
import re
import uuid
from pathlib import Path
from urllib.parse import unquote

from kdray.errors import InputError, redact
from kdray.storage.caches import cache_folder
from kdray.storage.disk import prove_writable
from kdray.storage.remote import prove_usable, remote_storage

_MISTYPED = re.compile(r"file://(?!/)|[a-z][a-z0-9+.-]+:(?!//)")  # a URI that is none


def remote_uri(location: str | Path) -> str | None:
    """The URI of a storage that is another than a folder of this machine's file system."""
    scheme, colon, _ = str(location).partition("://")
    return str(location) if colon and scheme != "file" else None


def located(
    location: str | Path, *, cache: str | None, only_looks: bool
) -> tuple[Path, str | None]:
    """The local folder of a storage, and its URI if it is another than a folder.

    `cache` is the folder for what this machine reads from a URI. Who `only_looks` needs no folder
    yet.

    Raises:
        InputError: the location is a mistyped URI, no storage has its scheme, the storage
            cannot be used, or the local folder cannot be written, unless the caller only looks.
    """
    uri = str(location)
    if _MISTYPED.match(uri):
        shown = re.sub(":.*@", ":***@", uri)
        raise InputError(
            f"execution.storage {shown}: is neither a folder nor a URI; write a URI as "
            "scheme://…, one of a local folder as file:///…, and a folder whose name has a "
            "colon as ./…"
        )
    _, colon, path = uri.partition("://")
    remote = remote_uri(location)
    folder, named_by = Path(unquote(path) if colon else location), "execution.storage"
    if remote is not None:
        storage, named_by = remote_storage(uri), "execution.cache"
        if cache is None:
            cache, named_by = str(cache_folder()), "XDG_CACHE_HOME"
        folder = Path(cache) / _name(redact(uri))
        if not only_looks:
            prove_usable(storage, uri, mark=uuid.uuid4().hex)
    return (_there(folder) if only_looks else prove_writable(folder, named_by=named_by)), remote


def _name(uri: str) -> str:
    """A name that can be read, of which no other URI has the same."""
    words = re.sub(r"[^\w.-]+", "-", uri)
    return f"{words}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"


def _there(folder: Path) -> Path:
    """A folder that is only looked at: it may be absent, and it may be nothing else.

    Raises:
        InputError: it is a file, or a link that leads to itself.
    """
    try:
        root = folder.resolve()
        last = next(path for path in (root, *root.parents) if path.exists())
    except (OSError, RuntimeError) as error:
        raise InputError(f"execution.storage {folder}: {error}; name a folder") from None
    if not last.is_dir():
        raise InputError(f"execution.storage {folder}: {last} is a file; name a folder")
    return root
