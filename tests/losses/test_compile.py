"""`torch.compile`, in a process of its own: the tests' shape checks are not made to be traced."""
import subprocess
import sys

PROGRAM = """
import torch
from medlearn import losses as L
from medlearn.train import deep_supervision

torch.manual_seed(0)
logits, labels = torch.randn(2, 3, 5, 4, requires_grad=True), torch.randint(0, 3, (2, 5, 4))
labels[0, 0] = 255
modules = {
    "ce": L.CrossEntropyLoss(weight=[1.0, 2.0, 3.0], ignore_index=255),
    "focal": L.FocalLoss(gamma=0.5, alpha=0.25, ignore_index=255),
    "top k": L.TopKLoss(share=0.2, ignore_index=255),
    "dice": L.DiceLoss(ignore_index=255, squared=True, batch=True),
    "jaccard": L.JaccardLoss(ignore_index=255, include_background=False),
    "focal Tversky": L.FocalTverskyLoss(ignore_index=255),
    "another focal Tversky": L.FocalTverskyLoss(ignore_index=255, gamma=1.5, smooth=0.1),     # other numbers: symbols
    "Tversky": L.TverskyLoss(ignore_index=255, alpha_fp=0.2),
    "generalised Dice": L.GeneralizedDiceLoss(ignore_index=255),
    "Dice and CE": L.DiceCELoss(ignore_index=255, weight=[1.0, 2.0, 3.0]),
    "boundary": L.BoundaryLoss(ignore_index=255, include_background=False),
    "clDice": L.ClDiceLoss(ignore_index=255, iterations=2),
    "inductor": L.DiceCELoss(ignore_index=255),
}
assert {type(module).__name__ for module in modules.values()} == {name for name in L.__all__ if name.endswith("Loss")}
counted = labels.masked_fill(labels == 255, 0)
maps = {"boundary": {"distance_mm": L.signed_distance_mm(counted, spacing_mm=(1.0, 1.0), classes=3)}}
for name, module in modules.items():
    compiled = torch.compile(module, fullgraph=True, backend="inductor" if name == "inductor" else "aot_eager")
    more = maps.get(name, {})
    eager, fused = module(logits, labels, **more), compiled(logits, labels, **more)
    torch.testing.assert_close(fused, eager)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (fused, eager)), rtol=1e-5, atol=1e-7)
    if name != "focal Tversky":
        torch.compiler.reset()              # all share one `forward`, of which so many versions and no more are kept
    print(name)

levels = logits, torch.randn(2, 3, 3, 2, requires_grad=True)
deep = deep_supervision(L.DiceCELoss(ignore_index=255))
eager, fused = deep(levels, labels), torch.compile(deep, fullgraph=True, backend="aot_eager")(levels, labels)
torch.testing.assert_close(fused, eager)
for ours, theirs in zip(*(torch.autograd.grad(loss, levels) for loss in (fused, eager))):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
print("at every level")

regions, where = torch.rand(2, 3, 5, 4) < 0.4, torch.rand(2, 3, 5, 4) < 0.7
for name in ("CrossEntropyLoss", "DiceCELoss"):
    module = getattr(L, name)(weight=[1.0, 2.0, 3.0])
    eager, fused = module(logits, regions, where=where), torch.compile(module, fullgraph=True, backend="aot_eager")(
        logits, regions, where=where)
    torch.testing.assert_close(fused, eager)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (fused, eager)), rtol=1e-5, atol=1e-7)
    print(name, "of regions")
"""


def test_compiled_losses_and_their_gradients_are_the_same():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-4:] == [
        "inductor", "at every level", "CrossEntropyLoss of regions", "DiceCELoss of regions"]
