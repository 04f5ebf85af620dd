"""Where an archive is, a directory or a URL of an object store; how to reach it; what its failures mean."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ..accounts.urls import is_loopback
from ..errors import ArchiveError, InvalidRequest
from ..messages.suggestions import instead
from .arrow import DeltaError, pa, pa_fs

_SCHEMES: Final = ("s3", "gs", "abfss", "file")
_LONGEST: Final = 300  # characters of a library's message that an error shows
_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_BODY = re.compile(r"(<\?xml|\n\s*0: ).*", re.DOTALL)  # an answer's, or a trace of calls
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")  # which stores do not take
_HALF = re.compile("[\ud800-\udfff]")  # of a character, or a byte that is not UTF-8
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._$-]*(@[A-Za-z0-9.-]+)?")
_LONE = re.compile(f"({'|'.join(_SCHEMES)}|https?):(?!//)", re.IGNORECASE)
_ESCAPE = re.compile("%[0-9a-fA-F]{2}")
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")

# What a message contains, and what it means; the first that fits is told.
_MEANINGS: Final = (
    ("nosuchbucket|no such bucket|bucket does not exist|filesystem does not exist",
     "there is no such bucket: check its name; an archive creates none"),
    ("scheme is not allowed|allow_http|builder error",
     "the endpoint is plain http, which is refused unless AWS_ALLOW_HTTP=true"),
    ("instance metadata|169\\.254\\.169\\.254|no credentials|credentials.*(not|n't)",
     "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"),
    ("invalidaccesskeyid|signaturedoesnotmatch|access ?denied|forbidden|unauthori[sz]ed|expiredtoken",
     "the store refused access: check the key, its secret, and what it may read and write"),
    ("error sending request|dns error|connection|timed out|resolve",
     "the store does not answer: check its endpoint (AWS_ENDPOINT_URL) and the network"),
    ("permission denied", "permission denied"),
    ("no space left", "no space is left"),
    ("read-only file system", "the file system is read-only"),
    ("not a directory|file exists|invalid table location: path", "it is no directory"),
)  # fmt: skip


class Location:
    """Where an archive is.

    Settings and credentials of a store come from the environment, as its own tools take them: `AWS_…`,
    `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_…`.

    Args:
        url: a directory, or a URL of one of the schemes s3, gs, abfss and file.

    Raises:
        InvalidRequest: there is no such scheme, a bucket is missing, or there is a key or a query in the URL.

    Attributes:
        url: as it was given; errors show it.
        uri: as delta-rs takes it, with escapes.
    """

    def __init__(self, url: str) -> None:
        scheme, separator, _ = url.partition("://")
        self.url = url
        self._scheme = scheme.lower() if separator else "file"
        _check_text(url)
        if self._scheme not in _SCHEMES:
            problem = f"an archive is a directory, or below a URL of another kind than {scheme[:20]!r}"
            raise InvalidRequest(f"{problem}; {instead(scheme, _SCHEMES)}")
        parts = _parts(url) if separator else SplitResult("file", "", _quoted(url), "", "")
        path = _decoded(parts.path)
        if self._scheme == "file":
            # A folder that `..` leads out of would be made, and what a link leads to is above another one.
            folder = Path(os.path.realpath(path) if ".." in path.split("/") else path).absolute()
            if folder == Path(folder.anchor):
                raise InvalidRequest("an archive cannot be the root of a file system: name a directory in it")
            self._folder, self.uri = str(folder), folder.as_uri()
            return
        if not _BUCKET.fullmatch(parts.netloc):
            raise InvalidRequest(f"{url!r:.100} names no bucket, as {self._scheme}://bucket/archive does")
        path = path.rstrip("/")
        if {"", ".", ".."} & {*path.split("/")[1:]}:
            raise InvalidRequest("a URL of an archive in a store has no `//`, `.` or `..` in its path")
        self._folder = f"{parts.netloc}{path}"
        self.uri = f"{self._scheme}://{parts.netloc}{quote(path)}"

    def below(self, folder: str) -> "Location":
        """Return the place of a folder of the archive; with an empty name, the archive's own."""
        place = copy(self)
        if folder:
            place.uri, place._folder = f"{self.uri}/{folder}", f"{self._folder}/{folder}"
        return place

    def file(self, path: str) -> str:
        """Return the path of one of its files on this machine, or its URL, as readers of Parquet take it."""
        return f"{self._folder}/{path}" if self.is_local else f"{self._scheme}://{self._folder}/{path}"

    @property
    def is_local(self) -> bool:
        """Whether it is a directory of this machine."""
        return self._scheme == "file"

    def options(self) -> dict[str, str]:
        """Return the options for delta-rs; they are read from the environment each time."""
        if self.is_local:
            return {}
        options = {"max_retries": "4", "retry_timeout": "30s", "timeout": "60s", "connect_timeout": "10s"}
        endpoint = _first(_ENDPOINTS)
        if self._scheme == "s3" and endpoint:
            options["aws_endpoint"] = endpoint
            if is_loopback(urlsplit(endpoint).hostname or ""):
                options["aws_allow_http"] = "true"
        return options

    def file_system(self) -> Any:
        """Return a native file system of pyarrow whose root is the archive.

        One in Python, as those of fsspec and delta-rs are, may abort the process when it exits.
        """
        if self.is_local:
            return pa_fs.SubTreeFileSystem(self._folder, pa_fs.LocalFileSystem())
        if self._scheme != "s3":
            system, path = pa_fs.FileSystem.from_uri(self.uri)
            return pa_fs.SubTreeFileSystem(path, system)
        endpoint = urlsplit(_first(_ENDPOINTS))
        known = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme} if endpoint.netloc else {}
        system = pa_fs.S3FileSystem(
            region=_first(_REGIONS) or None,
            request_timeout=60,
            connect_timeout=10,
            allow_delayed_open=True,
            **known,
        )
        return pa_fs.SubTreeFileSystem(self._folder, system)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the failures of delta-rs and pyarrow into an `ArchiveError` that says what to check."""
        try:
            yield
        except (ArchiveError, InvalidRequest):
            raise
        except (DeltaError, OSError, pa.ArrowException) as error:
            text = str(error)
            for name in (self.uri, self._folder, quote(self._folder)):  # what it is called means nothing
                text = text.replace(name, "…")
            raise ArchiveError(f"{self.url}: {_meaning(text)}") from error


def _check_text(url: str) -> None:
    """Raise an error for what delta-rs and pyarrow read differently, or not at all.

    Raises:
        InvalidRequest: there is such a thing in a path or URL.
    """
    if not url:
        raise InvalidRequest("the name of an archive is empty: it is a directory or a URL")
    if _LONE.match(url):
        scheme = url.partition(":")[0]
        problem = f"{url!r:.100} is no URL: write {scheme.lower()}://"
        raise InvalidRequest(f"{problem}, or ./{scheme}:… for a directory of this name")
    if _CONTROL.search(url):
        raise InvalidRequest("an archive's path cannot have a control character")
    if _HALF.search(url):
        raise InvalidRequest("an archive's path has to be UTF-8")


def _quoted(path: str) -> str:
    """Return a path with escapes, and with the home directory for `~`, as a shell does without quotes."""
    return quote(os.fsencode(os.path.expanduser(path)))  # noqa: PTH111  # this one fails nowhere


def _decoded(quoted: str) -> str:
    """Return a path without its escapes.

    Raises:
        InvalidRequest: it would be read as another one.
    """
    try:
        path = unquote(quoted, errors="strict")
        path.encode()
    except UnicodeError:
        raise InvalidRequest("an archive's path has to be UTF-8") from None
    if _CONTROL.search(path):  # at a NUL, pyarrow would abort the process
        raise InvalidRequest("an archive's path cannot have a control character")
    if "\\" in path and os.sep == "/":  # which delta-rs takes for a slash
        raise InvalidRequest("an archive's path cannot have a backslash: write / between directories")
    if _ESCAPE.search(path):  # delta-rs creates a table there, and looks for it elsewhere
        raise InvalidRequest(f"an archive's path cannot have an escape such as {path[path.index('%') :][:3]}")
    return path


def _parts(url: str) -> SplitResult:
    """Return the parts of a URL in which there is nothing that would be left out, and no key."""
    try:
        parts = urlsplit(url)
    except ValueError:  # for a bracket, or a letter that hides a slash
        raise InvalidRequest("a URL of an archive is not well-formed: check the bucket's name") from None
    host, scheme = parts.netloc, parts.scheme
    if ":" in host or ("@" in host and scheme != "abfss"):
        raise InvalidRequest("a URL of an archive has no key in it; keys are in the environment")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise InvalidRequest("a URL of an archive has no query; write %3F for a question mark, and %23 for #")
    if scheme == "file" and (host not in ("", "localhost") or not parts.path):
        raise InvalidRequest("a file URL names a directory of this machine, as file:///data/archive does")
    if url != url.rstrip():
        raise InvalidRequest("a URL of an archive has no blank at its end; write %20 for one in it")
    return parts


def _meaning(text: str) -> str:
    text = _COLOURS.sub("", text).replace("↳", "")
    folded = text.casefold()
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, folded):
            return meaning
    return f"it failed: {' '.join(_BODY.sub('', text).split())[:_LONGEST]}"


def _first(names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := os.environ.get(name))), "")
