"""`tudui course` from a wheel, in an environment where nothing else of the project is."""

import subprocess
import sys
import sysconfig

import pytest
from lab import ROOT, Lab, choose, errors, run_all, wait_until_ready

from conftest import free_port


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab as `tudui course FOLDER` opens it; the environment shares the packages, not the project."""
    folder = tmp_path_factory.mktemp("course")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    (site,) = (folder / "env" / "lib").rglob("site-packages")
    (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
    (folder / "env" / "share").symlink_to(f"{sys.prefix}/share")
    (wheel,) = folder.glob("*.whl")
    python = folder / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True, cwd=folder)
    where = subprocess.check_output([python, "-c", "import tudui_course; print(tudui_course.__file__)"], cwd=folder)
    assert str(site) in where.decode()
    running = Lab(folder, free_port(), (str(folder / "env" / "bin" / "tudui"), "course", str(folder / "mine")))
    yield running
    running.stop()


def test_the_first_notebook_opens_and_runs(lab, open_page, picture):
    page, _ = open_page(1440, 1000)
    page.goto(lab.url)
    wait_until_ready(page, "notebooks/00_start_here.ipynb")
    run_all(page)
    picture(page, "course-from-a-wheel")
    assert errors(page) == []
    choose(page, "File", "Save Notebook")
    page.wait_for_timeout(2000)


def test_called_again_it_keeps_what_was_saved(lab):
    mine = lab.home.parent / "mine"
    before = (mine / "notebooks" / "00_start_here.ipynb").read_bytes()
    (mine / "notebooks" / "01_dataloader.ipynb").unlink()
    program = lab.home.parent / "env" / "bin" / "tudui"
    said = subprocess.check_output([program, "course", mine, "--no-lab"], text=True, cwd=mine)
    assert "new      01_dataloader.ipynb" in said
    assert (mine / "notebooks" / "00_start_here.ipynb").read_bytes() == before
