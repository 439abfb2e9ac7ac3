"""Ensembles: members of their own, in turn or side by side, trained, and kept in a file."""
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medlearn.nets.folding import folded
from medlearn.nets.transunet import TransUNet
from medlearn.nets.unet import UNet
from medlearn.nets.unetpp import UNetPlusPlus
from medlearn.train import Recipe, fit
from medlearn.uncertainty import Ensemble

MAKERS = {
    "U-Net": lambda: UNet(1, 3, widths=(4, 6)),
    "U-Net in 3D": lambda: UNet(1, 3, widths=(4, 6), dim=3, residual=True),
    "UNet++": lambda: UNetPlusPlus(1, 3, widths=(4, 6)),
    "TransUNet": lambda: TransUNet.tiny(classes=3, image_size=32),
    "perceptron": lambda: nn.Sequential(nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 3)),
}
makers = pytest.mark.parametrize("name", MAKERS)


def made(name="U-Net", members=3, **options):
    return Ensemble(MAKERS[name], members, **options).eval()


def image(name="U-Net", batch=2):
    shape = (32,) if name == "perceptron" else (1, 32, 32) if name == "TransUNet" else (1, 7, 5, 3)[:3 + ("3D" in name)]
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))


# the members

def test_each_member_is_the_network_of_its_own_seed():
    ensemble = made(members=3, seed=5)
    for number, member in enumerate(ensemble.members):
        torch.manual_seed(5 + number)
        alone = MAKERS["U-Net"]()
        assert all(torch.equal(a, b) for a, b in zip(member.parameters(), alone.parameters()))
    assert torch.equal(made(seed=5)(image()), ensemble(image())) and not torch.equal(made()(image()), ensemble(image()))


def test_the_callers_random_numbers_go_on():
    before = torch.get_rng_state()
    made()
    assert torch.equal(torch.get_rng_state(), before)

    def breaks():
        torch.rand(1)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        Ensemble(breaks)
    assert torch.equal(torch.get_rng_state(), before)


@makers
@torch.no_grad()
def test_the_answers_are_those_of_the_members_in_turn(name):
    ensemble, x = made(name), image(name)
    answers = ensemble(x)
    assert answers.shape[:3] == (3, 2, 3) and answers.shape[3:] == (x.shape[2:] if x.ndim > 2 else ())
    assert all(torch.equal(a, member(x)) and torch.equal(a, b)
               for a, member, b in zip(answers, ensemble.members, ensemble.stream(x)))
    assert not torch.allclose(answers[0], answers[1])


def test_a_stream_computes_an_answer_when_it_is_asked_for():
    ensemble, ran = made(), []
    for number, member in enumerate(ensemble.members):
        member.register_forward_hook(lambda *_, number=number: ran.append(number))
    stream = ensemble.stream(image())
    assert ran == []
    next(stream)
    assert ran == [0]


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "TransUNet"])      # vmap knows no such group norm
@torch.no_grad()
def test_vectorised_gives_the_same(name):
    ensemble, x = made(name), image(name)
    for net in (ensemble, folded(ensemble)):
        assert torch.allclose(net.vectorised(x), net(x), atol=1e-5)
    assert torch.allclose(folded(ensemble)(x), ensemble(x), atol=1e-5)


@torch.no_grad()
def test_one_member_an_empty_batch_and_bfloat16():
    assert made(members=1)(image()).shape == (1, 2, 3, 7, 5)
    assert made()(image(batch=0)).shape == (3, 0, 3, 7, 5)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made()(image())
    assert rounded.dtype == torch.bfloat16 and torch.allclose(rounded.float(), made()(image()), atol=0.05)


# learning

def test_a_joint_step_is_a_step_of_each_member():
    truth = torch.zeros(2, 7, 5, dtype=torch.long)
    together, alone = made().train(), made().train()
    optimizer = torch.optim.SGD(together.parameters(), lr=0.1)
    sum(F.cross_entropy(logits, truth) for logits in together.stream(image())).backward()
    optimizer.step()
    for member in alone.members:
        optimizer = torch.optim.SGD(member.parameters(), lr=0.1)
        F.cross_entropy(member(image()), truth).backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(together.state_dict().values(), alone.state_dict().values()))
    assert not torch.equal(together.eval()(image()), made()(image()))


def test_the_gradient_of_the_vectorised_answer_comes_to_the_members():
    one, other = made("perceptron").train(), made("perceptron").train()
    one(image("perceptron")).square().mean().backward()
    other.vectorised(image("perceptron")).square().mean().backward()
    assert all(torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in zip(one.parameters(), other.parameters()))


class Pictures:
    def __len__(self):
        return 8

    def __getitem__(self, i):
        x = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(i))
        return x, (x[0] > 0).long()


def test_members_are_trained_one_by_one_each_with_its_seed():
    ensemble, again = made(members=2), made(members=2)
    for net in (ensemble, again):
        for seed, member in enumerate(net.members):
            history = fit(member, Pictures(), loss=F.cross_entropy,
                          recipe=Recipe(steps=8, batch_size=4, seed=seed, precision="fp32"), progress=False)
            assert history.rows[-1]["loss"] < history.rows[0]["loss"]
    assert torch.equal(ensemble(image()), again(image()))
    assert torch.allclose(ensemble.vectorised(image()), ensemble(image()), atol=1e-5)     # left in evaluation by `fit`


# the file

