"""Folders of unfinished work: whole or absent, with checksums of all that is in them.

Work that a command left is taken by the next one as it is. So what is in it is proved first, as
what is published is; what was damaged in between is removed and made again.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdray.storage.content import RECORD, checksums, foreign, outside, wrong_content, wrong_size
from kdray.storage.record import canonical_json, write_json


def seal(folder: Path, **content: object) -> None:
    """Write the record of what is in a folder, and of what else is to be known of it."""
    record = {**content, "files": checksums(folder)}
    write_json(folder / RECORD, {**record, "sha256": _checksum(record)})


def broken(folder: Path) -> str | None:
    """What is wrong with a folder that was sealed; None if nothing is.

    What this process has verified is not read again as long as its stamps stay the same.
    """
    try:
        record = json.loads((folder / RECORD).read_bytes())
        files, checksum = record.pop("files"), record.pop("sha256")
        is_one = checksum == _checksum({**record, "files": files})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"/{RECORD}: cannot be read, or lacks checksums"
    if not is_one or outside(files) is not None:
        return f"/{RECORD}: was changed after it was written"
    wrong = wrong_size(folder, files) or foreign(folder, files)
    return wrong or wrong_content(folder, files, memory=None, again=False)


def remove_broken(folder: Path) -> str | None:
    """Remove a folder if something is wrong with it. -> what that was."""
    if not folder.exists() or (wrong := broken(folder)) is None:
        return None
    shutil.rmtree(folder)
    return f"{folder}{wrong}"


def _checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(record).encode()).hexdigest()
