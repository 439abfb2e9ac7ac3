"""What a network sees, measured: against the rule, against pokes at every voxel, and where gradients would mislead."""
import copy
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from medlearn.nets.blocks import ConvBlock
from medlearn.nets.reach import ReceptiveField, analytic_receptive_field, coverage, effective_kernel, receptive_field
from medlearn.nets.tasknet import TaskNet

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MAX_POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG_POOL = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


def box(shape, size):
    """A block of `size` voxels around the middle of a grid."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(slice(n // 2 - size // 2, n // 2 + size // 2 + 1) for n in shape)] = True
    return mask


def ronneberger_encoder(widths=(1, 2, 2, 2, 2)):
    layers, above = [], 1
    for level, width in enumerate(widths):
        layers += [nn.MaxPool2d(2)] * (level > 0)
        layers += [nn.Conv2d(above, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU()]
        above = width
    return nn.Sequential(*layers)


# the rule

def test_a_dilated_kernel_is_as_wide_as_from_its_first_tap_to_its_last():
    for kernel, rate in product(range(1, 8), range(1, 9)):
        assert effective_kernel(kernel, rate) == len(range(0, rate * (kernel - 1) + 1))
    assert effective_kernel(3, 3) == 7


def test_the_encoder_of_2015_sees_140_voxels_in_steps_of_16():
    measured = receptive_field(ronneberger_encoder(), (1, 572, 572))
    assert measured == analytic_receptive_field(ronneberger_encoder())
    assert measured.size == (140, 140) and measured.jump == (16, 16)


def test_a_stack_of_small_kernels_sees_as_far_as_a_large_one():
    for depth in (1, 2, 5):
        stack = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1) for _ in range(depth)])
        assert receptive_field(stack, (1, 31, 31)).size == (2 * depth + 1,) * 2
        assert torch.equal(coverage(stack, (1, 31, 31)), box((31, 31), 2 * depth + 1))


LAYER = st.tuples(st.sampled_from(["conv", "max", "average"]), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 2, 2, 3]), st.lists(LAYER, min_size=1, max_size=4), st.booleans())
def test_what_is_measured_is_what_the_rule_says(dim, layers, padded):
    made = []
    for kind, kernel, rate, stride in layers[:2] if dim == 3 else layers:
        if kind == "conv":
            made.append(CONV[dim](2, 2, kernel, dilation=rate, stride=stride, padding=kernel // 2 if padded else 0))
        else:
            pool = (MAX_POOL if kind == "max" else AVG_POOL)[dim]
            made.append(pool(kernel, stride, padding=kernel // 2 if padded else 0, ceil_mode=True))
        made.append(nn.ReLU())
    stack = nn.Sequential(*made)
    rule = analytic_receptive_field(stack)
    room = 2 * rule.size[0] + 6 * rule.jump[0]
    assert receptive_field(stack, (2, *[room] * dim)) == rule


def test_axes_are_measured_each_by_itself():
    stack = nn.Sequential(nn.Conv2d(1, 1, (3, 5), dilation=(2, 1), padding="same"), nn.AvgPool2d((1, 3)))
    expected = ReceptiveField(size=(5, 7), jump=(1, 3), offset=(0.0, 1.0))
    assert receptive_field(stack, (1, 24, 60)) == expected == analytic_receptive_field(stack)


def test_the_rule_refuses_what_is_no_row_of_layers(refused):
    with refused("stack: expected layers in a row .*, got TaskNet"):
        analytic_receptive_field(TaskNet(widths=(2, 2)))
    with refused("stack: expected layers in a row .*, got ConvTranspose2d"):
        analytic_receptive_field(nn.Sequential(nn.ConvTranspose2d(1, 1, 2)))
    for stack in (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv3d(1, 1, 3))):
        with refused("stack: expected convolutions or poolings with one number of axes"):
            analytic_receptive_field(stack)

    class Residual(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    with refused("stack: expected layers in a row .*, got Residual"):
        analytic_receptive_field(Residual(nn.Conv2d(1, 1, 3, padding=1)))


# which voxels

@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.lists(st.tuples(st.sampled_from([1, 3, 5]), st.integers(1, 4)), min_size=1, max_size=3))
def test_a_voxel_is_seen_if_poking_it_moves_the_output(seed, layers):
    torch.manual_seed(seed)
    stack = nn.Sequential(*[nn.Conv2d(1, 1, k, dilation=r, padding="same", bias=False) for k, r in layers]).double()
    image = torch.randn(1, 1, 17, 17, dtype=torch.float64)
    pokes = image + torch.eye(17 * 17, dtype=torch.float64).view(-1, 1, 17, 17)
    with torch.no_grad():
        moved = (stack(pokes) - stack(image))[:, 0, 8, 8].abs() > 1e-12
    assert torch.equal(coverage(stack, (1, 17, 17)), moved.view(17, 17))


@pytest.mark.parametrize("dim", [2, 3])
def test_a_dilated_kernel_touches_a_lattice(dim):
    seen = coverage(CONV[dim](1, 1, 3, dilation=3, padding=3), (1, *[15] * dim))
    assert seen.sum() == 3 ** dim
    assert torch.equal(seen.nonzero().unique(), torch.tensor([4, 7, 10]))


def test_a_corner_of_the_output_can_be_asked_too():
    seen = coverage(nn.Conv2d(1, 1, 3, padding=1), (1, 8, 8), at=(0, 7))
    assert seen.nonzero().tolist() == [[0, 6], [0, 7], [1, 6], [1, 7]]


class Zero(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)
        for p in self.parameters():
            nn.init.zeros_(p)


class Standardised(nn.Conv2d):
    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, padding=self.padding)


class Gated(nn.Module):
    """A residual branch behind a gate that starts at zero."""

    def __init__(self):
        super().__init__()
        self.branch, self.gate = nn.Conv2d(2, 2, 5, padding=2), nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x + self.gate * self.branch(x)


def conv():
    return nn.Conv2d(2, 2, 5, padding=2)


MISLEADING = {
    "weights of zero": lambda: Zero(conv()),
    "a gate of zero": Gated,
    "dead ReLUs": lambda: nn.Sequential(Zero(nn.Conv2d(2, 2, 1)), nn.ReLU(), conv(), nn.ReLU(inplace=True)),
    "saturated units": lambda: nn.Sequential(conv(), nn.Sigmoid(), nn.Tanh(), nn.Hardtanh(-2, -1), nn.Softplus()),
    "a maximum": lambda: nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.MaxPool2d(3, stride=1, padding=1)),
    "a norm in training": lambda: nn.Sequential(conv(), nn.BatchNorm2d(2), nn.Dropout2d(0.9)),
    "norms of an image": lambda: nn.Sequential(nn.InstanceNorm2d(2), conv(), nn.GroupNorm(1, 2)),
    "standardised weights": lambda: Standardised(2, 2, 5, padding=2),
    "weights that cancel": lambda: nn.Sequential(conv(), nn.Conv2d(2, 2, 1)).requires_grad_(False),
}


@pytest.mark.parametrize("name", MISLEADING)
def test_it_is_the_wiring_that_counts(name):
    torch.manual_seed(0)
    module = MISLEADING[name]().train()
    before, training = copy.deepcopy(module.state_dict()), [m.training for m in module.modules()]
    assert torch.equal(coverage(module, (2, 15, 15)), box((15, 15), 5))
    assert receptive_field(module, (2, 15, 15)) == ReceptiveField((5, 5), (1, 1), (0.0, 0.0))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), module.state_dict().values()))
    assert [m.training for m in module.modules()] == training


def test_the_deepest_corner_is_seen():
    deep = nn.Sequential(*[layer for _ in range(90) for layer in (nn.Conv2d(1, 1, 3, padding=1), nn.ReLU())])
    assert coverage(deep, (1, 191, 191)).sum() == 181 ** 2                  # its share of all paths is 9 to the -90


def test_it_does_not_matter_how_gradients_and_precision_are_set():
    net = TaskNet(widths=(2, 3)).train()
    expected = coverage(net, (1, 20, 20), output=lambda answers: answers.semantic)
    for setting in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)):
        with setting:
            assert torch.equal(coverage(net, (1, 20, 20), output=lambda answers: answers.semantic), expected)
    assert torch.equal(coverage(net.bfloat16(), (1, 20, 20), output=lambda answers: answers.semantic), expected)


# further networks

@pytest.mark.parametrize(("dim", "size"), [(2, 72), (3, 28)])
def test_where_steps_are_uneven_it_is_the_largest_window_and_the_mean_step(dim, size):
    net = TaskNet(dim=dim, widths=(2, 2, 2) if dim == 2 else (2, 2))
    shape, semantic = (1, *[size] * dim), lambda answers: answers.semantic
    field = receptive_field(net, shape, output=semantic)
    widths = []
    for step in range(4):
        seen = coverage(net, shape, output=semantic, at=[size // 2 - 2 + step] * dim).nonzero()
        widths.append(tuple((seen.amax(0) - seen.amin(0) + 1).tolist()))
    assert field.size == max(widths) and field.jump == (1,) * dim and field.offset == (0.0,) * dim


def test_the_steps_of_a_finer_output_are_fractions():
    field = receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ConvTranspose2d(1, 1, 2, 2)), (1, 24, 24))
    assert field == ReceptiveField((3, 3), (0.5, 0.5), (-0.25, -0.25))
    field = receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Upsample(scale_factor=3)), (1, 24, 24))
    assert field.size == (3, 3) and field.jump == pytest.approx((1 / 3, 1 / 3))


class Unpooled(nn.Module):
    def forward(self, x):
        pooled, place = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(pooled, place, 2)


def test_a_maximum_that_remembers_its_place_sees_its_window():
    assert receptive_field(nn.Sequential(nn.MaxPool2d(2, return_indices=False), conv()), (2, 60, 60)).size == (10, 10)
    seen = coverage(Unpooled(), (1, 8, 8))              # of an image of ones the first of four is the largest
    assert seen.nonzero().tolist() == [[4, 4], [4, 5], [5, 4], [5, 5]]


class Attention(nn.Module):
    def __init__(self, gate=1.0):
        super().__init__()
        self.patch, self.attend = nn.Conv2d(1, 8, 4, 4), nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.gate = nn.LayerNorm(8), nn.Parameter(torch.tensor(gate))
        self.position = nn.Parameter(torch.randn(1, 64, 8))

    def forward(self, image):
        x = self.patch(image)
        tokens = x.flatten(2).transpose(1, 2) + self.position
        seen, _ = self.attend(*[self.norm(tokens)] * 3)
        return (tokens + self.gate * seen).transpose(1, 2).view_as(x)


@pytest.mark.parametrize("gate", [1.0, 0.0])
def test_attention_sees_the_whole_image_from_everywhere(gate):
    assert receptive_field(Attention(gate), (1, 32, 32)) == ReceptiveField((32, 32), (0, 0), (15.5, 15.5))
    assert coverage(Attention(gate), (1, 32, 32), at=(0, 7)).all()


def test_a_masked_attention_sees_what_the_mask_lets_through():
    class Windows(nn.Module):
        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)
            window = torch.arange(64).view(8, 8).div(32, rounding_mode="floor").flatten()   # upper and lower half
            mask = window[:, None] == window
            return F.scaled_dot_product_attention(tokens, tokens, tokens, attn_mask=mask).transpose(1, 2).view_as(x)

    seen = coverage(Windows(), (2, 8, 8), at=(1, 1))
    assert seen[:4].all() and not seen[4:].any()


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)])
def test_a_global_pooling_sees_the_whole_image(pool):
    assert receptive_field(pool, (1, 9, 12)) == ReceptiveField((9, 12), (0, 0), (4.0, 5.5))


def test_a_head_without_space_is_given_one_by_output():
    net = TaskNet(widths=(2, 2))
    everything = coverage(net, (1, 12, 12), output=lambda answers: answers.diagnosis[..., None, None])
    assert everything.all()                             # a maximum over the whole image


@pytest.mark.parametrize("last", [
    nn.Sigmoid(), nn.LogSigmoid(), nn.Softmax(1), nn.LogSoftmax(1), nn.Softmin(1), nn.Softmax2d(), nn.Hardshrink(9.0),
    nn.Softshrink(9.0), nn.Threshold(9.0, 0.0), nn.Tanhshrink(), nn.RReLU(), nn.SELU(), nn.CELU(), nn.Softsign(),
    nn.Hardtanh(), nn.Hardsigmoid(), nn.LocalResponseNorm(3)], ids=lambda layer: type(layer).__name__)
def test_an_activation_behind_a_convolution_changes_nothing(last):
    stack = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), last)
    field = ReceptiveField((3, 3), (1, 1), (0, 0))
    assert receptive_field(stack, (1, 32, 32)) == analytic_receptive_field(stack) == field


def test_a_gate_and_a_direction_over_the_channels_change_nothing():
    class Direction(nn.Module):
        def forward(self, x):
            return F.normalize(x, dim=1)

    for last in (nn.GLU(1), Direction()):
        assert receptive_field(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), last), (1, 32, 32)).size == (3, 3)


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm([4, 32, 32])])
def test_a_norm_over_the_whole_image_is_not_counted(norm):
    stack = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), norm)
    assert receptive_field(stack, (1, 32, 32)).size == analytic_receptive_field(stack).size == (3, 3)


# what is refused

def test_an_image_whose_border_cuts_the_window_is_refused(refused):
    for size in (150, 188):
        with refused(f"input_shape: expected an image so large .* got {size} voxels along axis 0"):
            receptive_field(ronneberger_encoder(), (1, size, size))
    with refused("input_shape: expected an image so large .* got 9 voxels along axis 1"):
        receptive_field(nn.Conv2d(1, 1, (3, 9), padding="same"), (1, 20, 9))


def test_what_is_no_network_no_shape_and_no_voxel_is_refused(refused):
    conv = nn.Conv2d(1, 1, 3)
    with refused("module: expected an nn.Module, got function"):
        coverage(lambda x: x, (1, 8, 8))
    for shape in ((8,), (1, 0, 8), (1, 8.0, 8), (True, 8, 8), (), 8, None, "188"):
        with refused(r"input_shape: expected \(C, \*S\)"):
            coverage(conv, shape)
    with refused("output: expected a function, got 3"):
        coverage(conv, (1, 8, 8), output=3)
    for at in ((0,), (6, 0), (-1, 0), (0, 0, 0), 3, "00"):
        with refused(r"at: expected a voxel of the output's grid \(6, 6\)"):
            coverage(conv, (1, 8, 8), at=at)
    with refused(r"output: expected one tensor \(1, K, \*O\) with 2 axes of space, got TaskAnswers"):
        coverage(TaskNet(widths=(2, 2)), (1, 8, 8))
    with refused(r"output: expected one tensor .*shape \(1, 3\)"):
        coverage(TaskNet(widths=(2, 2)), (1, 8, 8), output=lambda answers: answers.diagnosis)
    with refused("module: expected max pooling without dilation"):
        coverage(nn.MaxPool2d(2, dilation=2), (1, 8, 8))
    for name in ("kernel", "rate"):
        for wrong in (0, -1, 1.0, True):
            with refused(f"{name}: expected a whole number"):
                effective_kernel(**{"kernel": 3, "rate": 1, name: wrong})


def test_an_output_that_ignores_the_input_sees_nothing(refused):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones_like(x)

    class Corner(nn.Module):
        def forward(self, x):
            return F.pad(x[..., :2, :2], (0, 6, 0, 6))

    with refused("output: expected one that depends on the input"):
        coverage(Constant(), (1, 8, 8))
    assert not coverage(Corner(), (1, 8, 8)).any()
    with refused(r"output: expected a voxel that depends on the input, got none at \(4, 4\)"):
        receptive_field(Corner(), (1, 8, 8))


@pytest.mark.gpu
def test_a_gpu_sees_what_the_cpu_sees():
    block = nn.Sequential(ConvBlock(1, 8), ConvBlock(8, 8), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, dilation=4, padding=4))
    expected = receptive_field(block, (1, 96, 96))
    assert receptive_field(block.cuda(), (1, 96, 96)) == expected
    assert coverage(block, (1, 96, 96)).is_cuda


def test_a_part_of_a_tensor_that_was_cut_up_and_not_used_is_no_error():
    class OneOfThree(nn.Module):
        def forward(self, image):
            first, _, _ = image.repeat(1, 3, 1, 1).chunk(3, dim=1)
            return first

    assert receptive_field(OneOfThree(), (1, 9, 9)).size == (1, 1)
