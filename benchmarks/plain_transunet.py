"""TransUNet the plain way, as its reference computes it: separate queries, keys and values, a softmax in full view, and
weights standardised on each pass. The tests hold the package to it, the benchmark measures the package beside it.

The parameters come by the official names, in a dictionary: `in_torch_order` of the arrays of an .npz. Those of the
decoder, which the file does not have, go by the names of the package.
"""
import math

import torch
from torch.nn import functional as F


def in_torch_order(arrays):
    """Kernels (h, w, in, out) to (out, in, h, w), dense ones (in, out) or by heads to (out, in), positions without the
    class token."""
    def turned(name, a):
        if name.endswith("pos_embedding"):
            return a[:, 1:]
        if name.endswith("/kernel") and "Attention" in name:
            width = a.shape[-1] if "/out/" in name else a.shape[0]
            return a.reshape(width, width).T
        if name.endswith("/kernel"):
            return a.permute(3, 2, 0, 1) if a.ndim == 4 else a.T
        return a.reshape(-1)

    return {name: turned(name, a).contiguous() for name, a in arrays.items()}


def parameters_of(net):
    """Those of the package's TransUNet, in memory as the reference has them."""
    from medlearn.nets.weights import POSITIONS, official_places

    arrays = dict(official_places(net.cnn, net.embedding, net.transformer))
    positions = net.transformer.positions.data
    arrays[POSITIONS] = torch.cat([positions[:, :1], positions], dim=1)         # a class token, to be dropped
    decoder = {name: p.contiguous() for name, p in net.state_dict().items()
               if name.startswith(("narrow", "up", "head"))}
    return in_torch_order(arrays) | decoder


def plain_transunet(w, image, *, units=(3, 4, 9), groups=32, heads=12, depth=12, jax=False, training=False):
    if image.shape[1] == 1:
        image = image.repeat(1, 3, 1, 1)
    skips, x = resnet(w, image, units, groups, jax)
    x = F.conv2d(x, w["embedding/kernel"], w["embedding/bias"])
    height, width = x.shape[2:]
    z = x.flatten(2).transpose(1, 2) + w["Transformer/posembed_input/pos_embedding"]
    for i in range(depth):
        z = block(w, f"Transformer/encoderblock_{i}", z, heads, jax)
    z = layer_norm(w, "Transformer/encoder_norm", z)
    y = conv_bn_relu(w, "narrow", z.transpose(1, 2).reshape(len(z), -1, height, width), training)
    for i in reversed(range(len(skips) + 1)):
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        y = torch.cat([y, skips[i - 1]], dim=1) if i else y
        y = conv_bn_relu(w, f"up.{i}.1", conv_bn_relu(w, f"up.{i}.0", y, training), training)
    return F.conv2d(y, w["head.weight"], w["head.bias"], padding=1)


def resnet(w, image, units, groups, jax):
    x = F.relu(group_norm(w, "gn_root", std_conv(w, "conv_root", image, 2, jax), groups))
    skips = [x]
    x = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, 2) if jax else F.max_pool2d(x, 3, 2)    # after a ReLU 0 is the lowest
    for s, count in enumerate(units, 1):
        for u in range(1, count + 1):
            x = unit(w, f"block{s}/unit{u}", x, 2 if u == 1 < s else 1, groups, jax)
        short = image.shape[2] // 2 ** (s + 1) - x.shape[2]
        skips.append(F.pad(x, (0, short, 0, short)) if short else x)
    return skips[:-1], skips[-1]


def unit(w, name, x, stride, groups, jax):
    y = F.relu(group_norm(w, f"{name}/gn1", std_conv(w, f"{name}/conv1", x, 1, jax), groups))
    y = F.relu(group_norm(w, f"{name}/gn2", std_conv(w, f"{name}/conv2", y, stride, jax), groups))
    y = group_norm(w, f"{name}/gn3", std_conv(w, f"{name}/conv3", y, 1, jax), groups)
    if f"{name}/conv_proj/kernel" in w:
        x = std_conv(w, f"{name}/conv_proj", x, stride, jax)
        of_proj = (groups, 1e-6) if jax else (x.shape[1], 1e-5)
        x = group_norm(w, f"{name}/gn_proj", x, *of_proj)
    return F.relu(x + y)


def std_conv(w, name, x, stride, jax):
    kernel = w[f"{name}/kernel"]
    variance, mean = torch.var_mean(kernel, dim=(1, 2, 3), correction=0, keepdim=True)
    kernel = (kernel - mean) / (torch.sqrt(variance) + 1e-5 if jax else torch.sqrt(variance + 1e-5))
    size = kernel.shape[2]
    if jax:
        short = size - stride
        x = F.pad(x, 2 * (short // 2, short - short // 2)) if short > 0 else x
    return F.conv2d(x, kernel, stride=stride, padding=0 if jax else size // 2)


def group_norm(w, name, x, groups, eps=1e-6):
    return F.group_norm(x, groups, w[f"{name}/scale"], w[f"{name}/bias"], eps)


def layer_norm(w, name, z):
    return F.layer_norm(z, z.shape[-1:], w[f"{name}/scale"], w[f"{name}/bias"], 1e-6)


def block(w, name, z, heads, jax):
    def dense(part, x):
        return F.linear(x, w[f"{name}/{part}/kernel"], w[f"{name}/{part}/bias"])

    x, attention = layer_norm(w, f"{name}/LayerNorm_0", z), "MultiHeadDotProductAttention_1"
    q, k, v = (dense(f"{attention}/{part}", x).unflatten(2, (heads, -1)).permute(0, 2, 1, 3)
               for part in ("query", "key", "value"))
    weights = torch.softmax(torch.matmul(q, k.transpose(2, 3)) / math.sqrt(q.shape[-1]), dim=-1)
    z = z + dense(f"{attention}/out", torch.matmul(weights, v).permute(0, 2, 1, 3).contiguous().flatten(2))
    x = layer_norm(w, f"{name}/LayerNorm_2", z)
    x = F.gelu(dense("MlpBlock_3/Dense_0", x), approximate="tanh" if jax else "none")
    return z + dense("MlpBlock_3/Dense_1", x)


def conv_bn_relu(w, name, x, training):
    x = F.conv2d(x, w[f"{name}.0.weight"], padding=1)
    return F.relu(F.batch_norm(x, w[f"{name}.1.running_mean"], w[f"{name}.1.running_var"], w[f"{name}.1.weight"],
                               w[f"{name}.1.bias"], training))
