"""The losses as modules: the functions, with their options kept."""
import inspect
import pydoc
import re

import numpy as np
import pytest
import torch

from medlearn import losses

LOGITS = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 3, (2, 5, 4), generator=torch.Generator().manual_seed(1))
MODULES = {
    "CrossEntropyLoss": ("cross_entropy", dict(weight=[1.0, 2.0, 3.0], label_smoothing=0.1)),
    "FocalLoss": ("focal_loss", dict(gamma=2.0, alpha=[0.2, 0.3, 0.5])),
    "TopKLoss": ("top_k_loss", dict(share=0.3)),
    "DiceLoss": ("dice_loss", dict(squared=True, weight=[1.0, 2.0, 3.0])),
    "JaccardLoss": ("jaccard_loss", dict(batch=True)),
    "TverskyLoss": ("tversky_loss", dict(alpha_fp=0.2, beta_fn=0.8)),
    "FocalTverskyLoss": ("focal_tversky_loss", dict(gamma=2.0)),
    "GeneralizedDiceLoss": ("generalized_dice_loss", dict(include_background=False)),
    "DiceCELoss": ("dice_ce_loss", dict(lambda_ce=0.5, ignore_index=0)),
    "ClDiceLoss": ("cldice_loss", dict(iterations=2, include_background=False)),
    "BoundaryLoss": ("boundary_loss", dict(include_background=False)),
}
REGIONS = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(2)) > 0.5
COUNTED = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(3)) > 0.2
MAPS = {"BoundaryLoss": {"distance_mm": torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(4))}}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_its_function_with_options(name):
    function, options = MODULES[name]
    module, maps = getattr(losses, name)(**options), MAPS.get(name, {})
    assert module(LOGITS, LABELS, **maps) == getattr(losses, function)(LOGITS, LABELS, **options, **maps)
    assert all(option in repr(module) for option in options)
    assert not list(module.parameters())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_takes_regions_and_what_counts_of_them(name):
    function, options = MODULES[name]
    options = {k: v for k, v in options.items() if k not in ("ignore_index", "include_background")}
    maps = {"where": COUNTED, **MAPS.get(name, {})}
    loss = getattr(losses, name)(**options)(LOGITS, REGIONS, **maps)
    assert loss == getattr(losses, function)(LOGITS, REGIONS, **options, **maps)
    assert loss != getattr(losses, function)(LOGITS, REGIONS, **options, **MAPS.get(name, {}))


def test_every_loss_has_its_module():
    functions = [name for name in losses.__all__ if name.endswith("_loss") or name == "cross_entropy"]
    assert sorted(function for function, _ in MODULES.values()) == sorted(functions)


def test_class_weights_move_with_the_module():
    module = losses.CrossEntropyLoss(weight=[1.0, 2.0, 3.0]).to("meta")
    assert module.weight.device.type == "meta"
    assert list(losses.DiceLoss(weight=torch.ones(3)).state_dict()) == ["weight"]


@pytest.mark.parametrize("name", MODULES)
def test_the_options_are_in_the_signature_and_in_the_help(name):
    function, _ = MODULES[name]
    module = getattr(losses, name)
    _, _, *options = inspect.signature(getattr(losses, function)).parameters.values()
    options = [option for option in options if option.name not in ("where", "distance_mm")]
    assert list(inspect.signature(module).parameters.values()) == options
    told = re.sub(r"[\s|]", "", pydoc.plain(pydoc.render_doc(module)))     # newer Pythons break the line
    assert f"{name}(*,{options[0].name}:" in told


@pytest.mark.parametrize("name", MODULES)
def test_what_was_not_given_is_the_functions_own(name):
    module = getattr(losses, name)(**({"gamma": 2.0} if name == "FocalLoss" else {}))
    for option in inspect.signature(type(module)).parameters.values():
        assert getattr(module, option.name) == (2.0 if option.default is option.empty else option.default)


@pytest.mark.parametrize("name, options, says", [
    ("DiceCELoss", dict(smooth=-1), "smooth: expected 0 or more, got -1"),
    ("DiceCELoss", dict(lambda_ce="much"), "lambda_ce: expected a number, got 'much'"),
    ("DiceCELoss", dict(weight=[1.0, -1.0, 2.0]), r"weight\[1\]: expected 0 or more, got -1"),
    ("DiceLoss", dict(weight=torch.tensor([1.0, -1.0])), "weight: expected 0 or more, got -1"),
    ("DiceLoss", dict(weight=[1.0]), r"weight: expected shape \(2,\) for 2 classes, got \(1,\)"),
    ("DiceLoss", dict(weight=torch.ones(3, 3)), r"weight: expected \(K,\), got shape \(3, 3\)"),
    ("JaccardLoss", dict(ignore_index=True), "ignore_index: expected a whole number, got True"),
    ("TverskyLoss", dict(alpha_fp=-0.1), "alpha_fp: expected 0 or more, got -0.1"),
    ("FocalTverskyLoss", dict(gamma=0), "gamma: expected above 0, got 0"),
    ("GeneralizedDiceLoss", dict(smooth=float("nan")), "smooth: expected 0 or more, got nan"),
    ("FocalLoss", dict(gamma=-2), "gamma: expected 0 or more, got -2"),
    ("FocalLoss", dict(gamma=2, alpha=1.5), r"alpha: expected 0\.\.1, got 1\.5"),
    ("CrossEntropyLoss", dict(reduction="average"), "reduction: expected .*, got 'average'"),
    ("CrossEntropyLoss", dict(label_smoothing=2), r"label_smoothing: expected 0\.\.1, got 2"),
    ("ClDiceLoss", dict(iterations=-1), "iterations: expected a whole number, 0 or more, got -1"),
    ("BoundaryLoss", dict(ignore_index=0.5), "ignore_index: expected a whole number, got 0.5"),
    ("DiceLoss", dict(where=COUNTED), "DiceLoss: expected options out of weight, .*, got where"),
], ids=range(17))
def test_bad_options_are_refused_when_the_module_is_made(refused, name, options, says):
    with refused(says):
        getattr(losses, name)(**options)


def test_numbers_of_numpy_become_a_buffer():
    module = losses.DiceLoss(weight=np.array([1.0, 2.0, 3.0]))
    assert module.weight.tolist() == [1, 2, 3] and module.weight.dtype == torch.float32


def test_a_module_may_be_made_without_memory_and_made_another():
    with torch.device("meta"):
        assert losses.DiceCELoss(weight=[1.0, 2.0, 3.0]).weight.is_meta

    class Doubled(losses.DiceLoss):
        def forward(self, logits, labels):
            return 2 * super().forward(logits, labels)

    assert Doubled(batch=True)(LOGITS, LABELS) == 2 * losses.dice_loss(LOGITS, LABELS, batch=True)


def test_an_unknown_or_missing_option_is_refused(refused):
    with refused("DiceLoss: expected options out of weight, .*smooth, got sigmoid"):
        losses.DiceLoss(sigmoid=True)
    with refused("FocalLoss: expected options out of gamma, .*, got none .*gamma"):
        losses.FocalLoss()
