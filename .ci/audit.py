"""Fails if a version with a known vulnerability is installed, or may be installed.

Run it with the Python of the environment to look at. It compares what is installed there, and the lowest
versions that pyproject.toml allows, with `vulnerable.toml`. It needs no network.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

HERE = Path(__file__).parent
OLD = 180  # days after which the list should be renewed
OF_THE_ENVIRONMENT = {"pip", "setuptools", "wheel"}  # Python's own venv brings them, whatever is installed


class Vulnerable(NamedTuple):
    """Versions of a package, and what is known of them."""

    package: str
    versions: SpecifierSet
    ids: tuple[str, ...]


def known(text: str) -> tuple[date, list[Vulnerable]]:
    """Return the date of a list, and its entries; anything that is not an entry is an error."""
    document = tomllib.loads(text)
    entries = []
    for entry in document.pop("vulnerable"):
        package, versions, ids = (entry.pop(key) for key in ("package", "versions", "ids"))
        if entry or not ids or not versions:
            raise ValueError(f"{package}: an entry has a package, versions and ids, and nothing else")
        entries.append(Vulnerable(normalized(package), SpecifierSet(versions), tuple(ids)))
    checked = document.pop("checked")
    if document or not isinstance(checked, date):
        raise ValueError("besides its entries, the list has the date `checked`, and nothing else")
    return checked, entries


def found(entries: Iterable[Vulnerable], versions: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each entry that one of the versions is in."""
    for package, version in versions:
        for entry in entries:
            if entry.package == normalized(package) and entry.versions.contains(version, prereleases=True):
                yield f"{package} {version}: {', '.join(entry.ids)}"


def installed() -> list[tuple[str, str]]:
    """Return the names and versions of what is installed in this environment."""
    there = [(one.metadata["Name"], one.version) for one in distributions()]
    return sorted({one for one in there if normalized(one[0]) not in OF_THE_ENVIRONMENT})


def lowest(project: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the lowest version of each requirement in pyproject.toml, of those that name one."""
    table = project["project"]
    assert isinstance(table, dict)
    extras = table["optional-dependencies"].values()
    required = [Requirement(one) for some in (table["dependencies"], *extras) for one in some]
    return [
        (one.name, bound.version) for one in required for bound in one.specifier if bound.operator == ">="
    ]


def normalized(name: str) -> str:
    """Return a package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Print what was found, and return the exit code."""
    checked, entries = known((HERE / "vulnerable.toml").read_text())
    there, bounds = installed(), lowest(tomllib.loads((HERE.parent / "pyproject.toml").read_text()))
    problems = [f"installed: {line}" for line in found(entries, there)]
    problems += [f"allowed by pyproject.toml: {line}" for line in found(entries, bounds)]
    for problem in problems:
        print(problem, file=sys.stderr)
    if (date.today() - checked).days > OLD:
        print(f"warning: .ci/vulnerable.toml was checked on {checked}; it should be renewed", file=sys.stderr)
    print(f"{len(there)} installed and {len(bounds)} lowest versions: {len(problems)} known to be vulnerable")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
