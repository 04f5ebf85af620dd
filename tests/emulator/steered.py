"""The control API as another language sees it: HTTP by the standard library, and JSON."""

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from qrbackends.emulator import ThreadedEmulator


class Told(NamedTuple):
    """An answer of the control API; `content` is decoded if it is JSON."""

    status: int
    content: Any
    headers: http.client.HTTPMessage


def send(
    emulator: ThreadedEmulator, method: str, path: str, body: str | bytes | None = None, **headers: str | None
) -> Told:
    """Send a request with the token; a header given as None is left out."""
    connection = http.client.HTTPConnection(urlsplit(emulator.control_url).netloc, timeout=20)
    merged = {"Authorization": f"Bearer {emulator.control_token}", **headers}
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in merged.items():
        if value is not None:
            connection.putheader(name, value)
    sent = body.encode() if isinstance(body, str) else body
    connection.putheader("Content-Length", str(len(sent or b"")))
    connection.endheaders(sent)
    with connection.getresponse() as response:
        content = response.read()
    connection.close()
    is_json = response.headers.get("Content-Type", "").endswith("json")
    return Told(response.status, json.loads(content) if is_json else content, response.headers)


def do(emulator: ThreadedEmulator, operation: str, **fields: Any) -> Told:
    """Do something to the emulator."""
    return send(emulator, "POST", "/do", json.dumps({"do": operation, **fields}))
