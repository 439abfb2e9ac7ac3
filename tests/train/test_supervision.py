"""A loss over several resolutions travels to other processes. (What it computes: nets/test_unet.py.)"""
import pickle

import torch

from medlearn.losses import dice_ce_loss
from medlearn.train import deep_supervision


def test_it_can_be_sent_to_another_process():
    loss, labels = deep_supervision(dice_ce_loss, [2, 1]), torch.randint(0, 3, (2, 8, 8))
    logits = [torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)]
    assert pickle.loads(pickle.dumps(loss))(logits, labels) == loss(logits, labels)
