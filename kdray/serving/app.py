"""The server's answers: an ASGI application with LibreTranslate's paths and shapes.

`/translate`, `/languages`, `/frontend/settings` and `/health` answer as LibreTranslate's do, and an
error is an object with `error`. `/models`, `/gate` and the field `model` of `/translate` are ours.
"""

import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kdray.errors import KdrayError
from kdray.model.memory import tokens_per_batch
from kdray.serving.batching import Batches, QueueFull
from kdray.serving.documents import translations
from kdray.serving.languages import language_name
from kdray.serving.models import OpenModel
from kdray.serving.page import page
from kdray.serving.refusals import Handler, failed, refused, refusing
from kdray.serving.requests import Asked, Fields, Refused, asked, fields_of, one_line
from kdray.serving.service import Service
from kdray.teacher.engine import Translation
from kdray.translation.texts import Translated, translate_texts

AUTO = "auto"
STUCK_SECONDS = 300.0
"""A batch takes milliseconds to seconds: one that takes so long is never going to end."""
logger = logging.getLogger(__name__)


def application(service: Service) -> Starlette:
    """Open the models of a service. -> the application that answers.

    Raises:
        DataError: what a model is made of is missing or damaged.
    """
    return Server(service).application()


class Server:
    """A service with its models ready to translate."""

    def __init__(self, service: Service) -> None:
        self.service, self.limits = service, service.limits
        self.models = {
            model.name: OpenModel(model, threads=service.threads) for model in service.models
        }
        self.batches = {name: self._batches(opened) for name, opened in self.models.items()}

    def application(self) -> Starlette:
        """The ASGI application."""
        routes: list[tuple[str, Handler, str]] = [
            ("/", self.page, "GET"),
            ("/translate", self.translate, "POST"),
            ("/languages", self.languages, "GET"),
            ("/frontend/settings", self.settings, "GET"),
            ("/health", self.health, "GET"),
            ("/models", self.described, "GET"),
            ("/gate", self.gate, "POST"),
            ("/detect", refusing(501, "this server does not detect languages"), "POST"),
            ("/suggest", refusing(403, "Suggestions are disabled on this server."), "POST"),
            (
                "/translate_file",
                refusing(403, "Files translation are disabled on this server."),
                "POST",
            ),
        ]
        origins = list(self.service.origins)
        cors = Middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]
        )
        return Starlette(
            routes=[Route(path, handler, methods=[verb]) for path, handler, verb in routes],
            middleware=[cors] if origins else [],
            exception_handlers={Refused: refused, HTTPException: refused, Exception: failed},
            lifespan=self._life,
        )

    def check_health(self) -> None:
        """Look whether models answer.

        Raises:
            RuntimeError: one has not ended a batch for minutes.
        """
        for name, batches in self.batches.items():
            if batches.busy_seconds > STUCK_SECONDS:
                raise RuntimeError(f"{name}: a batch has not ended for {STUCK_SECONDS:.0f} s")

    async def page(self, request: Request) -> Response:
        """The page to try the models on."""
        return page()

    async def translate(self, request: Request) -> Response:
        """LibreTranslate's `/translate`."""
        fields = await self._fields(request)
        want = asked(fields, self.limits)
        opened = self._chosen(want)
        began = time.perf_counter()
        texts = await self._translated(opened, want)
        answer: dict[str, Any] = {"translatedText": [best for best, *_ in texts]}
        if "alternatives" in fields:
            answer["alternatives"] = [others for _, *others in texts]
        if want.source == AUTO:  # the only language that can be meant; nothing was detected
            detected = {"confidence": 0.0, "language": opened.model.src_lang}
            answer["detectedLanguage"] = [detected] * len(texts)
        if not want.is_list:
            answer = {name: value[0] for name, value in answer.items()}
        if want.model is not None:
            answer |= {
                "model": want.model,
                "milliseconds": round((time.perf_counter() - began) * 1000, 2),
            }
        return JSONResponse(answer)

    async def languages(self, request: Request) -> Response:
        """LibreTranslate's `/languages`."""
        targets: dict[str, list[str]] = {}
        for model in self.service.models:
            into = targets.setdefault(model.src_lang, [])
            if model.tgt_lang not in into:
                into.append(model.tgt_lang)
        for model in self.service.models:
            targets.setdefault(model.tgt_lang, [])
        return JSONResponse(
            [
                {"code": code, "name": language_name(code), "targets": into}
                for code, into in targets.items()
            ]
        )

    async def settings(self, request: Request) -> Response:
        """LibreTranslate's `/frontend/settings`, which clients ask first."""
        first, needs_key = self.service.models[0], self.service.key is not None
        return JSONResponse(
            {
                "charLimit": self.limits.chars,
                "frontendTimeout": 500,
                "apiKeys": needs_key,
                "keyRequired": needs_key,
                "suggestions": False,
                "filesTranslation": False,
                "supportedFilesFormat": [],
                "language": {
                    side: {"code": code, "name": language_name(code)}
                    for side, code in (("source", first.src_lang), ("target", first.tgt_lang))
                },
            }
        )

    async def health(self, request: Request) -> Response:
        """Whether all models answer."""
        try:
            self.check_health()
        except RuntimeError as error:
            raise Refused(503, str(error)) from None
        return JSONResponse({"status": "ok"})

    async def described(self, request: Request) -> Response:
        """The models, and whether a key is needed."""
        return JSONResponse(
            {
                "models": [opened.described for opened in self.models.values()],
                "keyRequired": self.service.key is not None,
            }
        )

    async def gate(self, request: Request) -> Response:
        """The gate of a student for a sentence, where it looks at the source alone."""
        fields = await self._fields(request)
        text, name = one_line(fields, self.limits), fields.get("model")
        opened = self._named(name if isinstance(name, str) else "")
        kind = opened.described["gate"]
        if kind is None:
            raise Refused(400, f"{opened.model.name} has no gate")
        gate = await run_in_threadpool(lambda: opened.gate)
        if gate is None:
            more = f"a gate of kind {kind} reads more than the source; `kdray gate` shows it"
            return JSONResponse({"kind": kind, "gate": None, "why": more})
        value = await run_in_threadpool(gate.read, text)
        why = None if value is not None else "the text is too long to be read as a whole"
        return JSONResponse({"kind": kind, "gate": value, "why": why})

    @asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        yield
        for batches in self.batches.values():
            batches.end()

    def _batches(self, opened: OpenModel) -> Batches:
        return Batches(
            translate=partial(translate_texts, opened.engine),
            lengths=opened.lengths,
            most_tokens=tokens_per_batch,
            most_waiting=self.limits.waiting,
            at_once=self.service.threads if opened.batches_at_once else 1,
        )

    async def _fields(self, request: Request) -> Fields:
        """The fields of a request that may be answered.

        Raises:
            Refused: it cannot be read, or its key is missing or wrong.
        """
        fields = await fields_of(request, self.limits)
        if self.service.key is None:
            return fields
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = fields.get("api_key") or (bearer if scheme.lower() == "bearer" else "")
        if not isinstance(given, str) or not given:
            raise Refused(403, "An API key is needed: send it in the field api_key")
        if not self.service.admits(given):
            raise Refused(403, "Invalid API key")
        return fields

    async def _translated(self, opened: OpenModel, want: Asked) -> list[list[str]]:
        """Of each text its translation, and what else was asked for.

        Raises:
            Refused: there is no room, a sentence is too long, or the model fails.
        """
        lines = want.lines
        rows = [row for row, line in enumerate(lines) if line.strip()]
        options = opened.model.search(alternatives=want.alternatives)
        try:
            done = await self.batches[opened.model.name].answers(
                [lines[row] for row in rows], options
            )
        except QueueFull:
            raise Refused(
                503, "Too many requests wait; try again later", {"retry-after": "1"}
            ) from None
        except Exception as error:
            logger.exception("%s cannot translate", opened.model.name)
            why = str(error) if isinstance(error, KdrayError) else type(error).__name__
            raise Refused(500, f"Cannot translate text: {why}") from None
        found = dict(zip(rows, done, strict=True))
        for row, each in found.items():
            if not each.best:
                raise Refused(400, _too_long(want, row, opened))
        answers = iter(_texts(found.get(row)) for row in range(len(lines)))
        return [translations(text, [next(answers) for _ in text.lines]) for text in want.texts]

    def _chosen(self, want: Asked) -> OpenModel:
        """The model that is to answer.

        Raises:
            Refused: there is none for the pair of languages, or of that name.
        """
        models = self.service.models
        if want.model is not None:
            models = (self._named(want.model).model,)
        known = {lang for each in self.service.models for lang in (each.src_lang, each.tgt_lang)}
        for code in (want.source, want.target):
            if code not in known | {AUTO} or code == want.target == AUTO:
                raise Refused(400, f"{code} is not supported")
        fitting = [
            model
            for model in models
            if model.tgt_lang == want.target and want.source in (AUTO, model.src_lang)
        ]
        sources = sorted({model.src_lang for model in fitting})
        if len(sources) > 1:
            named = ", ".join(sources)
            raise Refused(
                400, f"this server does not detect languages; name the source, one of {named}"
            )
        if not fitting:
            source, target = (f"{language_name(c)} ({c})" for c in (want.source, want.target))
            raise Refused(400, f"{target} is not available as a target language from {source}")
        return self.models[fitting[0].name]

    def _named(self, name: str) -> OpenModel:
        if name not in self.models:
            raise Refused(400, f"model {name!r} is not served; there are {', '.join(self.models)}")
        return self.models[name]


def _too_long(want: Asked, row: int, opened: OpenModel) -> str:
    places = [(n, k) for n, text in enumerate(want.texts) for k in range(len(text.lines))]
    text, line = places[row]
    where = f"text {text + 1}, line {line + 1}" if want.is_list else f"line {line + 1}"
    most = opened.engine.positions
    return (
        f"Invalid request: {where} has a sentence that is longer than the {most} tokens that "
        f"{opened.model.name} reads; split it"
    )


def _texts(done: Translated | None) -> list[str]:
    """The translations of a line, of which an empty one has one that is empty."""
    hyps: Sequence[Translation] = [] if done is None else done.best
    return [hyp.text for hyp in hyps] or [""]
