"""A trained kdray model as a teacher in the form of Hugging Face."""

import shutil
from pathlib import Path

from sharded import at, fetch

from kdray.config.foreign_teachers import HuggingFaceTeacherConfig
from kdray.export.pegasus import write_pegasus
from kdray.teacher.huggingface.conversion import ConversionJob
from kdray.teacher.huggingface.folder import Origin
from kdray.teacher.huggingface.teacher import SharedHuggingFaceTeacher
from kdray.text.tokenizer import Tokenizer


def pegasus_teacher(
    model: Path, tokenizer: Tokenizer, folder: Path
) -> tuple[Path, SharedHuggingFaceTeacher]:
    """Write a model into an empty folder, and convert it. -> the model with its tokenizer, it."""
    student, written, converted = (folder / name for name in ("student", "pegasus", "converted"))
    for made in (student, written, converted):
        made.mkdir()
    for name in ("model.json", "weights.safetensors"):
        shutil.copy(model / name, student)
    tokenizer.save(student)
    write_pegasus(student, written)
    config = HuggingFaceTeacherConfig(kind="huggingface", path=str(written))
    job = ConversionJob(Origin.of(config))
    job.make(converted, fetch, threads=1)
    return student, SharedHuggingFaceTeacher(config, job.origin, at(converted))
