"""`python -m kdray.verify PATH|URI|CONFIG`: proves artifacts from their files alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from kdray.artifacts import Store
from kdray.command import Overrides, run
from kdray.errors import ArtifactDamaged, InputError, redact
from kdray.proof.artifacts import Artifacts, artifacts_at, artifacts_of
from kdray.proof.prove import Proof, prove


def verify(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="Folder of an artifact, folder or URI of a storage, or an experiment's YAML file.",
        ),
    ],
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Read all of an artifact, of a storage, or of what an experiment has made, and prove it.

    Every file is what was written, every pair is there once, and every row was made of the pair
    that it names. Each damage is one line. Nothing is written.
    """
    proof = Proof()
    with _artifacts(place, overrides) as artifacts:
        for damage in prove(artifacts, proof):
            typer.echo(redact(damage))
    for note in proof.notes:
        typer.echo(note)
    if proof.damaged:
        raise ArtifactDamaged(
            f"{len(proof.damaged)} of {proof.artifacts} artifacts are damaged: "
            f"{', '.join(proof.damaged)}; remove their folders and run the study again"
        )
    typer.echo(
        f"whole: {proof.artifacts} artifacts, {proof.files} files, {proof.size / 1e6:.1f} MB, "
        f"{proof.pairs} rows of pairs"
    )


@contextmanager
def _artifacts(place: str, overrides: list[str]) -> Iterator[Artifacts]:
    """What is meant by the argument.

    Raises:
        InputError: nothing is there.
    """
    if place.endswith((".yaml", ".yml")):
        from kdray.config.load import load_experiment
        from kdray.plan.experiment import make_plan

        experiment = load_experiment(Path(place), overrides)
        execution = experiment.execution
        store = Store.open(execution.storage, cache=execution.cache, only_looks=True)
        keys = {step.key.place for step in make_plan(experiment, all_signals=True).steps}
        with artifacts_of(store) as artifacts:
            artifacts.only = tuple(each for each in artifacts.places() if each in keys)
            if not artifacts.only:
                raise InputError(
                    f"{place}: nothing of this experiment is in {store.location}; run the study "
                    "first, or correct execution.storage"
                )
            yield artifacts
        return
    if overrides:
        raise InputError("--set: overrides values of an experiment; name its YAML file")
    if "://" in place:
        with artifacts_of(Store.open(place, only_looks=True)) as artifacts:
            if not artifacts.places():
                raise InputError(
                    f"{redact(place)}: no artifact is there; correct the URI of the storage"
                )
            yield artifacts
        return
    yield artifacts_at(Path(place))


if __name__ == "__main__":
    run(verify)
