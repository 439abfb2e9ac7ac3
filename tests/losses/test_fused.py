"""The fused kernel beside the operations that it replaces: in Triton's interpreter, compiled for GPUs, and on a GPU.

In processes of their own: the tests' shape checks wrap every function, and Triton reads the text of its kernels.
"""
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton, which comes with PyTorch for GPUs: "
                                "the fused kernel of the losses was not tried. `pip install triton` on Linux brings it")

SAME = """
import sys
import torch
from torch.testing import assert_close
from medlearn.losses import _fused, _one_pass, dice_ce_loss, focal_tversky_loss, overlap_counts

device, calls = sys.argv[1], []
if device == "cuda":
    assert _one_pass._kernel(torch.device("cuda", 0)) is _fused, "the kernel was not chosen"

class Counted(_fused.FusedSums):
    @classmethod
    def apply(cls, *args):
        calls.append(1)
        return _fused.FusedSums.apply(*args)

class Kernel:
    FusedSums, WIDEST = Counted, _fused.WIDEST

def both(f, *args):
    found = []
    for kernel in (None, Kernel):
        _one_pass._kernel = lambda device: kernel
        before = len(calls)
        found.append(f(*args))
        assert (len(calls) > before) == bool(kernel)
    return found

def example(seed, shape, dtype=torch.float32, ignored=True):
    g = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(shape, generator=g)).to(device, dtype)
    labels = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=g)
    if ignored:
        labels[torch.rand(labels.shape, generator=g) < 0.3] = 255
    return logits, labels.to(device)

def slope(loss):
    def f(logits, labels, **options):
        z = logits.detach().requires_grad_()
        value = loss(z, labels, ignore_index=255, **options)
        return value.detach(), torch.autograd.grad(value, z)[0]
    return f
"""

