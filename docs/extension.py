"""What Sphinx lists and draws from code: public objects, settings, errors, and the way of one call.

All directives are for reStructuredText (`eval-rst` in a page), as docstrings are written in it.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

import qrbackends
from qrbackends import errors

from .call import call_svg
from .site import site_svg

_LINE = re.compile(
    r"^[\s│├└─]*(\w+)\s+(?:\(also (\w+)\)|(\d\w\w))?\s+(\(?[x-]\)?)\s+(\(?[x-]\)?)\s+(\(?[x-]\)?)\s*(.*)$"
)
_LETTER_AFTER_CODE = re.compile(r"(`[^`]+`)(?=\w)")  # the plural of a name; a role has to end before it
_BOUNDED = re.compile(
    r"""~?(?:typing\.)?Annotated\[([\w.]+), ~?(?:msgspec\.)?Meta\((?:"[^"]*"|'[^']*'|[^()"'])*\)\]"""
)
_NO_VALUE = re.compile(r"(?:[\w.]+\()?<(?:[^<>]|<[^<>]*>)+>(?:, \w+\))?")  # of functions, objects, partials
_LOADED = re.compile(
    r"""<(?:script|link|img|iframe|source|video|audio|object|embed|use|image)\b[^>]*\s"""
    r"""(?:src|srcset|href|data|xlink:href)=["']?\s*(?:https?:)?//[^>]*"""
    r"""|url\(["']?\s*(?:https?:)?//[^)]*|@import[^;]*//[^;]*|\b(?:import|from)\s*\(?["']https?://[^"']*"""
)
_MEANS = {"x": "✓", "-": "–", "(x)": "(✓)"}


class Public(SphinxDirective):
    """Document the public objects of a module: those of the content, or all of `__all__`."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return what autodoc makes of them."""
        module = self.arguments[0]
        names = " ".join(self.content).split() or public_names(module)
        return self.parse_text_to_nodes("\n\n".join(_directive(module, name) for name in names))


def public_names(module: str) -> list[str]:
    """Return the names in a module's `__all__` that no module above it, or that it is made of, has."""
    own = import_module(module).__all__
    elsewhere = set(import_module("qrbackends").__all__) if module != "qrbackends" else set()
    if module == "qrbackends.testing":
        elsewhere |= set(import_module("qrbackends.emulator").__all__)
    return [name for name in own if name not in elsewhere and name != "__version__"]


def _directive(module: str, name: str) -> str:
    found = getattr(import_module(module), name)
    if inspect.isclass(found):
        bases = "\n   :show-inheritance:" if any(map(_is_known, found.__bases__)) else ""
        return f".. autoclass:: {module}.{name}\n   :members:{bases}"
    if inspect.isroutine(found):
        return f".. autofunction:: {module}.{name}"
    text = "\n   ".join(_attribute_doc(module, name))
    return f".. py:data:: {module}.{name}\n\n   {text}"


def _attribute_doc(module: str, name: str) -> list[str]:
    """Return the docstring below the assignment of a name, in the module below `module` that has it."""
    found = getattr(import_module(module), name)
    for home, loaded in sorted(sys.modules.items()):
        if home.startswith(module) and vars(loaded).get(name) is found:
            told = ModuleAnalyzer.for_module(home).find_attr_docs().get(("", name))
            if told:
                return _as_rest(told)
    return _as_rest((inspect.getdoc(found) or "").splitlines())


class Settings(SphinxDirective):
    """List the parameters of classes and functions, their defaults, and what docstrings say of them."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return one table."""
        rows = [
            (f"``{setting}``", f"``{default}``" if default else "", text)
            for name in self.arguments[0].split()
            for setting, default, text in settings_of(name)
        ]
        return self.parse_text_to_nodes(_table(("setting", "default", "what it is"), rows))


def settings_of(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield each parameter: its name, its default if it has one that is a value, and what the docstring says.

    Clocks, which are parameters for tests, are left out.
    """
    found = resolve_name(name)
    told = dict(_told(inspect.getdoc(found) or ""))
    for parameter in inspect.signature(found).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:  # which names what is mistaken
            continue
        if not callable(parameter.default) or parameter.default is parameter.empty:
            yield parameter.name, _value(parameter.default), told[parameter.name]


def _told(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names in a docstring's `Args`, and what is said of each."""
    arguments = text.partition("Args:\n")[2].partition("\n\n")[0]
    for match in re.finditer(r"^    (\w+): (.*(?:\n     +.*)*)", arguments, re.MULTILINE):
        yield match[1], " ".join(match[2].split())


def _value(default: Any) -> str:
    if default is inspect.Parameter.empty or repr(default) == "<factory>":
        return ""
    if isinstance(default, bool) or not isinstance(default, int | float):
        return str(default)
    return f"{default // 2**20} MiB" if isinstance(default, int) and default >= 2**20 else f"{default:,.9g}"


class Errors(SphinxDirective):
    """List the tree of errors with its three columns, as `qrbackends.errors` draws it."""

    def run(self) -> list[nodes.Node]:
        """Return a table, in which each error leads to its own text."""
        heads = ("error", "what it means", "outage", "retryable", "final")
        return self.parse_text_to_nodes(_table(heads, list(error_rows())))


def error_rows() -> Iterator[tuple[str, ...]]:
    """Yield each error of the tree: its name, after its depth, what it means, and the three columns."""
    base = errors.QRBackendsError
    yield (":class:`~qrbackends.QRBackendsError`", _summary(base), *(_MEANS["-"],) * 3)
    for line in (errors.__doc__ or "").splitlines():
        match = _LINE.match(line)
        if match:
            name, also, _, *marks, remark = match.groups()
            error = getattr(errors, name)
            indent = "\N{NO-BREAK SPACE}" * 3 * (sum(issubclass(one, base) for one in error.__mro__) - 1)
            text = _summary(error) + (f" Also ``{also}``." if also else "")
            yield (
                f"{indent}\\ :class:`~qrbackends.{name}`" if indent else f":class:`~qrbackends.{name}`",
                f"{text} (✓): {remark}." if "(x)" in marks else text,
                *(_MEANS[mark] for mark in marks),
            )


def _summary(found: object) -> str:
    return (inspect.getdoc(found) or "").partition("\n\n")[0]


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (heads, *rows):
        for number, cell in enumerate(row):
            lines.append(f"   {'* -' if number == 0 else '  -'} {cell}".rstrip())
    return "\n".join(lines)


class Drawn(SphinxDirective):
    """Show a picture that is drawn while the pages are built: `call`, of a real call, or `site`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the picture."""
        picture = {"call": call_svg, "site": site_svg}[self.arguments[0]]()
        return [nodes.raw("", f'<div class="drawn">{picture}</div>', format="html")]


def _refuse_other_hosts(app: Sphinx, failed: Exception | None) -> None:
    """Fail where a page, or its styles, would load anything from elsewhere when it is read."""
    if failed is None:
        for file in Path(app.outdir).rglob("*"):
            if file.suffix in (".html", ".css"):
                for found in loaded_from_elsewhere(file.read_text(encoding="utf-8")):
                    raise ExtensionError(f"{file.name} loads from another host: {found:.200}")


def loaded_from_elsewhere(text: str) -> list[str]:
    """Return what a page, or its styles, loads by an address with a host; links to follow are none of it."""
    return [found[0] for found in _LOADED.finditer(text)]


def _find_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Lead a name of the module that defines an object to where it is public.

    Signatures name objects by their own modules, which are no part of the API. Those of other packages, and
    private ones, lead nowhere, but have to exist.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    if not _exists(target):
        return None
    own = target.rpartition(".")[2]
    objects = env.domains["py"].objects
    places = [name for name in objects if name.rpartition(".")[2] == own and name.count(".") <= 3]
    if not target.startswith("qrbackends.") or not places:
        return content
    public = min(places, key=lambda name: name.count("."))
    found = objects[public]
    return nodes.reference(
        "",
        "",
        content,
        internal=True,
        reftitle=public,
        refuri=app.builder.get_relative_uri(node["refdoc"], found.docname) + "#" + found.node_id,
    )


def _exists(name: str) -> bool:
    """Return whether there is an object of this name, which begins with its package."""
    try:
        return "." in name and resolve_name(name) is not None
    except (ImportError, AttributeError, ValueError):
        return False


def _write_as_rest(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Turn a docstring, which is plain text with Markdown's `code`, into reStructuredText."""
    lines[:] = _as_rest(lines)
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]  # a comment, or what is before a colon in the first line is taken for a type


def _write_short_types(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, result: str | None
) -> tuple[str | None, str | None]:
    """Leave bounds of integers, what no Python can parse, and what only names mistakes out of a signature."""
    short = signature and _BOUNDED.sub(r"\1", signature).replace(", **mistaken: ~typing.Never", "")
    return short and _NO_VALUE.sub("...", short), result and _BOUNDED.sub(r"\1", result)


def _leave_private_bases_out(app: Sphinx, name: str, obj: type, options: object, bases: list[Any]) -> None:
    """Show the bases that readers can know, and no others."""
    bases[:] = filter(_is_known, bases)


def _is_known(base: Any) -> bool:
    """Return whether readers can know a base class: one that is public, or one of Python's."""
    name = getattr(base, "__name__", "")
    home = getattr(base, "__module__", "").partition(".")[0]
    return name != "object" and (home in ("builtins", "enum") or name in qrbackends.__all__)


def _as_rest(lines: list[str]) -> list[str]:
    """Return lines in which what is indented below text and a blank line is code, as it is in docstrings."""
    text: list[str] = []
    above, in_code = "", False  # the last line without an indent
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith(" "):
            above, in_code = line, False
        elif line.startswith("    ") and not in_code and above and not lines[number - 1].strip():
            text += [".. code-block:: python", ""]
            in_code = True
        text.append(line if in_code else _LETTER_AFTER_CODE.sub(r"\1\\ ", line))
    return text


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of all that is above."""
    app.add_directive("public", Public)
    app.add_directive("settings", Settings)
    app.add_directive("error-tree", Errors)
    app.add_directive("drawn", Drawn)
    app.connect("missing-reference", _find_public)
    app.connect("autodoc-process-docstring", _write_as_rest, priority=400)  # before the sections are
    app.connect("autodoc-process-signature", _write_short_types)
    app.connect("autodoc-process-bases", _leave_private_bases_out)
    app.connect("build-finished", _refuse_other_hosts)
    return {"parallel_read_safe": True}
