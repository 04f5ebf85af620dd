"""The services of IBM Cloud that clients use besides the Backends API: IAM, Global Search, Global Catalog."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from ..surface.wire import Answer, Call, Errors, Refused, json_answer
from .emulated_instances import PLANS, EmulatedInstance
from .tokens import Issuer

GRANT = "urn:ibm:params:oauth:grant-type:apikey"
QUERY = "service_name:quantum-computing"
_TOKEN_PATH = "/identity/token"  # noqa: S105
_SEARCH_PATH = "/v3/resources/search"
_CATALOG_PATH = "/api/v1/"
_METHODS = {"token": "POST", "search": "POST", "catalog": "GET"}
_LARGEST_PAGE = 1000
_PAGE = 10  # entries without a `limit`, as in the real service


class CloudService:
    """Answers the requests to IAM, Global Search and Global Catalog.

    Args:
        issuer: issues and checks tokens.
        instances: the instances that Global Search lists.
        errors: makes the bodies of error answers.
    """

    region = "cloud"

    def __init__(self, issuer: Issuer, instances: Sequence[EmulatedInstance], errors: Errors) -> None:
        self._issuer = issuer
        self._instances = instances
        self._errors = errors

    def classify(self, path: str) -> tuple[str | None, str | None]:
        """Return the resource that a raw path names; the second value is always None."""
        if path == _TOKEN_PATH:
            return "token", None
        if path == _SEARCH_PATH:
            return "search", None
        if path.startswith(_CATALOG_PATH) and "/" not in path.removeprefix(_CATALOG_PATH):
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
        if scheme != "Bearer" or not self._issuer.accepts(credential):
            challenge = {"WWW-Authenticate": "Bearer"}
            raise self._errors.refuse(401, "The token is missing, invalid or expired.", headers=challenge)
        return self._search(call) if resource == "search" else self._catalog(call)

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
        if not self._issuer.knows(key):
            raise _iam_refusal("BXNIM0415E", "Provided API key could not be found.")
        return json_answer(self._issuer.issue(key), headers={"Cache-Control": "no-store"})

    def _search(self, call: Call) -> Answer:
        try:
            asked = msgspec.json.decode(call.body, type=dict[str, Any])
            limit = int(parse_qs(call.query).get("limit", [str(_PAGE)])[0])
            start = _cursor_start(asked.get("search_cursor"))
        except (msgspec.MsgspecError, ValueError):
            raise self._errors.refuse(400, "The search request is not well-formed.") from None
        if not 1 <= limit <= _LARGEST_PAGE:
            raise self._errors.refuse(400, f"limit has to lie between 1 and {_LARGEST_PAGE}.")
        found = self._instances if asked.get("query") == QUERY else ()
        fields = asked.get("fields")
        page: dict[str, Any] = {"items": [_item(i, fields) for i in found[start : start + limit]]}
        page["limit"] = limit
        if start + limit < len(found):
            page["search_cursor"] = base64.urlsafe_b64encode(f"from:{start + limit}".encode()).decode()
        return json_answer(page)

    def _catalog(self, call: Call) -> Answer:
        wanted = unquote(call.path.removeprefix(_CATALOG_PATH))
        for plan in PLANS:
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
            "overview_ui": {"en": {"display_name": plan.name, "description": "emulated"}},
            "metadata": {"pricing": {"type": plan.pricing}},
        }
        return json_answer(entry)


def _item(instance: EmulatedInstance, fields: Any) -> dict[str, Any]:
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
