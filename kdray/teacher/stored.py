"""What every form of stored distributions has in common: folders of arrays, row by row.

A folder holds `pair_ids.npy`, `offsets.npy` (row i has positions offsets[i] to offsets[i+1]) and
the arrays of its form, which are memory-mapped. `pair_hashes.npy` proves of which source and target
each row is. Shards are joined by putting all arrays end to end; `offsets` is made anew, and what is
no array of positions or pairs is taken from the first.
"""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from kdray.errors import DataError
from kdray.methods.targets import DenseTargets, TeacherTargets
from kdray.text.batching import Rows
from kdray.text.pairing import pair_hashes
from kdray.text.sequences import Ints, Sequences, offsets_of

OFFSETS, PAIR_HASHES = "offsets", "pair_hashes"
COPIED_AT_A_TIME = 2**22  # bytes
OF_THE_FIRST_SHARD = ("temperatures.npy", "output.safetensors")


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder of stored distributions: its pairs, and where the positions of each stand."""

    folder: Path
    pair_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @property
    def positions(self) -> int:
        """Positions of all pairs together."""
        return int(self.offsets[-1])

    def places(self, rows: Rows) -> Rows:
        """All positions of the given rows, one row after another."""
        return Sequences(self.offsets, self.offsets).places(rows)

    def prove(self, src_hashes: NDArray[np.int64], targets: Sequences) -> None:
        """Write of which source, and of which target, each row is; see `kdray.text.pairing`."""
        hashes = pair_hashes(src_hashes, targets)
        np.save(self.folder / f"{PAIR_HASHES}.npy", hashes, allow_pickle=False)

    def save(self, arrays: Mapping[str, Ints]) -> None:
        """Write the arrays of a form, beside those that every form has."""
        common = {"pair_ids": self.pair_ids, OFFSETS: self.offsets}
        for name, array in (common | dict(arrays)).items():
            np.save(self.folder / f"{name}.npy", array, allow_pickle=False)


@dataclass(frozen=True, slots=True)
class Stored(Layout, ABC):
    """Stored distributions of some pairs; arrays are memory maps."""

    @abstractmethod
    def targets(self, rows: Rows, *, temperature: float) -> TeacherTargets:
        """Distributions at all positions of the given rows, one row after another."""

    def rows(self, order: Rows) -> "StoredRows":
        """A view in which row i is row order[i] here."""
        return StoredRows(self, order)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Some rows of stored distributions, in another order: what a student's rows need."""

    stored: Stored
    order: Rows

    def targets(self, rows: Rows, *, temperature: float) -> TeacherTargets:
        """Distributions at all positions of the given rows, one row after another."""
        return self.stored.targets(self.order[rows], temperature=temperature)


@dataclass(frozen=True, slots=True)
class Read:
    """What the teacher says of some pairs of a layout, at all their positions one after another.

    rows: of the layout [B]. labels_N: the token to predict at each position.
    log_weights_BM: of an ensemble's members, where they differ from pair to pair.
    """

    rows: Rows
    labels_N: Tensor
    teacher: DenseTargets
    log_weights_BM: Tensor | None = None


def id_dtype(vocabulary: int) -> DTypeLike:
    """The narrowest integer that holds a vocabulary's ids."""
    return np.uint16 if vocabulary <= 2**16 else np.uint32


def load_array(folder: Path, name: str, *, form: str) -> Ints:
    """Map one array of a form.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        array: Ints = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{folder}: not readable as {form} distributions: {error}") from None
    return array


def load_arrays(folder: Path, names: Sequence[str], *, form: str) -> tuple[dict[str, Ints], int]:
    """Map the arrays of a form, and those that every form has. -> by name; number of positions.

    Raises:
        DataError: one is missing or damaged, or there are not as many offsets as pairs.
    """
    arrays = {name: load_array(folder, name, form=form) for name in ("pair_ids", OFFSETS, *names)}
    check_shapes(folder, arrays, offsets=(arrays["pair_ids"].size + 1,))
    return arrays, int(arrays[OFFSETS][-1])


def load_pair_hashes(stored: Layout) -> NDArray[np.int64]:
    """What `Layout.prove` wrote.

    Raises:
        DataError: it is missing or damaged.
    """
    folder = stored.folder
    hashes: NDArray[np.int64] = load_array(folder, PAIR_HASHES, form="stored")
    check_shapes(folder, {PAIR_HASHES: hashes}, pair_hashes=stored.pair_ids.shape)
    return hashes


def check_shapes(folder: Path, arrays: Mapping[str, Ints], **needed: tuple[int, ...]) -> None:
    """Raise DataError if arrays are not of the shapes that they need beside each other."""
    wrong = [
        f"{name} is {arrays[name].shape} and not {shape}"
        for name, shape in needed.items()
        if arrays[name].shape != shape
    ]
    if wrong:
        raise DataError(
            f"{folder}: arrays do not fit together: {'; '.join(wrong)}; "
            "remove the folder and run again"
        )


def join_arrays(shards: Sequence[Path], folder: Path) -> None:
    """Put finished shards end to end, in the order given; at least one."""
    for path in sorted(shards[0].iterdir()):
        name = path.name
        if name in OF_THE_FIRST_SHARD:
            shutil.copyfile(path, folder / name)
        elif path.suffix == ".npy":
            _join_array([shard / name for shard in shards], folder / name)


def _join_array(shards: Sequence[Path], path: Path) -> None:
    parts = [np.load(shard, mmap_mode="r") for shard in shards]
    if path.stem == OFFSETS:
        np.save(path, offsets_of(np.concatenate([np.diff(part) for part in parts])))
        return
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    with path.open("wb") as whole:
        header = {"descr": np.lib.format.dtype_to_descr(parts[0].dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(whole, {**header, "shape": shape})
        for shard, part in zip(shards, parts, strict=True):
            with shard.open("rb") as file:  # not by its map: pages of it would count as memory
                file.seek(part.offset)
                shutil.copyfileobj(file, whole, COPIED_AT_A_TIME)


def new_array(path: Path, *, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Map a new array of zeros, which has its room on the disk.

    Without it, a disk that is full would end the process by a signal at the first page too many.

    Raises:
        OSError: there is no room.
    """
    array: np.memmap[Any, Any] = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def bytes_in(folder: Path) -> int:
    """Size of a folder's files."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
