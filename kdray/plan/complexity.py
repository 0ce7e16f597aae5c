"""The steps that measure how complex an experiment's scenario is. No training reads them."""

from collections.abc import Iterator

from kdray.measures.jobs import TeacherComplexityJob, TextComplexityJob
from kdray.plan.step import COMPLEXITY, TEACHER_COMPLEXITY, Step
from kdray.plan.text import TextPlan
from kdray.teacher.engine import Teacher


def why_unmeasured(teacher: Teacher | None) -> str | None:
    """Why a scenario has no measures of its teacher; None if it has."""
    if teacher is None:
        return "the recipe has no teacher"
    if not teacher.has_pieces:
        return "the teacher knows text alone, and gives no distributions"
    return None


def complexity_steps(text: TextPlan, teacher: Teacher | None) -> Iterator[Step]:
    """Of the text; and of a teacher that gives distributions."""
    measured, name = text.measured, "complexity of the text"
    of_text = TextComplexityJob(measured.corpus, measured.encoded)
    yield Step(of_text, COMPLEXITY, name, "Complexity of the text")
    if teacher is not None and why_unmeasured(teacher) is None:
        of_teacher = TeacherComplexityJob(teacher, measured.corpus, measured.teacher_encoded)
        name = "complexity for the teacher"
        yield Step(of_teacher, TEACHER_COMPLEXITY, name, "Complexity for the teacher")
