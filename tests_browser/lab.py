"""JupyterLab as a learner meets it: started by `make lab`, operated through its menus and editors."""

import io
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import ElementHandle, Locator, Page

ROOT = Path(__file__).resolve().parent.parent
TEST_SETTINGS = ("TUDUI_HEADLESS", "TUDUI_PROGRESS", "TUDUI_HOME", "TQDM_DISABLE")  # of conftest.py; not a learner's


class Lab:
    """A running JupyterLab, with folders of its own: settings, notebooks and their pictures (copies), data and runs."""

    def __init__(self, folder: Path, port: int, command: tuple[str, ...] = ("make", "lab"), **variables: str) -> None:
        self.home, self.temp = folder / "home", folder / "temp"
        self.notebooks = folder / "course" / "notebooks"
        self.home.mkdir()
        self.temp.mkdir()
        shutil.copytree(ROOT / "notebooks", self.notebooks, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        shutil.copytree(ROOT / "docs", folder / "course" / "docs", ignore=shutil.ignore_patterns("_*"))
        drawn = ROOT / "dataset" / "pictograms-batches-py"
        if drawn.is_dir():
            shutil.copytree(drawn, self.home / "dataset" / drawn.name)
        environment = {name: value for name, value in os.environ.items() if name not in TEST_SETTINGS}
        environment |= {"TUDUI_HOME": str(self.home), "TMPDIR": str(self.temp), "IPYTHONDIR": str(folder / "ipython")}
        for kind in ("CONFIG", "DATA", "RUNTIME"):
            environment[f"JUPYTER_{kind}_DIR"] = str(folder / kind.lower())
        environment |= variables
        options = f"--no-browser --expose-app-in-browser --ServerApp.port={port}"
        if command[0] == "make":
            options += f" --ServerApp.root_dir={self.notebooks.parent}"
            command += (f"LAB_ARGS={options}",)
        environment["TUDUI_LAB_ARGS"] = options  # of `tudui course`
        self.log = folder / "lab.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log,
                                            start_new_session=True)  # fmt: skip
        self.url = self.wait_for_url()

    def wait_for_url(self) -> str:
        """The address that JupyterLab opens in the browser."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r"http://localhost:\d+/\S+token=\w+", self.log.read_text()):
                return found[0]
            time.sleep(0.2)
        raise RuntimeError(f"JupyterLab didn't start:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End make and JupyterLab, which ends its kernels."""
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(60)


# ---- one page of JupyterLab; `jupyterapp` is there because of --expose-app-in-browser ----

NOTEBOOK = "jupyterapp.shell.currentWidget"


def wait_until_ready(page: Page, name: str) -> None:
    """Wait until this notebook is in front and its kernel idle."""
    page.wait_for_function(
        "name => { const panel = window.jupyterapp?.shell.currentWidget;"
        " return panel?.context?.path === name && panel.content.model?.cells?.length"
        " && panel.sessionContext.session?.kernel?.status === 'idle' }",
        arg=name,
        timeout=90_000,
    )


def choose(page: Page, menu: str, item: str) -> None:
    """Choose an item of a menu with the mouse."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{item}$")).click()


def run_all(page: Page, seconds: float = 600) -> None:
    """Run All Cells through the menu, and wait until every code cell has a count and the kernel is idle."""
    choose(page, "Edit", "Clear Outputs of All Cells")
    choose(page, "Run", "Run All Cells")
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle' &&"
        " [...jupyterapp.shell.currentWidget.content.model.cells]"
        ".every(cell => cell.type !== 'code' || cell.executionCount || !cell.sharedModel.source.trim())",
        timeout=seconds * 1000,
    )


def cells(page: Page) -> list[dict]:
    """The notebook as it is in the page: its cells, in the format of .ipynb files."""
    return page.evaluate(f"() => {NOTEBOOK}.content.model.toJSON().cells")


def errors(page: Page) -> list[str]:
    """Errors and warnings among the outputs."""
    found = []
    for cell in cells(page):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                found.append(f"{cell['id']}: {output['ename']}: {output['evalue']}")
            elif output.get("name") == "stderr":
                found.append(f"{cell['id']}: {''.join(output['text'])}")
    return found


def text_of(page: Page, cell_id: str) -> str:
    """What a cell has printed."""
    cell = next(cell for cell in cells(page) if cell["id"] == cell_id)
    return "".join("".join(output.get("text", "")) for output in cell["outputs"])


def show_cell(page: Page, cell_id: str) -> ElementHandle:
    """Bring a cell into view; cells that are out of sight need not be in the page."""
    page.evaluate(
        f"""async id => {{
            const notebook = {NOTEBOOK}.content;
            const index = notebook.widgets.findIndex(cell => cell.model.id === id);
            notebook.activeCellIndex = index;
            await notebook.scrollToItem(index, 'start');
            await notebook.widgets[index].ready;
        }}""",
        cell_id,
    )
    handle = page.evaluate_handle(f"id => {NOTEBOOK}.content.widgets.find(cell => cell.model.id === id).node", cell_id)
    return handle.as_element()


def write_and_run(page: Page, cell_id: str, code: str) -> str:
    """Put code in place of a cell's, with mouse and keyboard, run it with Shift + Enter, and return what it prints."""
    show_cell(page, cell_id).query_selector(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(code)
    before = count_of(page, cell_id)
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(
        f"""([id, before]) => {{
            const cell = {NOTEBOOK}.content.widgets.find(cell => cell.model.id === id).model;
            return cell.executionCount > before && {NOTEBOOK}.sessionContext.session.kernel.status === 'idle';
        }}""",
        arg=[cell_id, before],
    )
    return text_of(page, cell_id)


def count_of(page: Page, cell_id: str) -> int:
    return next(cell for cell in cells(page) if cell["id"] == cell_id)["execution_count"] or 0


def ink(chart: Locator) -> int:
    """How many pixels of a chart are neither white nor grey, as its grid is: TensorBoard draws on a canvas."""
    pixels = np.asarray(Image.open(io.BytesIO(chart.screenshot())).convert("RGB")).astype(int)
    return int((pixels.max(2) - pixels.min(2) > 15).sum())
