"""`python -m kdray.serve STUDENT…`: answer requests for translations over HTTP."""

import os
import tempfile
import threading
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from kdray.command import InStorage, OfStudy, Overrides, check_overrides, run, studied
from kdray.errors import InputError
from kdray.limits import size_of
from kdray.progress import Display

if TYPE_CHECKING:
    from kdray.serving.limits import RequestLimits

KEY_VARIABLE = "KDRAY_API_KEY"


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDENT...",
            help="Models: folders, fingerprints in --storage, or with --config names in the study, "
            "as in nano/hybrid/seed-1 or teacher.",
        ),
    ],
    config: OfStudy = None,
    overrides: Overrides = [],  # noqa: B006
    storage: InStorage = "runs",
    languages: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SRC-TGT",
            help="Languages of the models, as in de-en: once for all, or once for each in their "
            "order. Default: those of the study's corpus.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines ask.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help=f"File with a key that requests must hold. Default: {KEY_VARIABLE}, if it is set."
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Web site whose pages may ask, as in https://example.org. Repeatable.",
        ),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Width of the beam. Default: the study's, or 5."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Of each process. Default: as many as there are processors."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that answer; each holds all models.")
    ] = 1,
    max_request: Annotated[
        str, typer.Option(help="Bytes of a request, as 256k or 1M; a longer one is refused.")
    ] = "256k",
    max_chars: Annotated[int, typer.Option(min=1, help="Characters of a request.")] = 10_000,
    max_sentences: Annotated[int, typer.Option(min=1, help="Sentences of a request.")] = 256,
    max_waiting: Annotated[
        int,
        typer.Option(min=1, help="Lines that wait for a model; more are answered with 503."),
    ] = 1024,
    start_seconds: Annotated[
        float, typer.Option(min=1, help="That Ray may take to start; more on a slow machine.")
    ] = 60.0,
) -> None:
    """Answer as LibreTranslate does, and show a page to try the models on, until Ctrl-C.

    Of several models with the same languages the first one answers, unless a request names another
    in its field `model`.
    """
    check_overrides(config, overrides)
    key = _key(api_key_file)
    display = Display(Console(stderr=True))
    with ExitStack() as stack:
        try:
            from kdray.cluster.serving import Address, served
            from kdray.serving.service import Service, digest
        except ModuleNotFoundError as error:
            raise InputError(
                f"serving needs packages that are not installed ({error.name}); get them with "
                "`pip install 'kdray[serve]'`"
            ) from None
        address = Address(host, port)
        address.check()
        limits = _limits(max_request, max_chars, max_sentences, max_waiting)
        study = None
        if config is not None:
            study = stack.enter_context(
                studied(config, overrides, "serve", dry_run=False, only_looks=True, to_stderr=True)
            )
        from kdray.runner.served import served_models

        service = Service(
            models=served_models(
                models,
                study=study,
                storage=storage,
                languages=languages or [],
                beam=beam,
                work=Path(stack.enter_context(tempfile.TemporaryDirectory())),
            ),
            limits=limits,
            threads=threads or len(os.sched_getaffinity(0)),
            key=None if key is None else digest(key),
            origins=tuple(allow_origin or []),
        )
        display.stage("Models", ", ".join(model.name for model in service.models))
        stack.enter_context(
            served(service, address, processes=processes, start_seconds=start_seconds)
        )
        display.stage("Serving", f"{address.url}  (Ctrl-C ends it)")
        if key is None and not _is_loopback(host):
            display.note(
                f"whoever reaches this machine may ask; set {KEY_VARIABLE} or --api-key-file to "
                "ask for a key, and put a server with TLS before it"
            )
        threading.Event().wait()


def _limits(request: str, chars: int, sentences: int, waiting: int) -> "RequestLimits":
    from kdray.serving.limits import RequestLimits

    try:
        body = int(size_of(request))
    except ValueError as error:
        raise InputError(f"--max-request {error}") from None
    if waiting < sentences:
        raise InputError(
            f"--max-waiting {waiting}: a request may have {sentences} sentences and would never "
            "find room; raise it, or lower --max-sentences"
        )
    return RequestLimits(body_bytes=body, chars=chars, sentences=sentences, waiting=waiting)


def _key(file: Path | None) -> str | None:
    """The key that requests must hold.

    Raises:
        InputError: the file cannot be read, or the key is empty.
    """
    if file is None:
        key, place = os.environ.pop(KEY_VARIABLE, None), KEY_VARIABLE  # no child process needs it
        if key is None:
            return None
    else:
        place = f"--api-key-file {file}"
        try:
            key = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise InputError(f"{place}: cannot be read ({why}); name a text file") from None
    if not (key := key.strip()):
        raise InputError(f"{place}: is empty; write a key, such as `openssl rand -hex 16` prints")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    run(serve)
