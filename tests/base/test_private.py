"""Each name that torch keeps to itself is still there, and still does what it is used for."""
import pytest
import torch

from medlearn.base import private


def test_the_questions_about_bfloat16_have_an_answer():
    assert private.processor_has_bfloat16() in (True, False) and private.onednn_has_bfloat16() in (True, False)


@pytest.mark.parametrize("allowed", ["AVX512_CORE", "avx512_core_vnni"])
def test_a_processor_without_bfloat16_can_be_imitated(monkeypatch, allowed):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    assert not private.onednn_has_bfloat16()


def test_a_dispatch_mode_sees_every_operation():
    seen = []

    class Note(private.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func.overloadpacket)
            return func(*args, **(kwargs or {}))

    with Note():
        torch.ones(2) + 1
    assert torch.ops.aten.add in seen


def test_trees_of_tensors_are_walked():
    tree = {"a": [torch.ones(1), (torch.ones(2),)]}
    assert len(private.tree_leaves(tree)) == 2
    assert private.tree_map(lambda t: t.shape[0], tree) == {"a": [1, (2,)]}


def test_notes_about_tensors_do_not_keep_them_alive():
    notes, tensor = private.WeakTensorKeyDictionary(), torch.ones(1)
    notes[tensor] = "seen"
    del tensor
    assert len(notes) == 0


def test_apples_generator_has_a_name():
    assert callable(torch.mps._get_default_mps_generator)
