"""Draw docs/tensorboard.png, the picture of TensorBoard in notebook 05: python tools/tensorboard_picture.py [LOG_DIR].

Run notebook 05 first, for its curves. Needs playwright and a Chromium, as the browser tests do (make browser).
"""

import io
import sys
from pathlib import Path

from get_browser import get_browser
from PIL import Image
from playwright.sync_api import sync_playwright

from tudui_course import board
from tudui_course.runtime import runs_dir

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "tensorboard.png"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


def take_picture(log_dir: Path) -> bytes:
    """A screenshot of TensorBoard's page with the two losses pinned at its top, as PNG."""
    server = board.start_server(log_dir)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=get_browser(), headless=True, args=FLAGS)
            page = browser.new_page(viewport={"width": 1300, "height": 2500}, color_scheme="light")
            page.goto(f"http://127.0.0.1:{server.port}/?darkMode=false#timeseries")
            page.get_by_label("Enable step selection and data table").click()
            page.locator("button.group-toolbar").last.click()  # TensorBoard opens the first two groups only
            for count in range(2):  # pinned, both losses stand side by side
                page.locator("card-view").nth(-1 - count).get_by_role("button", name="Pin card").click()
                page.wait_for_timeout(1000)
            page.get_by_role("button", name="Close side pane").click()
            page.set_viewport_size({"width": 1300, "height": 500})
            page.wait_for_timeout(4000)  # until the curves are drawn
            picture = page.screenshot()
            browser.close()
    finally:
        board.stop(log_dir)
    return picture


def main() -> None:
    log_dir = Path(sys.argv[1]) if sys.argv[1:] else runs_dir() / "05_no_grad_and_tensorboard"
    picture = Image.open(io.BytesIO(take_picture(log_dir))).convert("RGB")
    picture.quantize(64).save(PICTURE, optimize=True)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
