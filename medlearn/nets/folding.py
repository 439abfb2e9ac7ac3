r"""A network as it answers: what training needed and an answer does not is put into the kernels beforehand."""
from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medlearn.nets.blocks import CONV, NORM


def folded(net: nn.Module) -> nn.Module:
    r"""A copy for inference, its norms within the kernels: $w' = w \gamma / \sigma$, $b' = \beta - \mu \gamma / \sigma$.

    The answers are the same to rounding; the original is left as it is, and the copy is in evaluation mode, not made to
    be trained. Folded is a batch norm that follows its convolution in an `nn.Sequential`, as in `ConvBlock`, and any
    module that has a simpler form for inference and gives it by a method `plain()`.
    Source: Jacob et al. 2018, sec. 3.2, doi:10.1109/CVPR.2018.00286. Chapter 5.
    """
    holder = nn.Sequential(copy.deepcopy(net).eval())               # so that the net itself may be what is folded
    for module in list(holder.modules()):
        for name, child in list(module.named_children()):
            if hasattr(child, "plain"):
                setattr(module, name, child.plain())
        for i, (conv, norm) in enumerate(pairwise(module if isinstance(module, nn.Sequential) else ())):
            if isinstance(conv, tuple(CONV.values())) and isinstance(norm, tuple(NORM.values())):
                module[i], module[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return holder[0]
