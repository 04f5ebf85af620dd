"""Redaction: secrets are removed from texts that the service or a proxy wrote. No I/O."""

from base64 import b64encode
from urllib.parse import quote, quote_plus

from ..accounts.secret import LEAST_SEARCHED
from ..errors import QRBackendsError

_PART = LEAST_SEARCHED  # every part of a secret of at least so many characters is replaced
_WINDOW, _STEP = 4, 5  # each part of 8 characters contains 4 that begin at a multiple of 5 in the secret
_ALIKE = str.maketrans("-_", "+/")  # base64's two alphabets as one


def redacted(text: str, secret: str) -> str:
    """Return `text` with `***` for the secret and its parts: as it is, percent-encoded, and in base64.

    Parts count because long texts are cut before they are redacted: the cut may leave half of a secret.
    A secret of fewer than 8 characters is not searched for: it would hide letters of other words.
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
    """Replace a secret and its parts with `***` in all texts of an error."""
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, redacted(value, secret))
        elif isinstance(value, bytes) and value:  # every byte is one character of Latin-1
            setattr(error, name, redacted(value.decode("latin-1"), secret).encode("latin-1"))
    error.args = (error.message,)


def _forms(secret: str) -> set[str]:
    """Return the encodings in which a text may contain the secret."""
    if len(secret) < _PART:  # its encodings may be longer
        return set()
    forms = {secret, quote(secret, safe=""), quote_plus(secret)}
    for before in range(3):  # base64 depends on how many bytes are before it
        packed = b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        forms.add(packed[4 if before else 0 :])
    return {form.translate(_ALIKE) for form in forms if len(form) >= _PART}


def _may_hold(windows: set[str], form: str) -> bool:
    """Return False only if a text with these windows contains no part of `form`; a quick test."""
    steps = range(0, len(form) - _WINDOW + 1, _STEP)
    return not windows.isdisjoint([form[at : at + _WINDOW] for at in steps])


def _end(text: str, at: int, form: str) -> int:
    """Return the end of the part of `form` that begins at `at` in the text; `at` if there is none."""
    end = at + _PART
    shorter = len(text) - at < _WINDOW  # at the end of a text; so few characters tell nothing
    if shorter or text[at:end] not in form:
        return at
    while end < len(text) and text[at : end + 1] in form:
        end += 1
    return end
