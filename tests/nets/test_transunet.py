"""TransUNet, whole, beside a plain re-statement; and the official weights, from a file of the same names."""
import math
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from plain_transunet import in_torch_order, parameters_of, plain_transunet  # noqa: E402
from scipy import ndimage
from torch import nn

from medlearn.nets.folding import folded
from medlearn.nets.transunet import R50_VIT_B16, TINY, TransUNet, TransUNetSize
from medlearn.nets.weights import POSITIONS, load_official, official_places, read_npz

SMALL = TransUNetSize(width=8, units=(2, 1, 1), groups=4, channels=16, heads=2, depth=2, hidden=24,
                      decoder=(16, 12, 8, 8, 6))
CONVENTIONS = ["pytorch", "jax"]


def official_shapes(size, grid=14):
    """The names and shapes of the file, spelt out."""
    shapes = {"conv_root/kernel": (7, 7, 3, size.width), "gn_root/scale": (size.width,), "gn_root/bias": (size.width,)}
    inputs = size.width
    for s, count in enumerate(size.units, 1):
        inner, outer = size.width * 2 ** (s - 1), size.width * 2 ** (s + 1)
        for u in range(1, count + 1):
            kernels = {"conv1": (1, 1, inputs, inner), "conv2": (3, 3, inner, inner), "conv3": (1, 1, inner, outer)}
            norms = {"gn1": inner, "gn2": inner, "gn3": outer}
            if u == 1:
                kernels["conv_proj"], norms["gn_proj"] = (1, 1, inputs, outer), outer
            shapes |= {f"block{s}/unit{u}/{part}/kernel": shape for part, shape in kernels.items()}
            shapes |= {f"block{s}/unit{u}/{part}/{end}": (n,) for part, n in norms.items() for end in ("scale", "bias")}
            inputs = outer
    c, d = size.channels, size.channels // size.heads
    shapes |= {"embedding/kernel": (1, 1, inputs, c), "embedding/bias": (c,), POSITIONS: (1, 1 + grid * grid, c)}
    for i in range(size.depth):
        name = f"Transformer/encoderblock_{i}"
        shapes |= {f"{name}/{norm}/{end}": (c,) for norm in ("LayerNorm_0", "LayerNorm_2") for end in ("scale", "bias")}
        attention = f"{name}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            shapes |= {f"{attention}/{part}/kernel": (c, size.heads, d), f"{attention}/{part}/bias": (size.heads, d)}
        shapes |= {f"{attention}/out/kernel": (size.heads, d, c), f"{attention}/out/bias": (c,)}
        mlp = f"{name}/MlpBlock_3"
        shapes |= {f"{mlp}/Dense_0/kernel": (c, size.hidden), f"{mlp}/Dense_0/bias": (size.hidden,),
                   f"{mlp}/Dense_1/kernel": (size.hidden, c), f"{mlp}/Dense_1/bias": (c,)}
    return shapes | {"Transformer/encoder_norm/scale": (c,), "Transformer/encoder_norm/bias": (c,)}


def official_arrays(size=SMALL, grid=4, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) * (0.3 if name.endswith("bias") else 1)
            for name, shape in official_shapes(size, grid).items()}


def saved(tmp_path, arrays):
    path = tmp_path / "weights.npz"
    np.savez(path, **arrays)
    return path


