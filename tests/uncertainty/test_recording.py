"""A recorded computation, done again: the same as the whole for the same draws, or an obstacle says why not."""
import pytest
import torch
from torch.nn import functional as F

from medlearn.uncertainty._recording import Leaving, Recording

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def recorded(f):
    torch.manual_seed(0)
    with Recording() as recording, Leaving(recording):
        output = f()
    return recording, output


def late_draw():
    return F.dropout((X @ X.T).exp(), 0.5) + 1


def two_results():
    low, high = (F.dropout(X, 0.5) * 2).split(2, dim=1)
    return torch.cat([high, low], dim=1)


def in_place():
    y = torch.zeros_like(X)
    y += F.dropout(X, 0.5)
    return y.mul_(2)


def two_draws():
    return F.dropout(X, 0.5) * torch.rand_like(X)


def attention_with_dropout():
    return F.scaled_dot_product_attention(X[None], X[None], X[None], dropout_p=0.3)


@pytest.mark.parametrize("f", [late_draw, two_results, in_place, two_draws, attention_with_dropout])
def test_done_again_it_is_the_whole_for_the_same_draws(f):
    recording, first = recorded(f)
    again = recording.again(first)
    assert recording.obstacle is None and again is not None
    for seed in range(3):
        torch.manual_seed(seed)
        expected = f()
        torch.manual_seed(seed)
        assert torch.equal(again(), expected)
    torch.manual_seed(0)
    assert torch.equal(first, f())


def test_only_what_a_draw_reaches_is_noted():
    recording, _ = recorded(late_draw)
    names = [str(step.operation) for step in recording.steps]
    assert names and not any("mm" in name or "exp" in name for name in names)


def test_what_no_draw_reaches_is_not_done_again():
    recording, output = recorded(lambda: F.scaled_dot_product_attention(X[None], X[None], X[None]))
    assert recording.obstacle is None and recording.again(output) is None and recording.steps == []


def test_values_are_let_go_after_their_last_use():
    recording, output = recorded(late_draw)
    recording.again(output)
    places = [place for step in recording.steps for place in step.last_use_of]
    assert len(places) == len(set(places)) and recording.origin[output] not in places


def changes_from_outside(counter=torch.zeros(())):
    counter += 1
    return F.dropout(X, 0.5) * counter


def changes_under_another_name():
    y = torch.zeros_like(X)
    left = y[:, :1]
    y += F.dropout(X, 0.5)
    return y + left


def changes_what_was_kept():
    y = X * 2
    z = F.dropout(torch.ones_like(X), 0.5) * y
    y.mul_(3)
    return z + y


@pytest.mark.parametrize("f, words", [
    (lambda: F.dropout(X, 0.5) if torch.rand(()) > 0.5 else F.dropout(-X, 0.5), "lets a draw decide what comes next"),
    (lambda: F.dropout(X, 0.5)[torch.rand(3) > 0.5], "lets a draw decide what comes next"),
    (lambda: F.dropout(X, 0.5) * F.dropout(X, 0.5).sum().tolist(), "takes numbers from a draw out of torch"),
    (lambda: torch.rand(3, generator=torch.Generator()) * F.dropout(X[:, 0], 0.5), "draws from a generator of its own"),
    (changes_from_outside, "changes a tensor from outside"),
    (changes_under_another_name, "changes a tensor that was kept, or that has another name"),
    (changes_what_was_kept, "changes a tensor that was kept, or that has another name"),
], ids=["decides", "selects", "leaves", "generator", "outside", "another name", "kept"])
def test_an_obstacle_says_why_it_cannot_be_done_again(f, words):
    recording, output = recorded(f)
    assert words in recording.obstacle and recording.again(output) is None
