"""An S3 server on loopback (moto's), in a process of its own, that counts the requests it gets."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from types import TracebackType
from typing import Self
from xml.etree import ElementTree

_PROGRAM = """
import logging, sys
from threading import Lock, Thread
from moto import settings
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

class Counting:
    def __init__(self, app):
        self.app, self.lock, self.count, self.loses = app, Lock(), 0, False

    def __call__(self, environ, start_response):
        with self.lock:  # so that a conditional write is one step, as it is in a real store
            self.count += 1
            if self.loses and "HTTP_IF_NONE_MATCH" in environ:
                self.loses = False
                list(self.app(environ, lambda *_: None))
                start_response("500 Internal Server Error", [])
                return [b""]
            return list(self.app(environ, start_response))

logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = Counting(DomainDispatcherApplication(create_backend_app))
server = make_server("127.0.0.1", 0, app, threaded=True)
Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}", flush=True)
for line in sys.stdin:
    if line == "refuse\\n":
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    elif line == "accept\\n":
        settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
    elif line == "lose\\n":
        app.loses = True
    app.count, count = 0, app.count
    print(count, flush=True)
"""
_PATIENCE = 60.0  # seconds


class S3Server:
    """While entered, a server with one bucket; the environment names it and its keys for all S3 clients.

    Attributes:
        endpoint: its URL.
        bucket: the name of its bucket.
    """

    bucket = "calibrations"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.endpoint = self._answer()
        self._before = dict(os.environ)
        os.environ.update(self.environment())
        self.create_bucket(self.bucket)
        self.requests()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self.environment():
            if name in self._before:
                os.environ[name] = self._before[name]
            else:
                os.environ.pop(name, None)
        self.stop()

    def stop(self) -> None:
        """Kill the server."""
        self._process.kill()
        self._process.communicate()

    def environment(self) -> dict[str, str]:
        """Return the variables by which S3 clients find the server."""
        return {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        request = urllib.request.Request(f"{self.endpoint}/{name}", data=b"", method="PUT")  # noqa: S310
        urllib.request.urlopen(request, timeout=_PATIENCE).close()  # noqa: S310

    def requests(self) -> int:
        """Return the number of requests since this was asked last."""
        return int(self._told("count"))

    def refuse(self, refused: bool = True) -> None:
        """Refuse all keys, or take any."""
        self._told("refuse" if refused else "accept")

    def lose_answer(self) -> None:
        """Carry out the next conditional write, but answer that it failed."""
        self._told("lose")

    def _told(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the S3 server has not started, or it has ended"
        return line

    def keys(self, prefix: str = "") -> dict[str, int]:
        """Return the sizes of all objects whose names begin with a prefix, by name."""
        return dict(self._listed(prefix))

    def sizes(self, url: str) -> Iterator[int]:
        """Yield the sizes of all objects below an s3:// URL."""
        yield from self.keys(url.removeprefix(f"s3://{self.bucket}/") + "/").values()

    def _listed(self, prefix: str) -> Iterator[tuple[str, int]]:
        after = ""
        while True:
            query = f"list-type=2&prefix={prefix}&start-after={after}"
            url = f"{self.endpoint}/{self.bucket}?{query}"
            with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:  # noqa: S310
                found = ElementTree.fromstring(answer.read())  # noqa: S314  # our own server
            space = found.tag.partition("}")[0] + "}"
            entries = [
                (one.findtext(f"{space}Key") or "", int(one.findtext(f"{space}Size") or 0))
                for one in found.iter(f"{space}Contents")
            ]
            yield from entries
            if found.findtext(f"{space}IsTruncated") != "true":
                return
            after = entries[-1][0]
