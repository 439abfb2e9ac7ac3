"""The history of a training: rows, columns, the best of them."""
import math

import pytest

from medlearn.train import History

ROWS = [{"step": 1, "loss": 3.0, "learning_rate": 0.1},
        {"step": 2, "loss": 2.0, "learning_rate": 0.1, "dice": 0.5, "hd": 9.0},
        {"step": 3, "loss": 1.0, "learning_rate": 0.1, "dice": 0.7, "hd": 12.0},
        {"step": 4, "loss": 1.0, "learning_rate": 0.1, "dice": 0.7, "hd": 1.0},
        {"step": 5, "loss": 1.0, "learning_rate": 0.1, "dice": math.nan, "hd": 1.0}]


def test_a_history_is_read_by_column():
    history = History(ROWS)
    assert history.column("loss") == [3.0, 2.0, 1.0, 1.0, 1.0]
    assert history.curve("hd") == ([2, 3, 4, 5], [9.0, 12.0, 1.0, 1.0])


def test_the_best_row_has_the_highest_first_number():
    history = History(ROWS)
    assert history.best()["step"] == 3 and history.stale() == 2
    assert History(ROWS[:1]).best() is None and History(ROWS[:1]).stale() == 0
    assert History(ROWS[4:]).best() is None and History(ROWS[4:]).stale() == 1      # NaN is no score


def test_a_column_that_no_row_has_is_named():
    with pytest.raises(KeyError, match="expected one of step, loss, learning_rate, dice, hd, got 'iou'"):
        History(ROWS).column("iou")
    with pytest.raises(KeyError, match="there is no row"):
        History().column("loss")
