"""Errors as LibreTranslate's clients know them: an object with `error`, a sentence."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kdray.serving.requests import Refused

Handler = Callable[[Request], Awaitable[Response]]


def refusing(status: int, message: str) -> Handler:
    """What answers every request with the same error."""

    async def refuse(request: Request) -> Response:
        raise Refused(status, message)

    return refuse


async def refused(request: Request, error: Exception) -> Response:
    """An error that somebody raised on purpose, as an object."""
    if isinstance(error, Refused):
        return JSONResponse({"error": error.message}, error.status, dict(error.headers))
    assert isinstance(error, HTTPException), "no other is given here"
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def failed(request: Request, error: Exception) -> Response:
    """A fault of this program."""
    return JSONResponse({"error": f"Internal error: {type(error).__name__}"}, 500)
