"""Which backends are wanted, by their entries in the list: one test for `where=` and for the command line."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import force_setattr

from ..errors import InvalidRequest
from ..messages.suggestions import did_you_mean, instead, suggested
from ..models import Backend
from .checks import check_amount, check_choice, check_count, check_probability
from .keys import KEYS, RankKey


class BackendFilter(Struct, frozen=True, kw_only=True):
    """A test of a backend's entry in the list, for every `where=`; a backend has to pass all conditions.

    The values are those by which `rank` orders: an error of 1 or more is unknown. What is unknown counts as 0
    for a smallest value, and is within no largest one.

        fast = BackendFilter(name="ibm_*", min_qubits=100, max_two_qubit_error=3e-3)
        await client.least_busy(where=fast)

    Args:
        name: a glob, such as `ibm_b*`, or several of which one has to match; case does not matter.
        processor: a glob for the processor, such as `Heron r*`, or its family alone; case does not matter.
        online: whether only backends pass that take and run jobs now.
        min_qubits: the smallest number of qubits.
        max_queue: the largest number of waiting jobs.
        min_clops: the least circuit layer operations per second.
        max_two_qubit_error: the largest median error of the native two-qubit gate, a probability.
        max_two_qubit_error_layered: the largest error per gate of whole layers, a probability.
        max_readout_error: the largest median readout error, a probability.

    Raises:
        InvalidRequest: a condition has the wrong type, or is out of its range.
    """

    name: str | Sequence[str] = ()
    processor: str | None = None
    online: bool = False
    min_qubits: int | None = None
    max_queue: int | None = None
    min_clops: float | None = None
    max_two_qubit_error: float | None = None
    max_two_qubit_error_layered: float | None = None
    max_readout_error: float | None = None

    def __post_init__(self) -> None:
        many = not isinstance(self.name, str) and isinstance(self.name, Iterable)
        names = tuple(self.name) if many else (self.name,)
        if not all(isinstance(name, str) for name in names):
            raise InvalidRequest("name has to be a glob such as 'ibm_b*', or a list of globs")
        force_setattr(self, "name", names)
        if not isinstance(self.processor, str | None):
            raise InvalidRequest("processor has to be a glob such as 'Heron r*'")
        check_choice("online", self.online)
        check_count("min_qubits", self.min_qubits)
        check_count("max_queue", self.max_queue)
        check_amount("min_clops", self.min_clops)
        for name in ("max_two_qubit_error", "max_two_qubit_error_layered", "max_readout_error"):
            check_probability(name, getattr(self, name))

    def __call__(self, backend: Backend) -> bool:
        """Return whether a backend passes all conditions."""
        return (
            (backend.online or not self.online)
            and (not self.name or any(_matches(glob, backend.name) for glob in self.name))
            and (self.processor is None or _has_processor(backend, self.processor))
            and all(bound is None or -(KEYS[key](backend) or 0) >= bound for key, bound in self._least)
            and all(bound is None or _within(KEYS[key](backend), bound) for key, bound in self._most)
        )

    def unmatched(self, backends: Iterable[Backend]) -> tuple[str, ...]:
        """Return a sentence for each glob that no backend matches, with the names that are like it."""
        listed = tuple(backends)
        names = {one.name for one in listed}
        sentences = [
            suggested(f"no backend's name matches {glob!r:.80}", glob.strip("*?"), names)
            for glob in self.name
            if not any(_matches(glob, name) for name in names)
        ]
        if self.processor is not None and not any(_has_processor(one, self.processor) for one in listed):
            asked = self.processor.strip("*?")
            families = {one.processor_type.family or "" for one in listed if one.processor_type is not None}
            question = did_you_mean(asked, {name for one in listed for name in _processors(one)})
            sentence = f"no backend's processor matches {self.processor!r:.80}"
            sentences.append(f"{sentence}; {question or instead(asked, sorted(families))}")
        return tuple(sentences)

    @property
    def _least(self) -> tuple[tuple[RankKey, float | None], ...]:
        return ("qubits", self.min_qubits), ("clops", self.min_clops)  # the keys' values are negative

    @property
    def _most(self) -> tuple[tuple[RankKey, float | None], ...]:
        return (
            ("queue", self.max_queue),
            ("two_qubit_error", self.max_two_qubit_error),
            ("two_qubit_error_layered", self.max_two_qubit_error_layered),
            ("readout_error", self.max_readout_error),
        )


def _within(value: float | None, bound: float) -> bool:
    return value is not None and value <= bound


def _has_processor(backend: Backend, glob: str) -> bool:
    return any(_matches(glob, name) for name in _processors(backend))


def _processors(backend: Backend) -> tuple[str, ...]:
    """Return the names of a backend's processor: with its revision, and its family alone."""
    processor = backend.processor_type
    return () if processor is None else (str(processor), processor.family or "")


def _matches(glob: str, name: str) -> bool:
    return fnmatchcase(name.casefold(), glob.casefold())
