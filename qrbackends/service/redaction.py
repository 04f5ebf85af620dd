"""Secrets kept out of texts that others have a hand in. No I/O."""

from base64 import b64encode
from urllib.parse import quote, quote_plus

from ..errors import QRBackendsError

_PART = 8  # characters in a row of a secret that are never shown
_WINDOW, _STEP = 4, 5  # every part of so many characters holds one window of four at a fifth place
_ALIKE = str.maketrans("-_", "+/")  # base64's two alphabets


def redacted(text: str, secret: str) -> str:
    """Return `text` with `***` for the secret and every part of it, as it is, as in URLs and in base64.

    Texts are cut before they come here, so that half of a secret may be all that is left of it.
    """
    seen = text.translate(_ALIKE)
    windows = {seen[at : at + _WINDOW] for at in range(len(seen))}
    forms = [form for form in _forms(secret) if _may_hold(windows, form)]
    shown, at = [], 0
    while forms and at < len(text):
        end = max(_end(seen, at, form) for form in forms)
        shown.append("***" if end > at else text[at])
        at = max(end, at + 1)
    return "".join(shown) if forms else text


def redact(error: QRBackendsError, secret: str) -> None:
    """Replace a secret, and every part of it, with `***` in all texts of an error."""
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, redacted(value, secret))
    error.args = (error.message,)


def _forms(secret: str) -> set[str]:
    forms = {secret, quote(secret, safe=""), quote_plus(secret)}
    for before in range(3):  # other bytes may stand in front of it
        packed = b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        forms.add(packed[4 if before else 0 :])
    return {form.translate(_ALIKE) for form in forms if form}


def _may_hold(windows: set[str], form: str) -> bool:
    steps = range(0, len(form) - _WINDOW + 1, _STEP)
    return len(form) < _PART or not windows.isdisjoint([form[at : at + _WINDOW] for at in steps])


def _end(text: str, at: int, form: str) -> int:
    """Return where the part of `form` ends that begins at `at`; `at` itself where none does."""
    end = at + min(_PART, len(form))
    if text[at:end] not in form:
        return at
    while end < len(text) and text[at : end + 1] in form:
        end += 1
    return end
