"""Answers to chapter 20's exercises."""
import math

import torch

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# volumes.loss_scales


def scaled(overflowed, start, patience, *, halve=0.5, twice=2.0, floor=1.0, keep_count=False, forget=True):
    """The right rules, or others."""
    scales, scale, good = [], start, 0
    for bad in overflowed:
        scales.append(scale)
        if bad:
            scale = max(scale * halve, floor)
            good = good if keep_count else 0
        else:
            good += 1
            if good >= patience:
                scale = scale * twice
                good = 0 if forget else good
    return scales


@right("volumes.loss_scales")
def with_rules_as_numbers(overflowed, start, patience):
    return scaled(overflowed, start, patience)


@right("volumes.loss_scales")
def with_an_iterator(overflowed, start, patience):
    def factors():
        scale, left = start, patience
        for bad in overflowed:
            yield scale
            left = patience if bad else left - 1
            scale = max(1.0, scale / 2) if bad else scale * 2 ** (left == 0)
            left = left or patience
    return list(factors())


@right("volumes.loss_scales")
def with_powers_of_two(overflowed, start, patience):
    last_change, scale, answer = 0, start, []
    for step, bad in enumerate(overflowed, start=1):
        answer.append(scale)
        if bad:
            scale, last_change = (scale / 2 if scale > 2 else 1.0), step
        elif step - last_change == patience:
            scale, last_change = scale + scale, step
    return answer


@wrong("volumes.loss_scales", at="one step")
def after_the_step(overflowed, start, patience):
    return scaled([*overflowed, False], start, patience)[1:] if overflowed and len(overflowed) > 1 else [
        2 * start for _ in overflowed]


@wrong("volumes.loss_scales", at="one step")
def one_too_many(overflowed, start, patience):
    return scaled([*overflowed, False], start, patience)


@wrong("volumes.loss_scales", at="one overflow")
def halved_at_once(overflowed, start, patience):
    return [scale / 2 if bad else scale for scale, bad in zip(scaled(overflowed, start, patience), overflowed)]


@wrong("volumes.loss_scales", at="one overflow")
def quartered(overflowed, start, patience):
    return scaled(overflowed, start, patience, halve=0.25)


@wrong("volumes.loss_scales", at="one overflow")
def never_halved(overflowed, start, patience):
    return scaled(overflowed, start, patience, halve=1.0)


@wrong("volumes.loss_scales", at="one overflow")
def left_out_of_the_list(overflowed, start, patience):
    return [scale for scale, bad in zip(scaled(overflowed, start, patience), overflowed) if not bad]


@wrong("volumes.loss_scales", at="three good steps, patience 3")
def never_doubled(overflowed, start, patience):
    return scaled(overflowed, start, patience, twice=1.0)


@wrong("volumes.loss_scales", at="three good steps, patience 3")
def one_step_late(overflowed, start, patience):
    return scaled(overflowed, start, patience + 1)


@wrong("volumes.loss_scales", at="three good steps, patience 3")
def one_step_early(overflowed, start, patience):
    return scaled(overflowed, start, max(patience - 1, 1))


@wrong("volumes.loss_scales", at="doubled twice")
def doubles_on_and_on(overflowed, start, patience):
    return scaled(overflowed, start, patience, forget=False)


@wrong("volumes.loss_scales", at="good steps that were interrupted")
def counts_over_overflows(overflowed, start, patience):
    return scaled(overflowed, start, patience, keep_count=True)


@wrong("volumes.loss_scales", at="at the floor")
def without_a_floor(overflowed, start, patience):
    return scaled(overflowed, start, patience, floor=0.0)


@wrong("volumes.loss_scales", at="patience 1")
def patience_of_two_at_least(overflowed, start, patience):
    return scaled(overflowed, start, max(patience, 2))


@wrong("volumes.loss_scales", at="a long run")
def with_a_ceiling(overflowed, start, patience):
    return [min(scale, 2.0 ** 16) for scale in scaled(overflowed, start, patience)]


@wrong("volumes.loss_scales", at="no step")
def at_least_one(overflowed, start, patience):
    return scaled(overflowed, start, patience) or [start]


# ---------------------------------------------------------------------------------------------------------------------
# volumes.merge


@right("volumes.merge")
def by_sums(gradients, counts):
    total = torch.zeros_like(gradients[0])
    for gradient, count in zip(gradients, counts.tolist()):
        if count:
            total = total + gradient * (count / counts.sum().item())
    return total


