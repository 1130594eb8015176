"""How `make lab` and `tudui course` open JupyterLab: python -m jupyterlab --config=THIS_FILE, on any system."""

import os
import sysconfig
from pathlib import Path

here = Path(__file__).resolve().parent

c = get_config()  # noqa: F821  (JupyterLab provides it)
own = os.environ.get("TUDUI_LAB_FOLDER")  # of `tudui course`
root = own or str(here.parent.parent)
c.ServerApp.root_dir = root  # not notebooks/, for notebooks show pictures that lie in docs/, and link to its pages
c.LabApp.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
c.LabApp.app_settings_dir = str(here)  # overrides.json: no question about news; room for the notebooks' names

# The command `tudui` works in its terminals, also where the environment isn't activated; a login shell, which they are
# where the server has no terminal of its own, would set PATH anew. They open in the root, whatever folder is in view.
os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
if os.name == "posix":
    shell = os.environ.get("SHELL") or "sh"
    c.ServerApp.terminado_settings = {"shell_command": ["sh", "-c", 'cd "$0" && exec "$1"', root, shell]}
