"""The pages name what there is: public objects, folders, commands, settings, screens, and each other."""

import asyncio
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import click
import pytest
from matplotlib.image import imread

import qrbackends
from docs.build import PAGES, printed_anew, screens, without_ages
from docs.call import way_of_a_call
from docs.extension import error_rows, loaded_from_elsewhere, public_names, settings_of
from docs.pictures import FOLDER, draw_board
from qrbackends.cli import cli
from qrbackends.errors import __all__ as errors

from .test_readme import README, ROOT
from .web.browser import chromium

DOCS = ROOT / "docs"
PACKAGE = ROOT / "qrbackends"
DIRECTIVE = re.compile(r"^\.\. public:: (\S+)\n((?:\n|   .*\n)*)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#:]+)(?:#([^)\s]+))?\)")


def documented() -> list[tuple[str, str]]:
    """Return the modules and names that the pages of the reference document."""
    found = []
    for page in DOCS.glob("reference*.md"):
        for module, names in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            found += [(module, name) for name in names.split() or public_names(module)]
    return found


def test_the_reference_names_each_public_object_once_and_nothing_private() -> None:
    named = documented()
    assert len(set(named)) == len(named)
    for module in {module for module, _ in named}:
        own = sorted(name for of, name in named if of == module)
        assert own == sorted(public_names(module)), module
    assert not [name for _, name in named if name.startswith("_")]
    assert {"qrbackends", "qrbackends.models", "qrbackends.emulator"} < {module for module, _ in named}


def test_each_module_that_pages_import_from_is_in_the_reference() -> None:
    modules = {module for module, _ in documented()} | {"qrbackends.errors"}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for module, names in re.findall(r"^\s*from (qrbackends[\w.]*) import ([\w, ]+)$", text, re.MULTILINE):
            assert module in modules, f"{page.name}: {module}"
            assert set(names.split(", ")) <= set(import_module(module).__all__), f"{page.name}: {names}"


def test_the_messages_of_the_troubleshooting_are_ours() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # texts that go on in the next line
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]*) \|", page, re.MULTILINE)
    messages = [text for cell in cells for text in re.findall(r"`([^`]*)`", cell) if "…" not in text]
    assert len(messages) >= 20
    assert [text for text in messages if text not in source] == []


def test_the_metrics_of_the_alerts_are_ours() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in (PACKAGE / "interop").rglob("*.py"))
    alerts = re.findall(r"`(qrbackends_\w+) ", (DOCS / "metrics.md").read_text(encoding="utf-8"))
    assert len(alerts) == 4
    assert [name for name in alerts if name not in source] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('<script async src="https://host/a.js">', 1),
        ('<link rel="stylesheet" href="//host/a.css">', 1),
        ('<img alt="" src=http://host/a.png>', 1),
        ('<script type="module">import a from "https://host/a.mjs"</script>', 1),
        ("@font-face { src: url(https://host/a.woff2) }", 1),
        ('<a href="https://host/">, <img src="a.png">, url("a.png"), <link href="_static/a.css">', 0),
    ],
)
def test_a_build_sees_what_pages_load_from_elsewhere(text: str, count: int) -> None:
    assert len(loaded_from_elsewhere(text)) == count


@pytest.mark.anyio
async def test_the_picture_of_the_board_is_what_it_looks_like(tmp_path: Path) -> None:
    """`python -m docs.build` makes it anew."""
    async with chromium():
        pass  # skips without one
    await draw_board(tmp_path)
    for name in ("board-fleet.png", "board-device.png", "board-phone.png"):
        found, known = imread(tmp_path / name), imread(FOLDER / name)
        assert found.shape == known.shape
        assert abs(found - known).mean() < 0.02, name  # of the range from black to white


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.stem)
def test_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        file = page.parent / target
        assert file.is_file(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_each_page_is_in_the_contents() -> None:
    contents = set((DOCS / "index.md").read_text(encoding="utf-8").split())
    pages = {page.stem for page in (*DOCS.glob("*.md"), *DOCS.glob("*.ipynb"))}
    assert pages - contents == {"index"}


def test_the_architecture_names_each_folder_and_no_other() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^  (\w+)/ ", text, re.MULTILINE))
    assert named == {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")}
    top = set(re.findall(r"^(\.?\w+)/\s", text, re.MULTILINE))
    assert top == {"qrbackends", "tests", "benchmarks", "docs", ".ci"}


def test_the_table_of_errors_has_each_one_with_its_columns() -> None:
    rows = {re.findall(r"qrbackends\.(\w+)", name)[0]: marks for name, _, *marks in error_rows()}
    assert rows.keys() == set(errors)
    for name, marks in rows.items():
        kind = getattr(qrbackends, name)
        error = kind("", 503) if issubclass(kind, qrbackends.ServerError) else kind("")
        for mark, means in zip(marks, (error.outage, error.retryable, error.final), strict=True):
            assert mark == "(✓)" or (mark == "✓") == means, name


def test_each_setting_is_told_with_its_default() -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    told = {
        name: list(settings_of(name)) for name in re.findall(r"^\.\. settings:: (.*)$", page, re.MULTILINE)
    }
    for name in ("CachePolicy", "Limits", "RetryPolicy"):
        kind = getattr(qrbackends, name)
        assert [setting for setting, *_ in told[f"qrbackends.{name}"]] == [one.name for one in fields(kind)]
    assert all(text for rows in told.values() for *_, text in rows)
    assert ("max_bytes", "256 MiB") in [row[:2] for row in told["qrbackends.Memory"]]
    assert ("timeout", "0.5") in [row[:2] for row in told["qrbackends.RedisStore"]]


def test_the_way_of_a_call_is_that_of_the_layers() -> None:
    stops = [f"{stop.folder}/{stop.module}" for stop in asyncio.run(way_of_a_call())]
    wanted = ["qrbackends/client", "cache/cache", "tasks/flight", "service/sender", "transport/pool"]
    assert [stop for stop in stops if stop in wanted] == wanted


def commands() -> Iterator[tuple[str, str]]:
    """Yield the commands of all blocks that are no program: of shells, units of systemd and containers."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(
            r"^```(?:sh|console|text|ini|yaml)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
        ):
            for line in re.findall(r"(?:^(?:\$ )?|/|&& |exec )(qrbackends [a-z-].*)$", block, re.MULTILINE):
                yield page.stem, line


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_the_commands_of_a_page_are_taken(page: str, line: str) -> None:
    """Each has only options and arguments that there are."""
    _, *arguments = shlex.split(re.split(r" (?:[&|>]|&&)(?: |$)", line)[0], comments=True)
    group: click.Command = cli
    context = click.Context(cli, **cli.context_settings)  # a command keeps the names of its --help
    while isinstance(group, click.Group):
        command = group.get_command(context, arguments[0]) if arguments else None
        if command is None:  # a group with options of its own
            assert group is not cli
            assert group.invoke_without_command
            break
        name = arguments.pop(0)
        context = click.Context(command, info_name=name, parent=context)
        group = command
    parser = group.make_parser(context)
    parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("page", "screen"), [(page.stem, screen) for page in PAGES for screen in screens(page)]
)
def test_a_screen_is_what_the_command_prints(page: str, screen: str) -> None:
    """`python -m docs.build` makes them anew."""
    assert without_ages(printed_anew(screen)) == without_ages(screen)
