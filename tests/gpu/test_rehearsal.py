"""What CUDA refuses and what it does: true of a GPU, and of its rehearsal without one."""
import copy
import os

import numpy as np  # noqa: F401 - in the lines below
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.rehearsal import GPU

pytestmark = pytest.mark.gpu
rehearsed = pytest.mark.skipif(not os.environ.get("REHEARSE_CUDA"), reason="about the rehearsal, and this is a GPU")

# x and G are on the GPU, c and C on the CPU
REFUSED = """
x + c;  x + torch.tensor([2.]);  torch.where(c > 1, x, x);  torch.cat([x, c]);  torch.stack([x[0, 0], torch.tensor(1.)])
c[torch.tensor([0, 1], device="cuda")];  x.index_select(0, torch.tensor([0]));  x.gather(1, torch.zeros(2, 1).long())
torch.equal(x, c);  torch.allclose(x, c);  c.clone().mul_(x);  torch.tensor(1.).mul_(x.sum())
torch.searchsorted(x[0], c);  torch.quantile(x, torch.tensor([0.5]));  F.cross_entropy(x, torch.tensor([0, 1]))
F.conv2d(x[None, None], torch.ones(1, 1, 1, 1))
F.grid_sample(x[None, None], torch.zeros(1, 2, 2, 2), align_corners=True)
x.numpy();  np.asarray(x);  np.sqrt(x);  x * np.ones(3);  x.pin_memory();  torch.from_numpy(np.ones(3)) + x
torch.randn(2, generator=C, device="cuda");  torch.randn(2, generator=G);  torch.randperm(5, generator=G)
torch.poisson(x, C);  torch.poisson(c, G);  torch.multinomial(x, 2, generator=C);  torch.bernoulli(x / 9, generator=C)
x.clone().normal_(generator=C);  torch.histogram(x, 4);  x.long() @ x.long().T;  torch.fft.fft(x.half())
nn.Linear(3, 1)(x);  nn.Linear(3, 1).cuda()(c)
"""
ALLOWED = """
x + 1;  x + torch.tensor(2.);  torch.tensor(2.) - x;  torch.where(x > 1, x, torch.tensor(0.))
x.clamp(min=torch.tensor(1.))
x[torch.tensor([0, 1])];  x[torch.tensor([True, False])];  x.clone().copy_(c);  c.clone().copy_(x);  torch.histc(x, 4)
x.masked_fill(x > 1, torch.tensor(0.));  x.tolist();  float(x.sum());  int(x[0, 0]);  f"{x.sum():.2f}";  repr(x)
torch.tensor([x[0, 0], x[0, 1]]);  torch.tensor([1., 2.], device="cuda");  x.new_tensor([1])
torch.as_tensor(np.ones(2), device="cuda");  np.float64(2) * x;  x * np.float64(2);  torch.poisson(x, G);  x.unique()
torch.randn(2, generator=G, device="cuda");  x.sort();  torch.linalg.det(torch.eye(3, device="cuda"))
torch.fft.rfft(x)
F.cross_entropy(x, torch.tensor([0, 1], device="cuda"));  F.scaled_dot_product_attention(x[None], x[None], x[None])
nn.Linear(3, 1).cuda()(x);  torch.bincount(x.long().flatten());  x.half().softmax(1, dtype=torch.float32)
[v.item() for v in x[0]];  torch.testing.assert_close(x.cpu(), c);  x.cuda() is x;  str(x.device)
"""


def split(text):
    return [code.strip() for line in text.strip().splitlines() for code in line.split(";")]


