"""Where the gateway stands: between the programs of a site and the service."""

from .drawing import box, line, svg, text

_CALLERS = ("qiskit-ibm-runtime", "QRMI: jobs of a cluster", "curl, Go, Rust, JavaScript", "qrbackends")
_WIDTH, _HEIGHT = 960, 272
_MIDDLE = 118  # of the gateway's box, and of the callers
_BOLD, _CENTRED = 'font-weight="600"', 'text-anchor="middle"'
_RIGHT, _UP, _DOWN = "m-5 -3l5 3l-5 3", "m-3 5l3 -5l3 5", "m-3 -5l3 5l3 -5"  # heads of arrows


def site_svg() -> str:
    """Return callers, gateway, store and service, and who asks whom."""
    parts = [
        line("M4 4H510V268H4Z", 'stroke-dasharray="2 4"'),
        text(18, 24, "Your site", _BOLD),
    ]
    for number, caller in enumerate(_CALLERS):
        middle = _MIDDLE + 42 * (number - 1.5)
        parts += [box(18, middle - 15, 180, 30), text(30, middle + 4, caller)]
        parts.append(line(f"M198 {middle}C240 {middle} 240 {_MIDDLE} 272 {_MIDDLE}"))
    parts += [
        line(f"M272 {_MIDDLE}{_RIGHT}"),
        box(278, 76, 216, 84),
        text(386, 100, "qrbackends gateway", f"{_BOLD} {_CENTRED}"),
        text(386, 122, "list, configuration, properties,", _CENTRED),
        text(386, 140, "status, defaults: from the cache", _CENTRED),
        line(f"M386 164V212M386 164{_UP}M386 212{_DOWN}"),
        text(396, 192, "--store", 'font-family="monospace"'),
        box(326, 216, 120, 36),
        text(386, 238, "Redis", _CENTRED),
        line(f"M496 98H756{_RIGHT}"),
        text(520, 70, "one request per document"),
        text(520, 88, "and freshness period"),
        line(f"M496 138H756{_RIGHT}", 'stroke-dasharray="5 4"'),
        text(520, 158, "--pass-through", 'font-family="monospace"'),
        text(520, 176, "jobs, sessions, results, as streams"),
        box(764, 76, 186, 84),
        text(857, 108, "IBM Quantum", f"{_BOLD} {_CENTRED}"),
        text(857, 130, "us-east, eu-de", _CENTRED),
    ]
    return svg(
        _WIDTH, _HEIGHT, "Programs of a site ask the gateway, and it asks Redis and the service", parts
    )
