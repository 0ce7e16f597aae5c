"""What a package gives as its teacher is looked at, and all of its recipe is its identity."""

import itertools
import threading
from typing import Literal

import pytest

from kdray.config.foreign_teachers import OutsideTeacherConfig
from kdray.errors import ConfigError
from kdray.teacher import build
from kdray.teacher.build import build_teacher
from kdray.teacher.engine import Teacher


class Untidy(Teacher):
    fingerprints = ("untidy",)

    def open(self, fetch, *, device, threads, work=None):
        return self


class Unmade(OutsideTeacherConfig):
    kind: Literal["unmade"] = "unmade"
    checked: str = "same"
    size: int = 1

    def checksum(self) -> str:
        return self.checked


class AnotherKind(Unmade):
    kind: Literal["another"] = "another"


class Named(Untidy):
    fingerprints = None

    def __init__(self, *fingerprints):
        self.fingerprints = fingerprints


class Moody(Untidy):
    @property
    def fingerprints(self):
        return (str(next(NUMBERS)),)


NUMBERS = itertools.count()


class Unpicklable(Untidy):
    def __init__(self):
        self.lock = threading.Lock()


def leave(config):
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        (leave, "gives no teacher: SystemExit: 0"),
        (lambda config: 1 / 0, "gives no teacher: ZeroDivisionError"),
        (lambda config: Untidy, "it must give a kdray.teacher.engine.Teacher"),
        (lambda config: Unpicklable(), "gives no teacher: TypeError: cannot pickle"),
        (lambda config: Named(), "fingerprints is ()"),
        (lambda config: Named("", "a"), "fingerprints is ('', 'a')"),
        (lambda config: Named(1), "gives no teacher: TypeError"),
        (lambda config: Moody(), "fingerprints differ from call to call"),
    ],
)
def test_what_is_no_teacher_is_refused_at_its_door(monkeypatch, factory, told):
    monkeypatch.setattr(build, "outside_kinds", lambda group: {"unmade": factory})
    with pytest.raises(ConfigError, match=r"^recipe\.teacher\.kind unmade: its entry") as caught:
        build_teacher(Unmade(), ())
    assert told in str(caught.value)


def test_kind_fields_and_checksum_are_all_in_its_identity(monkeypatch):
    """Whatever its own checksum and fingerprints forget."""
    monkeypatch.setattr(
        build, "outside_kinds", lambda group: dict.fromkeys(("unmade", "another"), factory)
    )

    def factory(config):
        return Untidy()

    configs = (Unmade(), Unmade(size=2), Unmade(checked="other"), AnotherKind())
    assert len({build_teacher(config, ()).identity["teacher"] for config in configs}) == 4
    assert build_teacher(Unmade(), ()).identity == build_teacher(Unmade(), ()).identity
