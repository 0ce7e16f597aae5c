"""Ragged integer sequences that are read from memory-mapped Arrow files without a copy."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kdray.errors import DataError

Ints = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Sequences:
    """Row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: Ints
    offsets: NDArray[np.int64]

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int]]) -> "Sequences":
        """Copy lists of ids."""
        offsets = offsets_of(np.array([len(row) for row in rows], dtype=np.int64))
        flat = (i for row in rows for i in row)
        return cls(np.fromiter(flat, dtype=np.int64, count=int(offsets[-1])), offsets)

    @classmethod
    def from_column(cls, column: pa.ChunkedArray) -> "Sequences":
        """View a list column; if it has several chunks, they are copied into one."""
        array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        offsets = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(array.values.to_numpy(zero_copy_only=False), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Ints:
        return np.asarray(self.values[self.offsets[row] : self.offsets[row + 1]])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each row."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> "Sequences":
        """The given rows, in that order; a copy."""
        return Sequences(self.values[self.places(rows)], offsets_of(self.lengths[rows]))

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in `values` of the items of the given rows, one row after another."""
        lengths = self.lengths[rows]
        starts = np.cumsum(lengths) - lengths
        first = np.repeat(self.offsets[rows] - starts, lengths)
        return np.asarray(np.arange(lengths.sum()) + first, dtype=np.int64)

    def padded(self, rows: NDArray[np.int64], *, pad: int) -> NDArray[np.int64]:
        """The given rows as a matrix, with `pad` after their ends. -> [rows, longest]."""
        lengths = self.lengths[rows]
        out = np.full((len(rows), int(lengths.max(initial=0))), pad, dtype=np.int64)
        out[np.arange(out.shape[1])[None, :] < lengths[:, None]] = self.values[self.places(rows)]
        return out


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where rows of these lengths begin, and where the last one ends."""
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)))


def id_type(vocabulary: int) -> pa.DataType:
    """The narrowest Arrow integer that holds a vocabulary's ids."""
    return pa.uint16() if vocabulary <= 2**16 else pa.uint32()


def write_table(path: Path, table: pa.Table) -> None:
    """Write one uncompressed record batch, so that a reader can map it."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def write_tables(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables one after another as one uncompressed record batch, as `write_table` does.

    Columns are numbers, or lists of numbers, without nulls. What the schema of the first table says
    beside its columns is said of all. They pass through files beside `path`,
    so that memory holds one table at a time, whatever all of them hold together.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".columns-") as folder:
        columns: dict[str, _Column] = {}
        metadata = None
        for table in tables:
            metadata = metadata or table.schema.metadata
            for place, field in enumerate(table.schema):
                if field.name not in columns:
                    columns[field.name] = _Column(field, Path(folder) / str(place))
                columns[field.name].add(table.column(place))
        arrays = {name: column.mapped() for name, column in columns.items()}
        batch = pa.record_batch(list(arrays.values()), names=list(arrays), metadata=metadata)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)


class _Column:
    """A column of a table that is not yet whole: its numbers in a file, the ends of its lists."""

    def __init__(self, field: pa.Field, path: Path) -> None:
        self._kind, self._path, self._file = field.type, path, path.open("wb")
        self._lengths: list[NDArray[np.int64]] = []
        self._rows = 0

    def add(self, column: pa.ChunkedArray) -> None:
        for chunk in column.chunks:
            values = chunk
            if pa.types.is_list(self._kind):
                self._lengths.append(np.diff(chunk.offsets.to_numpy()).astype(np.int64))
                values = chunk.flatten()
            self._rows += len(values)
            self._file.write(values.to_numpy(zero_copy_only=False).tobytes())

    def mapped(self) -> pa.Array:
        """All of it, mapped."""
        self._file.close()
        kind = self._kind.value_type if pa.types.is_list(self._kind) else self._kind
        mapped = pa.memory_map(str(self._path)).read_buffer() if self._rows else pa.py_buffer(b"")
        values = pa.Array.from_buffers(kind, self._rows, [None, mapped])
        if not pa.types.is_list(self._kind):
            return values
        offsets = offsets_of(np.concatenate([np.zeros(0, dtype=np.int64), *self._lengths]))
        if self._rows < 2**31:
            return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, self._kind)
        return pa.LargeListArray.from_arrays(pa.array(offsets), values)


def read_table(path: Path) -> pa.Table:
    """Map a file that `write_table` wrote.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: not a readable Arrow file: {error}") from None
