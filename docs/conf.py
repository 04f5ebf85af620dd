"""What Sphinx builds the documentation with: `python -m sphinx -W -n docs build/docs`."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the package beside the pages, and the extension among them

from qrbackends import __version__  # noqa: E402

project = "qrbackends"
copyright = "the authors of qrbackends; Apache-2.0"  # noqa: A001  # Sphinx's name
release = version = __version__

extensions = [
    "myst_nb",  # pages in Markdown, and the notebook
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # docstrings have the sections of Google's style
    "sphinx_click",  # the command line, from its own commands
    "sphinx_copybutton",
    "docs.extension",
]
exclude_patterns = ["build", "**/__pycache__"]
html_theme = "furo"
html_title = f"qrbackends {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sphinx = False
pygments_style, pygments_dark_style = "default", "github-dark"

smartquotes = False  # `--option` in texts of commands
default_role = "code"  # docstrings write `names` as Markdown does
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_use_ivar = True  # attributes are told in the class's text, and not once more each
napoleon_custom_sections = [
    ("Arguments of several methods", "params_style"),
    ("Fixtures to override", "params_style"),
]
napoleon_google_docstring, napoleon_numpy_docstring = True, False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
# Signatures name these by strings, as their modules import them for type checkers only. All other names that
# lead nowhere have to exist (docs/extension.py): a build asks no host for the lists of other packages.
nitpick_ignore = [("py:class", name) for name in ("AerJob", "Dataset", "NoiseModel", "Source", "Steering")]

myst_enable_extensions = ["colon_fence", "attrs_block"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tests run the notebook, which is kept without what it printed
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = False
