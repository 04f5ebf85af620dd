"""The tools: what an agent can ask, with the arguments and the answers of each.

A tool is a few lines around what the client, `fleet` and `analysis` can do, and changes nothing. Its
docstring is what agents are told of it; its types are the schemas. It knows nothing of MCP.
Start with `backends`; `qubits` and `calibrations` are about a single device.
"""

from collections.abc import Awaitable, Callable
from inspect import cleandoc
from typing import Any, Final, NamedTuple, TypeAlias, get_type_hints

from ..reading import Reading
from ..schemas import Answer, Arguments
from . import backends, calibrations, qubits

Run: TypeAlias = Callable[[Reading, Any], Awaitable[Answer]]
"""Returns an answer, given what reads its data and its arguments."""


class Tool(NamedTuple):
    """What an agent can ask.

    Attributes:
        name: its name.
        description: what it does, for agents.
        arguments: the struct of its arguments.
        answer: the struct of its answer.
        run: returns the answer.
    """

    name: str
    description: str
    arguments: type[Arguments]
    answer: type[Answer]
    run: Run


def _tool(run: Run) -> Tool:
    types = get_type_hints(run)
    return Tool(run.__name__, cleandoc(run.__doc__ or ""), types["ask"], types["return"], run)


_RUNS: Final[tuple[Run, ...]] = (
    backends.list_backends,
    backends.least_busy,
    backends.rank_backends,
    backends.backend_status,
    backends.backend_summary,
    qubits.best_qubits,
    qubits.list_qubits,
    qubits.qubit_calibration,
    qubits.coupling_map,
    calibrations.calibration_history,
    calibrations.calibration_drift,
)

TOOLS: Final = tuple(map(_tool, _RUNS))
"""All tools."""
