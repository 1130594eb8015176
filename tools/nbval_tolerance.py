"""Let nbval compare the decimal numbers of a cell within a tolerance that the cell's tag names.

`tolerance-0.03` is absolute, `tolerance-10%` a part of the stored number. Everything else in the cell, whole numbers
included, and every cell without such a tag are compared to the letter. The root conftest.py loads this plugin.
"""

import copy
import re
from decimal import Decimal
from functools import partial

# 0.166, -1.5, 2.5e-05, 1e-05; not the whole number 12, nor parts of conv1.0, of a version 2.6.0, of a hash a1e5f.
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]?\d+(?![a-z]))(?![\d_]|\.\d)", re.A | re.I)
TAG = re.compile(r"tolerance-(\d+(?:\.\d+)?)(%?)", re.A)


def tolerance(tags: list[str]) -> tuple[str, Decimal, bool] | None:
    """The one tag of this form, its number (10 % is 0.1) and whether it is relative; None where none or several are."""
    found = [match for match in map(TAG.fullmatch, tags) if match]
    if len(found) != 1:
        return None
    relative = found[0][2] == "%"
    return found[0][0], Decimal(found[0][1]) / (100 if relative else 1), relative


def texts(outputs: list[dict]) -> list[tuple[str, dict, str]]:
    """Where the outputs' texts lie, sorted by kind (stdout, text/plain, text/html) and then in order, as in nbval."""
    places = []
    for output in outputs:
        if output["output_type"] == "stream":
            places.append((output["name"], output, "text"))
        places += [(kind, output["data"], kind) for kind in output.get("data", {}) if kind.startswith("text/")]
    return sorted(places, key=lambda place: place[0])


def settle(new: str, stored: str, tag: str, width: Decimal, relative: bool) -> tuple[str, list[str]]:
    """The new text with the stored number in place of each that lies within the tolerance, and what lies beyond it."""
    numbers, expected = NUMBER.findall(new), NUMBER.findall(stored)
    if len(numbers) != len(expected):
        return new, [f"{len(expected)} decimal numbers stored, {len(numbers)} new"]
    beyond = []
    for index, (number, other) in enumerate(zip(numbers, expected, strict=True)):
        difference = abs(Decimal(number) - Decimal(other))
        if difference <= (width * abs(Decimal(other)) if relative else width):
            numbers[index] = other
        else:
            beyond.append(f"decimal number {index + 1}: stored {other}, new {number}, {difference} apart, beyond {tag}")
    rest = iter(numbers)
    return NUMBER.sub(lambda _: next(rest), new), beyond


def compare_outputs(cell, allowed, test, ref, skip_compare=None) -> bool:
    """Stands in for nbval's IPyNbCell.compare_outputs, which it calls with the numbers settled."""
    test, beyond = copy.deepcopy(test), []
    for (kind, place, key), (stored_kind, stored, _) in zip(texts(test), texts(ref), strict=False):
        if kind == stored_kind:
            place[key], remarks = settle(place[key], stored[key], *allowed)
            beyond += [f"{kind}, {remark}" for remark in remarks]
    same = type(cell).compare_outputs(cell, test, ref, skip_compare)
    cell.comparison_traceback[:0] = beyond
    return same


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "compare_outputs") and (allowed := tolerance(item.cell.metadata.get("tags", []))):
            item.compare_outputs = partial(compare_outputs, item, allowed)
