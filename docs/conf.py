"""The site: Sphinx, MyST notebooks, furo. `make docs` builds it, and a warning is an error."""

import os
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent

project = "steer-plugin"
author = "the steer-plugin authors"
release = metadata.version("steer-plugin")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "_templates", "README.md"]
templates_path = ["_templates"]

# Tutorials run as the site is built, each in a kernel of its own, which reads these.
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "remove"
nb_execution_in_temp = True
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TQDM_DISABLE"] = "1"
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
# For the untrained model of some tutorials, which is the tests'.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(HERE.parent / "tests"), os.environ.get("PYTHONPATH")])
)

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# `name` in a docstring is a link where there is a page for it, and code where there is none.
default_role = "py:obj"
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_default_options = {"members": True, "imported-members": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "steer-plugin"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

SHOWN = {}


def shown_elsewhere(app, what, _name, obj, skip, _options):
    """Leave out what a page of the reference that was read before has shown, by whatever name."""
    if not isinstance(obj, type) or what != "module":
        return None
    page = SHOWN.setdefault(obj, app.env.current_document.docname)
    return skip or page != app.env.current_document.docname


def setup(app):
    """Connect what Sphinx asks."""
    app.connect("autodoc-skip-member", shown_elsewhere)
