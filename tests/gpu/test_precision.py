"""Half precision on the GPU: what losses and networks make of it, beside float32, within stated bounds."""
from functools import partial

import pytest
import torch

from helpers.api.losses import LABELS, LOGITS, needed
from helpers.api.nets import FLAT, SMALL, made
from medlearn import losses, nets, runtime
from medlearn.uncertainty import gaussian_nll, logit_normal_nll

pytestmark = pytest.mark.gpu
BOUND = {torch.float16: 5e-3, torch.bfloat16: 5e-2}        # of the largest value: 10 and 7 bits, through a few layers
HALVES = pytest.mark.parametrize("half", list(BOUND), ids=["float16", "bfloat16"])
LOSSES = {name: partial(getattr(losses, name), **needed(name, LABELS)) for name in losses.__all__
          if (name.endswith("_loss") or name == "cross_entropy") and name != "boundary_loss"}
OTHERS = {
    "gaussian_nll": lambda z, y: gaussian_nll(z[:, :2], y[:, None].expand(-1, 2, -1, -1).to(z.dtype),
                                              log_variance=z[:, 2:]),
    "logit_normal_nll": lambda z, y: logit_normal_nll(z, y, log_variance=0.1 * z, samples=2,
                                                      generator=torch.Generator().manual_seed(0)),
}
NETWORKS = {
    "UNet": lambda: nets.UNet(1, 3, widths=(4, 8, 8)), "UNet++": lambda: nets.UNetPlusPlus(1, 3, widths=(4, 8, 8)),
    "TransUNet": lambda: nets.TransUNet(1, 3, image_size=32, size=SMALL),
    "TaskNet": lambda: nets.TaskNet(widths=(4, 8)),
    "ViT": lambda: nets.ViTSegmenter(1, 3, image_size=32, channels=16, depth=2, hidden=16),
}


def slope(loss, logits, half):
    logits = logits.cuda().to(half).requires_grad_()
    with torch.autocast("cuda", half, enabled=half != torch.float32):
        value = loss(logits, LABELS.cuda())
    gradient, = torch.autograd.grad(value.float() * 256, logits)        # scaled, as in training
    return value.detach(), gradient.float() / 256


@HALVES
@pytest.mark.parametrize("name", [*LOSSES, *OTHERS])
@pytest.mark.parametrize("size", [1.0, 30.0], ids=["usual", "sure of itself"])
def test_a_loss_of_logits_in_half_precision(name, size, half):
    """On the same rounded logits the value is float32's, and the gradient is rounded once."""
    loss = LOSSES.get(name) or OTHERS[name]
    logits = (size * LOGITS if name in LOSSES else LOGITS).to(half).float()
    value, gradient = slope(loss, logits, half)
    expected, expected_gradient = slope(loss, logits, torch.float32)
    torch.testing.assert_close(value.float(), expected, rtol=BOUND[half], atol=1e-5)
    largest = expected_gradient.abs().max().item()
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=BOUND[half] * largest)


@HALVES
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_half_precision(name, half):
    net, image = made(NETWORKS[name]).cuda(), FLAT.cuda()
    with torch.no_grad():
        expected = net(image)
        with torch.autocast("cuda", half):
            answers = net(image)
    pairs = zip(answers, expected) if isinstance(expected, tuple) else [(answers, expected)]
    for answer, exact in pairs:
        off = (answer.float() - exact).norm() / exact.norm().clamp_min(1e-12)
        assert answer.isfinite().all() and off < 4 * BOUND[half], f"off by {off:.2g}"


def test_one_precision_for_chapters_and_fit():
    """bfloat16 where the GPU multiplies it, else float32: never float16 unasked."""
    gpu = torch.device("cuda")
    modern = torch.cuda.get_device_capability() >= (8, 0)
    assert runtime.precision(gpu) == ("bf16" if modern else "fp32")
    with runtime.autocast(gpu):
        product = torch.ones(2, 2, device=gpu) @ torch.ones(2, 2, device=gpu)
    assert product.dtype == (torch.bfloat16 if modern else torch.float32)
