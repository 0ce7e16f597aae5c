"""The base class of all configuration models, and field types that several of them share."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Immutable; an unknown key is an error; NaN and infinity are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )


def _inside_folder(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(
            f"{name!r} must be a relative path inside the corpus folder; "
            "put the folder itself into `folder`"
        )
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
"""A name that is safe for a folder, an MLflow run and a row of a table."""

FileInFolder = Annotated[str, AfterValidator(_inside_folder)]
"""A relative path that cannot leave the folder of its corpus."""

Fraction = Annotated[float, Field(ge=0, le=1)]

LabelSmoothing = Annotated[float, Field(ge=0, lt=1)]
"""Probability spread over the vocabulary in the cross-entropy on references, not in KL terms."""
