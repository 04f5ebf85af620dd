"""The notebook in `docs` runs in a kernel of its own, where documents and pictures show themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import qrbackends

pytest.importorskip("nbconvert")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
MARK = "<strong>Emulated data</strong>"


def cells(notebook: Path) -> list[dict[str, Any]]:
    found: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8"))
    return [cell for cell in found["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Run the notebook, and return what the last value of each cell was shown as, by the cell's last line."""
    folder = tmp_path_factory.mktemp("notebook")
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    own = dict.fromkeys(names, str(folder))  # not those of whoever runs it, who may have other kernels
    own["PYTHONPATH"] = str(Path(qrbackends.__file__).parents[1])
    command = ["-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(folder), str(NOTEBOOK)]
    outcome = subprocess.run(
        [sys.executable, *command], env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    found = {}
    for cell in cells(folder / NOTEBOOK.name):
        for output in cell["outputs"]:
            assert output["output_type"] in ("execute_result", "stream"), output
            if output["output_type"] == "execute_result":
                found[cell["source"][-1]] = {kind: "".join(data) for kind, data in output["data"].items()}
            else:
                assert output["name"] == "stdout", output["text"]
    return found


def test_it_is_kept_without_what_it_printed() -> None:
    assert [cell for cell in cells(NOTEBOOK) if cell["outputs"] or cell["execution_count"]] == []


def test_documents_are_marked_tables_and_short_lines(shown: dict[str, dict[str, str]]) -> None:
    documents = {
        "fleet": "<BackendList of ",
        "boston": "Backend(name='ibm_boston', ",
        "summary(configuration, properties, listed=boston)": "BackendSummary(backend_name='ibm_boston', ",
        "history": "<CalibrationList: ",
        "compare(history[0], history[-1])": "Comparison(before=",
    }
    for line, text in documents.items():
        data = shown[line]
        assert data["text/plain"].startswith(text)
        assert len(data["text/plain"]) <= 300
        assert data["text/html"].startswith("<table")
        assert MARK in data["text/html"]
    assert "<th>ibm_boston</th>" in shown["fleet"]["text/html"]


def test_pictures_need_no_magic(shown: dict[str, dict[str, str]]) -> None:
    for line in ("error_map(configuration, properties)", 'history_plot(history, "t1", qubits=[0])'):
        assert shown[line]["image/png"].startswith("iVBORw0KGgo"), "PNG in base64"


def test_rows_make_frames(shown: dict[str, dict[str, str]]) -> None:
    (frame,) = (data for line, data in shown.items() if line.startswith("frame."))
    assert "two_qubit_error" in frame["text/html"]
