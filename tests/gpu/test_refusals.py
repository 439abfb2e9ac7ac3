"""What is on the wrong device is refused in words, where torch's own would say little."""
import pytest
import torch
from torch.nn import functional as F

from helpers import tiny
from medlearn import checks
from medlearn.nets import TaskAnswers, tasks_loss
from medlearn.train import Recipe, fit

pytestmark = pytest.mark.gpu


def test_labels_on_the_cpu_beside_answers_on_the_gpu(refused):
    answers = TaskAnswers(*(torch.zeros(1, n, *space, device="cuda") for n,
                            *space in ([3], [6, 4, 4], [1, 4, 4], [2, 4, 4])))
    labels = torch.zeros(1, 4, 4).long()
    good = {"diagnosis": torch.tensor([1]).cuda(), "semantic": labels.cuda(), "instance": labels.cuda()}
    for name, there in good.items():
        with refused(f"{name}: expected labels on cuda:0, where the answers are, got cpu"):
            tasks_loss(answers, **{**good, name: there.cpu()})


def test_data_on_the_gpu_with_workers(refused):
    data = [(image.cuda(), label.cuda()) for image, label in map(tiny.Pictures().__getitem__, range(4))]
    with refused("workers: expected 0 for data on a GPU, which no other process can read, got 2"):
        fit(tiny.tiny_net(), data, loss=F.cross_entropy, recipe=Recipe(steps=1, batch_size=4, workers=2))


def test_an_exercise_that_passed_on_the_cpu_says_so():
    def soft_dice(logits, labels):
        right = checks.registered()["imbalance.soft_dice"].reference
        return right(logits + torch.zeros(logits.shape), labels)

    said = str(checks.examine("imbalance.soft_dice", soft_dice))
    assert ", on cuda." in said and "Hint: It passed on the CPU." in said
