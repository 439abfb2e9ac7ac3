r"""The training loop on Hugging Face Accelerate: from a laptop to many GPUs, stopped and resumed at any step."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medlearn import runtime
from medlearn.base.random import generators_on_loan
from medlearn.base.validation import check_whole, kind_of
from medlearn.train.accelerate_private import settings_of_its_own
from medlearn.train.agreement import check_processes_agree
from medlearn.train.fingerprint import difference, fingerprint
from medlearn.train.history import History
from medlearn.train.lock import FolderLock, only_training_here
from medlearn.train.recipe import Recipe
from medlearn.train.run import Run, Validation
from medlearn.train.samples import Samples, batches, seed_step

if TYPE_CHECKING:
    from accelerate import Accelerator


def fit(net: nn.Module, data: Samples, *, loss: Callable[[Any, Any], Tensor], recipe: Recipe = Recipe(),
        validation: Validation | None = None, patience: int | None = None, checkpoint: str | PathLike | None = None,
        every: int = 50, progress: bool = True) -> History:
    r"""Trains a network: `recipe.steps` times $\theta \leftarrow \theta - \eta\,\nabla_\theta\,L(f_\theta(x), y)$.

    `data[i]` is a pair (image `(C, *S)`, target), as of a torch Dataset, and `loss(net(images), targets)` one number.
    It is trained in place and left in evaluation, on Accelerate's device: a GPU where there is one. Returned is the
    history.
    Every `every` steps, and after the last, `validation(net)`, in evaluation and without gradients, gives numbers by
    name for the history; the first is the score, larger is better. With `patience` the training ends when so many
    validations have brought no higher score, and the network is left with the best weights, else with the last.
    Then a checkpoint goes to its folder, where the two newest are kept. However a run is stopped, called again it
    goes on from there, to the same bits on a CPU; one that has ended returns at once. Raise `recipe.steps` to train on.
    Ctrl-C and a crash of the validation cost no step: the last state is written first. A second Ctrl-C does not wait.
    The order of the samples is a function of (seed, epoch). What is drawn from torch's, NumPy's or Python's own
    generator, in `data[i]`, the network or the validation, is one of (seed, number of the sample; or step and process);
    the caller's generators stay as they are.
    On many GPUs: `torchrun --nproc-per-node 4 script.py` or `accelerate launch script.py`. The processes share each
    batch and average their gradients, which is the same training where the loss is a mean over samples; but a batch
    norm sees its share only (see `nn.SyncBatchNorm`). The first process validates and saves. Before the first step they
    compare recipe, data and step.
    With `progress` a bar shows in a terminal or a notebook, unless TQDM_DISABLE is set, and nowhere else.
    While it runs, `training.lock` in the folder keeps other trainings out; other files there are left alone.
    Errors: TypeError or ValueError for arguments of another kind, a network without weights to train, no sample, labels
    beyond the network's classes, a folder that cannot be written, a checkpoint of another network, recipe or data (told
    by their number and the first sample) or of a newer medlearn, only damaged ones, processes that do not start from
    the same; OSError for a checkpoint that cannot be opened; RuntimeError for a second training in this process or
    folder; FloatingPointError for a loss, weights, buffers or averages of the optimiser that are not finite: these are
    never saved. It warns where the validation gave nothing but NaN.
    Chapter 7.

    >>> data = [(torch.zeros(1, 8, 8), torch.zeros(8, 8).long()), (torch.ones(1, 8, 8), torch.ones(8, 8).long())]
    >>> history = fit(nn.Conv2d(1, 2, 1), data, loss=nn.functional.cross_entropy,
    ...               recipe=Recipe(steps=50, batch_size=2, learning_rate=0.1, precision="fp32"))
    >>> history.rows[-1]["loss"] < history.rows[0]["loss"]
    True
    """
    _check(net, loss, recipe, validation, patience, checkpoint, every)
    folder = None if checkpoint is None else Path(checkpoint)
    with (only_training_here(), _accelerated(recipe) as accelerator, generators_on_loan(accelerator.device),
          _locked(folder, accelerator.is_main_process) as lock):
        data_seen = fingerprint(data, recipe.seed)
        check_processes_agree({"every": every, "patience": patience, "validation": kind_of(validation),
                               "samples": len(data)})
        check_processes_agree({"data": data_seen}, difference=difference)
        optimizer = recipe.new_optimizer(_placed(net, accelerator.device))
        # what Accelerate adds, for precision and processes, goes to a shell, and the network stays what it was
        shell, optimizer = accelerator.prepare(nn.Sequential(net), optimizer)
        run = Run(net, optimizer, accelerator, recipe, len(data), data_seen, validation, patience, folder, every,
                  lock=lock)
        try:
            first_step = run.resume()
            if not run.over():
                loader = batches(data, recipe, first_step, accelerator.process_index, accelerator.num_processes)
                with _bar(recipe, first_step, progress and accelerator.is_main_process) as bar, run.interrupt:
                    train_steps(shell, _on(accelerator.device, loader), loss=_first_checked(loss),
                                optimizer=optimizer, accelerator=accelerator,
                                recipe=recipe, first_step=first_step, after_step=partial(run.after_step, bar))
            run.finish()
        finally:
            net.eval()
    return run.history


def train_steps(net: nn.Module, batches: Iterator, *, loss: Callable[[Any, Any], Tensor],
                optimizer: torch.optim.Optimizer, accelerator: Accelerator, recipe: Recipe, first_step: int = 0,
                after_step: Callable[[int, Tensor], bool]) -> None:
    r"""The loop itself. It ends after `recipe.steps`, or when `after_step(step, loss)` says so.

    Shapes: `batches` gives pairs of images `(B, C, *S)` and targets on the network's device, `recipe.accumulate` of
    them for each step from `first_step` on. `net` and `optimizer` are as `accelerator` has prepared them, and change.
    `loss(net(images), targets)` is one number; `after_step` gets its mean over the parts of the step. Chapter 7.

    >>> from accelerate import Accelerator
    >>> net, recipe = nn.Conv2d(1, 2, 1), Recipe(steps=2, batch_size=1)
    >>> batches = iter([(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4).long())] * 2)
    >>> train_steps(net, batches, loss=nn.functional.cross_entropy, optimizer=recipe.new_optimizer(net),
    ...             accelerator=Accelerator(), recipe=recipe, after_step=lambda step, loss: print(step, loss.shape))
    0 torch.Size([])
    1 torch.Size([])
    """
    net.train()
    weights = list(net.parameters())
    for step in range(first_step, recipe.steps):
        seed_step(recipe.seed, step, accelerator.process_index, accelerator.device)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        values = []
        for image, target in islice(batches, recipe.accumulate):
            with accelerator.accumulate(net):               # only the last part of a batch moves the weights
                value = loss(net(image), target)
                accelerator.backward(value)
                if recipe.clip is not None and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(weights, recipe.clip)
                optimizer.step()
                optimizer.zero_grad()
            values.append(value.detach() / recipe.accumulate)
        if after_step(step, torch.stack(values).sum()):
            break


@contextmanager
def _accelerated(recipe: Recipe) -> Iterator[Accelerator]:
    """Each training brings its own settings of Accelerate, and puts back what it found."""
    from accelerate import Accelerator
    from accelerate.state import PartialState
    from accelerate.utils import GradientAccumulationPlugin

    # told that there is only a CPU: otherwise torchrun's processes there would not know of each other
    device = PartialState(cpu=runtime.device(verbose=False).type == "cpu").device
    check_processes_agree(asdict(recipe))
    precision = runtime.precision(device) if recipe.precision == "auto" else recipe.precision
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision: expected fp32 or bf16 on a CPU, got fp16, which needs a GPU")
    with settings_of_its_own():
        accelerator = Accelerator(
            mixed_precision="no" if precision == "fp32" else precision,
            gradient_accumulation_plugin=GradientAccumulationPlugin(recipe.accumulate, sync_with_dataloader=False))
        if recipe.batch_size % (accelerator.num_processes * recipe.accumulate):
            raise ValueError(f"batch_size: expected a multiple of {accelerator.num_processes} processes x accumulate = "
                             f"{recipe.accumulate}, got {recipe.batch_size}")
        yield accelerator


@contextmanager
def _locked(folder: Path | None, is_main: bool) -> Iterator[FolderLock | None]:
    lock = FolderLock(folder) if folder is not None and is_main else None
    try:
        yield lock
    finally:
        if lock is not None:
            lock.release()


def _placed(net: nn.Module, device: torch.device) -> nn.Module:
    """On the device, and in 2D with the channels of a pixel side by side, which convolutions like best."""
    in_2d = device.type != "mps" and all(weight.ndim != 5 for weight in net.parameters())
    memory_format = torch.channels_last if in_2d else torch.preserve_format
    return net.to(device, memory_format=memory_format)      # type: ignore[call-overload]  # missing in torch's stubs


def _on(device: torch.device, loader: Iterable) -> Iterator:
    from accelerate.utils import send_to_device

    return (send_to_device(batch, device, non_blocking=True) for batch in loader)


def _bar(recipe: Recipe, first_step: int, wanted: bool):
    from tqdm.auto import tqdm

    visible = wanted and not os.environ.get("TQDM_DISABLE") and (sys.stderr.isatty() or _in_notebook())
    return tqdm(total=recipe.steps, initial=first_step, unit="step", leave=False, disable=not visible)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def _first_checked(loss: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """The loss, with a close look at the first batch; at each later one a GPU would have to wait for it."""
    looked = False

    def checked(output: Any, target: Any) -> Tensor:
        nonlocal looked
        if looked:
            return loss(output, target)
        seen = _describe(output, target)                    # beforehand: a GPU that met a wrong label answers no more
        try:
            value = loss(output, target)
            if torch.cuda.is_available():
                torch.cuda.synchronize()                    # its complaint comes late
        except (ValueError, IndexError, RuntimeError) as error:
            raise ValueError(f"loss: expected to take the first batch, {seen}; it says: {error}") from error
        if not isinstance(value, Tensor) or value.shape != ():
            raise TypeError(f"loss: expected one number, a tensor of shape (), got {kind_of(value)}")
        looked = True
        return value

    return checked


def _describe(output: Any, target: Any) -> str:
    logits = output[0] if isinstance(output, (tuple, list)) and output else output
    seen = f"the network's output {kind_of(logits)} and the target {kind_of(target)}"
    if isinstance(logits, Tensor) and isinstance(target, Tensor) and target.dtype == torch.int64 and target.numel():
        low, high = (label.item() for label in target.aminmax())
        seen += f", which are {logits.shape[1:2].numel()} classes and labels {low}..{high}"
    return seen


def _check(net: nn.Module, loss: Callable, recipe: Recipe, validation: Validation | None, patience: int | None,
           checkpoint: str | PathLike | None, every: int) -> None:
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected an nn.Module, got {type(net).__name__}")
    if not any(weight.requires_grad for weight in net.parameters()):
        raise ValueError("net: expected weights to train, got a network that has none, or all of them frozen "
                         "(requires_grad is False)")
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe: expected a Recipe, as Recipe(steps=200), got {recipe!r}")
    if checkpoint is not None and not isinstance(checkpoint, (str, PathLike)):
        raise TypeError(f"checkpoint: expected the path of a folder, got {checkpoint!r}")
    for name, value in {"loss": loss, "validation": validation}.items():
        if not callable(value) and not (name == "validation" and value is None):
            raise TypeError(f"{name}: expected a function, got {value!r}")
    check_whole("every", every, least=1)
    if patience is not None:
        check_whole("patience", patience, least=1)
    if patience is not None and validation is None:
        raise ValueError("patience: expected a validation to wait for, got none")
