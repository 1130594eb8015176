"""TensorBoard through a real jupyter-server-proxy, as on a JupyterHub or wherever Jupyter runs on another machine."""

from urllib.parse import urlsplit

import nbformat
import pytest
from lab import Lab, errors, ink, run_all, text_of, wait_until_ready

from conftest import free_port

HARMLESS = (
    r"/api/contents/.*\.ipynb_checkpoints",
    r"/font-roboto/",  # TensorBoard asks for its font at the top of the server, whatever stands before it
    r"^console: Failed to load resource: .* 404",  # which file it was stands in a line of its own
)
CODE = """
from tudui_course import board
from tudui_course.runtime import runs_dir

with board.open_writer(runs_dir() / "proxied") as writer:
    for step in range(100):
        writer.add_scalar("train_loss", 1 / (step + 1), step)
board.show(runs_dir() / "proxied")
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    running = Lab(tmp_path_factory.mktemp("proxied"), free_port(), TENSORBOARD_PROXY_URL="/proxy/%PORT%/")
    cell = nbformat.v4.new_code_cell(CODE.strip(), id="board")
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(notebook, running.notebooks / "proxied.ipynb")
    yield running
    running.stop()


def test_tensorboards_page_comes_through_jupyter(lab, open_page, picture):
    page, watch = open_page(1440, 1000)
    address = urlsplit(lab.url)
    page.goto(f"http://{address.netloc}/lab/tree/notebooks/proxied.ipynb?{address.query}")
    wait_until_ready(page, "notebooks/proxied.ipynb")
    run_all(page)
    assert errors(page) == []
    frame = page.frame_locator(".jp-OutputArea-output iframe")
    frame.locator("scalar-card").first.wait_for()
    card = frame.locator("scalar-card", has=page.locator(".tag[title='train_loss']"))
    card.locator("scalar-card-data-table", has=page.locator("tb-data-table-content-cell", has_text="99")).wait_for()
    page.wait_for_timeout(1000)
    picture(page, "lab-proxied-tensorboard")
    assert ink(card.locator("line-chart .series-view")) > 300
    source = urlsplit(page.locator(".jp-OutputArea-output iframe").get_attribute("src"))
    assert source.netloc == address.netloc and source.path.startswith("/proxy/"), "not through Jupyter"
    assert f"The page comes through {source.path} (TENSORBOARD_PROXY_URL)" in text_of(page, "board")
    assert watch.take(harmless=HARMLESS) == []
