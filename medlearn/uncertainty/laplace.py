r"""Laplace's approximation: a trained network, taken for linear in its weights, has a posterior in closed form."""
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from medlearn.base.modes import in_evaluation
from medlearn.base.precision import at_least_float32
from medlearn.base.validation import Number, check_float, check_holds, check_number, check_shape, kind_of


@torch.no_grad()
def laplace_variance(net: nn.Module, at: Float[Tensor, "m *features"], *, inputs: Float[Tensor, "n *features"],
                     noise_variance: Float[Tensor, "n"], prior_variance: Number,
                     layer: nn.Module | None = None) -> Float[Tensor, "m"]:
    r"""$j_x (J^\top \Sigma^{-1} J + I / \tau^2)^{-1} j_x^\top$: how far a trained network's weights leave its number open.

    $J$ holds the derivative of each training answer by each weight, $j_x$ that of the answer at a place. Near the
    weights where training ended the network is taken for linear in them, with a prior $\mathcal{N}(0, \tau^2)$ on each
    weight and normal noise $\Sigma$: then this is the exact posterior variance of the answer's mean. It is all
    epistemic; the noise comes on top. For a network that is linear in these weights nothing is approximated.
    Shapes: `at (m, *features)`, where it is asked, and `inputs (n, *features)`, where it was trained, as `net`
    takes them; it answers with one number each, `(n, 1)`. `noise_variance` $\sigma^2$ of each training number, `(n,)`;
    `prior_variance` $\tau^2$ of every weight. The result is `(m,)`. Units: the answer's, squared. Computed in float64.
    `layer` is the part of the network whose weights are open, such as its last layer; all of it when left out. It takes
    a matrix of the squared number of these weights: a thousand are quick, a U-Net's are too many.
    The network is asked in evaluation mode and left as it was. Without training numbers it is the prior's variance.
    Errors: TypeError for anything but a network and a float tensor; ValueError for a network that answers with more
    than one number, a layer without weights of this network, a variance that is not positive, NaN, a
    prior so wide that float64 cannot tell the weights that the training numbers leave open.
    Source: MacKay 1992, doi:10.1162/neco.1992.4.3.448; linear in the weights: Immer et al. 2021, arXiv:2008.08400.
    Chapter 14.

    >>> line = nn.Linear(1, 1, bias=False)                  # y = w x, seen once at x = 1 with noise 1, prior 1
    >>> x = torch.ones(1, 1)
    >>> laplace_variance(line, 2 * x, inputs=x, noise_variance=torch.ones(1), prior_variance=1.0)      # 2^2 / (1 + 1)
    tensor([2.])
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected an nn.Module, got {kind_of(net)}")
    for name, x in {"at": at, "inputs": inputs}.items():
        check_float(name, x)
        if x.ndim == 0:
            raise ValueError(f"{name}: expected inputs of the network, the first axis counts them, got shape ()")
    if layer is not None and not isinstance(layer, nn.Module):
        raise TypeError(f"layer: expected an nn.Module, got {kind_of(layer)}")
    check_shape("noise_variance", check_float("noise_variance", noise_variance), (len(inputs),),
                because="one for each of the inputs")
    check_holds("noise_variance", noise_variance, noise_variance > 0, expected="positive variances")
    prior_variance = check_number("prior_variance", prior_variance, above=0)
    weights = _open_weights(net, layer)
    dtypes = {weight.dtype for weight in net.parameters()}
    for name, x in {"at": at, "inputs": inputs}.items():
        if x.dtype not in dtypes:
            raise TypeError(f"{name}: expected {' or '.join(map(str, dtypes))}, as the weights, got {x.dtype}")
    with in_evaluation(net):
        seen, asked = _jacobian(net, weights, inputs), _jacobian(net, weights, at)
    prior = torch.eye(seen.shape[1]).to(seen) / prior_variance ** 0.5
    root = torch.linalg.qr(torch.cat([seen / noise_variance.to(seen).sqrt()[:, None], prior]), mode="r").R
    scale = root.diagonal().abs()
    if not scale.min() > 1e-12 * scale.max():
        raise ValueError("prior_variance: expected one that float64 can hold beside the noise's, "
                         f"got {prior_variance:.4g} and weights that the training numbers leave open")
    whitened = torch.linalg.solve_triangular(root.mT, asked.mT, upper=False)
    return whitened.square().sum(0).to(at_least_float32(at).dtype)


def _open_weights(net: nn.Module, layer: nn.Module | None) -> dict[str, Tensor]:
    """The network's weights by their names, or those of one of its layers."""
    chosen = None if layer is None else {id(weight) for weight in layer.parameters()}
    found = {name: weight.detach() for name, weight in net.named_parameters() if chosen is None or id(weight) in chosen}
    if not found or (chosen is not None and len(found) < len(chosen)):
        raise ValueError("layer: expected a part of the network that has weights, "
                         f"got {kind_of(net if layer is None else layer)}")
    return found


def _jacobian(net: nn.Module, weights: dict[str, Tensor], x: Tensor) -> Float[Tensor, "n weights"]:
    """The derivative of each answer by each weight."""
    if len(x) == 0:
        return x.new_zeros(0, sum(weight.numel() for weight in weights.values()), dtype=torch.float64)

    def answer(chosen: dict[str, Tensor], one: Tensor) -> Tensor:
        said = functional_call(net, chosen, (one[None],))
        if said.shape != (1, 1):
            raise ValueError(f"net: expected one number for each input, (n, 1), got {tuple(said.shape)} for one input")
        return said[0, 0]

    rows = vmap(jacrev(answer), in_dims=(None, 0))(weights, x)
    return torch.cat([row.flatten(1) for row in rows.values()], dim=1).double()
