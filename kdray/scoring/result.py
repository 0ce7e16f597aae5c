"""What is one measurement of a study? One model, one evaluation set, one condition, its files.

Reports are computed from these alone, so a report can be made again where no model is.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import PlainValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from kdray.cell import Cell
from kdray.condition import Condition
from kdray.errors import DataError
from kdray.schema import Split

TEST_PREFIX = "test-"


@dataclass(frozen=True)
class Score:
    """What a metric says of one set of translations, or of a model that reads the references.

    signature: how it was computed. segments_path: what the metric says of each segment, see
    `kdray.scoring.segments`; None where nothing is translated.
    """

    value: float
    signature: str
    higher_is_better: bool = True
    segments_path: str | None = None


def _condition(name: object) -> Condition:
    try:
        return name if isinstance(name, Condition) else Condition.named(str(name))
    except ValueError:
        raise PydanticCustomError("condition", "Input should be a condition of decoding") from None


@dataclass(frozen=True)
class Result:
    """One trained model evaluated on one split under one condition.

    `scores` are by metric: bleu and chrf, 0 to 100, and those from outside; under teacher forcing,
    where nothing is translated, loss (nats a token) and accuracy (% of the tokens).

    What is not known of a model that was brought (its training), or was not measured (its speed),
    is None, never 0. A number that is not finite, or a split of another name, is a DataError.
    """

    cell: Cell
    kind: str  # of the method: cross_entropy, token_level, …
    split: str  # `dev` or `test-<name>`
    condition: Annotated[Condition, PlainValidator(_condition)]
    scores: Mapping[str, Score]
    num_params: int | None
    target_tokens: int | None  # reference and hypothesis tokens seen in training
    updates: int | None
    train_seconds: float | None
    decode_tokens_per_second: float | None
    decode_sentences_per_second: float | None
    fingerprint: str  # of the model
    hyps_path: str | None  # text file, one translation a line, in the split's order

    def __post_init__(self) -> None:
        numbers = {field.name: getattr(self, field.name) for field in fields(self)}
        numbers |= {name: score.value for name, score in self.scores.items()}
        for name, value in numbers.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise DataError(f"{self.where}: {name} is {value}; evaluate the model again")
        is_test = self.split.startswith(TEST_PREFIX) and self.split != TEST_PREFIX
        if self.split != Split.DEV and not is_test:
            raise DataError(
                f"{self.where}: split {self.split!r} is unknown; "
                f"name it `{Split.DEV}` or `{TEST_PREFIX}<name>`"
            )

    @property
    def bleu(self) -> float:
        """0 to 100; there is none under teacher forcing."""
        return self.scores["bleu"].value

    @property
    def chrf(self) -> float:
        """0 to 100; there is none under teacher forcing."""
        return self.scores["chrf"].value

    @property
    def where(self) -> str:
        """The measurement in words, for messages."""
        cell = self.cell
        return (
            f"result of {cell.role} {cell.method}/{cell.place}/seed {cell.seed} "
            f"on {self.split}, {self.condition.title}"
        )

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values, those of the cell among them."""
        data = asdict(self)
        cell: dict[str, Any] = data.pop("cell")
        return cell | data | {"condition": self.condition.name}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            DataError: a key is unknown or missing, or a value has another type; it is named.
        """
        of_cell = [field.name for field in fields(Cell)]
        known = {*of_cell, *(field.name for field in fields(cls))} - {"cell"}
        faults = [f"unknown key {key!r}" for key in sorted(data.keys() - known)]
        faults += [f"missing key {key!r}" for key in sorted(known - data.keys())]
        if faults:
            raise DataError(
                f"result record: {', '.join(faults)}; "
                "it was written by another version of kdray: evaluate again with this one"
            )
        record = {"cell": {key: data[key] for key in of_cell}}
        record |= {key: value for key, value in data.items() if key not in of_cell}
        try:
            return TypeAdapter(cls).validate_json(json.dumps(record), strict=True)
        except ValidationError as error:
            fault, *_ = error.errors()
            raise DataError(
                f"result record: {fault['loc'][-1]} is {fault['input']!r}: {fault['msg']}; "
                "evaluate again"
            ) from None


def storable(text: str) -> str:
    """A translation on one line, as UTF-8 can hold it.

    Models write line breaks where they are made of bytes or learnt them; what another package's
    teacher gives may hold halves of surrogate pairs, which become U+FFFD.
    """
    whole = text.encode("utf-8", errors="surrogatepass").decode("utf-8", errors="replace")
    return whole.replace("\r\n", " ").replace("\n", " ")


def write_hyps(path: Path, hyps: Sequence[str]) -> None:
    """Write translations as UTF-8, one a line.

    Raises:
        DataError: a translation holds a line break and would shift all that follow.
    """
    for index, hyp in enumerate(hyps):
        if "\n" in hyp:
            raise DataError(
                f"{path}: translation {index} holds a line break: {hyp!r}; "
                "replace line breaks by spaces before writing"
            )
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{hyp}\n" for hyp in hyps)


def read_hyps(path: Path) -> tuple[str, ...]:
    """Read what `write_hyps` wrote. Only a line feed ends a line, no other Unicode break does.

    Raises:
        DataError: the file is missing, is not UTF-8, or breaks off inside a line.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            text = file.read()
    except FileNotFoundError:
        raise DataError(f"{path}: translations are missing; evaluate the model again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}; evaluate the model again") from None
    if not text:
        return ()
    if not text.endswith("\n"):
        raise DataError(f"{path}: the last line is not ended, the file was cut; evaluate again")
    return tuple(text.removesuffix("\n").split("\n"))
