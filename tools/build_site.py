"""Build the course as web pages from its stored outputs, and check them: python tools/build_site.py [OUTPUT].

Needs the extra `site` (make site installs it), no network. OUTPUT is build/site by default. Nothing is run; what Sphinx
warns of is an error.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "index",
    "glossary",
    "results",
    "recipes",
    "tricks",
    "bench",
    "gpu",
    "running",
    "files",
    "promises",
    "teaching",
    "elsewhere",
    "first_ten_minutes",
    "api",
)
LATER = "# 结果 · Results\n\n还没有记录。\n\n> Not recorded yet.\n"

MODULE_PAGE = """# `{short}`

`from {module} import ...` 里有什么，由代码里的文档字符串生成；文档字符串是英文的。

> What `from {module} import ...` offers, made from the docstrings in the code.

```{{eval-rst}}
.. automodule:: {module}
   :members:
```
"""


def gather(source: Path) -> None:
    """Put the pages' sources into one folder: docs at its root, notebooks, and a page for each module."""
    (source / "notebooks").mkdir(parents=True)
    (source / "api").mkdir()
    for name in PAGES:
        path = ROOT / "docs" / f"{name}.md"
        text = path.read_text(encoding="utf-8") if path.exists() else LATER
        (source / f"{name}.md").write_text(without_missing_pictures(text), encoding="utf-8")
    for path in ROOT.glob("docs/*.png"):
        shutil.copy(path, source)
    for path in ROOT.glob("notebooks/*.ipynb"):
        shutil.copy(path, source / "notebooks")
    for module in modules():
        short = module.removeprefix("tudui_course.")
        page = MODULE_PAGE.format(module=module, short=short)
        (source / "api" / f"{short}.md").write_text(page, encoding="utf-8")


def without_missing_pictures(text: str) -> str:
    """Leave out pictures of docs/ that have not been drawn yet (results.png)."""

    def kept(found: re.Match) -> str:
        return found[0] if (ROOT / "docs" / found[1]).exists() else ""

    return re.sub(r"!\[[^\]]*\]\(([^):]+)\)", kept, text)


def modules() -> list[str]:
    """The package's modules but the exercises', in the order of their names."""
    paths = sorted((ROOT / "tudui_course").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    names = [name for name in names if name.count(".") > 1 or "__" not in name]
    left_out = (".checks.step_", ".jupyter.")  # the first tell solutions, the second is read by JupyterLab alone
    return [name.removesuffix(".__init__") for name in names if not any(part in name for part in left_out)]


def build(output: Path) -> None:
    """Run Sphinx on everything anew, for a page that is not read again doesn't repeat its warnings.

    Raises:
        CalledProcessError: Sphinx warned, and has said of what; the site of before is still there.
    """
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-c", str(ROOT / "docs")]
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder, "source"), Path(folder, "site")
        gather(source)
        subprocess.run([*command, "-d", str(Path(folder, "doctrees")), str(source), str(built)], check=True)
        if output.exists():
            shutil.rmtree(output)
        shutil.move(built, output)


def main() -> None:
    output = Path(sys.argv[1] if sys.argv[1:] else ROOT / "build" / "site").resolve()
    if output.exists() and any(output.iterdir()) and not (output / ".buildinfo").exists():
        sys.exit(f"{output} holds something else than the site: give another folder.")
    try:
        build(output)
        subprocess.run([sys.executable, str(ROOT / "tools" / "check_site.py"), str(output)], check=True)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


if __name__ == "__main__":
    main()
