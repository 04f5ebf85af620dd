"""Hourly calibrations of devices, made of one of the emulator's: with other dates, and values that drift."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from qrbackends import BackendProperties
from qrbackends.analysis.archive_rows import table_of
from qrbackends.emulator import SyntheticFleet

QUBITS = 156
NEWEST = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Calibrations:
    """The calibrations of one device: each value is measured anew once a day, a part of them each hour."""

    def __init__(self, name: str = "device") -> None:
        fleet = SyntheticFleet({name: QUBITS})
        document = fleet.build(fleet.find("properties", name, None, None, NEWEST.timestamp()))
        properties = msgspec.json.decode(document, type=BackendProperties)
        self.name = name
        self._table = table_of(properties, "https://origin", "")
        self._random = np.random.default_rng(1)
        self._first = self._table["value"].to_numpy()
        self._values = self._first.copy()
        self.rows = len(self._values)

    def at(self, at: datetime) -> Any:
        """Return the rows of the calibration of an instant, which is later than that of the last call."""
        renewed = (np.arange(self.rows) + at.hour) % 24 == 0
        self._values[renewed] = self._first[renewed] * self._random.uniform(0.8, 1.2, renewed.sum())
        columns = {
            "calibrated_at": pa.array([at] * self.rows, pa.timestamp("us", "UTC")),
            "value": pa.array(self._values.copy()),
            "month": pa.array([f"{at:%Y-%m}"] * self.rows),
        }
        table = self._table
        for name, column in columns.items():
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
        return table

    def hours(self, first: datetime, count: int) -> Iterator[tuple[datetime, Any]]:
        """Yield so many calibrations, and when each was done."""
        for number in range(count):
            at = first + number * HOUR
            yield at, self.at(at)
