"""Values in few words, the same on every run."""
import numpy as np
import pytest
import torch

from medlearn.checks.describe import describe, describe_pair, first_lines


@pytest.mark.parametrize("value, said", [
    (torch.tensor(2.5), "float32 (): 2.5"),
    (torch.tensor([True, False]), "bool (2,): [1, 0]"),
    (torch.tensor([[1.0, -10.0], [0.25, 3.0]]), "float32 (2, 2)\n   1 -10\n0.25   3"),
    (torch.zeros(0, 3), "float32 (0, 3)"),
    (-torch.zeros(2), "float32 (2,): [0, 0]"),
    (torch.arange(100), "int64 (100,), from 0 to 99"),
    (torch.cat([torch.ones(99), torch.tensor([float("nan")])]), "float32 (100,), from 1 to 1, 1 not finite"),
    (torch.arange(100) > 90, "bool (100,), 9 of them True"),
    (torch.zeros(2, 2, 2), "float32 (2, 2, 2)\n[[0, 0], [0, 0]]\n[[0, 0], [0, 0]]"),
    (np.zeros((2, 3)), "NumPy array float64 (2, 3)"),
    ((torch.ones(1), 2), "1: float32 (1,): [1]\n2: 2"),
    (object(), "<object object>"),
    ("x" * 500, "'" + "x" * 199 + " ..."),
], ids=lambda value: value.split("\n")[0][:30] if isinstance(value, str) else "")
def test_values_are_described_in_few_words(value, said):
    assert describe(value) == said


def test_values_that_nearly_agree_are_written_so_that_they_differ():
    assert describe_pair(1.0, 1.00002) == ("1", "1.00002")
    assert describe_pair(torch.tensor([1.0]), torch.tensor([1.00002])) == (
        "float32 (1,): [1]", "float32 (1,): [1.00002]")


def test_a_text_is_cut_after_a_few_lines_and_loses_its_addresses():
    assert first_lines("  <f at 0x7F00a1>\n") == "<f>"
    assert first_lines("\n".join("abcdef")) == "a\nb\nc\nd ..."
