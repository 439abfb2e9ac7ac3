"""The model of scaling, against a ring that is played through message by message, and against closed forms."""
import math
from dataclasses import replace

import pytest

from medlearn.train import Machine, Workload, ring_all_reduce_s, step_time, training_hours

WORK = Workload(scans=1e4, looks=3, batch=4, patch_s=0.05, step_s=0.02, patch_bytes=2e6, gradient_bytes=80e6,
                critical_batch=300)
RING = Machine(processes=8, link_bytes_per_s=5e9, latency_s=2e-4, storage_bytes_per_s=1e9, overlap=0.0)


def played_through(size, n, speed, latency):
    """A ring of n processes with n parts each: the time until all hold every part's sum, and whether they do."""
    held = [[{rank} for _ in range(n)] for rank in range(n)]          # whose values are in which part
    seconds = 0.0
    for turn in range(2 * (n - 1)):
        sent = [(rank, (rank - turn) % n if turn < n - 1 else (rank + 1 - (turn - n + 1)) % n) for rank in range(n)]
        parcels = [(rank, part, set(held[rank][part])) for rank, part in sent]
        for rank, part, values in parcels:
            there = held[(rank + 1) % n]
            there[part] = there[part] | values if turn < n - 1 else values
        seconds += latency + size / n / speed                         # all links at once
    return seconds, all(part == set(range(n)) for row in held for part in row)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 16])
def test_the_ring_is_what_a_ring_takes(n):
    seconds, everybody_has_all = played_through(3e7, n, 2e9, 1e-4)
    assert everybody_has_all
    assert ring_all_reduce_s(3e7, processes=n, link_bytes_per_s=2e9, latency_s=1e-4) == pytest.approx(seconds)


def test_bytes_are_bounded_and_messages_are_not():
    bytes_alone = [ring_all_reduce_s(1e9, processes=n, link_bytes_per_s=1e9) for n in (1, 2, 10, 10_000)]
    assert bytes_alone == sorted(bytes_alone) and bytes_alone[0] == 0 and 1.99 < bytes_alone[-1] < 2
    assert ring_all_reduce_s(0, processes=1001, link_bytes_per_s=1e9, latency_s=1e-3) == pytest.approx(2.0)
    assert ring_all_reduce_s(1e9, processes=3, link_bytes_per_s=math.inf) == 0


def test_one_process_only_computes():
    step = step_time(WORK, Machine())
    assert step == (pytest.approx(0.22), 0, 0, 0) and step.total_s == pytest.approx(0.22)


def test_what_hides_is_not_waited_for():
    exchange = ring_all_reduce_s(80e6, processes=8, link_bytes_per_s=5e9, latency_s=2e-4)
    for overlap in (0.0, 0.05, 1.0):
        step = step_time(WORK, replace(RING, overlap=overlap))
        assert step.exchange_s == pytest.approx(exchange)
        assert step.wait_s == pytest.approx(max(0, exchange - overlap * 0.22))


def test_a_shared_storage_starves_many():
    slow = replace(RING, storage_bytes_per_s=1e8)
    step = step_time(WORK, slow)
    assert step.total_s == pytest.approx(8 * 4 * 2e6 / 1e8)                # nothing but reading
    assert step_time(WORK, replace(slow, processes=1)).starve_s == 0       # one alone computes longer than it reads
    assert step_time(replace(WORK, patch_bytes=0.0), slow).starve_s == 0


def test_hours_are_steps_times_a_step():
    steps = 3e4 / 32 * (1 + 32 / 300)
    assert training_hours(WORK, RING) == pytest.approx(steps * step_time(WORK, RING).total_s / 3600)


def test_without_losses_twice_the_processes_take_half_the_time():
    work = Workload(patch_s=0.1, gradient_bytes=1e8)
    hours = [training_hours(work, Machine(processes=n)) for n in (1, 2, 64)]
    assert hours == pytest.approx([hours[0], hours[0] / 2, hours[0] / 64])


def test_the_critical_batch_needs_twice_the_patches_and_sets_a_limit():
    work = Workload(patch_s=1.0, batch=1, gradient_bytes=0.0, scans=3600, critical_batch=8)
    assert training_hours(work, Machine(processes=8)) == pytest.approx(2 * 1 / 8)
    assert training_hours(work, Machine(processes=10 ** 6)) == pytest.approx(1 / 8, rel=1e-4)      # N / B_c steps


@pytest.mark.parametrize("make, words", [
    (lambda: Workload(patch_s=0.0, gradient_bytes=1.0), "patch_s: expected above 0, got 0.0"),
    (lambda: Workload(patch_s=1.0, gradient_bytes=-1.0), "gradient_bytes: expected 0 or more, got -1.0"),
    (lambda: Workload(patch_s=1.0, gradient_bytes=1.0, batch=0), "batch: expected a whole number, 1 or more, got 0"),
    (lambda: Workload(patch_s=1.0, gradient_bytes=1.0, critical_batch=0.0), "critical_batch: expected above 0, got 0"),
    (lambda: Workload(patch_s=math.nan, gradient_bytes=1.0), "patch_s: .* got nan"),
    (lambda: Machine(processes=0), "processes: expected a whole number, 1 or more, got 0"),
    (lambda: Machine(link_bytes_per_s=0.0), "link_bytes_per_s: expected above 0, got 0"),
    (lambda: Machine(storage_bytes_per_s=-math.inf), "storage_bytes_per_s: expected above 0, got -inf"),
    (lambda: Machine(latency_s=-1e-6), "latency_s: expected 0 or more, got -1e-06"),
    (lambda: Machine(overlap=1.5), "overlap: expected 0..1, got 1.5"),
    (lambda: step_time(RING, WORK), "work: expected a Workload, got "),
    (lambda: training_hours(WORK, WORK), "machine: expected a Machine, got "),
    (lambda: ring_all_reduce_s(-1, processes=2, link_bytes_per_s=1.0), "message_bytes: expected 0 or more, got -1"),
])
def test_what_cannot_be_is_refused(refused, make, words):
    with refused(words):
        make()
