"""`tudui course`: a folder of the learner's own, brought up to date, never written over."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tudui_course import cli, course
from tudui_course.errors import InputError, StorageError
from tudui_course.language import CHINESE

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def folder(tmp_path):
    """A learner's folder, as the first call leaves it."""
    assert course.write_course(tmp_path / "mine") == [f"new      {name}" for name in NAMES]
    return tmp_path / "mine"


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def newer_course(monkeypatch, *changed):
    """The course after an update of these notebooks."""
    notebooks = course.originals()
    notebooks |= {name: notebooks[name].replace(b'"cells"', b' "cells"', 1) for name in changed}
    monkeypatch.setattr(course, "originals", lambda: notebooks)
    return notebooks


def test_all_notebooks_are_written_and_their_links_lead_somewhere(folder):
    assert sorted(path.name for path in (folder / "notebooks").glob("*.ipynb")) == NAMES
    for name in NAMES:
        notebook = json.loads((folder / "notebooks" / name).read_text(encoding="utf-8"))
        text = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
        targets = [part.split(")")[0].split("#")[0] for part in text.split("](")[1:]]
        assert all((folder / "notebooks" / target).exists() for target in targets if target and ":" not in target), name


def test_what_notebooks_read_lies_where_they_look_for_it(folder):
    for name in NAMES:
        for file in re.findall(
            r'Path\.cwd\(\)\.parent / \\"docs\\" / \\"([\w.]+)', (ROOT / "notebooks" / name).read_text("utf-8")
        ):
            assert (folder / "docs" / file).is_file(), (name, file)


def test_a_second_call_changes_nothing(folder):
    before = content(folder)
    assert course.write_course(folder) == ["all notebooks are up to date"]
    assert content(folder) == before


def test_an_update_brings_what_is_new_and_keeps_what_the_learner_wrote(folder, monkeypatch):
    mine, untouched, gone = NAMES[:3]
    (folder / "notebooks" / mine).write_text("my answers")
    (folder / "notebooks" / gone).unlink()
    (folder / "notes.txt").write_text("mine")
    assert course.write_course(folder) == [f"new      {gone}"]
    notebooks = newer_course(monkeypatch, mine, untouched)
    kept = f"kept     {mine} as you changed it; --fresh {mine[:2]} puts the course's new one beside it"
    assert course.write_course(folder) == [kept, f"updated  {untouched}"]
    assert (folder / "notebooks" / mine).read_text() == "my answers" and (folder / "notes.txt").read_text() == "mine"
    assert (folder / "notebooks" / untouched).read_bytes() == notebooks[untouched]
    assert course.write_course(folder) == [kept]


def test_where_the_record_is_lost_nothing_is_replaced(folder, monkeypatch):
    (folder / course.RECORD).write_text("{")
    newer_course(monkeypatch, NAMES[0])
    before = (folder / "notebooks" / NAMES[0]).read_bytes()
    assert course.write_course(folder)[0].startswith(f"kept     {NAMES[0]}")
    assert (folder / "notebooks" / NAMES[0]).read_bytes() == before


def test_a_fresh_one_is_put_beside(folder):
    (folder / "notebooks" / NAMES[3]).write_text("mine")
    stem = NAMES[3].removesuffix(".ipynb")
    for number, name in (("03", f"{stem}-fresh.ipynb"), ("3", f"{stem}-fresh-2.ipynb")):
        path = course.write_fresh(folder, number)
        assert path.name == name and path.read_bytes() == course.originals()[NAMES[3]]
    assert (folder / "notebooks" / NAMES[3]).read_text() == "mine"
    with pytest.raises(InputError, match="there is no notebook '99'; give one of 00, 01"):
        course.write_fresh(folder, "99")


