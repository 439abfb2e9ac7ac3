"""Blocks in turn, with what they computed kept or computed again."""
import torch

from medlearn.nets.checkpointing import run_in_turn


def test_blocks_run_in_turn_are_run_again_only_for_a_gradient():
    runs = []
    block = lambda x: runs.append(1) or x ** 2
    x = torch.full((3,), 2.0, requires_grad=True)
    run_in_turn([block, block], x, True).sum().backward()
    assert len(runs) == 4 and x.grad.tolist() == [32, 32, 32]
    with torch.no_grad():
        assert run_in_turn([block, block], x, True).tolist() == [16, 16, 16]
    assert len(runs) == 6
