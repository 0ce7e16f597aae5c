"""Entry points that cannot be used: each is told once and spoils nothing else."""

import logging
import re
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Literal, get_args

import pytest
from pydantic import ConfigDict, Field, TypeAdapter, field_validator

from kdray.config import load, outside
from kdray.config.base import Frozen
from kdray.config.load import load_experiment
from kdray.config.methods.base import BaseMethodConfig
from kdray.config.outside import outside_kinds, with_outside


class Own(Frozen):
    kind: Literal["own"]


class Good(Frozen):
    kind: Literal["good"]


class Double(Frozen):
    kind: Literal["double", "own"]


class Undefined(Frozen):
    kind: Literal["bad"]
    size: "Nowhere" = 1  # noqa: F821 (which is the fault)


class Aliased(Frozen):
    kind: Literal["bad"] = Field(alias="type")


class Rewritten(Frozen):
    kind: Literal["bad"]

    @field_validator("kind", mode="before")
    @classmethod
    def same(cls, value):
        return value


class Hiding(Frozen):
    kind: Literal["bad"]
    by: int = Field(default=1, exclude=True)


class Inner(Frozen):
    words: frozenset[str] = frozenset()


class Unordered(Frozen):
    kind: Literal["bad"]
    inner: Inner = Inner()


class Unwritten(Frozen):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    kind: Literal["bad"]
    stage: EntryPoint


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydantic warns of it, and goes on

    class Shadowing(BaseMethodConfig):
        kind: Literal["bad"]
        needs: int = 1


@pytest.fixture
def failures(monkeypatch):
    """What could not be used, from here on."""
    monkeypatch.setattr(outside, "failures", failures := [])
    outside_kinds.cache_clear()
    yield failures
    outside_kinds.cache_clear()


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"own": Own}, "kdray has a kind 'own' of its own"),
        ({"double": Double}, r"double is not .* with kind: Literal\['double'\] alone"),
        ({"other": Good}, r"other is not .* with kind: Literal\['other'\] alone"),
        ({"none": None}, "none is not a kdray.config.base.Frozen"),
    ],
)
def test_what_cannot_complete_a_union_is_left_out_and_told(monkeypatch, failures, bad, told):
    monkeypatch.setattr(outside, "outside_kinds", lambda group: {**bad, "good": Good})
    union = with_outside(Own, "group")
    assert get_args(get_args(union)[0]) == (Own, Good)
    (failure,) = failures
    assert re.search(told, failure)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (Undefined, "can be read and written: PydanticUndefinedAnnotation"),
        (Aliased, "can be read and written: PydanticUserError"),
        (Rewritten, "can be read and written: PydanticUserError"),
        (Unwritten, "can be read and written: PydanticInvalidForJsonSchema"),
        (Shadowing, "has a field needs, which is the name of a method"),
        (Hiding, "excludes its field by, which fingerprints then lack"),
        (Unordered, "has a set, whose order differs from process to process"),
    ],
)
def test_a_class_that_spoils_a_union_or_fingerprints_is_left_out(monkeypatch, failures, bad, told):
    monkeypatch.setattr(outside, "outside_kinds", lambda group: {"bad": bad, "good": Good})
    assert TypeAdapter(with_outside(Own, "group")).validate_python({"kind": "good"}) == Good(
        kind="good"
    )
    (failure,) = failures
    assert failure.startswith("group: bad ")
    assert told in failure


def test_a_package_that_ends_the_program_or_stands_twice_is_told(monkeypatch, tmp_path, failures):
    (tmp_path / "kdray_leaving.py").write_text("import sys; sys.exit('boo')")
    monkeypatch.syspath_prepend(tmp_path)
    entries = [
        EntryPoint("good", f"{__name__}:Good", "group"),
        EntryPoint("good", f"{__name__}:Good", "group"),
        EntryPoint("leaving", "kdray_leaving:X", "group"),
        EntryPoint("twice", f"{__name__}:Good", "group"),
        EntryPoint("twice", f"{__name__}:Other", "group"),
    ]
    monkeypatch.setattr(outside, "entry_points", lambda group: entries)
    assert set(outside_kinds("group")) == {"good"}
    assert re.search("leaving.* SystemExit: boo", failures[0])
    assert all("the kind 'twice' is there twice" in each for each in failures[1:])
    assert len(failures) == 3


def test_every_experiment_that_is_loaded_warns(monkeypatch, caplog):
    monkeypatch.setattr(load, "failures", ["a package is broken"])
    with caplog.at_level(logging.WARNING):
        load_experiment(Path("tune_configs/demo.yaml"))
    assert "a package is broken" in caplog.text
