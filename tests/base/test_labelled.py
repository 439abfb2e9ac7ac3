"""The door for logits and labels: shapes always, values unless they are trusted or cannot be looked at."""
import threading

import pytest
import torch

from medlearn.base.labelled import check_logits_and_labels, has_values, look_at_values, trusted_values

LOGITS, LABELS = torch.zeros(2, 3, 4, 5), torch.zeros(2, 4, 5, dtype=torch.int64)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6), (0, 3, 4)], ids=str)
def test_any_number_of_axes_of_space(shape):
    check_logits_and_labels(torch.zeros(shape), torch.zeros(shape[:1] + shape[2:], dtype=torch.int64), None)


@pytest.mark.parametrize("logits, labels, words", [
    (LOGITS.long(), LABELS, r"logits: expected a float tensor \(B, K, \*S\)"),
    (LOGITS, LABELS.int(), r"labels: expected an int64 tensor \(B, \*S\)"),
    (LOGITS, LABELS.float(), r"labels: expected an int64 tensor"),
    (LOGITS[:, :1], LABELS, "logits: expected K >= 2 classes, got K = 1. For one against background"),
    (LOGITS, LABELS[:, 1:],
     r"labels: expected shape \(2, 4, 5\) to go with the logits \(2, 3, 4, 5\), got \(2, 3, 5\)"),
    (LOGITS, LABELS + 3, r"labels: expected labels of 0..2 for 3 classes, got 3"),
    (LOGITS, LABELS - 1, r"labels: expected labels of 0..2 for 3 classes, got -1"),
    (LOGITS, LABELS.to("meta"), "labels: expected them on cpu, where the logits are, got meta"),
    (None, LABELS, "logits: expected a float tensor"),
], ids=["whole logits", "int32", "float labels", "one class", "shape", "too large", "negative", "device", "none"])
def test_what_does_not_go_together_is_refused(logits, labels, words, refused):
    with refused(words):
        check_logits_and_labels(logits, labels, None)


def test_an_ignored_label_is_welcome_and_another_is_not(refused):
    labels = LABELS.index_fill(1, torch.tensor([0]), -100)
    check_logits_and_labels(LOGITS, labels, -100)
    with refused("labels: expected labels of 0..2 for 3 classes or ignore_index = 9, got -100"):
        check_logits_and_labels(LOGITS, labels, 9)
    with refused("ignore_index: expected a whole number, got 1.5"):
        check_logits_and_labels(LOGITS, labels, 1.5)
    with refused("scores: expected a float tensor"):
        check_logits_and_labels(LABELS, labels, None, name="scores")


def test_trusted_values_are_not_looked_at_here_and_in_no_other_thread(refused):
    elsewhere = []
    with trusted_values():
        check_logits_and_labels(LOGITS, LABELS + 3, None)
        with refused("labels: expected shape"):             # shapes are
            check_logits_and_labels(LOGITS, LABELS[:1], None)
        thread = threading.Thread(target=lambda: elsewhere.append(look_at_values()))
        thread.start()
        thread.join()
    assert elsewhere == [True] and look_at_values(LABELS)


def test_tensors_without_values():
    assert has_values(LOGITS) and has_values() and not has_values(LOGITS, LABELS.to("meta"))
    seen = []
    torch.func.vmap(lambda row: seen.append(has_values(row)) or row)(LOGITS)
    assert seen == [False]
