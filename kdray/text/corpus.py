"""What a corpus is: clean training pairs, dev and test sets as they came, a `pair_id` for each row.

The folder of a corpus holds `train.parquet`, `dev.parquet` and one `test-<name>.parquet` for each
test set, with the columns pair_id, src and ref, and `drops.parquet` with every training pair that
cleaning refused: its line in the source, the reason, both sides. Imports neither torch nor ray.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kdray.errors import DataError, InputError
from kdray.schema import Column, Split

DROPS = "drops.parquet"
TEST_PREFIX = "test-"
PAIR_SCHEMA = pa.schema(
    [(Column.PAIR_ID, pa.int64()), (Column.SRC, pa.string()), (Column.REF, pa.string())]
)


@dataclass(frozen=True)
class Corpus:
    """A corpus that was built into `path`."""

    path: Path

    def table(self, split: str) -> pa.Table:
        """Columns pair_id, src, ref of `train`, `dev` or `test-<name>`, in the order of the source.

        Raises:
            InputError: there is no such split.
            DataError: it cannot be read.
        """
        with self._readable(split) as path:
            return pq.read_table(path)

    def batches(self, split: str, *, rows: int) -> Iterator[pa.RecordBatch]:
        """The same, at most so many rows at a time.

        Raises:
            InputError: there is no such split.
            DataError: it cannot be read.
        """
        with self._readable(split) as path:
            yield from pq.ParquetFile(path).iter_batches(rows)

    @property
    def tests(self) -> tuple[str, ...]:
        """Names of the test sets, sorted."""
        files = self.path.glob(f"{TEST_PREFIX}*.parquet")
        return tuple(sorted(file.stem.removeprefix(TEST_PREFIX) for file in files))

    @contextmanager
    def _readable(self, split: str) -> Iterator[Path]:
        """The file of a split, whose errors are told as ours."""
        known = [Split.TRAIN, Split.DEV, *(f"{TEST_PREFIX}{name}" for name in self.tests)]
        if split not in known:
            raise InputError(
                f"{self.path}: no split {split!r} in this corpus; name one of {', '.join(known)}"
            )
        path = self.path / f"{split}.parquet"
        try:
            yield path
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path}: not a readable Parquet file ({error}); remove {self.path} and run again"
            ) from None
