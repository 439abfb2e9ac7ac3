"""The recipes for clusters, at toy size: a bad file stops nobody, and a worker that is killed is made up for."""
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_folder import tiny_folder, words

from medlearn.cli import main
from medlearn.data import read_volume

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DYING = """
import json, os, signal, sys
from functools import partial
from medlearn.cli.predicting import Predictor, cases_left, scans_in
from {recipe} import predict_all

class Dying(Predictor):
    def __call__(self, case):
        died = self.target / "died"
        if case.name == "p05_scan" and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().__call__(case)

if __name__ == "__main__":
    run, source, target = sys.argv[1:]
    refused = predict_all(partial(Dying, run, target), cases_left(scans_in(source), target), workers=2)
    print(json.dumps(refused))
"""


def not_run(package, why):
    """Loudly, since nothing else says whether the recipe holds."""
    warnings.warn(f"the recipe for {package} was NOT run. {why}", stacklevel=2)
    pytest.skip(f"the recipe for {package} was not run. {why}")


def needs(package):
    if importlib.util.find_spec(package) is None:
        not_run(package, f"It is missing: pip install 'medlearn[{package}]'")


def run(*command):
    """In processes that find this package and the recipes, and ask nobody outside."""
    path = os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
                               "RAY_USAGE_STATS_ENABLED": "0"})
    if "The current node timed out during startup" in done.stderr:
        not_run("ray", "Ray did not start within the 15 s that it allows its own processes: the machine is too busy")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipes")
    tiny_folder(root / "data", test=4)
    assert main(["train", *words(root / "data", root / "run", "recipe.steps=2")]) == 0
    assert main(["predict", str(root / "run"), str(root / "data" / "imagesTs"), str(root / "alone")]) == 0
    return root


@pytest.mark.parametrize("name", ["ray", "dask"])
def test_a_killed_worker_and_a_bad_file_cost_no_scan(trained, tmp_path, name):
    needs(name)
    scans, said = shutil.copytree(trained / "data" / "imagesTs", tmp_path / "scans"), tmp_path / "said"
    (scans / "bad_0000.nii.gz").write_bytes(b"no scan")
    (tmp_path / "dying.py").write_text(DYING.format(recipe=f"predict_{name}"))
    refused = json.loads(run(tmp_path / "dying.py", trained / "run", scans, said).splitlines()[-1])
    assert list(refused) == ["bad"] and "bad_0000.nii.gz" in refused["bad"]
    assert (said / "died").exists()
    assert sorted(path.name for path in said.glob("[!.]*.nii.gz")) == [f"p0{i}_scan.nii.gz" for i in range(4, 8)]
    for path in (trained / "alone").glob("*.nii.gz"):
        assert np.array_equal(read_volume(path).array, read_volume(said / path.name).array)


@pytest.mark.parametrize("name", ["ray", "dask"])
def test_the_recipe_is_a_command_that_goes_on(trained, tmp_path, name):
    needs(name)
    said = shutil.copytree(trained / "alone", tmp_path / "said")
    (said / "p06_scan.nii.gz").unlink()
    (said / "p04_scan.nii.gz").write_bytes(b"mine")
    out = run(EXAMPLES / f"predict_{name}.py", trained / "run", trained / "data" / "imagesTs", said, 1)
    assert out.splitlines()[-1] == "0 refused"
    assert (said / "p04_scan.nii.gz").read_bytes() == b"mine"
    assert np.array_equal(*(read_volume(folder / "p06_scan.nii.gz").array for folder in (said, trained / "alone")))