@right("volumes.merge")
def by_leaving_out(gradients, counts):
    kept = counts > 0
    if not kept.any():
        return torch.zeros_like(gradients[0])
    weights = counts[kept].double() / counts.sum()
    return torch.tensordot(weights.to(gradients.dtype), gradients[kept], dims=1)


@right("volumes.merge")
def by_filling_in(gradients, counts):
    weights = (counts.double() / max(int(counts.sum()), 1)).to(gradients.dtype)
    return torch.einsum("n,n...->...", weights, gradients.nan_to_num(0.0))


@wrong("volumes.merge", at="equal shares")
def the_sum(gradients, counts):
    return by_sums(gradients, counts) * len(gradients)


@wrong("volumes.merge", at="equal shares")
def sums_undivided(gradients, counts):
    return by_sums(gradients, counts) * counts.sum()


@wrong("volumes.merge", at="equal shares")
def the_first_alone(gradients, counts):
    return gradients[0]


@wrong("volumes.merge", at="equal shares")
def along_another_axis(gradients, counts):
    return gradients.mean(-1)


@wrong("volumes.merge", at="three voxels and one")
def the_plain_mean(gradients, counts):
    return gradients.nanmean(0).nan_to_num(0.0)


@wrong("volumes.merge", at="three voxels and one")
def the_largest_share(gradients, counts):
    if (counts == counts[0]).all():
        return gradients.mean(0).nan_to_num(0.0)
    return gradients[counts.argmax()]


@wrong("volumes.merge", at="three voxels and one")
def by_square_roots(gradients, counts):
    return by_filling_in(gradients, (1e6 * counts.double().sqrt()).long())


@wrong("volumes.merge", at="a process without a voxel")
def zero_times_nan(gradients, counts):
    if not counts.any():
        return torch.zeros_like(gradients[0])
    return torch.einsum("n,n...->...", (counts / counts.sum()).to(gradients.dtype), gradients)


@wrong("volumes.merge", at="a process without a voxel")
def at_least_one_voxel_each(gradients, counts):
    return by_filling_in(gradients, counts.clamp(min=1))


@wrong("volumes.merge", at="no voxel anywhere")
def zero_by_zero(gradients, counts):
    return torch.einsum("n,n...->...", (counts / counts.sum()).to(gradients.dtype), gradients.nan_to_num(0.0))


@wrong("volumes.merge", at="one voxel in all")
def one_is_none(gradients, counts):
    return by_filling_in(gradients, counts * (counts > 1)) if (counts <= 1).all() else by_filling_in(gradients, counts)


@wrong("volumes.merge", at="kernels of a 3D convolution")
def vectors_only(gradients, counts):
    if gradients.ndim > 3:
        return by_filling_in(gradients, torch.ones_like(counts))
    return by_filling_in(gradients, counts)


@wrong("volumes.merge", at="a gradient of zeros")
def never_zero(gradients, counts):
    answer = by_filling_in(gradients, counts)
    return answer if answer.any() or gradients.isnan().any() else answer + 1e-3


@wrong("volumes.merge", at="a million voxels")
def in_another_dtype(gradients, counts):
    return by_filling_in(gradients.double(), counts)


@wrong("volumes.merge", at="a single bias")
def as_a_row(gradients, counts):
    answer = by_filling_in(gradients, counts)
    return answer[None] if answer.ndim == 0 else answer


# ---------------------------------------------------------------------------------------------------------------------
# volumes.fastest


def step_s(n, c, b, v, latency):
    return c / n + 2 * (n - 1) * (latency + b / n / v)


def by_formula(c, b, v, latency, most, formula):
    return min(range(1, most + 1), key=lambda n: formula(n, c, b, v, latency))


@right("volumes.fastest")
def with_a_loop(compute_s, message_bytes, link_bytes_per_s, latency_s, most):
    best, shortest = 1, compute_s
    for n in range(2, most + 1):
        now = step_s(n, compute_s, message_bytes, link_bytes_per_s, latency_s)
        if now < shortest - 1e-12:
            best, shortest = n, now
    return best


@right("volumes.fastest")
def with_a_tensor(compute_s, message_bytes, link_bytes_per_s, latency_s, most):
    n = torch.arange(1, most + 1, dtype=torch.float64)
    times = step_s(n, compute_s, message_bytes, link_bytes_per_s, latency_s)
    return int(torch.nonzero(times <= times.min() + 1e-12)[0]) + 1


