"""The official weights, from a file of the same names; and files that are none, or claim too much."""
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_transunet import in_torch_order, plain_transunet
from scipy import ndimage

from medlearn.nets.transunet import R50_VIT_B16, TransUNet, TransUNetSize
from medlearn.nets.weights import POSITIONS, load_official, npz_headers, official_places, read_npz

SMALL = TransUNetSize(width=8, units=(2, 1, 1), groups=4, channels=16, heads=2, depth=2, hidden=24,
                      decoder=(16, 12, 8, 8, 6))


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


def test_the_published_network_has_the_names_and_shapes_of_the_official_file():
    with torch.device("meta"):
        net = TransUNet()
    places = {name: tuple(place.shape) for name, place in official_places(net.cnn, net.embedding, net.transformer)}
    assert places | {POSITIONS: (1, 197, 768)} == official_shapes(R50_VIT_B16)


@pytest.mark.parametrize("convention", ["pytorch", "jax"])
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


def test_a_file_as_large_as_the_official_one_is_read_into_the_published_network(tmp_path):
    classifier = {"cls": (1, 1, 768), "pre_logits/kernel": (768, 768), "pre_logits/bias": (768,),
                  "head/kernel": (768, 21843), "head/bias": (21843,)}
    shapes = official_shapes(R50_VIT_B16) | classifier
    value_of = {name: np.float32(k) for k, name in enumerate(shapes, start=1)}      # no two arrays hold the same
    path = saved(tmp_path, {name: np.full(shape, value_of[name]) for name, shape in shapes.items()})
    assert path.stat().st_size > 4e8
    net = TransUNet.from_npz(path, in_channels=3, classes=9)
    path.unlink()
    for name, place in official_places(net.cnn, net.embedding, net.transformer):
        assert (place == value_of[name]).all(), name
    assert (net.transformer.positions == value_of[POSITIONS]).all()


def test_positions_are_brought_to_another_grid_as_the_reference_does_and_once_loaded_for_every_size(tmp_path):
    arrays = official_arrays(grid=4)
    path = saved(tmp_path, arrays)
    at_64, at_96 = (TransUNet.from_npz(path, classes=2, image_size=image, size=SMALL).eval()
                    for image in (64, (96, 32)))
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
        npz_headers(tmp_path / "nowhere.npz")


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
        r"pos_embedding: expected shape \(1, 1 \+ n \* n, 16\) with n of 1..256, got \(1, 16, 16\)": {
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


# files that claim too much

def header_of(shape, dtype="<f4"):
    """The first bytes of an array, as numpy writes them; the numbers would follow."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def with_member(path, name, content):
    """The same file with another member in the place of one."""
    with zipfile.ZipFile(path) as file:
        members = {member.filename: file.read(member) for member in file.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for other, old in (members | {f"{name}.npy": content}).items():
            file.writestr(other, old)
    return path


def claiming(path, name, size):
    """The same file with another size of a member in the list at its end."""
    content, directory = bytearray(path.read_bytes()), b"PK\x01\x02"
    start = next(at for at in range(len(content)) if content[at:at + 4] == directory
                 and content[at + 46:].startswith(f"{name}.npy".encode()))
    content[start + 24:start + 28] = size.to_bytes(4, "little")
    path.write_bytes(content)
    return path


@pytest.fixture
def read(monkeypatch):
    """The names of the arrays whose numbers are read."""
    names, read_array = [], np.lib.format.read_array
    monkeypatch.setattr(np.lib.format, "read_array", lambda stream, **how: names.append(
        stream.name.removesuffix(".npy")) or read_array(stream, **how))
    return names


def test_what_does_not_fit_is_refused_before_any_number_is_read(tmp_path, read, refused):
    four_terabytes = (2**20, 2**20)
    cases = {
        "and 80 more are missing": lambda path: saved(tmp_path, {"cls": np.full(8, np.nan, np.float32)}),
        "have no place in this network": lambda path: with_member(path, "extra", header_of((0,))),
        "gn_root/scale: expected float32, got float64": lambda path: with_member(
            path, "gn_root/scale", header_of((0,), "<f8")),
        r"gn_root/scale: expected shape \(8,\), got \(0,\)": lambda path: with_member(
            path, "gn_root/scale", header_of((0,))),
        r"expected shape .* with n of 1..256, got \(1, 66050, 16\)": lambda path: with_member(
            path, POSITIONS, header_of((1, 1 + 257**2, 16)) + bytes(4 * 16 * (1 + 257**2))),
        r"gn_root/scale would be 4398046511\d+ bytes by its header and is 128": lambda path: with_member(
            path, "gn_root/scale", header_of(four_terabytes)),
        r"cls would be 4398046511\d+ bytes by its header and is 128": lambda path: with_member(
            path, "cls", header_of(four_terabytes)),
        r"gn_root/scale would be 160 bytes by its header and is 4294967294": lambda path: claiming(
            path, "gn_root/scale", 2**32 - 2),
        "head/kernel is no array: .*magic": lambda path: with_member(path, "head/kernel", b"no array"),
        "head/kernel is no array: ": lambda path: with_member(
            path, "head/kernel", b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + bytes(10**6)),
    }
    net = TransUNet(classes=2, image_size=64, size=SMALL)
    before = [p.clone() for p in net.parameters()]
    for message, spoilt in cases.items():
        path = spoilt(saved(tmp_path, official_arrays()))
        with refused(rf"weights\.npz: .*{message}"):
            load_official(path, net.cnn, net.embedding, net.transformer)
        assert read == []
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters()))


def test_an_array_that_is_not_used_is_not_read(tmp_path, read):
    arrays, bomb = official_arrays(), (16, 2**20)                          # 64 MB of zeros, packed into 64 kB
    path = with_member(saved(tmp_path, arrays), "head/kernel", header_of(bomb) + bytes(4 * 16 * 2**20))
    assert path.stat().st_size < 2**20 and npz_headers(path)["head/kernel"].shape == bomb
    TransUNet.from_npz(path, classes=2, image_size=64, size=SMALL)
    assert sorted(read) == sorted(arrays)


def test_members_in_no_way_that_numpy_writes_are_refused(tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "weights.npz", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("cls.npy", header_of((0,)))
    with refused("got what cannot be read so: cls is compressed in another way than numpy does"):
        npz_headers(tmp_path / "weights.npz")
    path = saved(tmp_path, {"cls": np.zeros(3)})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= 1
    path.write_bytes(content)
    with refused("got what cannot be read so: .*encrypted"):
        npz_headers(path)


def test_a_file_that_has_changed_since_its_headers_were_read_is_refused(tmp_path, refused):
    headers = npz_headers(saved(tmp_path, {"a": np.zeros(3), "b": np.ones(2)}))
    path = saved(tmp_path, {"a": np.zeros(4), "b": np.ones(2)})
    with refused("its arrays are not those that were wanted"):
        read_npz(path, headers)
    assert read_npz(path, {"b": headers["b"]})["b"].tolist() == [1, 1]


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=64), st.integers(0, 127))
def test_whatever_stands_in_a_header_it_is_an_array_or_a_refusal(tmp_path_factory, junk, start):
    path = Path(tmp_path_factory.getbasetemp()) / "junk.npz"
    content = header_of((2, 3))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", content[:start] + junk + content[start + len(junk):] + bytes(24))
    try:
        headers = npz_headers(path)
    except ValueError as error:
        assert "expected an .npz of plain arrays" in str(error)
    else:
        assert read_npz(path, headers)["a"].nbytes == 24
