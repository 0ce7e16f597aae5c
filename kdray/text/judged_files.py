"""Judged blocks on the disk, with their hashes sorted by partition."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kdray.schema import Column
from kdray.text.duplicates import Digests
from kdray.text.judging import Block, Judged
from kdray.text.sequences import read_table, write_table

JUDGED, NUMBERS = "judged.arrow", "numbers.npz"


def write_judged(folder: Path, judged: Judged, *, partitions: int) -> None:
    """The judged block, with the places of its hashes sorted by partition."""
    src, ref = ([pair[side] for pair in judged.block.pairs] for side in (0, 1))
    table = pa.table({
        Column.SRC: pa.array(src, pa.string()),
        Column.REF: pa.array(ref, pa.string()),
        "fault": pa.array(judged.faults),
        "scripts": pa.array(judged.scripts, pa.string()),
    })  # fmt: skip
    write_table(folder / JUDGED, table)
    partition = judged.digests[:, 1] % np.uint64(partitions)
    order = np.argsort(partition, kind="stable")
    offsets = np.searchsorted(partition[order], np.arange(partitions + 1))
    np.save(folder / "digests.npy", judged.digests[order])
    np.save(folder / "rows.npy", order)
    np.save(folder / "offsets.npy", offsets)
    np.savez(
        folder / NUMBERS,
        ids=judged.ids,
        words=judged.words,
        matches=np.array(judged.matches, dtype=np.int64).reshape(-1, 2),
        unread=judged.block.unread,
    )


def partition_of(folder: Path, number: int) -> tuple[Digests, NDArray[np.int64]]:
    """The hashes of one partition, mapped, and their places among the block's sound pairs."""
    begin, end = np.load(folder / "offsets.npy")[number : number + 2]
    digests, rows = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("digests", "rows"))
    return digests[begin:end], rows[begin:end]


def read_judged(folder: Path, place: Block) -> Judged:
    """The judged block, without its hashes; `place` is the block without its pairs."""
    table = read_table(folder / JUDGED)
    pairs = list(zip(table[Column.SRC].to_pylist(), table[Column.REF].to_pylist(), strict=True))
    with np.load(folder / NUMBERS) as numbers:
        return Judged(
            block=replace(place, pairs=pairs, unread=int(numbers["unread"])),
            faults=table["fault"].to_numpy(),
            scripts=table["scripts"].to_pylist(),
            ids=numbers["ids"],
            digests=np.zeros((0, 2), dtype=np.uint64),  # they have served
            words=numbers["words"],
            matches=[(row, number) for row, number in numbers["matches"].tolist()],
        )
