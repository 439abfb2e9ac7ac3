"""The network of chapter 1, and that it learns all three answers."""

import pytest
import torch
from helpers.touching import SMALL, balls, truth_of, two_touching
from torch.nn import functional as F

from medlearn.nets import TaskNet, answers_to_instances, group_instances, tasks_loss
from medlearn.nets.blocks import ConvBlock, double, halve


@pytest.mark.parametrize("shape", [(16, 16), (13, 7), (1, 1), (5, 64), (8, 8, 8), (5, 9, 6), (1, 3, 2)], ids=str)
def test_any_size_of_image_gets_answers_of_its_size(shape):
    dim = len(shape)
    net = TaskNet(2, 5, diagnoses=4, dim=dim, widths=(4, 6, 8)).eval()
    answers = net(torch.randn(2, 2, *shape))
    assert [tuple(a.shape) for a in answers] == [(2, 4), (2, 5, *shape), (2, 1, *shape), (2, dim, *shape)]


def test_halving_loses_no_voxel_and_doubling_brings_it_back_to_its_place():
    for n in range(1, 9):
        x = torch.arange(float(n)).view(1, 1, 1, n)
        back = double(halve(x), like=x)
        assert back.shape == x.shape and (back - x).abs().max() <= 1 and halve(x).max() == n - 1
    volume = torch.randn(1, 2, 5, 6, 7)
    assert double(halve(volume), like=volume).shape == volume.shape


def test_an_untrained_network_claims_nothing():
    answers = TaskNet(widths=SMALL).eval()(torch.randn(2, 1, 12, 12))
    assert all(answer.eq(0).all() for answer in answers[1:])
    assert [len(things) for things in answers_to_instances(answers)] == [0, 0]


def test_an_empty_batch_gets_empty_answers():
    answers = TaskNet(widths=SMALL).eval()(torch.zeros(0, 1, 9, 9))
    assert [len(answer) for answer in answers] == [0, 0, 0, 0] and answers_to_instances(answers) == []


def test_the_same_seed_gives_the_same_network_and_the_same_step():
    def step():
        torch.manual_seed(3)
        net, instance = TaskNet(widths=SMALL), two_touching()
        loss = tasks_loss(net(torch.randn(1, 1, 12, 16)), **truth_of(instance)).total
        loss.backward()
        return [p.grad.clone() for p in net.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(step(), step(), strict=True))


@pytest.mark.parametrize("dim", [2, 3])
def test_every_parameter_learns_from_the_loss_once_the_heads_have_left_zero(dim):
    torch.manual_seed(0)
    net, instance = TaskNet(dim=dim, widths=SMALL), two_touching(dim).repeat(2, *[1] * dim)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(2):
        optimiser.zero_grad()
        tasks_loss(net(torch.randn(2, 1, *instance.shape[1:])), **truth_of(instance)).total.backward()
        optimiser.step()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_every_answer_teaches_the_trunk():
    torch.manual_seed(0)
    net, instance = TaskNet(widths=SMALL), two_touching()
    for head in (net.semantic, net.centre, net.offset):
        torch.nn.init.normal_(head.weight)
    loss = tasks_loss(net(torch.randn(1, 1, 12, 16)), **truth_of(instance))
    for name, part in loss._asdict().items():
        gradient, = torch.autograd.grad(part, net.down[0][0][0].weight, retain_graph=True)
        assert gradient.abs().sum() > 0, name


def test_two_images_can_be_learned_by_heart_and_their_touching_things_counted():
    torch.manual_seed(0)
    instance = torch.stack([balls((20, 20), [(9, 6), (9, 11)], 3.2), torch.zeros(20, 20, dtype=torch.int64)])
    truth = dict(diagnosis=torch.tensor([1, 0]), semantic=torch.where(instance > 0, 4, 0), instance=instance)
    image = (instance > 0).float()[:, None] + 0.1 * torch.randn(2, 1, 20, 20)
    net = TaskNet(widths=(8, 12))
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-2)
    for _ in range(120):
        optimiser.zero_grad()
        tasks_loss(net(image), **truth).total.backward()
        optimiser.step()
    answers = net.eval()(image)
    assert answers.diagnosis.argmax(1).tolist() == [1, 0]
    assert torch.equal(answers.semantic.argmax(1), truth["semantic"])
    assert torch.equal(group_instances(instance > 0, centre=answers.centre, offset=answers.offset), instance)


def test_autocast_changes_the_answers_by_rounding_only_and_the_loss_stays_float32():
    torch.manual_seed(0)
    net, image = TaskNet(widths=SMALL), torch.randn(2, 1, 12, 16)
    for head in (net.semantic, net.centre, net.offset):
        torch.nn.init.normal_(head.weight)
    exact = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(image)
        loss = tasks_loss(rounded, **truth_of(two_touching().repeat(2, 1, 1)))
    outside = tasks_loss(rounded, **truth_of(two_touching().repeat(2, 1, 1)))
    assert rounded.semantic.dtype == torch.bfloat16 and all(part.dtype == torch.float32 for part in loss)
    assert all(torch.equal(a, b) for a, b in zip(loss, outside))
    for a, b in zip(exact, rounded):
        assert torch.allclose(a, b.float(), atol=0.15 * a.abs().max().item())
    assert [s.scores.dtype for s in answers_to_instances(rounded)] == [torch.float32] * 2


def test_a_convolution_block_is_convolution_norm_and_relu():
    torch.manual_seed(0)
    block, x = ConvBlock(2, 3), torch.randn(4, 2, 6, 5)
    z = F.conv2d(x, block[0].weight, padding=1)
    z = (z - z.mean((0, 2, 3), keepdim=True)) / (z.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(block(x), z.clamp_min(0), atol=1e-5)


# what is refused

def test_a_network_that_cannot_be_and_an_image_that_does_not_fit_are_refused(refused):
    for wrong in ({"dim": 1}, {"dim": True}, {"dim": 4}):
        with refused("dim: expected 2 or 3"):
            TaskNet(**wrong)
    for wrong in ({"classes": 0}, {"diagnoses": -1}, {"in_channels": 1.0}, {"classes": True}, {"widths": (8, 0)}):
        with refused("expected a whole number"):
            TaskNet(**wrong)
    with refused("widths: expected at least one"):
        TaskNet(widths=())
    net = TaskNet(widths=SMALL)
    for shape in ((1, 2, 8, 8), (1, 8, 8), (1, 1, 8, 8, 8), (1, 1, 0, 8)):
        with refused(r"image: expected \(B, 1, \*S\) with 2 axes of space, got shape"):
            net(torch.zeros(shape))
    with refused("image: expected a float tensor, got torch.int64"):
        net(torch.zeros(1, 1, 8, 8, dtype=torch.int64))
