"""The part of a device's page that its calibration alone decides: the figures and the map."""

import logging

from ..analysis.devicemap import FIGURES, By, DeviceMap, device_map
from ..errors import QRBackendsError
from ..models import BackendConfiguration, BackendProperties, BackendSummary, summary
from .pages import rendered

logger = logging.getLogger("qrbackends.web")


def device_part(configuration: BackendConfiguration, properties: BackendProperties, by: By) -> bytes:
    """Return the figures and the map of a device, as HTML, or a sentence about why there is no map."""
    found: BackendSummary | None = None
    drawing: DeviceMap | None = None
    missing = ""
    try:
        found = summary(configuration, properties)
        drawing = device_map(configuration, properties, by)
    except ImportError as error:
        missing = error.msg
    except QRBackendsError as error:
        missing = f"This device cannot be drawn: {error.message}."
    except (ArithmeticError, ValueError, LookupError, TypeError) as error:  # documents that nobody foresaw
        missing = "This device cannot be drawn: its documents are odd."
        logger.warning("%.80r cannot be drawn: %s", properties.backend_name, type(error).__name__)
    return rendered(
        "device.html",
        name=properties.backend_name,
        found=found,
        drawing=drawing,
        missing=missing,
        by=by,
        figures=FIGURES,
    )
