"""Draw the pictures of TensorBoard in notebooks 05 and 11: python tools/tensorboard_picture.py [NOTEBOOK ...].

Run the notebooks first, for their runs. Needs playwright and a Chromium, as the browser tests do (make browser).
"""

import io
import sys
from pathlib import Path

from get_browser import get_browser
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tudui_course import board
from tudui_course.runtime import runs_dir

DOCS = Path(__file__).resolve().parent.parent / "docs"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


def show_curves(page: Page, address: str) -> None:
    """The time series, with the two losses pinned at the top."""
    page.goto(f"{address}#timeseries")
    page.get_by_label("Enable step selection and data table").click()
    page.locator("button.group-toolbar").last.click()  # TensorBoard opens the first two groups only
    for count in range(2):  # pinned, both losses stand side by side
        page.locator("card-view").nth(-1 - count).get_by_role("button", name="Pin card").click()
        page.wait_for_timeout(1000)
    page.get_by_role("button", name="Close side pane").click()
    page.set_viewport_size({"width": 1300, "height": 500})


def show_hparams(page: Page, address: str) -> None:
    """The hyperparameters and results of all runs, as parallel coordinates."""
    page.set_viewport_size({"width": 1300, "height": 850})
    page.goto(f"{address}#hparams")
    page.get_by_text("PARALLEL COORDINATES VIEW").click()


PICTURES = {
    "05_no_grad_and_tensorboard": ("tensorboard.png", show_curves),
    "11_choosing_honestly": ("tensorboard_hparams.png", show_hparams),
}


def take_picture(log_dir: Path, show) -> bytes:
    """A screenshot of TensorBoard's page, as PNG, once `show` has brought it there."""
    server = board.start_server(log_dir)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=get_browser(), headless=True, args=FLAGS)
            page = browser.new_page(viewport={"width": 1300, "height": 2500}, color_scheme="light")
            show(page, f"http://127.0.0.1:{server.port}/?darkMode=false")
            page.wait_for_timeout(4000)  # until the curves are drawn
            picture = page.screenshot()
            browser.close()
    finally:
        board.stop(log_dir)
    return picture


def main() -> None:
    for notebook in sys.argv[1:] or PICTURES:
        name, show = PICTURES[notebook]
        picture = Image.open(io.BytesIO(take_picture(runs_dir() / notebook, show))).convert("RGB")
        picture.quantize(64).save(DOCS / name, optimize=True)
        print(f"docs/{name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
