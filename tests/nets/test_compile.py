"""`torch.compile` in one piece, for every network and part of one whose own file does not say it; in a process of its
own, for the tests' shape checks are not made to be traced.
"""
import subprocess
import sys

PROGRAM = """
import torch
from medlearn import nets as n

torch.manual_seed(0)
features, tokens = torch.randn(2, 8, 11, 12), torch.randn(2, 9, 8)
image, solid = torch.randn(2, 1, 16, 20), torch.randn(2, 1, 8, 8, 6)
cases = {
    "UNet 3D": (n.UNet(1, 3, dim=3, widths=(4, 8)), solid),
    "UNet++": (n.UNetPlusPlus(1, 3, widths=(4, 6, 8), dropout=0.1), image),
    "UNet++ 3D": (n.UNetPlusPlus(1, 3, dim=3, widths=(4, 6), deep_supervision=False), solid),
    "UNet2015": (n.UNet2015(1, 2, widths=(4, 8), dropout=0.0), torch.randn(1, 1, 20, 20)),
    "TaskNet": (n.TaskNet(widths=(4, 8)), image),
    "TaskNet 3D": (n.TaskNet(dim=3, widths=(4, 8)), solid),
    "ContextModule": (n.ContextModule(8), features),
    "ASPP": (n.ASPP(8, 4, rates=(1, 2)), features),
    "ConvBlock": (n.ConvBlock(8, 4), features),
    "DoubleConv": (n.DoubleConv(8, 4), features),
    "ResidualBlock": (n.ResidualBlock(8, 4), features),
    "TransformerBlock": (n.TransformerBlock(8, 2, hidden=16), tokens),
    "SelfAttention": (n.SelfAttention(8, 2), tokens),
    "MapAttention": (n.MapAttention(8, 2), features),
    "Dropout": (torch.nn.Sequential(torch.nn.Conv2d(8, 8, 1), n.Dropout(0.3)), features),
}
modules = {name for name in n.__all__ if isinstance(getattr(n, name), type)
           and issubclass(getattr(n, name), torch.nn.Module)}
covered = {type(part).__name__ for net, _ in cases.values() for part in net.modules()}
assert modules - covered == {"TransUNet", "ViTSegmenter"}, modules - covered      # in tests/nets/test_transunet.py
for name, (net, x) in cases.items():
    torch.compiler.reset()
    fused, found = torch.compile(net, fullgraph=True, backend="eager"), []
    for run in (net, fused):
        torch.manual_seed(1)
        answers = run(x)
        answers = answers if isinstance(answers, tuple) else (answers,)
        weights = [w for w in net.parameters() if w.requires_grad]
        loss = sum(answer.square().mean() for answer in answers)
        found.append([*answers, *(torch.autograd.grad(loss, weights, allow_unused=True) if weights else ())])
    for eager, compiled in zip(*found):
        if eager is not None:
            torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)
    print(name)
"""


def test_networks_compile_without_a_break_in_the_graph_and_learn_the_same():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "Dropout"
