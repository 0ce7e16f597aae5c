"""`python -m kdray.export STUDENT --to FORM…`: a student in forms that other tools load."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from kdray.command import (
    InStorage,
    OfStudy,
    Overrides,
    StudentName,
    check_overrides,
    run,
    studied,
)
from kdray.config.export import SHORT
from kdray.errors import ArtifactDamaged, InputError
from kdray.progress import Display

if TYPE_CHECKING:
    from kdray.runner.named_model import NamedModel
    from kdray.runner.study import Study


def export(
    student: StudentName,
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="FORM",
            help=f"A form: {', '.join(SHORT)}; a name in the study's exports; or a form as in a "
            "configuration, {kind: …}. Repeatable.",
        ),
    ],
    config: OfStudy = None,
    overrides: Overrides = [],  # noqa: B006
    storage: InStorage = "runs",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder that gets a folder for each form. Default: exports/STUDENT.",
        ),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(
            metavar="FROM-TO",
            help="Codes of the languages, which argos names. Default: those of the corpus.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace forms that were exported before.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Default: as many as there are processors.")
    ] = None,
) -> None:
    """Write a student in forms that other tools load, each with a card of the model.

    Each form is tried against the student's own translations, scored on dev and tests as it is,
    and measured: latency, throughput, memory, bytes. One that is not the student is refused. A
    folder is there when all of its form is, and replaces nothing unless it is told to.
    """
    check_overrides(config, overrides)
    with ExitStack() as stack:
        display = Display(Console())
        study = None
        if config is not None:
            study = stack.enter_context(
                studied(config, overrides, "export", dry_run=False, only_looks=True)
            )
            display = study.display
        import torch

        from kdray.runner.asked_forms import codes_of, forms_of
        from kdray.runner.hand_over import Student, hand_over

        exports = {} if study is None else study.experiment.exports
        corpus = None if study is None else study.recipe.corpus
        codes = None if languages is None else codes_of(languages)
        of_text = (corpus.src_lang, corpus.tgt_lang) if corpus and corpus.kind == "files" else None
        forms = forms_of(to, exports, codes or of_text)
        found = Student(_named(student, study, storage), study, codes)
        torch.set_num_threads(1)  # the student reads one sentence after another
        hand_over(
            found,
            forms,
            output or Path("exports") / student.strip("/").replace("/", "-"),
            display,
            overwrite=overwrite,
            threads=threads or len(os.sched_getaffinity(0)),
        )


def _named(name: str, study: "Study | None", storage: str) -> "NamedModel":
    """The model that is meant.

    Raises:
        InputError: there is none, or it is damaged.
    """
    from kdray.runner.hand_over import in_its_storage
    from kdray.runner.named_model import model_of_study, named_model

    try:
        if study is not None:
            return model_of_study(study, name)
        return named_model(*in_its_storage(name, storage))
    except ArtifactDamaged as error:
        raise InputError(str(error)) from None


if __name__ == "__main__":
    run(export)
