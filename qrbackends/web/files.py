"""The board's own style, scripts and icon: read once, so that no answer holds a file open."""

import mimetypes
from functools import cache
from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from .encoding import Encoded, has_tag, tagged


async def static_file(request: Request) -> Response:
    """Answer with the file that the path names, or with 304 where the visitor has it."""
    name = request.path_params["name"]
    found = _files().get(name)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    headers = {"ETag": found.etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if has_tag(request.headers.get("If-None-Match", ""), found.etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.body, headers=headers, media_type=mimetypes.guess_type(name)[0])


@cache
def _files() -> dict[str, Encoded]:
    folder = Path(__file__).with_name("static")
    return {path.name: tagged(path.read_bytes()) for path in folder.iterdir() if path.is_file()}