CASES = {
    "shapes and precisions": """
float64, float32, bfloat16 = (torch.float64, 1e-10), (torch.float32, 2e-5), (torch.bfloat16, 1e-2)
for shape, (dtype, tolerance) in (((3, 2), float64), ((2, 3, 97, 101), float64), ((1, 4, 9, 10, 11), float32),
                                  ((2, 9, 20, 30), bfloat16), ((1, 40, 12, 13), float32), ((0, 3, 4), float64),
                                  ((2, 3, 0), float32)):
    z, y = example(1, shape, dtype)
    for options in ({}, {"squared": True, "weight": torch.rand(shape[1])}):
        plain, fused = both(lambda: slope(dice_ce_loss)(z, y, **options))
        assert fused[1].dtype == dtype
        assert_close(fused, plain, rtol=tolerance, atol=tolerance)
    print(shape)
z, y = example(2, (2, 3, 9, 9))
assert_close(*both(lambda: slope(focal_tversky_loss)(z, y)), rtol=2e-5, atol=2e-5)
""",
    "any layout": """
z, y = example(3, (2, 5, 8, 30))
wide = torch.cat([z, z], 1)
for name, x in (("channels last", z.contiguous(memory_format=torch.channels_last)), ("a part", wide[:, 2:7]),
                ("transposed", z.mT.contiguous().mT), ("expanded", z[:1].expand(2, -1, -1, -1))):
    plain, fused = both(lambda: slope(dice_ce_loss)(x, y))
    assert_close(fused, plain, rtol=2e-5, atol=2e-5)
    print(name)
labels = torch.stack([y, y], -1)[..., 0]
assert_close(*both(lambda: slope(dice_ce_loss)(z, labels)), rtol=2e-5, atol=2e-5)
""",
    "what is ignored may be anything, and what counts may be far off": """
z, y = example(4, (2, 3, 9, 9))
dirty = z.masked_fill((y == 255)[:, None], torch.nan)
_one_pass._kernel = lambda device: Kernel
clean, same = (slope(dice_ce_loss)(x, y) for x in (z, dirty))
assert_close(clean, same, rtol=0, atol=0)
z[:, 0] += 300
assert_close(*both(lambda: slope(dice_ce_loss)(z, y)), rtol=2e-5, atol=2e-5)
z[0, 1] = -torch.inf
y[0] = 0
assert_close(*both(lambda: slope(dice_ce_loss)(z, y)), rtol=2e-5, atol=2e-5)
for bad in (torch.nan, torch.inf):
    z[1, 1, 0, 0], y[1, 0, 0] = bad, 1
    try:
        dice_ce_loss(z, y, ignore_index=255)
    except ValueError as error:
        print(error)
    else:
        raise SystemExit(f"{bad} was not refused")
""",
    "derivatives of every kind": """
z, y = example(5, (2, 3, 3, 4), torch.float64)
weight = torch.tensor([1.0, 2.0, 3.0])
for squared in (False, True):
    loss = lambda z: dice_ce_loss(z, y, ignore_index=255, squared=squared, weight=weight)
    assert_close(*both(lambda: torch.autograd.functional.hvp(loss, z, z.flip(0))), rtol=1e-10, atol=1e-12)
counts = lambda z: overlap_counts(z, y, ignore_index=255).fp
assert_close(*both(lambda: torch.autograd.functional.jacobian(counts, z)), rtol=1e-10, atol=1e-12)
assert_close(*both(lambda: torch.autograd.functional.jacobian(counts, z, vectorize=True)), rtol=1e-10, atol=1e-12)
_one_pass._kernel = lambda device: Kernel
z.requires_grad_()
value = dice_ce_loss(z, y, ignore_index=255)
first, again = (torch.autograd.grad(value, z, retain_graph=keep)[0] for keep in (True, False))
assert torch.equal(first, again) and not first.requires_grad
before = len(calls)
each = torch.func.vmap(lambda z, y: dice_ce_loss(z[None], y[None], ignore_index=255))(z.detach(), y)
assert len(calls) == before                     # inside torch.func nothing has an address that a kernel could read
assert_close(each, torch.stack([dice_ce_loss(z[i:i + 1], y[i:i + 1], ignore_index=255) for i in (0, 1)]))
""",
    "autocast, what is kept, and the same digits each time": """
z, y = example(6, (2, 3, 9, 9), torch.bfloat16)
kind = "cpu" if device == "cpu" else "cuda"
with torch.autocast(kind, dtype=torch.bfloat16):
    plain, fused = both(lambda: slope(dice_ce_loss)(z, y))
assert fused[0].dtype == torch.float32 and fused[1].dtype == torch.bfloat16
assert_close(fused, plain, rtol=1e-2, atol=1e-2)
_one_pass._kernel, kept = lambda device: Kernel, []
z.requires_grad_()
with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
    dice_ce_loss(z, y, ignore_index=255)
large = [t for t in kept if t.numel() >= z.numel()]
assert len(large) == 1 and large[0].data_ptr() == z.data_ptr()              # the logits themselves
once, twice = (slope(dice_ce_loss)(z, y) for _ in range(2))
assert torch.equal(once[0], twice[0]) and torch.equal(once[1], twice[1])
""",
}

COMPILES = """
import sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from medlearn.losses import _fused

for capability, classes, number in ((75, 9, "bf16"), (80, 2, "fp32"), (90, 256, "fp32"), (90, 9, "fp64")):
    wide, block = _fused._tile(classes)
    sums = "*fp64" if number == "fp64" else "*fp32"
    constants = dict(ignore=255, squared=False, wide=wide, block=block)
    pointers = dict(z_at="*" + number, dz_at="*" + number, y_at="*i64") | dict.fromkeys(
        ("out_at", "a_at", "b_at", "c_at", "w_at"), sums)
    for kernel in (_fused._sums_kernel, _fused._gradient_kernel):
        types = {name: "constexpr" if name in constants else pointers.get(name, "i32") for name in kernel.arg_names}
        source = ASTSource(kernel, types, constexprs={n: v for n, v in constants.items() if n in types})
        compiled = compile(source, target=GPUTarget("cuda", capability, 32))
        assert len(compiled.asm["cubin"]) > 1000 and compiled.metadata.shared < 48 * 1024
    print(capability, classes, number)
"""


def run(program: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("case", CASES)
def test_the_kernel_says_what_the_operations_say_in_the_interpreter(case):
    run(SAME + CASES[case], "cpu", TRITON_INTERPRET="1")


def test_it_compiles_for_a_t4_and_for_newer_cards(tmp_path):
    assert len(run(COMPILES, TRITON_CACHE_DIR=str(tmp_path)).splitlines()) == 4


@pytest.mark.gpu
@pytest.mark.skipif("REHEARSE_CUDA" in os.environ, reason="Triton knows no stand-in for a GPU")
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_says_what_the_operations_say_on_a_gpu(case):
    run(SAME + CASES[case], "cuda")
