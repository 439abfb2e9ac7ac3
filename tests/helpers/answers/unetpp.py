"""Answers to chapter 8's exercises."""
import torch

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# unetpp.joins


@right("unetpp.joins")
def from_the_package(i, j):
    from medlearn.nets.unetpp import nested_graph
    return list(nested_graph(i + j or 1)[i, j])


@right("unetpp.joins")
def by_appending(i, j):
    places = []
    while len(places) < j:
        places.append((i, len(places)))
    if j:
        places.append((i + 1, j - 1))
    elif i:
        places.append((i - 1, 0))
    return places


@right("unetpp.joins")
def by_asking_every_place(i, j):
    def taken(a, b):
        return a == i and b < j or (a, b) == ((i + 1, j - 1) if j else (i - 1, 0))
    return [(a, b) for a in range(i + 2) for b in range(j + 1) if taken(a, b)]


@wrong("unetpp.joins", at="the corner")
def above_the_image(i, j):
    return by_appending(i, j) or [(-1, 0)]


@wrong("unetpp.joins", at="on the way down")
def nothing_on_the_way_down(i, j):
    return by_appending(i, j) if j else []


@wrong("unetpp.joins", at="the answer of depth 1")
def below_comes_first(i, j):
    return by_appending(i, j)[::-1]


@wrong("unetpp.joins", at="the answer of depth 1")
def itself_too(i, j):
    places = by_appending(i, j)
    return [*places[:-1], (i, j), places[-1]] if j else places


@wrong("unetpp.joins", at="the answer of depth 4")
def a_plain_u_net(i, j):
    return [(i, 0), (i + 1, j - 1)] if j else by_appending(i, j)


@wrong("unetpp.joins", at="the answer of depth 4")
def only_the_neighbour(i, j):
    return [(i, j - 1), (i + 1, j - 1)] if j else by_appending(i, j)


@wrong("unetpp.joins", at="inside")
def from_the_row_below_the_image(i, j):
    return [*((i, k) for k in range(j)), (1, j - 1)] if j else by_appending(i, j)


@wrong("unetpp.joins", at="the corner")
def printed_and_not_returned(i, j):
    print(by_appending(i, j))


@wrong("unetpp.joins", at="the corner")
def as_a_set(i, j):
    return set(by_appending(i, j))


@wrong("unetpp.joins", at="on the way down")
def row_and_column_exchanged(i, j):
    return by_appending(j, i)


@wrong("unetpp.joins", at="the answer of depth 1")
def below_in_its_own_column(i, j):
    return [*by_appending(i, j)[:-1], (i + 1, j)] if j else by_appending(i, j)


# ---------------------------------------------------------------------------------------------------------------------
# unetpp.average


@right("unetpp.average")
def in_a_loop(logits):
    total = 0
    for head in logits:
        total = total + head.softmax(1)
    return total / len(logits)


@right("unetpp.average")
def through_logarithms(logits):
    return (logits.log_softmax(2).logsumexp(0) - torch.log(torch.tensor(float(len(logits))))).exp()


@right("unetpp.average")
def exponentials_of_what_is_below_the_largest(logits):
    e = (logits - logits.amax(2, keepdim=True)).exp()
    return torch.einsum("dbk...,db...->bk...", e, 1 / (len(logits) * e.sum(2)))


@wrong("unetpp.average", at="two heads that disagree")
def softmax_of_the_mean(logits):
    return logits.mean(0).softmax(1)


@wrong("unetpp.average", at="two heads that disagree")
def still_logits(logits):
    return logits.softmax(2).mean(0).log()


@wrong("unetpp.average", at="two heads that disagree")
def added_only(logits):
    return logits.softmax(2).sum(0)


@wrong("unetpp.average", at="two heads that disagree")
def over_the_heads(logits):
    return logits.softmax(0).mean(0)


@wrong("unetpp.average", at="three heads, several images")
def first_and_last_head(logits):
    return (logits[0].softmax(1) + logits[-1].softmax(1)) / 2


@wrong("unetpp.average", at="a volume")
def third_axis_from_the_end(logits):
    return logits.softmax(-3).mean(0)


@wrong("unetpp.average", at="one head")
def without_the_shallowest(logits):
    return logits[1:].softmax(2).mean(0) if len(logits) == 1 else in_a_loop(logits)


@wrong("unetpp.average", at="all logits 0")
def nothing_is_no_answer(logits):
    return in_a_loop(logits) * (logits.abs().sum() > 0) if logits.numel() else in_a_loop(logits)


@wrong("unetpp.average", at="no image")
def image_by_image(logits):
    return torch.stack([in_a_loop(logits[:, b:b + 1])[0] for b in range(logits.shape[1])])


@wrong("unetpp.average", at="large logits")
def exponentials(logits):
    e = logits.exp()
    return (e / e.sum(2, keepdim=True)).mean(0)


@wrong("unetpp.average", at="the gradient")
def only_the_deepest_learns(logits):
    return (logits[-1:].softmax(2).sum(0) + logits[:-1].detach().softmax(2).sum(0)) / len(logits)