@pytest.mark.parametrize("name", ["U-Net", "U-Net in 3D", "perceptron"])
def test_what_was_saved_comes_back(name, tmp_path):
    ensemble, path = made(name, seed=7), tmp_path / "ensemble.safetensors"
    with torch.no_grad():
        ensemble(image(name))
    ensemble.save(path)
    found = Ensemble.load(path, MAKERS[name])
    assert torch.equal(found(image(name)), ensemble(image(name))) and not found.training
    assert [p.name for p in tmp_path.iterdir()] == ["ensemble.safetensors"]


@pytest.mark.parametrize("damage", ["cut", "changed", "other"])
def test_a_damaged_file_is_refused(tmp_path, refused, damage):
    path = tmp_path / "ensemble.safetensors"
    made().save(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes({"cut": content[:-9], "other": b"no weights at all"}.get(damage, content))
    with refused("ensemble.safetensors is damaged or no checkpoint"):
        Ensemble.load(path, MAKERS["U-Net"])


def test_a_missing_file_is_called_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors"):
        Ensemble.load(tmp_path / "nowhere.safetensors", MAKERS["perceptron"])


def test_a_file_of_another_construction_is_refused_by_name(tmp_path, refused):
    path = tmp_path / "ensemble.safetensors"
    made().save(path)
    with refused(r"members.0.down.0.0.0.weight' is float32 \(4, 1, 3, 3\) in it and float32 \(5, 1, 3, 3\)"):
        Ensemble.load(path, lambda: UNet(1, 3, widths=(5, 6)))
    from medlearn.base.files import write_tensors

    write_tensors(path, MAKERS["U-Net"]().state_dict(), {"step": 1})
    with refused("expected an ensemble that `save` wrote, got another file of weights"):
        Ensemble.load(path, MAKERS["U-Net"])


@pytest.mark.gpu
@torch.no_grad()
def test_on_a_gpu_the_answers_are_the_same_both_ways():
    before = torch.cuda.get_rng_state()
    ensemble, x = made().cuda(), image().cuda()
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert torch.allclose(ensemble.vectorised(x), ensemble(x), atol=1e-4)
    assert torch.allclose(ensemble(x).cpu(), ensemble.cpu()(x.cpu()), atol=1e-4)


def test_networks_that_exist_already_make_an_ensemble(tmp_path):
    nets = [MAKERS["U-Net"]().eval() for _ in range(3)]
    ensemble = Ensemble.of(net for net in nets)
    assert list(ensemble.members) == nets and not ensemble.members[0].training
    assert torch.equal(ensemble(image()), torch.stack([net(image()) for net in nets]))
    ensemble.save(tmp_path / "ensemble.safetensors")
    again = Ensemble.load(tmp_path / "ensemble.safetensors", MAKERS["U-Net"])
    assert torch.equal(again(image()), ensemble(image()))


# refusals

def test_networks_that_make_no_ensemble_are_refused(refused):
    one, other = MAKERS["U-Net"](), MAKERS["U-Net"]()
    with refused("nets: expected members with weights of their own, got the same in 0 and 2"):
        Ensemble.of([one, other, one])
    with refused(r"nets: expected members of one construction, got '.*' of shape .* in member 0 and .* in member 1"):
        Ensemble.of([one, UNet(1, 3, widths=(4, 7))])
    with refused("nets: expected members of one construction, got '.*' of shape .* "
                 "and .* torch.float64 on cpu in member 1"):
        Ensemble.of([one, other.double()])
    with refused("nets: expected one network or more, got none"):
        Ensemble.of([])
    for wrong in (3, None, [one, "net"], MAKERS["U-Net"]):
        with refused(r"nets\[[01]\]: expected an nn.Module, got"):
            Ensemble.of(wrong)
    with refused(r"nets\[0\]: expected an nn.Module|nets: expected"):
        Ensemble.of("net")


@pytest.mark.parametrize("members", [0, -1, 2.0, True, "five"])
def test_no_member_is_refused(refused, members):
    with refused("members: expected a whole number,.* got"):
        Ensemble(MAKERS["U-Net"], members)


def test_members_that_do_not_stand_side_by_side_are_refused(refused):
    widths = iter([(4, 6), (4, 7)])
    with refused(r"make: expected members of one construction, got '.*' of shape .* in member 0 and .* in member 1"):
        Ensemble(lambda: UNet(1, 3, widths=next(widths)), 2)


def test_members_that_would_never_disagree_are_refused(refused):
    def always_the_same():
        torch.manual_seed(0)
        return UNet(1, 3, widths=(4, 6))

    with refused("make: expected members with weights of their own, got the same in 0 and 1"):
        Ensemble(always_the_same, 2)
    one = MAKERS["U-Net"]()
    with refused("make: expected members with weights of their own"):
        Ensemble(lambda: one, 2)


def test_what_makes_no_network_is_refused(refused):
    with refused("make: expected a function that makes an nn.Module, got int from it"):
        Ensemble(lambda: 3)


def test_members_in_training_that_draw_or_count_do_not_stand_side_by_side(refused):
    for make in (MAKERS["U-Net"], lambda: nn.Sequential(nn.Linear(32, 3), nn.Dropout(0.5))):
        with refused("vectorised: expected members in evaluation, or without batch norm and dropout"):
            Ensemble(make, 2).vectorised(torch.zeros(1, 32) if make is not MAKERS["U-Net"] else image())
