"""UNet++: the nested graph, its heads, and what is cut out of it."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medlearn.nets.blocks import double, halve
from medlearn.nets.folding import folded
from medlearn.nets.unetpp import UNetPlusPlus, nested_graph
from medlearn.train import deep_supervision

SMALL = (3, 4, 5, 6)
MAKERS = {"with norm": lambda **options: UNetPlusPlus(1, 3, **{"widths": SMALL, **options}),
          "2018": lambda **options: UNetPlusPlus.zhou2018(1, 3, **{"deep_supervision": True, **options})}
dims = pytest.mark.parametrize("dim", [2, 3])
kinds = pytest.mark.parametrize("kind", MAKERS)


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def image(dim=2, batch=2, channels=1, seed=0):
    return torch.randn(batch, channels, *(13, 9, 7)[:dim], generator=torch.Generator().manual_seed(seed))


def made(kind="with norm", **options):
    torch.manual_seed(0)
    net = MAKERS[kind](**options)
    if kind == "with norm":                                     # norms that do something
        net(image(options.get("dim", 2)))
    return net.eval()


# the graph

def test_the_graph_of_depth_two_is_the_figure():
    assert nested_graph(2) == {(0, 0): (), (1, 0): ((0, 0),), (0, 1): ((0, 0), (1, 0)),
                               (2, 0): ((1, 0),), (1, 1): ((1, 0), (2, 0)), (0, 2): ((0, 0), (0, 1), (1, 1))}


@pytest.mark.parametrize("depth", range(1, 7))
def test_every_place_takes_all_to_its_left_and_one_from_below(depth):
    graph, seen = nested_graph(depth), set()
    assert set(graph) == {(i, j) for i in range(depth + 1) for j in range(depth + 1) if i + j <= depth}
    for (i, j), taken in graph.items():
        left, below = {(i, k) for k in range(j)}, {(i + 1, j - 1)} if j else {(i - 1, 0)} if i else set()
        assert set(taken) == left | below and len(taken) == len(set(taken))
        assert set(taken) <= seen                               # each is computed before it is asked for
        seen.add((i, j))


def test_a_deeper_graph_contains_the_shallower_ones():
    for depth in range(1, 5):
        smaller, larger = nested_graph(depth), nested_graph(depth + 1)
        assert smaller.items() <= larger.items()


@dims
@kinds
def test_the_network_is_the_definition(kind, dim):
    net, x = made(kind, dim=dim), image(dim)
    depth = max(i for i, _ in net.graph)

    def by_hand(i, j):
        """The paper's equation, with the concatenation written out."""
        if (i, j) == (0, 0):
            taken = x
        elif j == 0:
            taken = halve(by_hand(i - 1, 0))
        else:
            left, below = [by_hand(i, k) for k in range(j)], by_hand(i + 1, j - 1)
            layer = net.up[f"{i}_{j}"][0]
            up = layer(below) if kind == "2018" else double(layer(below), like=left[0])
            up = up[(..., *map(slice, left[0].shape[2:]))]
            taken = torch.cat([*left, up], dim=1)
        return net.nodes[f"{i}_{j}"](taken)

    with torch.no_grad():
        expected = by_hand(0, depth)
        assert torch.allclose(net.features(x)[0, depth], expected, atol=1e-5)
        assert torch.allclose(net.answers(x)[depth], net.heads[str(depth)](expected), atol=1e-5)


# the sizes

def conv(taken, given, kernel=9):
    return kernel * taken * given + given


def weights_by_hand(widths, graph):
    """Of a network in which each place does two convolutions, after an up-convolution where j > 0, and of one head."""
    total = conv(widths[0], 1, kernel=1)
    for (i, j), places in graph.items():
        taken = len(places) * widths[i] if j else widths[i - 1] if i else 1
        total += conv(taken, widths[i]) + conv(widths[i], widths[i])
        total += conv(widths[i + 1], widths[i], kernel=4) if j else 0
    return total


def test_the_published_numbers_of_weights():
    nested = nested_graph(4)
    u_net = {(i, 0): nested[i, 0] for i in range(5)} | {(i, 4 - i): ((i, 0), (i + 1, 3 - i)) for i in range(4)}
    assert weights_by_hand((32, 64, 128, 256, 512), nested) == 9_041_601
    assert weights_by_hand((32, 64, 128, 256, 512), u_net) == 7_759_521
    assert weights_by_hand((35, 70, 140, 280, 560), u_net) == 9_282_246                 # the wide one
    with torch.device("meta"):
        net = UNetPlusPlus.zhou2018(deep_supervision=True)
        assert parameters(UNetPlusPlus.zhou2018()) == 9_041_601
        assert [parameters(net.prune(d)) for d in (1, 2, 3, 4)] == [100_961, 511_105, 2_204_961, 9_041_601]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 17), min_size=2, max_size=3), st.integers(2, 4), st.booleans())
