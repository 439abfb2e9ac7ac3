r"""A trained U-Net as a page can hold it: whole numbers of eight bits, base64, and nothing that needs a library."""
from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from medlearn.base.validation import check_float
from medlearn.nets import DoubleConv, UNet, folded

STEPS = 127             # of an int8 to either side of 0


def quantised(weight: Float[Tensor, "o *k"]) -> tuple[Int8[Tensor, "o *k"], Float[Tensor, "o"]]:
    r"""$q = \mathrm{round}(w / s_o)$, $s_o = \max |w_o| / 127$ for each output channel o, so that $w \approx s_o q$.

    Shapes: `weight (O, ...)` to q of its shape and s `(O,)`. Units: s in those of the weight, q in steps of s.
    A channel of zeros has the scale 0, and stays zero. Errors: TypeError for anything but a float tensor; ValueError
    for a tensor without axes, and for NaN or infinity.
    Source: Jacob et al. 2018, sec. 2.1, doi:10.1109/CVPR.2018.00286. Chapter 7.

    >>> q, scale = quantised(torch.tensor([[1.0, -0.5], [0.0, 0.0]]))
    >>> q, (scale * 127).round(decimals=3)
    (tensor([[127, -64],
            [  0,   0]], dtype=torch.int8), tensor([1., 0.]))
    """
    check_float("weight", weight)
    if weight.ndim == 0:
        raise ValueError("weight: expected an axis of output channels, got a single number")
    rows = weight.detach().flatten(1).float()
    scale = rows.abs().amax(dim=1) / STEPS if rows.shape[1] else rows.new_zeros(len(rows))
    q = (rows / torch.where(scale > 0, scale, 1)[:, None]).round().to(torch.int8)
    return q.reshape(weight.shape), scale


def page_network(net: UNet) -> dict[str, Any]:
    r"""A U-Net in two dimensions for `network.js`: plain facts, and every kernel as int8, $w \approx s_o q$.

    What JSON can hold: `widths`, `classes`, `skips`, `dropout`, and `weights`, one base64 text. In it stands, for each
    convolution of `folded(net)` in the order of its `modules()`, s and then the bias as little-endian float32, and q.
    `read_page_network` makes a network of it again. An even size on every level but the coarsest is all that the page
    asks of an image.
    Shapes: one channel in, as of a scan. Units: none.
    Errors: TypeError for anything but a `UNet`; ValueError for one of other dimensions, with residual blocks or deep
    supervision, with several channels in, or with weights that are NaN. Source: as `quantised`. Chapter 7.

    >>> net = UNet(1, 3, widths=(4, 8))
    >>> page = page_network(net)
    >>> page["widths"], page["classes"], page["skips"]
    ([4, 8], 3, True)
    """
    widths = _check(net)
    parts = []
    for conv in _convolutions(folded(net)):
        q, scale = quantised(conv.weight)
        bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.detach()
        parts += [_bytes(scale, "<f4"), _bytes(bias, "<f4"), _bytes(q, "i1")]
    return {"widths": widths, "classes": net.heads[0].out_channels, "skips": net.skips,
            "dropout": [d.p for d in net.dropout], "weights": b64encode(b"".join(parts)).decode()}


def read_page_network(page: dict[str, Any]) -> nn.Module:
    r"""The network that the page runs, of float32 and with the rounded weights: `folded`, in evaluation.

    Shapes, units: as `page_network`. Errors: ValueError where the bytes are not those of a network of these widths.
    Chapter 7.

    >>> net = UNet(1, 3, widths=(4, 8)).eval()
    >>> again = read_page_network(page_network(net))
    >>> image = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    >>> torch.allclose(again(image), net(image), atol=0.05)
    True
    """
    net = folded(UNet(1, page["classes"], widths=page["widths"], skips=page["skips"], dropout=page["dropout"]))
    raw, at = b64decode(page["weights"]), 0
    convolutions = _convolutions(net)
    expected = sum(8 * conv.out_channels + conv.weight.numel() for conv in convolutions)
    if len(raw) != expected:
        raise ValueError(f"page: expected {expected} bytes for widths {page['widths']}, got {len(raw)}")
    for conv in convolutions:
        o, n = conv.out_channels, conv.weight.numel()
        scale, bias = torch.from_numpy(np.frombuffer(raw, "<f4", 2 * o, at).astype(np.float32)).split(o)
        q = torch.from_numpy(np.frombuffer(raw, "i1", n, at + 8 * o).astype(np.float32)).reshape(conv.weight.shape)
        conv.weight = nn.Parameter(q * scale.reshape(-1, 1, 1, 1))
        if conv.bias is not None:
            conv.bias = nn.Parameter(bias)
        at += 8 * o + n
    return net.eval()


def _convolutions(net: nn.Module) -> list[nn.Conv2d]:
    return [module for module in net.modules() if isinstance(module, nn.Conv2d)]


def _bytes(values: Tensor, kind: str) -> bytes:
    return np.ascontiguousarray(values.cpu().numpy(), dtype=kind).tobytes()


def _check(net: UNet) -> list[int]:
    """The network's widths, once it is one that the page can run."""
    if not isinstance(net, UNet):
        raise TypeError(f"net: expected a UNet, got {type(net).__name__}")
    blocks = [block for block in net.down if isinstance(block, DoubleConv)]
    if net.dim != 2 or net.in_channels != 1 or net.deep_supervision or len(blocks) < len(net.down):
        raise ValueError(f"net: expected a plain UNet of two dimensions and one channel, got dim={net.dim}, "
                         f"in_channels={net.in_channels}, deep_supervision={net.deep_supervision}, "
                         f"residual={len(blocks) < len(net.down)}")
    return [_convolutions(block)[0].out_channels for block in blocks]
