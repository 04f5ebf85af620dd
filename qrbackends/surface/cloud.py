"""The services of IBM Cloud that clients use besides the Backends API: IAM, Global Search, Global Catalog."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

import msgspec

from .wire import Answer, Call, Errors, Refused, json_answer

GRANT = "urn:ibm:params:oauth:grant-type:apikey"
QUERY = "service_name:quantum-computing"
TOKEN_PATH = "/identity/token"  # noqa: S105
SEARCH_PATH = "/v3/resources/search"
_METHODS = {"token": "POST", "search": "POST", "catalog": "GET"}
_LARGEST_PAGE = 1000
_PAGE = 10  # entries without a `limit`, as in the real service


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan in Global Catalog. A plan without a name is archived: asking for it is answered with 403."""

    id: str
    name: str
    pricing: str


class Listed(Protocol):
    """A service instance that Global Search lists."""

    @property
    def crn(self) -> str:
        """Its Cloud Resource Name."""
        ...

    @property
    def name(self) -> str:
        """The name that its owner gave it."""
        ...

    @property
    def region(self) -> str:
        """Its region."""
        ...

    @property
    def plan(self) -> Plan:
        """Its plan."""
        ...

    @property
    def tags(self) -> Sequence[str]:
        """The tags that its owner gave it."""
        ...

    @property
    def usable(self) -> bool:
        """Whether it has an allocation of backends."""
        ...


class Identities(Protocol):
    """The API keys of IAM, and the tokens for them."""

    def exchange(self, key: str) -> dict[str, Any] | None:
        """Return IAM's answer, with a new token; None if there is no such key."""
        ...

    def subject(self, token: str) -> str | None:
        """Return whom a token was issued for; None if it is not valid now."""
        ...


class CloudService:
    """Answers the requests to IAM, Global Search and Global Catalog.

    Args:
        identities: exchanges keys for tokens, and checks tokens.
        instances: returns, when awaited, the instances that Global Search lists for a token's subject.
        plans: returns, when awaited, the plans of Global Catalog.
        errors: makes the bodies of error answers.
        catalog: the path of Global Catalog, with a slash at its end.
        description: what Global Catalog says of each plan.
    """

    region = "cloud"

    def __init__(
        self,
        identities: Identities,
        instances: Callable[[str], Awaitable[Sequence[Listed]]],
        plans: Callable[[], Awaitable[Iterable[Plan]]],
        errors: Errors,
        catalog: str = "/api/v1/",
        description: str = "emulated",
    ) -> None:
        self._identities = identities
        self._instances = instances
        self._plans = plans
        self._errors = errors
        self._catalog_path = catalog
        self._description = description

    def classify(self, path: str) -> tuple[str | None, str | None]:
        """Return the resource that a raw path names; the second value is always None."""
        if path == TOKEN_PATH:
            return "token", None
        if path == SEARCH_PATH:
            return "search", None
        if path.startswith(self._catalog_path) and "/" not in path.removeprefix(self._catalog_path):
            return "catalog", None
        return None, None

    async def answer(self, call: Call) -> Answer:
        """Return the answer to a call.

        Raises:
            Refused: the answer is an error.
        """
        resource, _ = self.classify(call.path)
        if resource is None:
            raise self._errors.refuse(404, "There is nothing at this address.")
        if call.method != _METHODS[resource]:
            allowed = {"Allow": _METHODS[resource]}
            raise self._errors.refuse(405, f"{call.method} is not allowed here.", headers=allowed)
        if resource == "token":
            return self._token(call)
        scheme, credential = call.credentials
        subject = self._identities.subject(credential) if scheme == "Bearer" else None
        if subject is None:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise self._errors.refuse(401, "The token is missing, invalid or expired.", headers=challenge)
        return await self._search(call, subject) if resource == "search" else await self._catalog(call)

    def _token(self, call: Call) -> Answer:
        try:
            form = parse_qs(call.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
        except ValueError:
            raise _iam_refusal("BXNIM0120E", "The form has too many fields.") from None
        if form.get("grant_type") != [GRANT]:
            raise _iam_refusal("BXNIM0402E", "Unsupported or missing grant_type.")
        (key,) = form.get("apikey", [""])[:1]
        if not key:
            raise _iam_refusal("BXNIM0109E", "Property missing or empty: apikey")
        granted = self._identities.exchange(key)
        if granted is None:
            raise _iam_refusal("BXNIM0415E", "Provided API key could not be found.")
        return json_answer(granted, headers={"Cache-Control": "no-store"})

    async def _search(self, call: Call, subject: str) -> Answer:
        try:
            asked = msgspec.json.decode(call.body, type=dict[str, Any])
            limit = int(parse_qs(call.query).get("limit", [str(_PAGE)])[0])
            start = _cursor_start(asked.get("search_cursor"))
        except (msgspec.MsgspecError, ValueError):
            raise self._errors.refuse(400, "The search request is not well-formed.") from None
        if not 1 <= limit <= _LARGEST_PAGE:
            raise self._errors.refuse(400, f"limit has to lie between 1 and {_LARGEST_PAGE}.")
        found = await self._instances(subject) if asked.get("query") == QUERY else ()
        fields = asked.get("fields")
        page: dict[str, Any] = {"items": [_item(i, fields) for i in found[start : start + limit]]}
        page["limit"] = limit
        if start + limit < len(found):
            page["search_cursor"] = base64.urlsafe_b64encode(f"from:{start + limit}".encode()).decode()
        return json_answer(page)

    async def _catalog(self, call: Call) -> Answer:
        wanted = unquote(call.path.removeprefix(self._catalog_path))
        for plan in await self._plans():
            if plan.id == wanted:
                break
        else:
            raise self._errors.refuse(404, "There is no such catalog entry.")
        if not plan.name:
            raise self._errors.refuse(403, "This catalog entry is archived.")
        entry = {
            "id": plan.id,
            "kind": "plan",
            "name": plan.name.lower(),
            "overview_ui": {"en": {"display_name": plan.name, "description": self._description}},
            "metadata": {"pricing": {"type": plan.pricing}},
        }
        return json_answer(entry)


def _item(instance: Listed, fields: Any) -> dict[str, Any]:
    """Return an instance's entry in Global Search with the fields asked for; the CRN is always sent."""
    extensions = {"allocation": {"backends": ["*"]}} if instance.usable else {}
    item = {
        "crn": instance.crn,
        "name": instance.name,
        "service_plan_unique_id": instance.plan.id,
        "doc": {"extensions": extensions, "region_id": instance.region},
        "tags": list(instance.tags),
    }
    wanted = fields if isinstance(fields, list) and "*" not in fields else list(item)
    return {key: value for key, value in item.items() if key == "crn" or key in wanted}


def _cursor_start(cursor: Any) -> int:
    """Return the index at which the page that a cursor stands for begins.

    Raises:
        ValueError: it is not a cursor that this service has sent.
    """
    if cursor is None:
        return 0
    if not isinstance(cursor, str):
        raise ValueError("not a cursor")
    try:
        name, _, number = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition(":")
    except binascii.Error as error:
        raise ValueError("not a cursor") from error
    if name != "from" or not number.isdigit():
        raise ValueError("not a cursor")
    return int(number)


def _iam_refusal(code: str, message: str) -> Refused:
    """Return an error answer in IAM's shape."""
    details = "Provided API key could not be found." if code == "BXNIM0415E" else message
    return Refused(
        json_answer({"errorCode": code, "errorMessage": message, "errorDetails": details, "context": {}}, 400)
    )