@pytest.fixture
def names():
    return dict(globals(), x=torch.arange(6.0, device="cuda").reshape(2, 3), c=torch.arange(6.0).reshape(2, 3),
                G=torch.Generator("cuda").manual_seed(0), C=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("code", split(REFUSED))
def test_is_refused(code, names):
    with pytest.raises((RuntimeError, TypeError, NotImplementedError)):
        eval(code, names)


@pytest.mark.parametrize("code", split(ALLOWED))
def test_is_done(code, names):
    eval(code, names)


def test_a_tensor_says_where_it_is(names):
    x = names["x"]
    assert x.is_cuda and str(x.device) == "cuda:0" and x.device != torch.device("cuda") and not x.cpu().is_cuda
    assert x.new_tensor([1]).is_cuda and not torch.tensor([x[0, 0]]).is_cuda
    column = x.T[0]
    column.add_(1)                                              # a view shares its memory
    assert x[:, 0].tolist() == [1, 4] and x[:, 1:].tolist() == [[1, 2], [4, 5]]


def test_a_module_keeps_its_parameters_when_it_moves():
    net = nn.Linear(3, 1)
    weights = list(net.parameters())
    assert all(a is b for a, b in zip(weights, net.cuda().parameters())) and net.weight.is_cuda
    assert isinstance(net.weight, nn.Parameter) and copy.deepcopy(net).weight.is_cuda and not net.cpu().weight.is_cuda


def test_each_device_has_its_own_numbers():
    torch.manual_seed(0)
    here, there = torch.rand(2), torch.rand(2, device="cuda")
    torch.manual_seed(0)
    there_first, here_second = torch.rand(2, device="cuda"), torch.rand(2)
    assert torch.equal(here, here_second) and torch.equal(there, there_first)
    before = torch.cuda.get_rng_state()
    with torch.random.fork_rng(devices=[0]):
        torch.rand(2, device="cuda")
        assert not torch.equal(before, torch.cuda.get_rng_state())
    torch.rand(2)
    assert torch.equal(before, torch.cuda.get_rng_state())


def test_training_in_float16_scales_its_gradients():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1)).cuda()
    image, labels = torch.randn(2, 1, 8, 8, device="cuda"), torch.randint(2, (2, 6, 6), device="cuda")
    optimizer, scaler, losses = torch.optim.AdamW(net.parameters(), 0.05), torch.amp.GradScaler("cuda"), []
    for _ in range(20):
        with torch.autocast("cuda", torch.float16):
            logits = net(image)
            assert logits.dtype == torch.float16 and logits.softmax(1).dtype == torch.float32   # as CUDA's lists say
            loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and scaler.get_scale() <= 65536
    optimizer.zero_grad()
    scaler.scale((net(image) * 1e36).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() < 65536                           # an overflow is found, and the step left out


def away():
    """How far a convolution on the GPU is from the CPU's."""
    torch.manual_seed(0)
    image, kernel = torch.randn(1, 4, 9, 9), torch.randn(4, 4, 3, 3)
    return (F.conv2d(image.cuda(), kernel.cuda()).cpu() - F.conv2d(image, kernel)).abs().max().item()


@rehearsed
@pytest.mark.parametrize("capability, jitter, least, most", [
    ((7, 5), False, 0, 0), ((7, 5), True, 1e-9, 1e-5), ((9, 0), False, 1e-5, 1e-1)])
def test_what_is_rounded_otherwise(monkeypatch, capability, jitter, least, most):
    monkeypatch.setattr(GPU, "capability", capability)
    monkeypatch.setattr(GPU, "jitter", jitter)
    assert least <= away() <= most
    if capability >= (8, 0):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        assert away() == 0


@rehearsed
def test_atomic_sums_differ_from_call_to_call_and_whole_numbers_never(monkeypatch, names):
    monkeypatch.setattr(GPU, "jitter", True)
    x, c, many = names["x"], names["c"], torch.rand(999).cuda()
    sums = {torch.zeros(3).cuda().scatter_add_(0, torch.zeros(999).long().cuda(), many)[0].item() for _ in range(8)}
    assert len(sums) > 1 and x.sum().item() == 15 and torch.equal((x @ x.T).cpu(), c @ c.T)


@rehearsed
def test_a_forked_process_has_no_gpu(names):
    if (child := os.fork()) == 0:
        try:
            names["x"] + 1
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
