"""A service on Ray Serve: an HTTP proxy hands requests to processes that hold the models.

`kdray.serving` answers them and knows nothing of Ray. Ray's own limits lie behind those of the
service, so that what is refused is refused in the shape that clients know.
"""

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp

from kdray.cluster.failures import failure
from kdray.cluster.session import check_tokens, session
from kdray.config.execution import Execution
from kdray.errors import InputError
from kdray.fit.machine import prepare
from kdray.serving.app import Server
from kdray.serving.service import Service

NAME = "kdray"
_SPARE = (
    64  # requests that a process holds besides those whose texts wait: they are read or refused
)
_REQUEST_SECONDS = 120.0
# Each of these would let processes listen on all addresses of the machine.
_CLOSED = {
    "RAY_SERVE_ENABLE_HA_PROXY": "0",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0",
}
_DRAIN_SECONDS = 10.0  # for requests in progress, when the server ends


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str = "127.0.0.1"
    port: int = 5000

    @property
    def url(self) -> str:
        """As a browser takes it."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def check(self) -> None:
        """See whether a server can listen here.

        Raises:
            InputError: the port is in use, or the host is none of this machine.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise InputError(self._refusal(error)) from None

    def _refusal(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return f"--port {self.port}: is in use on {self.host}; take another one"
        if error.errno == errno.EACCES:
            return f"--port {self.port}: may not be used by this user; take one above 1023"
        return (
            f"--host {self.host}: cannot be listened on ({error.strerror or error}); name an "
            "address of this machine, 127.0.0.1 for itself or 0.0.0.0 for all"
        )


@contextmanager
def served(
    service: Service, address: Address, *, processes: int = 1, start_seconds: float = 60.0
) -> Iterator[None]:
    """Answer requests for the length of a `with` block, in a session of Ray of its own.

    Raises:
        InputError: the address cannot be listened on, Ray would answer everybody, or it does not
            start.
        StageFailed: the models cannot be opened.
    """
    address.check()
    check_tokens()
    os.environ.update(_CLOSED)  # Ray's processes inherit it
    execution = Execution(
        address="local", cpus=processes * service.threads, start_seconds=start_seconds
    )
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    with session(execution):
        quiet = LoggingConfig(log_level="ERROR", enable_access_log=False)
        try:
            serve.start(
                proxy_location=ProxyLocation.HeadOnly,
                http_options=HTTPOptions(
                    host=address.host, port=address.port, request_timeout_s=_REQUEST_SECONDS
                ),
                logging_config=quiet,
            )
            serve.run(_deployment(service, processes), name=NAME, logging_config=quiet)
            yield
        except (RuntimeError, TimeoutError, ray.exceptions.RayError) as error:
            raise failure(error, place=f"the server at {address.url}") from error
        finally:
            with suppress(Exception):  # it may not have come so far; the session ends all else
                serve.delete(NAME)  # answers what is in progress first


@serve.ingress()
class Replica:
    """A process that holds the models and answers requests."""

    def __init__(self, service: Service) -> None:
        prepare(threads=service.threads)
        self.server = Server(service)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What answers."""
        return self.server.application()

    def check_health(self) -> None:
        """Ray Serve replaces a process for which this fails."""
        self.server.check_health()


def _deployment(service: Service, processes: int) -> serve.Application:
    deployment = serve.deployment(
        Replica,
        name="models",
        num_replicas=processes,
        ray_actor_options={"num_cpus": service.threads},
        max_ongoing_requests=service.limits.waiting + _SPARE,
        max_queued_requests=_SPARE,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=_DRAIN_SECONDS,
        health_check_period_s=10,
        health_check_timeout_s=30,
        max_constructor_retry_count=1,
    )
    return deployment.bind(service)
