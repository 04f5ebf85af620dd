"""The file of saved accounts: read as a whole, and replaced as a whole by one with changed entries."""

import json
import os
import re
import select
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ..errors import AccountError
from .replacing import FLAGS, replacing

_INDENT = 4  # spaces, as the official client writes them
_PATIENCE = 5.0  # seconds to wait for what another program writes into a pipe
_MOST_BYTES = 16 * 2**20  # in a file of accounts; /dev/zero has no end
_LARGEST = 1e308  # stands for all numbers that are larger
_HALF = re.compile("[\ud800-\udfff]")  # of a character in two parts, whose other half is missing

Entries = dict[str, msgspec.Raw]
"""The JSON of each account by its name, in the file's order."""


def read(file: Path) -> Entries | None:
    """Return the accounts of a file, or None if there is no such file.

    The file may be a pipe. As in the official client, it may hold what only Python takes for JSON: a number
    stands for NaN and Infinity, and U+FFFD for half of a surrogate pair.

    Raises:
        AccountError: it cannot be read, or is no JSON object; the message contains nothing of the file.
    """
    try:
        return _known(_lenient_entries(_content(_expanded(file), file)), file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccountError(f"{file} cannot be read: {error.strerror}") from None


@contextmanager
def changed(file: Path) -> Iterator[Entries]:
    """Yield the accounts of a file, and replace the file by one with these accounts after the block.

    Entries that the block leaves alone keep their bytes and their order. See `replacing`, which keeps other
    programs out meanwhile. The official client knows no lock.

    Raises:
        AccountError: the file cannot be read, is no JSON object, is a symbolic link or cannot be replaced; or
            another program has been changing it for 5 s, or was ended while it did.
    """
    path = _expanded(file)
    with replacing(path, AccountError) as (new, exists):
        entries = _strict_entries(path, file) if exists else {}
        yield entries
        new.write(formatted(entries))


def fields_of(entry: msgspec.Raw) -> Entries | None:
    """Return the JSON of each field of an entry, or None if it is no object."""
    try:
        return msgspec.json.decode(entry, type=Entries)
    except (msgspec.DecodeError, RecursionError):
        return None


def is_true(value: msgspec.Raw) -> bool:
    """Return whether Python takes a JSON value for true, as the official client asks of its marks."""
    try:
        return bool(json.loads(bytes(value)))
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return True


def formatted(fields: Mapping[str, msgspec.Raw], depth: int = 0) -> bytes:
    """Return a JSON object laid out as the official client does; the values' bytes are as they are."""
    if not fields:
        return b"{}"
    inner = " " * _INDENT * (depth + 1)
    lines = (f"{inner}{json.dumps(name)}: ".encode() + bytes(value) for name, value in fields.items())
    return b"{\n" + b",\n".join(lines) + b"\n" + b" " * _INDENT * depth + b"}"


def _expanded(file: Path) -> Path:
    try:
        path = file.expanduser()
        path.lstat()
    except ValueError:  # a NUL character in it
        raise AccountError(f"{str(file)!r} is not the path of a file") from None
    except RuntimeError:
        raise AccountError(
            f"{file} is in a home directory that is not known: set HOME, or name another file"
        ) from None
    except OSError:  # whoever uses it gets it again
        pass
    return path


def _entries(content: bytes) -> Entries | None:
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(content.decode(), type=Entries)
    return None


def _lenient_entries(content: bytes) -> Entries | None:
    """Return the accounts of a file also if only Python takes it for JSON; None if it is no JSON object."""

    def limited(number: str) -> float:
        return max(-_LARGEST, min(_LARGEST, float(number)))

    def whole(text: str) -> str:
        return _HALF.sub("\ufffd", text)

    if (entries := _entries(content)) is not None:
        return entries
    with suppress(ValueError, RecursionError):
        parsed = json.loads(content.decode(), parse_float=limited, parse_constant=lambda _: _LARGEST)
        if isinstance(parsed, dict):
            texts = {
                whole(name): whole(json.dumps(entry, ensure_ascii=False)) for name, entry in parsed.items()
            }
            return {name: msgspec.Raw(text.encode()) for name, text in texts.items()}
    return None


def _strict_entries(path: Path, file: Path) -> Entries:
    """Return the accounts of a file that is going to be changed, each with its own bytes."""
    content = _content(path, file, FLAGS)
    entries = _entries(content)
    only_read = entries is None and _lenient_entries(content) is not None
    del content  # crash reports may show the names in every frame
    if only_read:
        raise AccountError(
            f"{file} can be read, but not changed: there is NaN, Infinity or half of a surrogate pair in it"
        )
    return _known(entries, file)


def _known(entries: Entries | None, file: Path) -> Entries:
    if entries is None:
        # The parser's message is left out, and is no context: it may quote the file, and with it a key.
        raise AccountError(f"{file} is not a JSON object of saved accounts")
    return entries


def _content(path: Path, file: Path, flags: int = 0) -> bytes:
    """Return what a file or pipe holds; a pipe into which nobody writes is not waited for without end."""
    flags |= getattr(os, "O_NONBLOCK", 0)  # the opening of a pipe waits, too
    with open(path, "rb", opener=lambda name, own: os.open(name, own | flags)) as old:
        if hasattr(select, "poll") and not stat.S_ISREG(os.fstat(old.fileno()).st_mode):
            poll = select.poll()
            poll.register(old, select.POLLIN)
            if not poll.poll(_PATIENCE * 1000):
                raise AccountError(f"nothing came from {file} for {_PATIENCE:g} s")
            os.set_blocking(old.fileno(), True)
        content = old.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise AccountError(f"{file} has more than {_MOST_BYTES} bytes, and is no file of saved accounts")
    return content
