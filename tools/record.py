"""Run notebooks and store their outputs: python tools/record.py [NOTEBOOK ...]; all of them by default.

They are run as CI runs them (one thread, no progress bars, no TensorBoard frame), and written in a form in which a
second recording changes nothing: no times, no widget state, no versions.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

ROOT = Path(__file__).resolve().parent.parent
HEADLESS = runpy.run_path(str(ROOT / "conftest.py"))["HEADLESS"]  # what CI sets for the kernels
EXECUTE = [
    "nbconvert",
    "--to",
    "notebook",
    "--execute",
    "--inplace",
    "--ExecutePreprocessor.record_timing=False",
]
NORMALISE = ["nbstripout", "--keep-output", "--keep-count", "--keep-id", "--extra-keys"]
DROPPED = "metadata.widgets metadata.language_info"


def record(notebook: Path) -> None:
    """Run one notebook and store its outputs, or leave it as it was and raise CalledProcessError."""
    print(notebook.name, flush=True)
    environment = {**os.environ, **HEADLESS}
    subprocess.run([sys.executable, "-m", *EXECUTE, str(notebook)], check=True, env=environment, capture_output=True)
    normalise(notebook)


def normalise(*notebooks: Path) -> None:
    """Drop from notebooks what differs from one recording to the next, also where lines are cut into pieces."""
    for notebook in notebooks:
        content, _ = CoalesceStreamsPreprocessor(enabled=True).preprocess(nbformat.read(notebook, as_version=4), {})
        nbformat.write(content, notebook)
    subprocess.run([sys.executable, "-m", *NORMALISE, DROPPED, *map(str, notebooks)], check=True)


def main() -> None:
    for notebook in map(Path, sys.argv[1:] or sorted((ROOT / "notebooks").glob("*.ipynb"))):
        try:
            record(notebook)
        except subprocess.CalledProcessError as error:
            sys.exit(f"{notebook.name} failed:\n{error.stderr.decode()[-3000:]}")


if __name__ == "__main__":
    main()
