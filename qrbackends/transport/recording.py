"""A pool that keeps the answers of the Backends API as they came, even those that cannot be decoded."""

from typing import Any

from .pool import Response, SessionPool

_CRN = "Service-CRN"  # only requests to the Backends API have it


class RecordingPool(SessionPool):
    """A `SessionPool` that keeps the last answer to each request that names an instance, until it is taken.

    Attributes:
        credentials: the texts after `Bearer` or `apikey` that were sent.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.credentials: set[str] = set()
        self._answers: dict[tuple[str, str], Response] = {}

    async def exchange(self, *arguments: Any, **options: Any) -> Response:
        """Send one request, as `SessionPool.exchange` does, and keep the answer."""
        _, url, headers = arguments
        self._answers.pop((headers.get(_CRN, ""), url), None)
        response = await super().exchange(*arguments, **options)
        if _CRN in headers:
            self.credentials.add(headers["Authorization"].partition(" ")[2])
            self._answers[headers[_CRN], url] = response
        return response

    def take(self, crn: str, url: str) -> Response | None:
        """Return the last answer to a GET of `url` for an instance, and keep it no longer."""
        return self._answers.pop((crn, url), None)