def test_any_size_gets_logits_of_its_size(shape, rows, supervised):
    net = UNetPlusPlus(2, 3, dim=len(shape), widths=(2, 3, 4, 5)[:rows], deep_supervision=supervised).eval()
    assert net(torch.zeros(2, 2, *shape)).shape == (2, 3, *shape)


@dims
def test_the_rows_halve_upwards(dim):
    x = made(dim=dim).features(image(dim))
    sizes = [(13, 9, 7), (7, 5, 4), (4, 3, 2), (2, 2, 1)]
    assert {place: tuple(m.shape) for place, m in x.items()} == {
        (i, j): (2, SMALL[i], *sizes[i][:dim]) for i, j in nested_graph(3)}


# the heads

@dims
@kinds
def test_pruned_it_answers_as_its_head_bit_for_bit(kind, dim):
    net, x = made(kind, dim=dim), image(dim)
    answers = net.answers(x)
    assert list(answers) == list(range(1, len(answers) + 1))
    for depth, answer in answers.items():
        small = net.prune(depth)
        assert torch.equal(small(x), answer) and not small.training
        assert small.graph == nested_graph(depth) and list(small.answers(x)) == [depth]


def test_a_pruned_network_is_a_smaller_module_of_its_own():
    net = made()
    before, answer = {name: p.clone() for name, p in net.named_parameters()}, net(image())
    sizes = [parameters(net.prune(depth)) for depth in (1, 2, 3)]
    assert sizes == sorted(sizes) and sizes[-1] < parameters(net)
    small = net.prune(2)
    assert set(dict(small.named_parameters())) < set(before)
    with torch.no_grad():
        for p in small.parameters():
            p.zero_()
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    assert torch.equal(net(image()), answer) and net.deep_supervision and set(net.graph) == set(nested_graph(3))


def test_a_pruned_network_goes_on_learning():
    small = made().prune(2).train()
    small(image()).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in small.parameters())


@dims
def test_in_evaluation_it_gives_the_mean_probability(dim):
    net, x = made(dim=dim), image(dim)
    mean = torch.stack([z.softmax(1) for z in net.answers(x).values()]).mean(0)
    assert torch.allclose(net(x).softmax(1), mean, atol=1e-6)


def test_a_single_class_is_averaged_as_a_sigmoid():
    net = UNetPlusPlus.zhou2018(deep_supervision=True).eval()
    mean = torch.stack([z.sigmoid() for z in net.answers(image()).values()]).mean(0)
    assert torch.allclose(net(image()).sigmoid(), mean, atol=1e-6)


def test_in_training_every_head_answers_the_deepest_first():
    net, truth = UNetPlusPlus(1, 3, widths=SMALL), (image()[:, 0] > 0).long()
    deepest, *_, shallowest = answers = net(image())
    assert [tuple(a.shape) for a in answers] == [(2, 3, 13, 9)] * 3
    small, large = (torch.autograd.grad(a.sum(), list(net.parameters()), allow_unused=True, retain_graph=True)
                    for a in (shallowest, deepest))
    assert sum(g is not None for g in small) < sum(g is not None for g in large)
    assert deep_supervision(torch.nn.functional.cross_entropy)(answers, truth).isfinite()


def test_without_supervision_there_is_one_head_and_one_answer():
    net = UNetPlusPlus(1, 3, widths=SMALL, deep_supervision=False)
    assert list(net.heads) == ["3"] and net(image()).shape == (2, 3, 13, 9)
    assert torch.equal(net.eval()(image()), net.prune(3)(image()))


@dims
@kinds
def test_every_parameter_learns(kind, dim):
    net = MAKERS[kind](dim=dim).train()
    sum(z.square().sum() for z in net(image(dim))).backward()
    assert not [name for name, p in net.named_parameters() if not p.grad.abs().sum() > 0]


# dropout

def test_dropout_is_where_it_was_asked_for_and_weighs_nothing():
    assert [d.p for d in UNetPlusPlus(dropout=0.3).dropout] == [0, 0, 0, 0.3]
    net = UNetPlusPlus(1, 3, widths=SMALL, dropout=(0.1, 0, 0.2, 0))
    assert [d.p for d in net.dropout] == [0.1, 0, 0.2, 0] and [d.p for d in net.prune(1).dropout] == [0.1, 0]
    assert net.state_dict().keys() == made().state_dict().keys()


