"""The loss that teaches three answers at once."""
import math

import pytest
import torch
from helpers.touching import perfect_answers, truth_of, two_touching

from medlearn.nets import TaskAnswers, answers_to_instances, instance_targets, tasks_loss


def test_the_loss_is_its_formula():
    torch.manual_seed(0)
    instance = two_touching().repeat(2, 1, 1)
    truth = truth_of(instance)
    answers = TaskAnswers(torch.randn(2, 3), torch.randn(2, 6, 12, 16), torch.randn(2, 1, 12, 16),
                          torch.randn(2, 2, 12, 16))
    loss, targets = tasks_loss(answers, **truth), instance_targets(instance)
    assert loss.diagnosis == pytest.approx(-answers.diagnosis.log_softmax(1)[:, 1].mean().item(), rel=1e-5)
    surprise = -answers.semantic.log_softmax(1).gather(1, truth["semantic"][:, None])[:, 0]
    mean = {k: surprise[truth["semantic"] == k].mean().item() for k in (0, 4)}
    root = {k: (truth["semantic"] == k).sum().item() ** 0.5 for k in (0, 4)}
    assert loss.semantic == pytest.approx(sum(mean[k] * root[k] for k in (0, 4)) / sum(root.values()), rel=1e-5)
    assert loss.centre == pytest.approx(
        ((answers.centre - targets.centre) ** 2).sum().item() / targets.centre.sum().item(), rel=1e-5)
    inside = instance > 0
    distance = (answers.offset - targets.offset).abs().sum(1)[inside].mean()
    assert loss.offset == pytest.approx(distance.item(), rel=1e-5)
    total = 0.2 * loss.diagnosis + loss.semantic + loss.centre + 0.2 * loss.offset
    assert loss.total == pytest.approx(total.item(), rel=1e-6)


def test_perfect_answers_cost_next_to_nothing():
    instance = two_touching()
    answers = perfect_answers(instance)._replace(diagnosis=torch.tensor([[-20.0, 20.0, -20.0]]))
    loss = tasks_loss(answers, **truth_of(instance))
    assert loss.centre == 0 and loss.offset == 0 and loss.total < 1e-2


def test_without_a_thing_the_offset_costs_nothing_and_every_height_does():
    nothing = torch.zeros(1, 6, 6, dtype=torch.int64)
    answers = TaskAnswers(torch.zeros(1, 3), torch.zeros(1, 6, 6, 6), torch.full((1, 1, 6, 6), 0.5),
                          torch.ones(1, 2, 6, 6))
    loss = tasks_loss(answers, **truth_of(nothing, diagnosis=0))
    assert loss.offset == 0 and loss.centre == 9


# what is refused

def test_truth_that_does_not_belong_to_the_answers_is_refused(refused):
    instance = two_touching()
    answers, good = perfect_answers(instance), truth_of(instance)
    for change, message in [
        ({"diagnosis": torch.tensor([3])}, "diagnosis: expected labels of 0..2 for 3 classes, got 3"),
        ({"diagnosis": torch.tensor([1, 1])}, r"diagnosis: expected shape \(1,\)"),
        ({"diagnosis": torch.tensor([[1]])}, r"diagnosis: expected \(B,\)"),
        ({"diagnosis": torch.tensor([1.0])}, "diagnosis: expected an int64"),
        ({"semantic": good["semantic"] + 2}, "semantic: expected labels of 0..5 for 6 classes, got 6"),
        ({"semantic": good["semantic"] - 1}, "semantic: expected labels of 0..5 for 6 classes, got -1"),
        ({"semantic": good["semantic"][:, 1:]}, "semantic: expected shape"),
        ({"instance": good["instance"][..., 1:]}, "instance: expected shape"),
        ({"instance": good["instance"].bool()}, "instance: expected an int64"),
    ]:
        with refused(message):
            tasks_loss(answers, **{**good, **change})
    for name in TaskAnswers._fields:
        with refused(f"answers.{name}: expected finite"):
            tasks_loss(answers._replace(**{name: getattr(answers, name) * math.nan}), **good)
    none = TaskAnswers(*(answer[:0] for answer in answers))
    with refused("expected at least one image"):
        tasks_loss(none, **{name: labels[:0] for name, labels in good.items()})


@pytest.mark.gpu
@pytest.mark.parametrize("dim", [2, 3])
def test_a_gpu_gives_the_answers_of_the_cpu(dim):
    instance = two_touching(dim)
    answers = perfect_answers(instance)
    on_gpu = TaskAnswers(*(answer.cuda() for answer in answers))
    assert torch.equal(answers_to_instances(on_gpu)[0].masks.cpu(), answers_to_instances(answers)[0].masks)
    for here, there in zip(instance_targets(instance), instance_targets(instance.cuda())):
        assert torch.allclose(here.float(), there.cpu().float(), atol=1e-6)
    truth = truth_of(instance)
    with torch.autocast("cuda", torch.bfloat16):
        loss = tasks_loss(on_gpu, **{name: labels.cuda() for name, labels in truth.items()})
    assert torch.allclose(loss.total.cpu(), tasks_loss(answers, **truth).total, atol=1e-5)
