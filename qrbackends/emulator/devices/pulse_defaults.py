"""The pulse-level defaults of a synthetic processor, as the service once sent them for most devices."""

from collections.abc import Iterator
from typing import Any

import msgspec

from .chip import Chip

_READOUT_BANDS = 8  # readout resonators in a row have different frequencies
_AMPLITUDE = 0.1  # of the pulse of an x gate


def defaults_document(chip: Chip) -> bytes:
    """Return the JSON of a chip's defaults: frequencies in GHz, and the pulses of each gate in samples."""
    kernel = {"name": "hw_qmfk", "params": {}}
    document = {
        "qubit_freq_est": [qubit.frequency for qubit in chip.qubits],
        "meas_freq_est": [7.0 + 0.06 * (number % _READOUT_BANDS) for number in range(len(chip.qubits))],
        "buffer": 0,
        "pulse_library": [],  # all pulses are parametric
        "cmd_def": list(_commands(chip)),
        "meas_kernel": kernel,
        "discriminator": kernel,
    }
    return msgspec.json.encode(document)


def _commands(chip: Chip) -> Iterator[dict[str, Any]]:
    generation = chip.generation
    for number in range(len(chip.qubits)):
        drive = f"d{number}"
        for name, amplitude in (("sx", _AMPLITUDE / 2), ("x", _AMPLITUDE)):
            shape = {"amp": amplitude, "angle": 0.0, "beta": -0.5, "sigma": _samples(chip, 10)}
            pulse = _pulse("drag", drive, _samples(chip, generation.sx_ns), shape)
            yield {"name": name, "qubits": [number], "sequence": [pulse]}
        turn = {"name": "fc", "t0": 0, "ch": drive, "phase": "-(P0)"}
        yield {"name": "rz", "qubits": [number], "sequence": [turn]}
        yield {"name": "measure", "qubits": [number], "sequence": _measurement(chip, number)}
    pairs = sorted(turn for pair in chip.couplings for turn in (pair.qubits, pair.qubits[::-1]))
    for channel, pair in enumerate(pairs):
        duration = _samples(chip, generation.entangler_ns)
        pulse = _pulse("gaussian_square", f"u{channel}", duration, _flat(chip, duration))
        yield {"name": generation.entangler, "qubits": list(pair), "sequence": [pulse]}


def _measurement(chip: Chip, number: int) -> list[dict[str, Any]]:
    duration = _samples(chip, chip.generation.readout_ns)
    acquire = {"name": "acquire", "t0": 0, "duration": duration, "qubits": [number], "memory_slot": [number]}
    return [_pulse("gaussian_square", f"m{number}", duration, _flat(chip, duration)), acquire]


def _flat(chip: Chip, duration: int) -> dict[str, Any]:
    sigma = _samples(chip, 14)
    return {"amp": 2 * _AMPLITUDE, "angle": 0.0, "sigma": sigma, "width": duration - 4 * sigma}


def _pulse(shape: str, channel: str, duration: int, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "parametric_pulse",
        "t0": 0,
        "ch": channel,
        "pulse_shape": shape,
        "parameters": {"duration": duration, **parameters},
    }


def _samples(chip: Chip, nanoseconds: float) -> int:
    """Return a duration in samples, a multiple of 16, as the control electronics demand."""
    return 16 * max(1, round(nanoseconds / chip.generation.dt / 16))
