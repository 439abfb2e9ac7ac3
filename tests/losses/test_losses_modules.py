"""The losses as modules: the functions, with their options kept."""
import pytest
import torch

from medlearn import losses

LOGITS = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 3, (2, 5, 4), generator=torch.Generator().manual_seed(1))
MODULES = {
    "CrossEntropyLoss": ("cross_entropy", dict(weight=[1.0, 2.0, 3.0], label_smoothing=0.1)),
    "FocalLoss": ("focal_loss", dict(gamma=2.0, alpha=[0.2, 0.3, 0.5])),
    "DiceLoss": ("dice_loss", dict(squared=True, weight=[1.0, 2.0, 3.0])),
    "JaccardLoss": ("jaccard_loss", dict(batch=True)),
    "TverskyLoss": ("tversky_loss", dict(alpha_fp=0.2, beta_fn=0.8)),
    "FocalTverskyLoss": ("focal_tversky_loss", dict(gamma=2.0)),
    "GeneralizedDiceLoss": ("generalized_dice_loss", dict(include_background=False)),
    "DiceCELoss": ("dice_ce_loss", dict(lambda_ce=0.5, ignore_index=0)),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_its_function_with_options(name):
    function, options = MODULES[name]
    module = getattr(losses, name)(**options)
    assert module(LOGITS, LABELS) == getattr(losses, function)(LOGITS, LABELS, **options)
    assert all(option in repr(module) for option in options)
    assert not list(module.parameters())


def test_every_loss_has_its_module():
    functions = [name for name in losses.__all__ if name.endswith("_loss") or name == "cross_entropy"]
    assert sorted(function for function, _ in MODULES.values()) == sorted(functions)


def test_class_weights_move_with_the_module():
    module = losses.CrossEntropyLoss(weight=[1.0, 2.0, 3.0]).to("meta")
    assert module.weight.device.type == "meta"
    assert list(losses.DiceLoss(weight=torch.ones(3)).state_dict()) == ["weight"]


def test_an_unknown_or_missing_option_is_refused(refused):
    with refused("DiceLoss: expected options out of weight, .*smooth, got sigmoid"):
        losses.DiceLoss(sigmoid=True)
    with refused("FocalLoss: expected options out of gamma, .*, got none .*gamma"):
        losses.FocalLoss()
