"""Get what the browser tests need beside Python packages: a Chromium, and axe-core. Prints the browser's path.

A browser named by CHROMIUM or found on the PATH is used; else Debian's or Ubuntu's package is installed, as
root, and a font with Chinese letters, too.
axe-core, which looks for what hinders people with disabilities, comes from npm into build/browser.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

AXE = "axe-core@4.14.1"
FOLDER = Path(__file__).resolve().parent.parent / "build" / "browser"
AXE_SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)


def find_browser() -> str | None:
    """The browser's path, or None."""
    if os.environ.get("CHROMIUM"):
        return shutil.which(os.environ["CHROMIUM"])
    return next((path for path in map(shutil.which, (*NAMES, *PLACES)) if path), None)


def get_browser() -> str:
    """The browser's path; installs one where there is none and that can be done."""
    if not find_browser() and not os.environ.get("CHROMIUM") and shutil.which("apt-get") and os.geteuid() == 0:
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "-y", "chromium"]):
            subprocess.run(command, check=True, stdout=sys.stderr)
    if found := find_browser():
        return found
    if os.environ.get("CHROMIUM"):
        sys.exit(f"CHROMIUM is {os.environ['CHROMIUM']!r}, which is no program; give the path of Chromium or Chrome.")
    sys.exit("No Chromium, Chrome or Edge was found: install one (Debian: sudo apt-get install chromium) or name it: "
             "make browser CHROMIUM=/path/to/chrome")  # fmt: skip


def get_font() -> None:
    """Install a font with Chinese letters where there is none, or every screenshot shows boxes."""
    lister = shutil.which("fc-list")
    missing = lister and not subprocess.run([lister, ":lang=zh"], capture_output=True).stdout.strip()
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "install", "-qq", "-y", "fonts-noto-cjk"], check=True, stdout=sys.stderr)


def get_axe() -> None:
    """Put axe-core into build/browser."""
    package = AXE_SCRIPT.with_name("package.json")
    if package.exists() and f'"version": "{AXE.partition("@")[2]}"' in package.read_text(encoding="utf-8"):
        return
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm was not found: install Node.js (Debian: sudo apt-get install npm), which brings it.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    options = ["--prefix", str(FOLDER), "--no-save", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run([npm, "install", *options, AXE], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    get_axe()
    browser = get_browser()
    get_font()
    print(browser)
