"""Which model of a study is meant: its place in the grid of methods, sizes, seeds and lengths."""

from dataclasses import dataclass
from typing import Final, Literal

TEACHER: Final = "teacher"

Point = tuple[tuple[str, str], ...]
"""A place in the grid of a study's axes: the name of each axis, and the label of its value."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The identity of a student, or of the teacher, from the plan to the report.

    Attributes:
        method: the name that the recipe gives it.
        size: the name that the recipe gives it.
        length: updates, where several lengths are compared.
        role: of a teacher, method and size are called so too.
        point: of the axes; empty without any.
    """

    method: str
    size: str
    seed: int
    length: int | None = None
    role: Literal["student", "teacher"] = "student"
    point: Point = ()

    @classmethod
    def teacher(cls, seed: int = 0, *, number: int = 0) -> "Cell":
        """The teacher, or the member of an ensemble that has this number, counted from 1.

        The seed of a teacher that was brought is not known: 0 stands for it.
        """
        return cls(f"{TEACHER}-{number}" if number else TEACHER, TEACHER, seed, role=TEACHER)

    @property
    def is_teacher(self) -> bool:
        """Whether it is no student."""
        return self.role == TEACHER

    @property
    def group(self) -> str:
        """Size and length in words: at a point, students of one group are compared."""
        length = [] if self.length is None else [f"{self.length} updates"]
        return ", ".join([self.size, *length])

    @property
    def place(self) -> str:
        """Point, size and length in words."""
        return ", ".join(filter(None, [shown(self.point), self.group]))

    def __str__(self) -> str:
        name = self.method if self.is_teacher else f"{self.size}/{self.method}/seed-{self.seed}"
        name = name if self.length is None else f"{name}/updates-{self.length}"
        return within(self.point, name)


def shown(point: Point) -> str:
    """A point of the grid in words."""
    return ", ".join(f"{axis} {label}" for axis, label in point)


def within(point: Point, name: str) -> str:
    """The name of something that is made at a point of the grid."""
    return "/".join([*(f"{axis}={label}" for axis, label in point), name])
