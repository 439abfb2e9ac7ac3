"""The sums of a loss in one pass, and their gradient: against formulas, finite differences and autograd itself."""
import pytest
import torch
from helpers.loss_examples import LOSSES, example, gradient, one_hot, same, takes
from torch.utils.checkpoint import checkpoint

from medlearn.losses import OverlapCounts, _one_pass, dice_ce_loss, overlap_counts

each_loss = pytest.mark.parametrize("name", LOSSES)


@pytest.fixture(params=[1 << 16, 15], ids=["one block", "blocks of a few voxels"])
def block(request, monkeypatch):
    monkeypatch.setattr(_one_pass, "CPU_BLOCK", request.param)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 7), (2, 3, 5, 4), (2, 4, 3, 4, 5)], ids=str)
def test_the_counts_are_their_sums(block, shape, squared):
    logits, labels = example(1, shape)
    p, y = logits.softmax(1).reshape(*shape[:2], -1), one_hot(labels, shape[1]).reshape(*shape[:2], -1)
    counts, tp = overlap_counts(logits, labels, squared=squared), (p * y).sum(2)
    expected = OverlapCounts(tp, (p**2 if squared else p).sum(2) - tp, y.sum(2) - tp)
    # squares, so that every count pulls with another strength
    ours, theirs = ((c.tp**2 + 2 * c.fp**2 + 3 * c.fn**2).sum() for c in (counts, expected))
    for count in ("tp", "fp", "fn"):
        torch.testing.assert_close(getattr(counts, count), getattr(expected, count), rtol=1e-12, atol=1e-12)
    same(ours, theirs, logits)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("ignore_index", [None, 1, 255])
def test_the_gradient_is_what_finite_differences_say(block, squared, ignore_index):
    logits, labels = example(2, (2, 3, 3, 4))
    if ignore_index is not None:
        labels[0, 0] = ignore_index
    def counts(z):
        c = overlap_counts(z, labels, ignore_index=ignore_index, squared=squared)
        return c.tp, c.fp, c.fn
    assert torch.autograd.gradcheck(counts, logits)
    options = dict(ignore_index=ignore_index, squared=squared)
    assert torch.autograd.gradcheck(lambda z: dice_ce_loss(z, labels, weight=[1, 2, 3], **options), logits)


@each_loss
def test_every_loss_passes_gradcheck(name):
    logits, labels = example(3, (2, 3, 3, 4))
    options = {k: v for k, v in dict(batch=True, include_background=False).items() if takes(name, k)}
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, labels, **options), logits)