def trained(net, seed=0):
    """Norms and their running numbers as after training, so that none of them can be left out unnoticed."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2), nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5), nn.init.normal_(module.bias, std=0.2)
    return net.eval()


def plainly(net, image, convention, size=SMALL, **how):
    return plain_transunet(parameters_of(net), image, units=size.units, groups=size.groups, heads=size.heads,
                           depth=size.depth, jax=convention == "jax", **how)


# the published network

def count(net):
    return sum(p.numel() for p in net.parameters())


def test_the_published_network_has_its_parameters():
    with torch.device("meta"):
        net = TransUNet(classes=9, image_size=224)
        assert count(net) == 105_277_081
        assert count(TransUNet(classes=4)) == 105_276_356 and count(TransUNet(classes=9, image_size=512)) == 105_912_985
    parts = [count(net.cnn), count(net.embedding), net.transformer.positions.numel(), count(net.transformer.blocks),
             count(net.transformer.norm), count(net.narrow), count(net.up), count(net.head)]
    assert parts == [11_894_848, 787_200, 150_528, 85_054_464, 1_536, 3_539_968, 3_847_232, 1_305]


def test_the_published_network_has_the_names_and_shapes_of_the_official_file():
    with torch.device("meta"):
        net = TransUNet()
    places = {name: tuple(place.shape) for name, place in official_places(net.cnn, net.embedding, net.transformer)}
    assert places | {POSITIONS: (1, 197, 768)} == official_shapes(R50_VIT_B16)


# the whole

@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_whole_is_its_plain_re_statement_to_a_millionth(convention, channels):
    torch.manual_seed(0)
    net = trained(TransUNet(classes=5, image_size=64, size=SMALL, convention=convention))
    image = torch.randn(2, channels, 64, 64)
    for answer in (net(image), folded(net)(image)):
        expected = plainly(net, image, convention)
        assert (answer - expected).norm() < 1e-6 * expected.norm()
    exact = net.double()(image.double())
    torch.testing.assert_close(exact, plainly(net, image.double(), convention), rtol=1e-9, atol=1e-9)


def test_the_whole_trains_as_its_plain_re_statement():
    torch.manual_seed(0)
    net = trained(TransUNet(classes=3, image_size=32, size=SMALL, dropout=0.0)).double().train()
    image, push = torch.randn(2, 1, 32, 32).double(), torch.randn(2, 3, 32, 32).double()
    watched = {"conv_root/kernel": net.cnn.conv_root.weight, "head.weight": net.head.weight,
               "Transformer/encoder_norm/scale": net.transformer.norm.weight}
    w = parameters_of(net)
    for name in watched:
        w[name] = w[name].clone().requires_grad_()
    answer = plain_transunet(w, image, units=SMALL.units, groups=SMALL.groups, heads=2, depth=2, training=True)
    expected = torch.autograd.grad(answer, [w[name] for name in watched], push)
    found = torch.autograd.grad(net(image), list(watched.values()), push)
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("stride", [16, 8])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("size", [(64, 64), (32, 96), (16, 16), (128, 48)], ids=str)
def test_any_size_that_the_stride_divides_is_answered_pixel_by_pixel(stride, convention, size):
    torch.manual_seed(0)
    net = TransUNet.tiny(classes=3, image_size=(64, 32), stride=stride, convention=convention).eval()
    assert net(torch.randn(1, 1, *size)).shape == (1, 3, *size)
    assert net(torch.randn(0, 3, *size)).shape == (0, 3, *size)


def test_the_tiny_one_is_tiny():
    assert {stride: count(TransUNet.tiny(stride=stride)) for stride in TINY} == {16: 1_084_850, 8: 803_762}


def test_the_answer_is_that_of_its_steps():
    net, image = trained(TransUNet.tiny(classes=2, image_size=32)), torch.randn(1, 1, 32, 32)
    levels = net.encode(image)
    assert [tuple(x.shape[2:]) for x in levels] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    answer = net.decode(levels)
    assert torch.equal(answer, net(image))
    for _ in range(2):
        levels = net.merge(levels)
        assert torch.equal(net.decode(levels), answer)


def test_dropout_in_the_decoder_leaves_the_encoder_alone_and_acts_in_training_only():
    torch.manual_seed(0)
    net, image = TransUNet.tiny(classes=2, image_size=32, decoder_dropout=0.5), torch.randn(2, 1, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(net.encode(image), net.encode(image)))
    assert not torch.equal(net(image), net(image))
    net.eval()
    assert torch.equal(net(image), net(image))
    for step in net.dropout:
        net.eval()
        step.train()                                            # each step up has its own
        assert not torch.equal(net(image), net(image))


def test_the_published_dropout_is_in_the_transformer():
    net = TransUNet(classes=2, image_size=32, size=SMALL)
    assert [m.p for m in net.transformer.modules() if isinstance(m, nn.Dropout)] == [0.1] * (1 + 2 * SMALL.depth)
    assert [m.p for m in net.dropout] == [0.0] * 4


def test_every_parameter_learns_and_the_same_seed_gives_the_same_step():
    def step():
        torch.manual_seed(0)
        net = TransUNet.tiny(classes=2, image_size=32, decoder_dropout=0.2)
        net(torch.randn(2, 1, 32, 32)).square().mean().backward()
        return dict(net.named_parameters())
    one, other = step(), step()
    assert [name for name, p in one.items() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(torch.equal(p.grad, other[name].grad) for name, p in one.items())


def test_a_pixel_far_away_changes_the_answer():
    torch.manual_seed(0)
    net, image = TransUNet.tiny(classes=2, image_size=128).eval(), torch.randn(1, 1, 128, 128)
    other = image.clone()
    other[..., :4, :4] += 3
    assert (net(image) - net(other))[..., -8:, -8:].abs().max() > 0


def test_checkpointing_changes_neither_answers_nor_gradients():
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net = TransUNet.tiny(classes=2, image_size=32, dropout=0.1, decoder_dropout=0.1, checkpointing=checkpointing)
        answer = net(torch.randn(2, 1, 32, 32))
        answer.square().mean().backward()
        found.append([answer, *(p.grad for p in net.parameters()), *net.buffers()])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_autocast_and_half_precision_weights_change_the_answers_by_rounding_only():
    torch.manual_seed(0)
    net, image = TransUNet.tiny(classes=2, image_size=32).eval(), torch.randn(2, 1, 32, 32)
    exact = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = folded(net)(image)
    half = folded(net).to(torch.bfloat16)(image.bfloat16())
    for answer in (rounded, half):
        assert answer.dtype == torch.bfloat16
        assert (answer.float() - exact).norm() < 0.05 * exact.norm()


COMPILED = """
import torch
from medlearn.nets.folding import folded
from medlearn.nets.transunet import TransUNet, TransUNetSize
from medlearn.nets.vit import ViTSegmenter

