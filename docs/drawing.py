"""The parts that pictures of the pages are drawn of: SVG in the colours of the page around it."""

from collections.abc import Iterable
from html import escape


def svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """Return a picture; the title is what is read out instead of it."""
    return (
        f'<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" '
        'font-family="system-ui, sans-serif" font-size="12" fill="currentColor" stroke-width="1.2">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def box(x: float, y: float, width: float, height: float) -> str:
    """Return a rounded box with its upper left corner at a place."""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" '
        'fill="currentColor" fill-opacity="0.07" stroke="currentColor" stroke-opacity="0.35"/>'
    )


def text(x: float, y: float, words: str, options: str = "") -> str:
    """Return text with the beginning of its base line at a place; `options` are attributes of SVG."""
    return f'<text x="{x}" y="{y}" {options}>{escape(words)}</text>'


def line(path: str, options: str = "") -> str:
    """Return a line along a path of SVG."""
    return f'<path d="{path}" fill="none" stroke="currentColor" opacity="0.6" {options}/>'
