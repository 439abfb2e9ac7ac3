import torch
from torch import nn
from torch.nn import functional as F

from helpers.api.losses import instance
from helpers.api.places import call, normal_numbers, slope, trained, weighted_sum
from medlearn import nets as n

FLAT, SOLID = normal_numbers(2, 1, 32, 32), normal_numbers(2, 1, 16, 16, 16)
FEATURES, TOKENS = normal_numbers(2, 8, 12, 12), normal_numbers(2, 9, 8)
THINGS = F.pad(instance, (0, 16, 0, 16))
SMALL = n.TransUNetSize(width=8, units=(1, 1, 1), groups=4, channels=32, heads=2, depth=2, hidden=32,
                        decoder=(16, 16, 8, 8, 4))
LESION = (THINGS > 0).long()


def made(make):
    torch.manual_seed(0)
    return make().eval()


def three_answers(place):
    torch.manual_seed(0)
    net = n.TaskNet(widths=(4, 8)).to(place.device)
    answers, things, lesion = net(place(FLAT)), place(THINGS), place(LESION)
    loss = n.tasks_loss(answers, diagnosis=lesion.flatten(1).amax(1), instance=things,
                        semantic=n.semantic_target(3 * lesion, lesion))
    return loss, torch.autograd.grad(loss.total, list(net.parameters()))


def grouped(place):
    targets = n.instance_targets(place(THINGS))
    return n.group_instances(targets.inside, centre=targets.centre, offset=targets.offset)


def things_of_answers(place):
    targets = n.instance_targets(place(THINGS))
    semantic = F.one_hot(4 * place(LESION), 6).movedim(-1, 1).float()
    answers = n.TaskAnswers(torch.zeros(2, 3, device=place.device), semantic, targets.centre, targets.offset)
    return [things.masks for things in n.answers_to_instances(answers)]


def seen_by(place):
    block = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(2, 1, 3, padding=1))
    whole = made(lambda: n.UNet(1, 2, widths=(4, 8)))
    return [n.receptive_field(place(net), (1, 32, 32)) for net in (block, whole)]


def folded(place):
    return n.folded(place(made(lambda: n.UNet(1, 3, widths=(4, 8)))))(place(FLAT))


def of_another_size(place):
    return place(made(lambda: n.TransUNet(1, 3, image_size=32, size=SMALL)))(place(normal_numbers(1, 1, 64, 64)))


def attention(make, inputs):
    def run(place):
        torch.manual_seed(0)
        module = make().to(place.device)
        x = place(inputs)
        return module(x), module.weights(x), torch.autograd.grad(weighted_sum(module(x)), list(module.parameters()))
    return run


def all_uses_of_unetpp(place):
    net = place(made(lambda: n.UNetPlusPlus(1, 3, widths=(4, 8, 8))))
    return net.answers(place(FLAT)), net.prune(1)(place(FLAT)), [x.shape for x in net.features(place(FLAT)).values()]


CALLS = {f"nets.{name}": calls for name, calls in {
    "UNet": {"2D": trained(lambda: n.UNet(1, 3, widths=(4, 8, 8)), FLAT),
             "3D": trained(lambda: n.UNet(1, 3, dim=3, widths=(4, 8)), SOLID),
             "deep": trained(lambda: n.UNet(1, 3, widths=(4, 8, 8), deep_supervision=True), FLAT),
             "residual": trained(lambda: n.UNet(1, 3, widths=(4, 8, 8), residual=True, skips=False), FLAT)},
    "UNet2015": trained(lambda: n.UNet2015(1, 2, widths=(4, 8, 8), dropout=0.0), normal_numbers(1, 1, 60, 60)),
    "UNetPlusPlus": {"2D": trained(lambda: n.UNetPlusPlus(1, 3, widths=(4, 8, 8)), FLAT), "uses": all_uses_of_unetpp,
                     "3D": trained(lambda: n.UNetPlusPlus(1, 3, dim=3, widths=(4, 8)), SOLID)},
    "ViTSegmenter": trained(lambda: n.ViTSegmenter(1, 3, image_size=32, channels=16, depth=2, hidden=16), FLAT),
    "TransUNet": {"": trained(lambda: n.TransUNet(1, 3, image_size=32, size=SMALL, dropout=0.0), FLAT),
                  "checkpointed": trained(lambda: n.TransUNet(1, 3, image_size=32, size=SMALL, dropout=0.0,
                                                              checkpointing=True), FLAT),
                  "another size": of_another_size},
    "TransformerBlock": trained(lambda: n.TransformerBlock(8, 2, hidden=16), TOKENS),
    "TaskNet": {"2D": trained(lambda: n.TaskNet(widths=(4, 8)), FLAT),
                "3D": trained(lambda: n.TaskNet(dim=3, widths=(4, 8)), SOLID)},
    "ASPP": trained(lambda: n.ASPP(8, 8, rates=(1, 2)), FEATURES),
    "ContextModule": trained(lambda: n.ContextModule(8), FEATURES),
    "ConvBlock": trained(lambda: n.ConvBlock(8, 4), FEATURES),
    "DoubleConv": trained(lambda: n.DoubleConv(16, 4), FEATURES, FEATURES),
    "ResidualBlock": trained(lambda: n.ResidualBlock(8, 4), FEATURES),
    "Dropout": {"evaluation": call(n.Dropout(0.5).eval(), FEATURES)},
    "MapAttention": attention(lambda: n.MapAttention(8, 2), FEATURES),
    "SelfAttention": attention(lambda: n.SelfAttention(8, 2), TOKENS),
    "attention_rollout": call(n.attention_rollout, [normal_numbers(2, 2, 9, 9).softmax(-1)] * 2),
    "to_tokens": call(n.to_tokens, FEATURES),
    "to_map": call(n.to_map, TOKENS, (3, 3)),
    "merge_heads": call(n.merge_heads, normal_numbers(2, 2, 9, 4)),
    "double": slope(n.double, FEATURES, normal_numbers(2, 3, 23, 24)),
    "halve": slope(n.halve, FEATURES),
    "folded": folded,
    "receptive_field": seen_by,
    "coverage": call(n.coverage, made(lambda: nn.Conv2d(1, 2, 3, dilation=2)), (1, 16, 16)),
    "semantic_target": call(n.semantic_target, 3 * LESION, LESION),
    "instance_targets": call(n.instance_targets, THINGS),
    "group_instances": grouped,
    "answers_to_instances": things_of_answers,
    "tasks_loss": three_answers,
}.items()}
