"""The files that hold the project together: workflows, hooks, forms, and what README and CONTRIBUTING say."""
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from chapters import home
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
PAGES = ("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", ".github/pull_request_template.md")
OUTSIDE = [str(ROOT / "_build" / "tools" / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
FORM = {"dependabot": [".github/dependabot.yml"], "citation-file-format": ["CITATION.cff"], "github-issue-forms": FORMS,
        "github-issue-config": [".github/ISSUE_TEMPLATE/config.yml"]}
# beyond reading the repository, which every job may at most
MORE = {("book", "publish"): {"pages": "write", "id-token": "write"}, ("weekly", "tell"): {"issues": "write"},
        ("release", "draft"): {"contents": "write"}}


def read(name: str | Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
WORKFLOW = {path.stem: yaml.safe_load(read(path)) for path in WORKFLOWS}
JOBS = [pytest.param(name, job, id=f"{name}-{job}") for name, workflow in WORKFLOW.items() for job in workflow["jobs"]]


# Looked at from outside ----------------------------------------------------------------------------------------------

def tool(name: str, *arguments: str | Path) -> None:
    """Run what `make lint` installs; it must have nothing to say."""
    if (found := shutil.which(name, path=os.pathsep.join(OUTSIDE))) is None:
        pytest.skip(f"no {name} here: `make lint` installs it")
    done = subprocess.run([found, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_nothing():
    tool("actionlint", *WORKFLOWS)


def test_zizmor_finds_nothing():
    tool("zizmor", "--offline", "--no-progress", "--quiet", ".github", ".pre-commit-config.yaml")


@pytest.mark.parametrize("schema", FORM)
def test_the_form_is_right(schema):
    tool("check-jsonschema", "--no-cache", "--builtin-schema", f"vendor.{schema}", *FORM[schema])


def test_the_hooks_have_the_right_form():
    tool("pre-commit", "validate-config", ".pre-commit-config.yaml")


# Workflows -----------------------------------------------------------------------------------------------------------

def test_actions_are_pinned_by_commit_and_each_by_one():
    used = re.findall(r"uses: (\S+)@(\S+)(.*)", "\n".join(map(read, WORKFLOWS)))
    assert used
    for action, commit, version in used:
        assert re.fullmatch(r"[0-9a-f]{40}", commit) and re.fullmatch(r"  # v\d+\.\d+\.\d+", version), action
    assert len({action for action, *_ in used}) == len(set(used))


@pytest.mark.parametrize("workflow, job", JOBS)
def test_a_job_may_do_what_it_needs_and_ends(workflow, job):
    described = WORKFLOW[workflow]["jobs"][job]
    assert WORKFLOW[workflow]["permissions"] == {} and described["timeout-minutes"] <= 350
    assert described["permissions"] == MORE.get((workflow, job), {"contents": "read"})


def test_every_job_with_more_rights_is_there():
    assert MORE.keys() <= {param.values for param in JOBS}


def test_the_weekly_run_tells_of_all_its_jobs():
    jobs = WORKFLOW["weekly"]["jobs"]
    assert set(jobs["tell"]["needs"]) == jobs.keys() - {"tell"}


def test_all_pythons_that_are_allowed_are_tested():
    tested = WORKFLOW["test"]["jobs"]["test"]["strategy"]["matrix"]["python"]
    allowed, known = SpecifierSet(PROJECT["requires-python"]), (f"3.{minor}" for minor in range(8, 30))
    assert tested == [version for version in known if allowed.contains(f"{version}.0")]


def test_what_needs_make_asks_for_what_the_makefile_has():
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    for name in [*PAGES, *WORKFLOWS, ".github/requirements.txt"]:
        asked = set(re.findall(r"(?:run: |^|`)make ([a-z]+)", read(name), re.MULTILINE))
        assert asked <= targets, f"{name}: make {', '.join(asked - targets)}"
    assert {"test", "lint", "dist"} <= set(re.findall(r"run: make (\w+)", read(".github/workflows/test.yml")))
    assert {"fresh", "study", "colab"} <= set(re.findall(r"run: make (\w+)", read(".github/workflows/weekly.yml")))


def test_the_hooks_fetch_nothing():
    config = yaml.safe_load(read(".pre-commit-config.yaml"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system" and hook["entry"].startswith(".venv/bin/python ")


# What is said of the house -------------------------------------------------------------------------------------------

def test_the_version_is_the_same_everywhere():
    assert yaml.safe_load(read("CITATION.cff"))["version"] == PROJECT["version"]


def test_the_address_is_that_of_config():
    """_config.yml is where it is changed; these cannot ask it, and follow by hand."""
    for name in ("README.md", "CITATION.cff", "pyproject.toml"):
        found = set(re.findall(r"https://github\.com/[\w.-]+/[\w.-]+(?<!\.git)", read(name)))
        assert found == {home().url}, name
    for name in ("CONTRIBUTING.md", "CODE_OF_CONDUCT.md", *(path.relative_to(ROOT) for path in [*WORKFLOWS, *FORMS])):
        assert home().url.removeprefix("https://") not in read(name), name


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    text = read(page)
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", text)]
    paths = re.findall(r"`((?:book|medlearn|tools|tests|benchmarks|\.github)/[\w./-]*)`", text)
    kept = re.findall(r"python3?(?: -m pytest)? ((?:tools|tests|medlearn)[\w/.]*)", text)
    missing = [name for name in [*links, *paths, *kept] if not (ROOT / name).exists() and name != "book/recorded/gpu/"]
    assert missing == []


def rooms() -> set[str]:
    found = {path.parent if path.stem == "__init__" else path.with_suffix("") for path in
             [*(ROOT / "medlearn").glob("*/__init__.py"), *(ROOT / "medlearn").glob("[a-z]*.py")]}
    return {path.name for path in found}


def test_readme_names_every_room():
    row = re.search(r"\| `medlearn/` \|(.*)\|", read("README.md"))[1]
    assert set(re.findall(r"`(\w+)`", row)) == rooms()


def test_the_tour_names_every_room():
    tour = read("CONTRIBUTING.md").partition("| floor |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", tour)) == rooms()


def test_the_code_of_the_readme_runs(capsys):
    exec(re.search(r"```python\n(.*?)```", read("README.md"), re.DOTALL)[1], {})
    assert capsys.readouterr().out.startswith("PQ ")
