"""The harness: what it measures, when it fails, and what it writes."""
import sys
from dataclasses import replace

import harness
import pytest
from harness import Case, Measured, Side

BENCH = '''
import time
import numpy as np

def small():
    return lambda: [1.0, 2.0]

def large():
    print("a package that talks")
    def call():
        end = time.process_time() + 0.02
        array = np.ones(40 * 2**17)                       # 40 MiB
        while time.process_time() < end:
            pass
        return [1.0, 2.0 + 1e-12 * array[0]]
    return call

def wrong(by=0.1):
    return lambda: [1.0, 2.0 + by]
'''


@pytest.fixture
def bench(tmp_path):
    file = tmp_path / "bench_sample.py"
    file.write_text(BENCH)
    return str(file)


def case(ours="small", peer="large", **bars):
    return Case("sample", Side("numpy", ours), Side("numpy", peer), **bars)


def test_time_and_memory_of_both_sides_are_measured(bench):
    ours, peer = harness.measure(bench, case(), rounds=3, threads=1)
    assert ours.version == peer.version and ours.answer == [1.0, 2.0]
    assert ours.cpu_ms > 0 and peer.cpu_ms >= 20 and peer.wall_ms >= 20        # the peer works until 20 ms are used
    if sys.platform == "linux":
        assert ours.peak_mib < 5 and 35 < peer.peak_mib < 60


def test_sides_that_disagree_stop_the_run(bench):
    with pytest.raises(SystemExit, match=r"sample: numpy says \[1.0, 2.0\], numpy says \[1.0, 2.1\]"):
        harness.measure(bench, case(peer="wrong"), rounds=1, threads=1)


def test_a_side_that_breaks_is_named(bench):
    with pytest.raises(RuntimeError, match="numpy: absent ended"):
        harness.measure(bench, case(ours="absent"), rounds=1, threads=1)


def test_a_side_gets_its_arguments(bench):
    right = replace(case(), peer=Side("numpy", "wrong", {"by": 0.0}))
    assert harness.measure(bench, right, rounds=1, threads=1)[1].answer == [1.0, 2.0]


def test_smoke_runs_each_side_and_measures_nothing(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--smoke", "--threads", "2"])
    monkeypatch.setattr(harness, "measure", None)
    asked = []
    absent = replace(case(), title="other", peer=Side("no-such-package", "small"))
    cases = [case(faster=1e6), absent]
    done = harness.main(bench, "Sample", "About.", lambda setting: asked.append(setting) or cases, install="")
    assert asked == [done] and done.smoke and done.threads == 2
    assert capsys.readouterr().out == ("a package that talks\nsample: runs\n"
                                       "other: no-such-package is not here\nother: runs\n")
    with pytest.raises(SystemExit, match=r"sample: numpy says \[1.0, 2.0\], numpy says \[1.0, 2.1\]"):
        harness.main(bench, "Sample", "About.", lambda setting: [case(peer="wrong")], install="")


def test_a_missed_bar_is_said():
    ours, peer = Measured("1", 10.0, 12.0, 5.0, []), Measured("2", 150.0, 170.0, 50.0, [])
    assert harness.misses(case(faster=15, leaner=10), ours, peer) == []
    assert harness.misses(case(), ours, peer) == []
    assert harness.ratios(replace(ours, on_gpu=True), replace(peer, on_gpu=True, wall_ms=24.0)) == (2, 10)
    assert harness.misses(case(faster=16, leaner=11), ours, peer) == [
        "sample: expected 16 times faster, got 15", "sample: expected 11 times leaner, got 10"]
    assert "| numpy 1 | 10 ms | 12 ms | 5.0 MiB | 15 | 10.0 |" in harness.table([(case(), ours, peer)])


def test_a_missing_peer_is_named_with_the_command_that_brings_it(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench"])
    absent = replace(case(), peer=Side("no-such-package", "large"))
    harness.main(bench, "Sample", "About.", lambda setting: [absent], install="pip install no-such-package==1")
    assert capsys.readouterr().out == ("Nothing was measured: no-such-package is not here. To install it:\n"
                                       "  pip install no-such-package==1\n")
    assert harness.has("numpy") and not harness.has("numpy", "/no/such/python")


def test_record_writes_the_section_and_a_missed_bar_ends_with_an_error(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench", "--rounds", "1", "--record"])
    with pytest.raises(SystemExit, match="expected 1e.06 times faster"):
        harness.main(bench, "Sample", "About.", lambda setting: [case(faster=1e6)], install="")
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.startswith("# Results\n\n## Sample\n\nAbout.")
    assert "by `python bench_sample.py --rounds 1 --record`." in text
    assert capsys.readouterr().out in text and "1 thread, medians of 1 interleaved" in text


def test_a_section_is_put_in_its_place_and_the_others_stay():
    text = harness.with_section(harness.with_section("# Results\n", "A", "one\n"), "B", "two\n")
    assert text == "# Results\n\n## A\n\none\n\n## B\n\ntwo\n"
    assert harness.with_section(text, "A", "new\n") == "# Results\n\n## A\n\nnew\n\n## B\n\ntwo\n"
    assert harness.with_section(text, "B", "new\n") == "# Results\n\n## A\n\none\n\n## B\n\nnew\n"