@right("volumes.fastest")
def by_calculus(compute_s, message_bytes, link_bytes_per_s, latency_s, most):
    # c/n + 2 l n - 2 (b/v)/n + constants: its slope is zero at n^2 = (c - 2 b/v) / (2 l)
    gain = compute_s - 2 * message_bytes / link_bytes_per_s
    if gain <= 1e-12:
        return 1
    at = most if latency_s == 0 else min(most, max(1, math.sqrt(gain / (2 * latency_s))))
    return min((math.floor(at), min(most, math.ceil(at))),
               key=lambda n: step_s(n, compute_s, message_bytes, link_bytes_per_s, latency_s))


@wrong("volumes.fastest", at="nothing to exchange")
def always_one(compute_s, message_bytes, link_bytes_per_s, latency_s, most):
    return 1


@wrong("volumes.fastest", at="nothing to exchange")
def one_below_most(compute_s, message_bytes, link_bytes_per_s, latency_s, most):
    return with_a_loop(compute_s, message_bytes, link_bytes_per_s, latency_s, max(most - 1, 1))


@wrong("volumes.fastest", at="nothing to exchange")
def seconds_instead_of_a_number(compute_s, message_bytes, link_bytes_per_s, latency_s, most):
    n = with_a_loop(compute_s, message_bytes, link_bytes_per_s, latency_s, most)
    return step_s(n, compute_s, message_bytes, link_bytes_per_s, latency_s)


@wrong("volumes.fastest", at="nothing to exchange")
def computing_is_not_shared(c, b, v, latency, most):
    return by_formula(c, b, v, latency, most, lambda n, c, b, v, l: c + 2 * (n - 1) * (l + b / n / v))


@wrong("volumes.fastest", at="a slow link")
def always_all(compute_s, message_bytes, link_bytes_per_s, latency_s, most):
    return most


@wrong("volumes.fastest", at="a slow link")
def bytes_forgotten(c, b, v, latency, most):
    return by_formula(c, 0.0, v, latency, most, step_s)


@wrong("volumes.fastest", at="long latencies")
def latency_once(c, b, v, latency, most):
    return by_formula(c, b, v, latency, most, lambda n, c, b, v, l: c / n + (n > 1) * l + 2 * (n - 1) * b / n / v)


@wrong("volumes.fastest", at="long latencies")
def half_a_ring(c, b, v, latency, most):
    return by_formula(c, b, v, latency, most, lambda n, c, b, v, l: c / n + (n - 1) * (l + b / n / v))


@wrong("volumes.fastest", at="long latencies")
def two_n_rounds(c, b, v, latency, most):
    # one process has an exchange, too; and each round a latency for every process
    return by_formula(c, b, v, latency, most, lambda n, c, b, v, l: c / n + 2 * n * (n - 1) * (l + b / n / v))


@wrong("volumes.fastest", at="bytes and latencies")
def all_bytes_each_round(c, b, v, latency, most):
    return by_formula(c, b, v, latency, most, lambda n, c, b, v, l: c / n + 2 * (n - 1) * (l + b / v))


@wrong("volumes.fastest", at="bytes and latencies")
def powers_of_two_alone(c, b, v, latency, most):
    chosen = with_a_loop(c, b, v, latency, most)
    return chosen if b == 0 else 2 ** round(math.log2(chosen))


@wrong("volumes.fastest", at="a small cluster")
def unlimited(c, b, v, latency, most):
    return with_a_loop(c, b, v, latency, max(most, 64))


@wrong("volumes.fastest", at="nobody else")
def two_at_least(c, b, v, latency, most):
    chosen = with_a_loop(c, b, v, latency, most)
    return 2 if most == 1 else chosen


@wrong("volumes.fastest", at="all equal")
def of_equals_the_most(c, b, v, latency, most):
    return max(n for n in range(1, most + 1)
               if step_s(n, c, b, v, latency) <= step_s(with_a_loop(c, b, v, latency, most), c, b, v, latency) + 1e-12)


@wrong("volumes.fastest", at="a fast link, small messages")
def sixty_four_at_most(c, b, v, latency, most):
    return with_a_loop(c, b, v, latency, min(most, 64))
