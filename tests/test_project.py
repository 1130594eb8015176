"""The project's own rules: one truth for dependencies, imports that run one way, documented functions, safe loading."""

import ast
import tomllib
from pathlib import Path, PurePosixPath

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tudui_course"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = sorted(PACKAGE.rglob("*.py"))

# A module imports only modules of groups above its own, or of its own group where that is a folder.
ORDER = [
    "errors", "console", "settings", "runtime", "distributed", "metrics", "model", "recipe", "resume", "loop",
    "memory", "pickles",
    "whole_model", "foreign", "run_folder", "checkpoint", "board", "data", "plots", "report", "evaluate", "run",
    "predict", "doctor", "language", "course", "checks", "cli",
    "__main__",
]  # fmt: skip


def group(module):
    """tudui_course.data.loaders -> data."""
    return module.split(".")[1]


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    """The modules of this package that a file imports, at its top or inside a function."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path.name}:{node.lineno} imports relatively; the course writes names in full")
        if isinstance(node, ast.ImportFrom) and node.module == "tudui_course":
            yield from (f"tudui_course.{alias.name}" for alias in node.names if alias.name != "__version__")
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("tudui_course."):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("tudui_course."))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_one_way(path):
    if path == PACKAGE / "__init__.py":
        assert not list(imports(path))
        return
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for module in imports(path):
        inside = own == group(module) and (PACKAGE / own).is_dir()
        assert inside or ORDER.index(group(module)) < ORDER.index(own), f"{own} imports {module}"
        assert group(module) != "cli" or own == "__main__"


def test_the_imports_are_seen_at_all():
    assert set(imports(PACKAGE / "checkpoint.py")) >= {"tudui_course.resume", "tudui_course.model"}
    assert "tudui_course.run" in set(imports(PACKAGE / "cli.py"))


# Not for callers: how single drawings, exercises and bugs are made, which each file's own docstring explains.
INSIDE = {PACKAGE / "data" / "drawings.py", PACKAGE / "checks" / "cases.py", *PACKAGE.glob("checks/step_*.py")}


@pytest.mark.parametrize("path", sorted({*MODULES} - INSIDE), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_public_function_and_class_is_documented(path):
    undocumented = [
        node.name
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert undocumented == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(tree(path)) or not path.read_text(encoding="utf-8").strip()


def test_files_are_loaded_without_running_their_code():
    loads = [
        node
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert loads
    for call in loads:
        assert "weights_only=True" in [ast.unparse(keyword) for keyword in call.keywords]


def test_environment_installs_the_project_and_names_no_package_of_its_own():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, through_pip = environment["dependencies"]
    assert pip == "pip" and through_pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}
    assert Requirement(python).name == "python"
    assert Requirement(python).specifier == SpecifierSet(PROJECT["requires-python"])


def test_constraints_satisfy_every_dependency_from_any_index():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert requirement.url is None, line
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pinned[canonicalize_name(requirement.name)] = specifier.version
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), line


def test_doctor_asks_for_the_versions_that_the_project_asks_for():
    source = (PACKAGE / "doctor.py").read_text(encoding="utf-8")
    for line in PROJECT["dependencies"]:
        requirement = Requirement(line)
        if f'("{requirement.name}", ' in source:
            (specifier,) = requirement.specifier
            assert f'("{requirement.name}", {specifier.version.replace(".", ", ")})' in source


def test_the_wheel_holds_every_file_of_the_package():
    """The texts of the exercises too: hatch takes a folder whole, unless something is left out or ignored by git."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert set(build) == {"targets"} and set(build["targets"]["wheel"]) == {"packages", "force-include"}
    assert build["targets"]["wheel"]["packages"] == [PACKAGE.name]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    texts = {path.relative_to(ROOT).as_posix() for path in PACKAGE.glob("checks/*.toml")}
    assert texts
    texts |= {f"{PACKAGE.name}/photographs.{ending}" for ending in ("pth", "json")}
    assert all((ROOT / text).is_file() for text in texts)
    assert not any(PurePosixPath(text).match(pattern.strip("/")) for text in texts for pattern in ignored)
