"""What pyproject.toml says of other packages: no known vulnerability; caps where insides are relied on."""

import importlib.util
import tomllib
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

RELIED_ON = {
    "aiohttp": "`ClientSession._retry_connection`, and what `TCPConnector` calls of a subclass (`__del__`)",
    "aiohttp-socks": "that `ProxyConnector` calls the next class of a subclass, and passes its options on",
    "cachetools": "which methods of `TLRUCache` call one another, so that a subclass knows what has left",
    "redis": "the lists of a `ConnectionPool`, and a connection's `_writer`",
    "uvicorn": "`Server.capture_signals` and `Server.startup`, which a subclass replaces",
}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requirements() -> dict[str, Requirement]:
    """Return the requirements of a user: of the core, and of the extras that are not for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    told = [
        *project["dependencies"],
        *(one for name in extras if name not in ("test", "bench", "fuzz", "all") for one in extras[name]),
    ]
    return {one.name: one for one in map(Requirement, told) if one.name != "qrbackends"}  # an extra's extra


def capped(one: Requirement) -> bool:
    return any(bound.operator == "<" for bound in one.specifier)


def test_what_is_relied_on_beyond_public_names_has_a_cap_and_nothing_else_has() -> None:
    assert {name for name, one in requirements().items() if capped(one)} == set(RELIED_ON)


def test_every_requirement_has_a_lower_bound() -> None:
    assert [str(one) for one in requirements().values() if ">=" not in str(one.specifier)] == []


def test_no_version_that_is_installed_or_allowed_is_known_to_be_vulnerable(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main() == 0, capsys.readouterr().err


LIST = """
checked = 2026-11-26
[[vulnerable]]
package = "Some.Package"
versions = ">=1.2,<1.4.1"
ids = ["CVE-1", "CVE-2"]
"""


@pytest.mark.parametrize(
    ("version", "wrong"),
    [("1.1", False), ("1.2", True), ("1.4", True), ("1.4.1rc1", False), ("1.4.1", False), ("2", False)],
)
def test_the_audit_finds_a_version_by_its_range(audit: ModuleType, version: str, wrong: bool) -> None:
    checked, entries = audit.known(LIST)
    assert checked == date(2026, 11, 26)
    found = list(audit.found(entries, [("some_package", version), ("another", "1.3")]))
    assert found == ([f"some_package {version}: CVE-1, CVE-2"] if wrong else [])


def test_the_audit_looks_at_what_is_installed_and_at_the_lowest_versions(audit: ModuleType) -> None:
    there = dict(audit.installed())
    assert there["aiohttp"]
    assert not {"pip", "setuptools"} & set(there)
    table = {
        "dependencies": ["a>=1.2,<2", "b"],
        "optional-dependencies": {"x": ["c[y]>=3; python_version > '3'"]},
    }
    assert audit.lowest({"project": table}) == [("a", "1.2"), ("c", "3")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('versions = ">=1.2,<1.4.1"', 'versions = "old ones"'),
        ('versions = ">=1.2,<1.4.1"', 'versions = ""'),
        ('ids = ["CVE-1", "CVE-2"]', "ids = []"),
        ('ids = ["CVE-1", "CVE-2"]', 'id = "CVE-1"'),
        ("checked = 2026-11-26", 'checked = "today"'),
        ("checked = 2026-11-26", "checked = 2026-11-26\nnote = 1"),
        ("[[vulnerable]]", "[[vulnerabel]]"),
    ],
)
def test_a_list_that_is_wrong_fails_the_audit(audit: ModuleType, before: str, after: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        audit.known(LIST.replace(before, after))


def test_a_finding_fails_the_run(
    audit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    text = 'checked = 2020-01-01\n[[vulnerable]]\npackage = "AIOHTTP"\nversions = "<9"\nids = ["CVE-1"]\n'
    (tmp_path / ".ci" / "vulnerable.toml").write_text(text)
    monkeypatch.setattr(audit, "HERE", tmp_path / ".ci")
    assert audit.main() == 1
    told = capsys.readouterr().err
    assert "installed: aiohttp" in told
    assert "allowed by pyproject.toml: aiohttp" in told
    assert "it should be renewed" in told
