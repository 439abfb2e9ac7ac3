r"""A trained network as an ONNX file, which a hospital's software runs without PyTorch."""
from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medlearn.base.atomic import written_whole
from medlearn.base.modes import in_evaluation
from medlearn.base.validation import check_float, kind_of

INSTALL = "pip install 'medlearn[onnx]'"


def write_onnx(net: nn.Module, path: str | Path, *, image: Float[Tensor, "b c *s"], dynamic: bool = True) -> None:
    r"""The graph of $f_\theta$ in evaluation, with its weights: one file, from "image" to "logits", written whole.

    `net` is left as it was; `folded(net)` makes a smaller graph. `path` is the file, which ends in .onnx.
    Shapes: `image (B, C, *S)` is an example, whose values do not matter. `dynamic`: the file takes any batch and any
    size that the network does, for which B may be 1; without, the example's shape alone. Units: as the network's.
    An example without a voxel is refused.
    Errors: TypeError for anything but a network, an image and a single tensor of logits; ValueError for another
    ending, and for a network whose graph depends on the image's values or, if `dynamic`, on its size; ImportError
    without the extra `onnx`. It needs torch 2.6. Source: the ONNX operators, onnx.ai.

    >>> from tempfile import TemporaryDirectory
    >>> net, image = nn.Conv2d(1, 2, 3, padding=1), torch.rand(1, 1, 8, 8)
    >>> with TemporaryDirectory() as folder:
    ...     write_onnx(net, f"{folder}/net.onnx", image=image)
    ...     onnx_difference(f"{folder}/net.onnx", net, image=torch.rand(3, 1, 10, 12)) < 1e-4
    True
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: expected a name that ends in .onnx")
    _answer(net, image)
    _needed("onnx", "onnxscript")
    axes = {axis: torch.export.Dim.DYNAMIC for axis in (0, *range(2, image.ndim))}
    # a batch of one would be taken for a batch that is always one
    example = image[:1].expand(2, *image.shape[1:]).contiguous() if dynamic else image
    try:
        with warnings.catch_warnings(), torch.no_grad(), in_evaluation(net):
            warnings.simplefilter("ignore")                                 # of the exporter, about itself
            program: Any = torch.onnx.export(net, (example,), dynamo=True, verbose=False, input_names=["image"],
                                        output_names=["logits"], dynamic_shapes=(axes,) if dynamic else None)
    except Exception as error:                                              # torch has a dozen kinds
        hint = ". With dynamic=False it is written for one size" if dynamic else ""
        raise ValueError(f"net: expected a network that is one graph, got {type(net).__name__}: {error}"
                         f"{hint}") from error
    with written_whole(path) as aside:
        program.save(aside, external_data=False)


def onnx_difference(path: str | Path, net: nn.Module, *, image: Float[Tensor, "b c *s"]) -> float:
    r"""$\max |f_{\mathrm{ONNX}}(x) - f_\theta(x)|$: how far the file's answer, by onnxruntime, is from the network's.

    `path` is a file that `write_onnx` wrote of this `net`. Shapes: `image (B, C, *S)`. Units: of the logits; 1e-4 is
    more than rounding brings for logits of a few units. An image without a voxel is refused.
    Errors: as `write_onnx`; ValueError for an image that the file does not take.

    >>> from tempfile import TemporaryDirectory
    >>> net, other, image = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3), torch.rand(1, 1, 8, 8)
    >>> with TemporaryDirectory() as folder:
    ...     write_onnx(net, f"{folder}/net.onnx", image=image, dynamic=False)
    ...     [onnx_difference(f"{folder}/net.onnx", some, image=image) < 1e-4 for some in (net, other)]
    [True, False]
    """
    expected = _answer(net, image)
    _needed("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    try:
        found, = session.run(None, {"image": image.detach().cpu().numpy()})
    except Exception as error:                                              # its errors are of a private module
        raise ValueError(f"{path}: expected an image that it takes, got {tuple(image.shape)}: {error}") from error
    if found.shape != tuple(expected.shape):
        raise ValueError(f"{path}: expected logits {tuple(expected.shape)}, as the network's, got {found.shape}")
    return float((torch.from_numpy(found) - expected.cpu()).abs().max())


@torch.no_grad()
def _answer(net: nn.Module, image: Tensor) -> Tensor:
    """The logits in evaluation, once all is as it has to be."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected an nn.Module, got {kind_of(net)}")
    check_float("image", image, shape="(B, C, *S)")
    if image.numel() == 0:
        raise ValueError(f"image: expected an example with a voxel, got shape {tuple(image.shape)}")
    with in_evaluation(net):
        logits = net(image)
    if not isinstance(logits, Tensor):
        raise TypeError(f"net: expected logits, one tensor, as its answer in evaluation, got {kind_of(logits)}")
    return logits


def _needed(*packages: str) -> None:
    from importlib.util import find_spec

    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ImportError(f"{' and '.join(missing)} is not here: {INSTALL}")
