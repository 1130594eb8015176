"""The speed report: the page says what bench.json holds, machines stand side by side, marks follow the figures."""

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tudui_course import run
from tudui_course.data.loaders import InMemory
from tudui_course.loop import evaluate, train_one_epoch
from tudui_course.recipe import FAST, SEED

ROOT = Path(__file__).resolve().parent.parent
XEON, EPYC = "Intel Xeon, 2 cores, AVX512", "AMD EPYC, 2 cores, AVX512, bfloat16"


@pytest.fixture
def report(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import report

    return report


@pytest.fixture
def results():
    return json.loads((ROOT / "docs" / "bench.json").read_text(encoding="utf-8"))


def rows(page, first):
    """The cells of all rows of tables whose first cell begins so."""
    lines = [line for line in page.splitlines() if line.startswith(f"| {first}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_in_the_repository_says_what_the_figures_say(report, results):
    assert report.page(results) == (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")


def test_every_table_has_as_many_cells_in_each_row(report, results):
    results["other"] = copy.deepcopy(results[XEON])
    for name in [name for name in results["other"]["steps"]["ms"] if name.startswith("fastai")]:
        del results["other"]["steps"]["ms"][name]  # a library that wasn't installed there
    del results["other"]["accuracy"]
    tables = re.findall(r"(?:^\|.*\n)+", report.page(results), flags=re.MULTILINE)
    assert len(tables) > 10
    for table in tables:
        lines = table.splitlines()
        assert re.fullmatch(r"\|( -+:? \|)+", lines[1]), table
        assert len({line.count("|") for line in lines}) == 1, table


def test_another_machine_stands_beside_and_the_first_ones_figures_stay(report, results):
    second = {"steps": copy.deepcopy(results[XEON]["steps"])}
    second["steps"]["machine"]["precision"] = "bfloat16"
    second["steps"]["faster_than_seed"]["auto"] = {"median": 3.25, "min": 3.1, "max": 3.5}
    page = report.page({XEON: results[XEON], EPYC: second})
    assert rows(page, "目标")[0][1:] == [XEON, EPYC]
    assert rows(page, "c 比 a 快")[0][1:] == ["– 1.65 (1.55–1.67)", "✓ 3.25 (3.10–3.50)"]
    ours = rows(page, "c 我们的")[0]
    assert ours[2] == "1.65 (1.55–1.67)" and ours[5] == "3.25 (3.10–3.50)"
    assert rows(page, "所有 notebook")[0][1:] == ["✓ 119 s", ""]


@pytest.mark.parametrize(("least", "most", "mark"), [(1.01, 1.2, "↑"), (0.8, 0.99, "↓"), (0.9, 1.1, "=")])
def test_a_change_is_called_quicker_only_where_every_round_was(report, results, least, most, mark):
    results[XEON]["tried"]["faster_than_float32"]["SGD fused"] = {"median": 1.0, "min": least, "max": most}
    assert rows(report.page(results), "SGD fused")[0][2].endswith(mark)


@pytest.mark.parametrize(("factor", "mark"), [(1.0, "✓"), (0.9, "✗")])
def test_a_goal_counts_as_reached_only_where_its_figure_says_so(report, results, factor, mark):
    results[XEON]["steps"]["faster_than_seed"]["float32"]["median"] *= factor
    assert rows(report.page(results), "b 比 a 快 1.6 倍")[0][1].startswith(mark)


def test_machines_are_told_apart_by_processor_cores_and_instructions(report):
    from common import name  # beside report

    facts = {"cpu": "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "cores": 2, "instructions": "AVX512"}
    assert name({**facts, "precision": "float32"}) == "Intel Xeon Platinum 8375C, 2 cores, AVX512"
    assert name({**facts, "precision": "bfloat16"}) == "Intel Xeon Platinum 8375C, 2 cores, AVX512, bfloat16"
    assert name({**facts, "cpu": "AMD EPYC", "precision": "float32"}) == "AMD EPYC, 2 cores, AVX512"


def test_the_limit_is_the_rate_of_work_whose_operations_are_counted_as_torch_counts_them(report, monkeypatch):
    import steps  # beside report

    monkeypatch.setattr(steps, "PRODUCTS", ((64, 64, 64), (128, 32, 16)))
    monkeypatch.setattr(steps, "CONVOLUTIONS", ((16, 8, 3), (32, 4, 1)))
    names = []
    for name, flops, work in steps.friendly_work(torch.float32):
        with FlopCounterMode(display=False) as counter:
            work()
        assert flops == counter.get_total_flops(), name
        names.append(name)
    fastest, rate = steps.best_rate("float32", 0.001)
    assert fastest in names and rate > 0


def test_libraries_and_whole_commands_have_rows_for_the_machines_that_measured_them(report, results):
    earlier = results[XEON]["accuracy"]
    for key in ("libraries", "versions", "commands"):
        earlier.pop(key, None)
    page = report.page({XEON: results[XEON]})
    assert "whose loop" not in page and "Whole training commands" not in page
    runs = [{"seed": 0, "precision": "bfloat16", "seconds": 9.0, "test_accuracy": [0.5, 0.7512]}]
    one = {"median": 9.0, "min": 8.0, "max": 10.0}
    later = copy.deepcopy(earlier) | {
        "our_way": {"runs": runs, "seconds": one},
        "precision": "bfloat16",
        "versions": {"lightning": "2.6"},
        "libraries": {"lightning": {"runs": runs, "seconds": one, "ratio": one}},
        "commands": [{"command": "tudui train", "goal": goal, "runs": runs} for goal in (0.75, 0.8)],
    }
    page = report.page({XEON: results[XEON], EPYC: {"accuracy": later}})
    shown, _, commands = page.partition("whose loop")[2].partition("Whole training commands")
    assert XEON not in shown + commands.partition("\n## ")[0]
    assert [row[1:] for row in rows(shown, EPYC)] == [
        ["我们 · ours", "bfloat16", "9.0 (8.0–10.0)", "", "0.7512"],
        ["PyTorch Lightning 2.6", "bfloat16", "9.0 (8.0–10.0)", "9.00 (8.00–10.00)", "0.7512"],
        *([name, "没量 · not measured", "", "", ""] for name in list(report.PEERS.values())[1:]),
    ]
    assert [row[1:] for row in rows(commands, EPYC)] == [
        ["`tudui train`", "bfloat16", "0", "2", "9", "0.7512", mark] for mark in ("✓ 0.75", "✗ 0.80")
    ]


@pytest.mark.parametrize("recipe", [SEED, replace(FAST, clip=0.1)], ids=["seed", "fast"])  # clips each step
@pytest.mark.parametrize(
    ("name", "options"),
    [("lightning", {}), ("accelerate", {}), ("fastai", {}), ("ignite", {})]
    + [(name, {"precision": "bfloat16"}) for name in ("lightning", "accelerate")],
)
def test_a_library_trains_the_same_weights_as_our_loop(report, tmp_path, name, options, recipe):
    import peers  # beside report

    pytest.importorskip(name)
    targets = torch.arange(160) % 10
    noise = torch.randint(100, (160, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    images = (noise + 15 * targets[:, None, None, None]).to(torch.uint8)
    pictures = InMemory(images, targets, list("abcdefghij"))

    model, loaders, loss_fn, optimizer, scheduler = run.assemble(recipe, "Tudui", pictures, pictures, epochs=1)
    train_one_epoch(model, loaders[0], loss_fn, optimizer, scheduler=scheduler, **options)
    expected = evaluate(model, loaders[1], loss_fn, **options).accuracy
    theirs, loaders, *_ = run.assemble(recipe, "Tudui", pictures, pictures, epochs=1)
    with peers.without_warnings():
        _, accuracy = peers.PEERS[name][1](recipe, theirs, loaders, tmp_path, **options)
    torch.testing.assert_close(theirs.state_dict(), model.state_dict(), rtol=0, atol=1e-6)
    assert accuracy == pytest.approx(expected)
