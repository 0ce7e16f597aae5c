"""`kdray VERB CONFIG` and `python -m kdray VERB CONFIG`: all commands under one name."""

import typer

import kdray
from kdray.command import program
from kdray.complexity import complexity
from kdray.decode import decode
from kdray.estimate import plan
from kdray.evaluate import evaluate
from kdray.exporting import export
from kdray.gate import gate
from kdray.init import init
from kdray.report import report
from kdray.serve import serve
from kdray.study import study
from kdray.train import train
from kdray.translate import translate
from kdray.tune import tune
from kdray.verify import verify

app = typer.Typer(
    help="Knowledge distillation studies for translation models, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
for verb in (
    init, study, tune, decode, train, evaluate, report, gate, complexity, plan, verify, translate,
    serve, export,
):  # fmt: skip
    app.command()(verb)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(kdray.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and end."
    ),
) -> None:
    """Options of every command."""


def main() -> None:
    """Entry of the console script."""
    with program():
        app()


if __name__ == "__main__":
    main()
