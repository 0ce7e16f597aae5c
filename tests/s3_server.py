"""A server of the S3 protocol on the loopback, with a bucket, and how its clients find it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import boto3
import pytest
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.server import ThreadedMotoServer

BUCKET = "studies"
SECRET = "hunter2plantedinakey"  # what must turn up nowhere


class S3Server:
    """It keeps its objects while it is stopped, as long as this process lives."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()
        _, self.port = self.server.get_host_and_port()

    def stop(self) -> None:
        self.server.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset_auth(self, requests: int) -> None:
        """Let it look at keys from that many requests on."""
        ActionAuthenticatorMixin.request_count = 0
        settings.INITIAL_NO_AUTH_ACTION_COUNT = float(requests)

    def client(self, service: str = "s3", **keys: str):
        return boto3.client(service, endpoint_url=self.url, region_name="us-east-1", **keys)

    def names(self, prefix: str = "") -> list[str]:
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        )
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def content(self, name: str) -> bytes:
        return self.client().get_object(Bucket=BUCKET, Key=name)["Body"].read()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """The server, empty, and an environment in which this process and those below it find it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        server = S3Server()
        urlopen(Request(f"{server.url}/moto-api/reset", method="POST")).close()
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        server.client().create_bucket(Bucket=BUCKET)
        try:
            yield server
        finally:
            server.stop()
