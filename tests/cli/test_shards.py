"""Parts of a folder: together they are all of it, whoever counts them."""
import pytest

from medlearn.cli.shards import Shard, this_shard


def slurm(task, count, first=0, step=1):
    return {"SLURM_ARRAY_TASK_ID": f"{task}", "SLURM_ARRAY_TASK_COUNT": f"{count}", "SLURM_ARRAY_TASK_MIN": f"{first}",
            "SLURM_ARRAY_TASK_STEP": f"{step}"}


@pytest.mark.parametrize("environments", [
    [{}], [{"RANK": f"{rank}", "WORLD_SIZE": "3"} for rank in range(3)], [slurm(task, 4) for task in range(4)],
    [slurm(task, 3, first=10, step=5) for task in (10, 15, 20)],
    [{**slurm(task, 2, first=1), "RANK": f"{rank}", "WORLD_SIZE": "2"} for task in (1, 2) for rank in (0, 1)],
])
def test_the_parts_are_the_whole_and_of_one_size(environments):
    items = list(range(11))
    parts = [this_shard(environment).of(items) for environment in environments]
    assert sorted(sum(parts, [])) == items and max(map(len, parts)) - min(map(len, parts)) <= 1


def test_it_reads_the_process_own_environment(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert this_shard() == Shard(1, 2) and str(this_shard()) == "part 2 of 2"


@pytest.mark.parametrize("environment, message", [
    ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK: expected 0..1 for WORLD_SIZE = 2, got 2"),
    ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK: expected a whole number, got 'x'"),
    (slurm(5, 3), "SLURM_ARRAY_TASK_ID: expected one of 3 from 0 in steps of 1, got 5"),
    (slurm(11, 3, first=10, step=5), "SLURM_ARRAY_TASK_ID: expected one of 3 from 10 in steps of 5, got 11"),
    (slurm(0, 3, step=0), "SLURM_ARRAY_TASK_STEP: expected 1 or more, got 0"),
])
def test_it_refuses(environment, message):
    with pytest.raises(ValueError, match=message):
        this_shard(environment)
