"""`python -m kdray.export STUDENT --to FORM…`: a student in forms that other tools load."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kdray.command import Overrides, run, studied
from kdray.config.export import SHORT
from kdray.errors import ArtifactDamaged, InputError
from kdray.progress import Display


def export(
    student: Annotated[
        str,
        typer.Argument(
            help="A model: its folder, its fingerprint in --storage, or with --config its name in "
            "the study, as in nano/hybrid/seed-1, champion or teacher."
        ),
    ],
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="FORM",
            help=f"A form: {', '.join(SHORT)}; a name in the study's exports; or a form as in a "
            "configuration, {kind: …}. Repeatable.",
        ),
    ],
    config: Annotated[
        Path | None, typer.Option(help="YAML file of the study that STUDENT is a name in.")
    ] = None,
    overrides: Overrides = [],  # noqa: B006
    storage: Annotated[
        str, typer.Option(help="Where STUDENT's fingerprint is looked for without --config.")
    ] = "runs",
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
    if config is None and overrides:
        raise InputError("--set changes a configuration; name one with --config")
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
        from kdray.runner.hand_over import Student, hand_over, in_its_storage
        from kdray.runner.named_model import model_of_study, named_model

        exports = {} if study is None else study.experiment.exports
        corpus = None if study is None else study.recipe.corpus
        codes = None if languages is None else codes_of(languages)
        of_text = (corpus.src_lang, corpus.tgt_lang) if corpus and corpus.kind == "files" else None
        forms = forms_of(to, exports, codes or of_text)
        try:
            if study is not None:
                found = Student(model_of_study(study, student), study, codes)
            else:
                named = named_model(*in_its_storage(student, storage))
                found = Student(named, languages=codes)
        except ArtifactDamaged as error:
            raise InputError(str(error)) from None
        threads = threads or len(os.sched_getaffinity(0))
        torch.set_num_threads(
            1
        )  # it reads sentence by sentence, and more would wait for each other
        place = output or Path("exports") / student.strip("/").replace("/", "-")
        hand_over(found, forms, place, display, overwrite=overwrite, threads=threads)


if __name__ == "__main__":
    run(export)
