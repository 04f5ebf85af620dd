"""The log of a monitor: a line when a failure begins, and one when it ends."""

import logging
from collections.abc import Collection, Hashable
from datetime import datetime
from typing import NamedTuple

from ..errors import QRBackendsError
from ..protocol.answers import printable

logger = logging.getLogger("qrbackends.monitor")


class _Failure(NamedTuple):
    """What fails: a sentence's subject and participle, since when, and whatever fails together."""

    subject: str
    done: str
    since: datetime
    members: set[Hashable]


class FailureLog:
    """Writes warnings; of what fails for one reason, such as all instances of a region, one for all."""

    def __init__(self) -> None:
        self._failures: dict[Hashable, _Failure] = {}

    def begin(
        self, group: Hashable, member: Hashable, subject: str, done: str, at: datetime, error: QRBackendsError
    ) -> None:
        """Note that something fails, and write `SUBJECT cannot be DONE` with the reason.

        Args:
            group: stands for all that fails for the same reason; the first of it is written, and of the
                others there are lines for information only.
            member: stands for what fails.
            subject: what fails.
            done: what cannot be done with it, as a participle.
            at: since when.
            error: the reason.
        """
        failure = self._failures.get(group)
        if failure is None:
            failure = self._failures[group] = _Failure(subject, done, at, set())
        elif member in failure.members:
            return
        level = logging.INFO if failure.members else logging.WARNING
        failure.members.add(member)
        logger.log(level, "%s", printable(f"{subject} cannot be {done}: {error}"))

    def end(self, member: Hashable, at: datetime) -> None:
        """Note that something does not fail any more; write it if that is true of all of its group."""
        for group, failure in tuple(self._failures.items()):
            if member in failure.members:
                failure.members.discard(member)
                if not failure.members:
                    del self._failures[group]
                    seconds = (at - failure.since).total_seconds()
                    text = f"{failure.subject} can be {failure.done} again, after {seconds:.0f} s"
                    logger.warning("%s", printable(text))

    def forget(self, members: Collection[Hashable]) -> None:
        """Note, without a word, that nobody knows any more whether these members fail."""
        for failure in self._failures.values():
            failure.members.difference_update(members)
        self._failures = {group: one for group, one in self._failures.items() if one.members}