def has_chinese(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return bool(CHINESE.search("".join(line for cell in cells for line in cell["source"] if line.startswith("#"))))


def test_a_folder_keeps_its_language_and_its_outputs(tmp_path):
    for chosen in ({"language": "en", "outputs": "no"}, {}, {"language": "", "outputs": ""}):
        course.write_course(tmp_path, **chosen)
        for path in sorted(tmp_path.glob("notebooks/*.ipynb")):
            assert not has_chinese(path) and '"outputs": []' in (text := path.read_text(encoding="utf-8")), path.name
            assert "image/png" not in text and '"execution_count": null' in text
    assert not has_chinese(course.write_fresh(tmp_path, "03"))
    assert has_chinese(course.write_fresh(tmp_path, "03", language="zh"))
    assert course.write_course(tmp_path) == ["all notebooks are up to date"]
    assert not CHINESE.search((tmp_path / "docs" / "recipes.md").read_text(encoding="utf-8"))
    course.write_course(tmp_path, language="both", outputs="yes")
    assert {name: (tmp_path / "notebooks" / name).read_bytes() for name in NAMES} == course.originals()


def test_another_language_replaces_what_is_untouched_and_keeps_the_rest(folder, monkeypatch):
    mine, *others = NAMES
    (folder / "notebooks" / mine).write_text("my answers")
    kept = f"kept     {mine} as you changed it; --fresh {mine[:2]} puts the course's new one beside it"
    assert course.write_course(folder, language="zh") == [kept, *(f"updated  {name}" for name in others)]
    assert (folder / "notebooks" / mine).read_text() == "my answers"
    newer_course(monkeypatch, others[0])
    assert course.write_course(folder) == [kept]  # only its form has changed, which isn't the learner's business
    assert course.write_course(folder, outputs="no") == [kept, *(f"updated  {name}" for name in others)]
    assert has_chinese(folder / "notebooks" / others[0])


def test_a_folder_of_an_earlier_version_is_in_both(folder):
    record = json.loads((folder / course.RECORD).read_text())
    (folder / course.RECORD).write_text(json.dumps({name: record[name] for name in NAMES}))
    assert course.write_course(folder) == ["all notebooks are up to date"]


def test_a_language_that_is_none_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="language is 'de', but it must be both, zh or en"):
        course.write_course(tmp_path / "mine", language="de")
    assert not (tmp_path / "mine").exists()


def test_what_can_not_be_written_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file; give the name of a folder"):
        course.write_course(tmp_path / "file")
    with pytest.raises(StorageError, match=r"can't be written .*give another folder"):
        course.write_course(tmp_path / "file" / "below")


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tudui", "course", str(tmp_path / "mine"), "--no-lab"])
    cli.main()
    assert capsys.readouterr().out.splitlines() == [f"new      {name}" for name in NAMES]
    opened = []
    monkeypatch.delenv("TUDUI_LANGUAGE", raising=False)
    monkeypatch.setattr(subprocess, "call", lambda command, env: opened.append((command, env)) or 0)
    monkeypatch.setattr(sys, "argv", ["tudui", "course", str(tmp_path / "mine"), "--fresh", "03"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    ((command, environment),) = opened
    assert ended.value.code == 0 and command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert environment["TUDUI_LAB_FOLDER"] == str(tmp_path / "mine") and "TUDUI_LANGUAGE" not in environment
    assert Path(command[3].removeprefix("--config=")).is_file()
    for flags in (["--language", "en", "--outputs", "no"], []):
        monkeypatch.setattr(sys, "argv", ["tudui", "course", str(tmp_path / "mine"), *flags])
        with pytest.raises(SystemExit):
            cli.main()
        assert opened.pop()[1]["TUDUI_LANGUAGE"] == "en"
    assert not has_chinese(tmp_path / "mine" / "notebooks" / NAMES[0])


def test_an_installed_package_finds_its_files_in_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "checkout", lambda: None)
    package = Path(course.__file__).parent / "files"
    assert course.course_files() == package and not package.exists()  # only a wheel has it
    shutil.copytree(ROOT / "notebooks", tmp_path / "files" / "notebooks")
    monkeypatch.setattr(course, "course_files", lambda: tmp_path / "files")
    assert sorted(course.originals()) == NAMES
