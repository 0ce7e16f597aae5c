"""How do the methods of a study look? The same in all its charts and tables."""

from collections.abc import Iterable, Mapping

from kdray.cell import Cell
from kdray.reporting.charts.looks import TEACHER, Look, looks_of

Looks = Mapping[str, Look]  # by method; teachers by their names


def looks_of_study(cells: Iterable[Cell], *, baseline: str) -> dict[str, Look]:
    """The look of every method, by its place among the cells; the baseline's is always the same.

    A student that is called as the teacher is looks like a student.
    """
    every = list(dict.fromkeys(cells))
    students = [cell.method for cell in every if not cell.is_teacher]
    teachers = {cell.method: TEACHER for cell in every if cell.is_teacher}
    return teachers | looks_of(students, baseline=baseline)
