"""What do Ray's errors say to a user? The line of the exception that began it, in one place.

Ray hands on an exception of another process within one of its own, as an object or as a text with
all the frames between, and may end with advice that has nothing to do with the cause.
"""

import re

from kdray import errors
from kdray.errors import KdrayError, StageFailed

_OURS = re.compile(r"^ {0,2}kdray\.errors\.(\w+): (.+)$", re.MULTILINE)
_ANY = re.compile(r"^ {0,2}((?:\w+\.)*[A-Z]\w*: .+)$", re.MULTILINE)  # ends a traceback
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def failure(error: BaseException, *, place: str) -> KdrayError:
    """Ray's error as one of ours: of the kind that was raised elsewhere, if that was one."""
    kind, why = _kind_and_reason(error)
    again = "" if why.endswith(" again") or kind is not StageFailed else "; run the command again"
    return kind(f"{place}: {why}{again}")


def reason(error: BaseException) -> str:
    """Why something that Ray ran has failed, on one line."""
    return _kind_and_reason(error)[1]


def _kind_and_reason(error: BaseException) -> tuple[type[KdrayError], str]:
    raised = _raised(error)
    if isinstance(raised, KdrayError):
        return type(raised), str(raised)
    text = _COLOUR.sub("", str(error)).strip()
    if ours := _OURS.findall(text):  # the last one was raised from the others
        name, message = ours[-1]
        kind = getattr(errors, name, StageFailed)
        return kind, message
    if first := _ANY.search(text):  # what the others were raised from
        return StageFailed, first[1]
    return StageFailed, next(iter(str(raised).splitlines()), type(raised).__name__)


def _raised(error: BaseException) -> BaseException:
    """The exception that a task or a worker raised, as far as Ray hands it on as an object."""
    of_workers = getattr(error, "worker_failures", {})
    inner = of_workers[min(of_workers)] if of_workers else None
    for name in ("cause", "controller_failure"):
        inner = inner or getattr(error, name, None)
    return _raised(inner) if isinstance(inner, BaseException) else error
