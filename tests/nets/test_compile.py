"""`torch.compile` in one piece, for the networks whose own file does not say it; in a process of its own, for the tests'
shape checks are not made to be traced.
"""
import subprocess
import sys

PROGRAM = """
import torch
from medlearn import nets as n

torch.manual_seed(0)
features, image = torch.randn(2, 8, 11, 12), torch.randn(2, 1, 16, 20)
cases = {
    "UNet++": (n.UNetPlusPlus(1, 3, widths=(4, 6, 8), dropout=0.1), image),
    "UNet++ 3D": (n.UNetPlusPlus(1, 3, dim=3, widths=(4, 6), deep_supervision=False), torch.randn(2, 1, 8, 8, 6)),
    "of 2015": (n.UNet2015(1, 2, widths=(4, 8), dropout=0.0), torch.randn(1, 1, 20, 20)),
    "TaskNet": (n.TaskNet(widths=(4, 8)), image),
    "context module": (n.ContextModule(8), features),
    "ASPP": (n.ASPP(8, 4, rates=(1, 2)), features),
    "attention": (n.MapAttention(8, 2), features),
}
for name, (net, x) in cases.items():
    fused, found = torch.compile(net, fullgraph=True, backend="eager"), []
    for run in (net, fused):
        torch.manual_seed(1)
        answers = run(x)
        answers = answers if isinstance(answers, tuple) else (answers,)
        loss = sum(answer.square().mean() for answer in answers)
        found.append([*answers, *torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)])
    for eager, compiled in zip(*found):
        if eager is not None:
            torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)
    print(name)
"""


def test_networks_compile_without_a_break_in_the_graph_and_learn_the_same():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "attention"