def test_the_written_out_form_for_the_compiler_is_the_same():
    logits, labels = example(4)
    labels[0, 0] = 255
    weight = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    for options in (dict(squared=False, cross_entropy=False, weight=None),
                    dict(squared=True, cross_entropy=True, weight=weight)):
        ours = _one_pass.soft_sums(logits, labels, ignore_index=255, **options)
        plain = _one_pass._written_out(logits.flatten(2), labels.flatten(1), ignore_index=255, where=None, **options)
        for a, b in zip(ours, plain):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_the_graph_may_be_kept():
    logits, labels = example(5)
    loss = dice_ce_loss(logits, labels)
    first, second = (torch.autograd.grad(loss, logits, retain_graph=keep)[0] for keep in (True, False))
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, logits)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]], ids=["", "weighted"])
def test_the_second_derivative_is_that_of_the_formula(block, squared, weight):
    logits, labels = example(6, (2, 3, 3, 4))
    labels[0, 0] = 255
    options = dict(ignore_index=255, squared=squared)

    def plain(z):
        tp, fp, fn, ce = _one_pass._written_out(z.flatten(2), labels.flatten(1), 255, None, squared, True,
                                                None if weight is None else torch.tensor(weight, dtype=z.dtype))
        loss = OverlapCounts(tp, fp, fn).tversky(0.5, 0.5, smooth=1e-5) * torch.tensor(weight or [1.0])
        share = torch.tensor(weight or [1.0] * 3, dtype=z.dtype)[labels[labels < 255]].sum()
        return loss.mean() + ce / share

    direction = example(7, (2, 3, 3, 4))[0].detach()
    ours, theirs = (torch.autograd.functional.hvp(f, logits.detach(), direction)
                    for f in (lambda z: dice_ce_loss(z, labels, weight=weight, **options), plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    third = [torch.autograd.functional.hvp(lambda z: torch.autograd.grad(f(z), z, create_graph=True)[0].square().sum(),
                                           logits.detach().requires_grad_(), direction)[1]
             for f in (lambda z: dice_ce_loss(z, labels, weight=weight, **options), plain)]
    torch.testing.assert_close(*third, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_asks_for_none_unless_it_is_to_be_differentiated(name):
    logits, labels = example(0)
    logits.requires_grad_()
    plain, = torch.autograd.grad(LOSSES[name](logits, labels), logits)
    again, = torch.autograd.grad(LOSSES[name](logits, labels), logits, create_graph=True)
    assert not plain.requires_grad and again.requires_grad
    torch.testing.assert_close(plain, again.detach())


def test_the_second_derivative_of_half_precision_has_its_dtype():
    logits, labels = example(6, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        slope, = torch.autograd.grad(dice_ce_loss(logits, labels), logits, create_graph=True)
        assert gradient(slope.float().square().sum(), logits).dtype == torch.bfloat16


def test_jacobians_may_be_computed_at_once():
    logits, labels = example(6, (1, 3, 2, 2))
    jacobians = [torch.autograd.functional.jacobian(lambda z: overlap_counts(z, labels).fp, logits, vectorize=at_once)
                 for at_once in (False, True)]
    torch.testing.assert_close(*jacobians)
    hessians = [torch.autograd.functional.hessian(lambda z: dice_ce_loss(z, labels), logits, vectorize=at_once)
                for at_once in (False, True)]
    torch.testing.assert_close(*hessians)
    with pytest.raises(NotImplementedError, match="forward mode"):
        torch.func.jvp(lambda z: dice_ce_loss(z, labels), (logits,), (logits,))


def test_the_softmax_may_be_kept_elsewhere():
    logits, labels = example(6)
    expected = gradient(dice_ce_loss(logits, labels), logits)
    with torch.autograd.graph.save_on_cpu():
        assert torch.equal(gradient(dice_ce_loss(logits, labels), logits), expected)
    again = checkpoint(lambda z: dice_ce_loss(z, labels), logits, use_reentrant=False)
    assert torch.equal(gradient(again, logits), expected)


def test_a_gradient_of_the_weights_is_refused_and_not_left_out(refused):
    logits, labels = example(6)
    with refused(r"weight: expected numbers without a gradient, as weight\.detach\(\) is"):
        dice_ce_loss(logits, labels, weight=torch.ones(3, requires_grad=True))
    with refused(r"weight: expected the same numbers for all that torch\.func\.vmap runs over"):
        torch.func.vmap(lambda w: dice_ce_loss(logits, labels, weight=w))(torch.ones(2, 3))


def test_one_tensor_of_the_logits_size_is_kept():
    logits, labels = example(7, (2, 4, 20, 20))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        dice_ce_loss(logits, labels)
    assert sum(n >= logits.numel() for n in kept) == 1


def test_many_lanes_give_the_sums_of_one():
    """The way a GPU sums, which needs no GPU to be right."""
    value, y = torch.rand(2, 5000, dtype=torch.float64), torch.randint(0, 4, (2, 5000))

    def sums(lanes):
        partial = torch.zeros(2, 4 * lanes, dtype=torch.float64).scatter_add_(1, _one_pass._lane(y, lanes), value)
        return partial.view(2, 4, lanes).sum(2)

    torch.testing.assert_close(sums(1024), sums(1), rtol=1e-12, atol=0)
