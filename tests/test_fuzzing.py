"""A short selection of what `make faults` tries with tens of thousands of files."""

import fuzzing
import pytest


@pytest.mark.parametrize("name", fuzzing.READERS)
def test_damaged_files_are_read_or_refused_in_a_sentence(name, tmp_path):
    counts = fuzzing.fuzz(name, 250, tmp_path)
    assert sum(counts.values()) == 250 and counts["refused"] > 50