@pytest.mark.parametrize("row, drawn", [
    (3, {(2, 1), (1, 2), (0, 3)}), (2, {(1, 1), (1, 2), (0, 2), (0, 3)}), (1, {(0, 1), (0, 2), (0, 3)}), (0, set())])
def test_what_a_dropped_node_reaches_is_random_and_nothing_else(row, drawn):
    net = made(dropout=[0.5 if i == row else 0.0 for i in range(4)])
    net.dropout.train()                                         # and the norms rest
    x, y = net.features(image()), net.features(image())
    assert {place for place in x if not torch.equal(x[place], y[place])} == drawn
    answers, others = net.answers(image()), net.answers(image())
    changed = {d for d in answers if not torch.equal(answers[d], others[d])}
    assert changed == ({1, 2, 3} if row == 0 else {d for d in (1, 2, 3) if (0, d) in drawn})
    still = made()
    still.load_state_dict(net.state_dict())
    assert torch.equal(net.eval()(image()), still(image()))


# precision, folding, state

@dims
@kinds
def test_autocast_changes_the_answer_by_rounding_only(kind, dim):
    net = made(kind, dim=dim)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(image(dim))
    exact = net(image(dim))
    assert rounded.dtype == torch.float32                       # the mean of the heads is taken there
    assert torch.allclose(rounded, exact, atol=0.05 * exact.abs().max().item())
    assert net.double()(image(dim).double()).dtype == torch.float64


def test_a_folded_network_answers_as_before_and_can_be_pruned():
    net = made()
    assert torch.allclose(folded(net)(image()), net(image()), atol=1e-5)
    assert torch.allclose(folded(net).prune(2)(image()), net.prune(2)(image()), atol=1e-5)


def test_the_same_seed_gives_the_same_network_and_weights_come_back():
    net, other = made(), made()
    assert torch.equal(net(image()), other(image()))
    with torch.no_grad():
        other.nodes["0_1"][0][0].weight.add_(1)
    assert not torch.equal(net(image()), other(image()))
    other.load_state_dict(net.state_dict())
    assert torch.equal(net(image()), other(image()))


def test_an_empty_batch_gets_an_empty_answer():
    for dim in (2, 3):
        assert made(dim=dim)(image(dim)[:0]).shape == (0, 3, *(13, 9, 7)[:dim])


@pytest.mark.gpu
def test_it_answers_on_a_gpu_as_on_the_processor():
    net = made()
    assert torch.allclose(net.cuda()(image().cuda()).cpu(), net.cpu()(image()), atol=1e-4)


# refusals

@pytest.mark.parametrize("options, match", [
    ({"widths": (4,)}, "widths: expected two or more"),
    ({"widths": ()}, "widths: expected at least one"),
    ({"widths": (4, 0)}, r"widths\[1\]: expected a whole number"),
    ({"dim": 4}, "dim: expected 2 or 3, got 4"),
    ({"classes": 0}, "classes: expected a whole number"),
    ({"in_channels": 1.5}, "in_channels: expected a whole number"),
    ({"dropout": 1.5}, "dropout: expected 0..1, got 1.5"),
    ({"dropout": (0.1, 0.2)}, "dropout: expected a probability for each of 4 levels, got 2"),
], ids=["one width", "no width", "an empty level", "four axes", "no class", "half a channel", "too much", "two rows"])
def test_a_network_that_cannot_be_is_refused(refused, options, match):
    with refused(match):
        UNetPlusPlus(**options)


@pytest.mark.parametrize("bad, match", [
    (torch.zeros(1, 1, 8, 8, dtype=torch.int64), "image: expected a float tensor, got"),
    (torch.zeros(1, 2, 8, 8), r"image: expected \(B, 1, \*S\) with 2 axes of space, got shape \(1, 2, 8, 8\)"),
    (torch.zeros(1, 1, 8), "2 axes of space"),
    (torch.zeros(1, 1, 0, 8), "2 axes of space"),
], ids=["whole numbers", "two channels", "one axis", "no voxel"])
def test_an_image_that_does_not_fit_is_refused(refused, bad, match):
    with refused(match):
        made()(bad)


@pytest.mark.parametrize("depth", [0, 4, -1, True])
def test_a_depth_without_a_head_is_refused(refused, depth):
    with refused("depth: expected one that has a head, 1, 2, 3, got"):
        made().prune(depth)
    with refused("depth: expected one that has a head, 2, got 1"):
        made().prune(2).prune(1)


def test_a_graph_of_no_depth_is_refused(refused):
    with refused("depth: expected a whole number, 1 or more, got 0"):
        nested_graph(0)
