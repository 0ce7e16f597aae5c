"""`python -m kdray.init DIR`: a configuration to start with, for the files of a folder."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kdray.command import run
from kdray.config.load import load_experiment
from kdray.config.shipped import FOLDER, SCHEMA, shipped_names
from kdray.errors import InputError
from kdray.progress import Display


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with your sentence pairs.")],
    src: Annotated[str | None, typer.Option(help="Source language, as in file names.")] = None,
    tgt: Annotated[str | None, typer.Option(help="Target language, as in file names.")] = None,
    example: Annotated[
        str | None,
        typer.Option(help="Copy an experiment that comes with kdray instead, as demo."),
    ] = None,
) -> None:
    """Write a first study of the sentence pairs in DIR, with sizes that fit them.

    It is DIR/study.yaml, made to be edited.

    Pairs are two text files whose names differ in the language, or a TSV, JSON lines, Parquet or
    TMX file with both sides, or a zip archive of OPUS. Without a dev or a test set, pairs are held
    out for one. Beside it stands schema.json, by which editors complete keys and explain them.
    """
    if example is not None:
        if example not in shipped_names():
            raise InputError(f"--example {example}: there are {', '.join(shipped_names())}")
        folder.mkdir(parents=True, exist_ok=True)
        config = _new(folder / f"{example}.yaml")
        _check_schema(folder)
        shutil.copyfile(FOLDER / f"{example}.yaml", config)
    else:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; name the one that holds your pairs")
        config = _new(folder / "study.yaml")
        _check_schema(folder)
        from kdray.starting.corpus import find_corpus
        from kdray.starting.starter import starter, study_name

        corpus = find_corpus(folder, src, tgt)
        display = Display(Console(stderr=True))
        for note in corpus.notes:
            display.note(note)
        text = starter(study_name(folder.resolve().name), corpus)
        config.write_text(text.replace("STUDY_FILE", str(config)), encoding="utf-8")
    shutil.copyfile(SCHEMA, folder / SCHEMA.name)
    load_experiment(config)
    typer.echo(f"{config} is written; try `python -m kdray.study {config} --dry-run`")


def _check_schema(folder: Path) -> None:
    """By it editors complete keys; a file that was written before is replaced.

    Raises:
        InputError: it is no file.
    """
    if (place := folder / SCHEMA.name).is_dir():
        raise InputError(f"{place}: is a folder; move it away, since a file is written there")


def _new(path: Path) -> Path:
    """A file that is not there yet.

    Raises:
        InputError: it is.
    """
    if path.exists():
        raise InputError(f"{path}: is there already; move it, or remove it, to write a new one")
    return path


if __name__ == "__main__":
    run(init)
