r"""A network as it answers: what training needed and an answer does not is put into the kernels beforehand."""
from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medlearn.nets.blocks import Conv, Norm


def folded(net: nn.Module) -> nn.Module:
    r"""A copy for inference, its norms in the kernels: $w' = w \gamma / \sigma$, $b' = \beta - \mu \gamma / \sigma$.

    `net` is any network. Its copy gives the same answers to rounding, and is in evaluation mode, not made to be
    trained; the original is left as it is. Folded are batch norms that follow their convolution in an `nn.Sequential`,
    as in `ConvBlock`, and modules that have a simpler form for inference and give it by a method `plain()`.
    Source: Jacob et al. 2018, sec. 3.2, doi:10.1109/CVPR.2018.00286. Chapter 7.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    >>> folded(net)
    Sequential(
      (0): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
      (1): Identity()
    )
    """
    holder = nn.Sequential(copy.deepcopy(net).eval())               # so that the net itself may be what is folded
    for module in list(holder.modules()):
        for name, child in list(module.named_children()):
            if callable(plain := getattr(child, "plain", None)):
                setattr(module, name, plain())
        if isinstance(module, nn.Sequential):
            for i, (conv, norm) in enumerate(pairwise(module)):
                if isinstance(conv, Conv) and isinstance(norm, Norm):
                    module[i], module[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return holder.get_submodule("0")
