"""Machines as people have them: other encodings, proxies, accelerators that compute nothing, no checkout."""

import io
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib import font_manager
from PIL import Image

import tudui_course
from tudui_course import doctor, plots, runtime
from tudui_course.errors import CourseWarning, InputError
from tudui_course.predict import Prediction, draw_figure

FIND_SYSTEM_FONTS = font_manager.findSystemFonts

# ---- the console's encoding ----


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "✓ 正确 고양이 Müller"),
        ("gbk", r"\u2713 正确 \uace0\uc591\uc774 Müller"),
        ("cp1252", r"\u2713 \u6b63\u786e \uace0\uc591\uc774 Müller"),
        ("ascii", r"\u2713 \u6b63\u786e \uace0\uc591\uc774 M\xfcller"),
    ],
)
def test_what_the_consoles_encoding_lacks_is_written_otherwise(encoding, shown):
    code = (
        "import sys; from tudui_course.console import show_anything; show_anything();"
        r"text = '\u2713 \u6b63\u786e \uace0\uc591\uc774 M\xfcller'; print(text); print(text, file=sys.stderr);"
        r"print('\udcff')"  # a file name that isn't UTF-8
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.decode(encoding).splitlines() == [shown, r"\udcff"]
    assert done.stderr.decode(encoding).splitlines() == [shown]


def test_streams_that_have_no_encoding_to_set_are_left_alone(monkeypatch):
    """Jupyter's, and none at all, as under pythonw."""
    from tudui_course.console import show_anything

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", object())
    show_anything()


# ---- accelerators ----


@pytest.fixture
def broken(monkeypatch):
    """A machine that lists an accelerator which fails at the first product; the failure is torch's own."""
    if torch.accelerator.is_available():
        pytest.skip("there is an accelerator that works")
    monkeypatch.setattr(runtime, "available_devices", lambda: ["cpu", "cuda:0"])
    monkeypatch.setattr(doctor, "available_devices", lambda: ["cpu", "cuda:0"])
    runtime.fault_of.cache_clear()
    yield runtime.fault_of("cuda:0")
    runtime.fault_of.cache_clear()


def test_auto_takes_the_cpu_where_the_accelerator_computes_nothing_and_says_why(broken):
    with pytest.warns(CourseWarning) as told:
        assert runtime.choose_device("auto") == torch.device("cpu")
    assert broken and f"'cuda:0' is there but computes nothing ({broken})" in str(told[0].message)
    assert "doctor` says what to do. Meanwhile the CPU is taken." in str(told[0].message)


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_an_accelerator_that_was_asked_for_and_computes_nothing_is_refused(broken, name):
    with pytest.raises(InputError, match=rf"device '{name}' is there but computes nothing \(.*or take --device cpu\.$"):
        runtime.choose_device(name)


def test_doctor_names_the_remedy(broken):
    subject, found, remedy = doctor.check_devices()
    assert subject == "devices" and found.startswith(f"cpu; cuda:0: {broken}; ")
    assert f"torch {torch.__version__} was built for" in remedy and "driver" in remedy
    with warnings.catch_warnings(action="error"):
        assert doctor.check_precision()[1].startswith("cpu computes")


def test_a_wrong_product_counts_as_a_fault(monkeypatch):
    monkeypatch.setattr(torch, "ones", lambda *size, device: torch.zeros(size))
    runtime.fault_of.cache_clear()
    assert runtime.fault_of("mps:0") == "a wrong product"
    runtime.fault_of.cache_clear()


def test_the_cpu_is_not_tried_and_nothing_is_said():
    with warnings.catch_warnings(action="error"):
        assert runtime.choose_device("cpu") == torch.device("cpu")


# ---- letters in figures ----

NAMES = ["猫", "고양이", "犬です"]


FIGURES = [
    lambda: plots.plot_probabilities([(name, 0.3) for name in NAMES]),
    lambda: plots.plot_confusion(torch.eye(3), NAMES),
    lambda: plots.show_pictures(torch.zeros(3, 3, 32, 32), NAMES),
]


@pytest.fixture
def without_fonts(monkeypatch):
    """matplotlib as it is where no font has these letters."""
    latin = [font for font in font_manager.fontManager.ttflist if font.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", latin)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    plots.cjk_fonts.cache_clear()
    yield
    plots.cjk_fonts.cache_clear()
    plt.close("all")


@pytest.mark.parametrize("draw", FIGURES)
def test_names_in_any_script_are_drawn_where_a_font_has_them(draw):
    if not plots.cjk_fonts():
        pytest.skip("no font with these letters is installed")
    with warnings.catch_warnings(action="error"):  # matplotlib warns of each letter that it draws as a box
        draw().figure.savefig(io.BytesIO())
    plt.close("all")


@pytest.mark.parametrize("draw", FIGURES)
def test_where_no_font_has_them_one_sentence_names_the_remedy(without_fonts, draw):
    with pytest.warns(CourseWarning, match=r"no font here has .*猫.*: little boxes.*fonts-noto-cjk") as told:
        draw()
    assert len(told) == 1


def test_latin_letters_need_no_other_font(without_fonts):
    with warnings.catch_warnings(action="error"):
        ax = plots.plot_probabilities([("cat", 0.5), ("Müller ✓", 0.5)])
        ax.figure.savefig(io.BytesIO())


def test_a_font_installed_since_matplotlib_made_its_list_is_found(without_fonts, monkeypatch):
    paths = [path for path in FIND_SYSTEM_FONTS() if "cjk" in path.lower()]
    if not paths:
        pytest.skip("no font with these letters is installed")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [*paths, "/no/such/font.ttf"])
    assert set(plots.cjk_fonts()) & {"Noto Sans CJK SC", "Noto Sans CJK JP"}


@pytest.mark.parametrize("fonts", [True, False])
def test_a_figure_of_predictions_says_once_what_no_font_has(fonts, tmp_path, request):
    if not fonts:
        request.getfixturevalue("without_fonts")
    elif not plots.cjk_fonts():
        pytest.skip("no font with these letters is installed")
    paths = [tmp_path / f"{name}.png" for name in NAMES]
    for path in paths:
        Image.new("RGB", (32, 32)).save(path)
    predictions = {path: Prediction("猫", 0.6, {"猫": 0.6, "狗": 0.4}) for path in paths}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        draw_figure(predictions, {path: torch.zeros(3, 32, 32) for path in paths}, tmp_path / "figure.png")
    assert len(told) == (0 if fonts else 1) and (tmp_path / "figure.png").exists()
    assert fonts or all(letter in str(told[0].message) for letter in "猫狗犬고")


# ---- proxies ----


def test_doctor_asks_this_machine_without_a_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert doctor.check_tensorboard() == ("TensorBoard", "starts and answers", "")


# ---- where data and runs live ----

WHERE = "from tudui_course.runtime import data_dir, home, runs_dir; print(home(), data_dir(), runs_dir(), sep='\\n')"


@pytest.fixture
def where(tmp_path):
    """where(NAME=value ...) -> home, data and runs of a package that was installed, not checked out."""
    shutil.copytree(Path(tudui_course.__file__).parent, tmp_path / "installed" / "tudui_course")

    def ask(**variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUDUI")}
        environment |= {"PYTHONPATH": str(tmp_path / "installed"), "HOME": str(tmp_path / "li"), **variables}
        done = subprocess.run(
            [sys.executable, "-c", WHERE], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return done.stdout.splitlines() or done.stderr

    return ask


@pytest.mark.skipif(sys.platform != "linux", reason="the folders differ; platformdirs knows them")
def test_an_installed_package_keeps_runs_as_data_and_data_sets_in_the_cache(where, tmp_path):
    variables = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert where(**variables) == [
        f"{tmp_path}/data/tudui_course",
        f"{tmp_path}/cache/tudui_course/dataset",
        f"{tmp_path}/data/tudui_course/runs",
    ]


def test_tudui_home_moves_all(where, tmp_path):
    assert where(TUDUI_HOME=str(tmp_path / "x")) == [str(tmp_path / part) for part in ("x", "x/dataset", "x/runs")]


def test_a_checkout_keeps_all_in_itself(where, tmp_path):
    (tmp_path / "installed" / "pyproject.toml").write_text("")
    folder = tmp_path / "installed"
    assert where() == [str(folder), str(folder / "dataset"), str(folder / "runs")]