torch.manual_seed(0)
image, push = torch.randn(2, 1, 32, 48), torch.randn(2, 2, 32, 48)
size = TransUNetSize(8, (2, 1), 2, 16, 2, 1, 16, (8, 8, 8, 8))
nets = {"published": TransUNet(classes=2, image_size=64, size=size, dropout=0.0),
        "folded": folded(TransUNet(classes=2, image_size=64, size=size, convention="jax")),
        "checkpointing": TransUNet(classes=2, image_size=32, size=size, dropout=0.0, checkpointing=True),
        "segmenter": ViTSegmenter(classes=2, image_size=32, depth=1)}
for name, net in nets.items():
    answers = []
    for run in (net, torch.compile(net, fullgraph=True, backend="eager")):
        answer = run(image)
        answers.append((answer, torch.autograd.grad(answer, next(net.parameters()), push)[0]))
    for eager, compiled in zip(*answers):
        torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-3)
    print(name)
"""


def test_it_compiles_without_a_break_in_the_graph():
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["published", "folded", "checkpointing", "segmenter"]


# the official weights

@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("norms", ["(C,)", "(1, 1, 1, C)"])
def test_a_file_of_the_official_names_gives_the_network_it_describes(tmp_path, convention, norms):
    arrays = official_arrays()
    stored = {name: a[None, None, None] if "gn" in name and norms != "(C,)" else a for name, a in arrays.items()}
    path = saved(tmp_path, stored | {"cls": np.zeros((1, 1, 16), np.float32), "head/bias": np.zeros(3, np.float32),
                                     "head/kernel": np.zeros((16, 3), np.float32)})
    torch.manual_seed(0)
    net = TransUNet.from_npz(path, classes=3, image_size=64, size=SMALL, convention=convention).double().eval()
    image = torch.randn(2, 3, 64, 64).double()
    w = {k: v.double() for k, v in in_torch_order({k: torch.from_numpy(a) for k, a in arrays.items()}).items()}
    expected = plain_transunet(w | net.state_dict(), image, units=SMALL.units, groups=4, heads=2, depth=2,
                               jax=convention == "jax")
    torch.testing.assert_close(net(image), expected, rtol=1e-8, atol=1e-8)


def test_positions_are_brought_to_another_grid_as_the_reference_does_and_once_loaded_for_every_size(tmp_path):
    arrays = official_arrays(grid=4)
    path = saved(tmp_path, arrays)
    at_64, at_96 = (TransUNet.from_npz(path, classes=2, image_size=image, size=SMALL).eval() for image in (64, (96, 32)))
    for part in ("narrow", "up", "head"):
        getattr(at_96, part).load_state_dict(getattr(at_64, part).state_dict())
    square = arrays[POSITIONS][0, 1:].reshape(4, 4, -1)
    zoomed = ndimage.zoom(square, (6 / 4, 2 / 4, 1), order=1, mode="nearest").reshape(1, 12, -1)
    np.testing.assert_allclose(at_96.transformer.positions.detach().numpy(), zoomed, atol=1e-5)
    image = torch.randn(1, 1, 96, 32)
    torch.testing.assert_close(at_64(image), at_96(image))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_root_of_other_channels_shares_the_sum_of_the_three(tmp_path, channels, refused):
    arrays = official_arrays()
    net = TransUNet.from_npz(saved(tmp_path, arrays), in_channels=channels, classes=2, image_size=32, size=SMALL).eval()
    root = net.cnn.conv_root.weight.detach().permute(2, 3, 1, 0).numpy()
    np.testing.assert_allclose(root.sum(axis=2), arrays["conv_root/kernel"].sum(axis=2), rtol=1e-5, atol=1e-5)
    assert (np.ptp(root, axis=2) == 0).all() and net(torch.randn(1, channels, 32, 32)).shape == (1, 2, 32, 32)
    with refused(rf"image: expected \(B, {channels}, \*S\)"):
        net(torch.randn(1, 3, 32, 32))


def test_what_is_no_file_of_weights_is_refused_and_writes_nothing(tmp_path, refused):
    path = saved(tmp_path, official_arrays())
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xff
    with zipfile.ZipFile(tmp_path / "no_array.npz", "w") as file:
        file.writestr("conv_root/kernel.npy", b"no array")
    bad = {"truncated": whole[:-1000], "half": whole[:len(whole) // 2], "empty": b"", "text": b"not an archive",
           "damaged": bytes(damaged), "pickle": pickle.dumps({"cls": 1}),
           "no_array": (tmp_path / "no_array.npz").read_bytes()}
    np.save(tmp_path / "one.npy", np.zeros(3))
    bad["one array"] = (tmp_path / "one.npy").read_bytes()
    np.savez(tmp_path / "objects.npz", **{"conv_root/kernel": np.array([{}], dtype=object)}, allow_pickle=True)
    bad["objects"] = (tmp_path / "objects.npz").read_bytes()
    for name, content in bad.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
        with refused(rf"{name}\.npz: expected an .npz of plain arrays, got what cannot be read so"):
            TransUNet.from_npz(tmp_path / f"{name}.npz", classes=2, image_size=64, size=SMALL)
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "nowhere.npz")


def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, refused):
    arrays, query = official_arrays(), "Transformer/encoderblock_1/MultiHeadDotProductAttention_1/query/kernel"
    nan = np.where(np.arange(8) == 3, np.nan, np.ones(8)).astype(np.float32)
    cases = {
        r"in which gn_root/bias are missing": {"gn_root/bias": None},
        r"block1/.* and 16 more are missing": {name: None for name in arrays if name.startswith("block1")},
        r"in which block4/unit1/conv1/kernel have no place in this network": {"block4/unit1/conv1/kernel": nan},
        r"in which head/extra have no place": {"head/extra": nan},
        rf"{query}: expected shape \(16, 2, 8\), got \(16, 16\)": {query: arrays[query].reshape(16, 16)},
        r"conv_root/kernel: expected shape \(7, 7, 3, 8\), got \(8, 3, 7, 7\)": {
            "conv_root/kernel": arrays["conv_root/kernel"].transpose(3, 2, 0, 1)},
        r"encoder_norm/scale: expected shape \(16,\), got \(1, 1, 1, 16\)": {
            "Transformer/encoder_norm/scale": arrays["Transformer/encoder_norm/scale"][None, None, None]},
        r"gn_root/scale: expected float32, got float64": {"gn_root/scale": np.ones(8)},
        r"gn_root/scale: expected finite numbers, got nan": {"gn_root/scale": nan},
        r"pos_embedding: expected shape \(1, 1 \+ a square number, 16\), got \(1, 16, 16\)": {
            POSITIONS: arrays[POSITIONS][:, 1:]},
        r"pos_embedding: expected shape .* got \(17, 16\)": {POSITIONS: arrays[POSITIONS][0]},
    }
    net = TransUNet(classes=2, image_size=64, size=SMALL)
    before = [p.clone() for p in net.parameters()]
    for message, change in cases.items():
        path = saved(tmp_path, {k: v for k, v in (arrays | change).items() if v is not None})
        with refused(rf"weights\.npz: .*{message}"):
            load_official(path, net.cnn, net.embedding, net.transformer)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters()))


# what is refused

def test_what_cannot_be_built_is_refused(refused):
    for build, message in [(lambda: TransUNet(classes=0, image_size=32, size=SMALL), "classes: expected a whole number, 1 or more, got 0"),
                           (lambda: TransUNet(classes=2, image_size=40, size=SMALL), "image_size: .* multiples of 16, got 40"),
                           (lambda: TransUNet(classes=2, image_size=32, size=SMALL, decoder_dropout=-1), "decoder_dropout: expected 0..1"),
                           (lambda: TransUNet(classes=2, image_size=32, size=SMALL, dropout=math.nan), "dropout: expected 0..1"),
                           (lambda: TransUNet(classes=2, image_size=32, size=SMALL, convention="x"), "convention: expected"),
                           (lambda: TransUNetSize(decoder=(8, 8)), "decoder: expected 5 numbers .* 3 stages, got 2"),
                           (lambda: TransUNetSize(decoder=(8, 8, 8, 8, 0)), r"decoder\[4\]: expected a whole number"),
                           (lambda: TransUNet.tiny(stride=4), "stride: expected 8 or 16, got 4")]:
        with refused(message):
            build()


def test_what_is_no_image_is_refused(refused):
    net = TransUNet.tiny(classes=2, image_size=32)
    for image, message in [(torch.zeros(1, 2, 32, 32), r"got shape \(1, 2, 32, 32\)"),
                           (torch.zeros(1, 1, 32, 40), r"sides that 16 divides, got shape \(1, 1, 32, 40\)"),
                           (torch.zeros(1, 1, 32, 32).int(), "float tensor, got torch.int32"),
                           (torch.zeros(1, 1, 4, 32, 32), "got shape"), (np.zeros((1, 1, 32, 32)), "got ndarray")]:
        with refused(f"image: expected .*{message}"):
            net(image)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_the_gpu_gives_the_same_answers():
    torch.manual_seed(0)
    net, image = TransUNet.tiny(classes=3, image_size=64).eval(), torch.randn(2, 1, 64, 64)
    exact = net(image)
    assert (net.cuda()(image.cuda()).cpu() - exact).norm() < 1e-2 * exact.norm()
