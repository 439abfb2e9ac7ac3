"""What folds on a page, and what stands open."""
import pytest
from chapters import Cell
from folding import fold_of, title

DRAWN = "fig, ax = plt.subplots()\nax.plot(x)\nplt.show()"


def cells(*sources, tags=()):
    """Code cells; the tags are the first one's."""
    return [Cell("code", text, {"tags": list(tags) if i == 0 else []}, 1) for i, text in enumerate(sources)]


@pytest.mark.parametrize("kind, sources, tags", [
    ("setup", ["import torch\nfrom medlearn import viz\n\nviz.use_style()"], []),
    ("setup", ["import a\nimport b\ndevice = medlearn.device()"], []),
    ("", ["import a\nimport b"], []),                                            # no button for two lines
    ("", ["import a\nimport b\nx = 1"], []),                                     # a setting of its own
    ("plot", [DRAWN], []),
    ("plot", [DRAWN, "fig, ax = plt.subplots()\nax.plot(1)"], []),               # the next one makes its own
    ("plot", ["def draw(n):\n    return plt.figure()\n\nviz.explore(draw, n=[1], alt='')"], []),
    ("table", ["rows = f(x)\nviz.table(rows,\n          columns=['a'])"], []),
    ("plot", [DRAWN + "\nviz.table(rows, columns=['a'])"], []),
    ("", ["rows = f(x)\nviz.table(rows,\n          columns=['a'])", "print(rows)"], []),
    ("", ["print(1)\nviz.table(rows,\n          columns=['a'])"], []),
    ("", [DRAWN + "\nprint(1)"], []),
    ("", [DRAWN + "\nclaim('a.b', True)"], []),
    ("", ["y = x ** 2\n" + DRAWN, "print(y)"], []),                              # a later cell needs y
    ("", ["y = x ** 2\n" + DRAWN, "def f():\n    return y"], []),
    ("plot", ["y = x ** 2\n" + DRAWN, "y = 1", "print(y)"], []),                 # y has a new meaning by then
    ("", ["loss = f(x)\nloss.backward()\nstep()"], []),                          # draws nothing
    ("", [DRAWN], ["open"]),
    ("repeat", ["train(1)\ntrain(2)"], ["repeat"]),
    ("condition", ["claim('a.b', True)"], ["condition"]),
    ("", [DRAWN], ["solution"]),
])
def test_the_kind_of_fold(kind, sources, tags):
    assert fold_of(cells(*sources, tags=tags), 0) == kind


def test_the_button_says_how_much_there_is():
    assert title("setup", "a\n\nb\n") == "Set-up, 2 lines"
    assert title("plot", "a") == "The code of this figure, 1 line"
