"""The rehearsal says loudly where it cannot be, and all other tests have the GPU hidden."""
import os

import pytest
import rehearse

from helpers.rehearsal import asked_for, guard


def test_the_gpu_is_hidden_from_a_test_that_does_not_ask_for_it():
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("change, said", [
    (lambda patch: patch.setattr(guard.metadata, "version", lambda name: "2.99.1"), "here is torch 2.99.1"),
    (lambda patch: patch.setattr(guard.shutil, "which", lambda name: None), "a compiler"),
    (lambda patch: patch.setattr(guard.sys, "platform", "win32"), "Linux")])
def test_it_is_left_out_loudly(monkeypatch, capfd, change, said):
    monkeypatch.setattr(rehearse.subprocess, "Popen", None)
    change(monkeypatch)
    assert rehearse.main([]) == 0
    complaint = capfd.readouterr().err
    assert "THE TESTS OF THE GPU WERE NOT REHEARSED" in complaint and said in complaint
    monkeypatch.delitem(guard.sys.modules, "torch", raising=False)
    with pytest.raises(ImportError, match=said):
        guard.load_before_torch()


def test_it_comes_before_torch():
    import torch  # noqa: F401

    with pytest.raises(ImportError, match="before torch"):
        guard.load_before_torch()


@pytest.mark.parametrize("asked, found", [("7.5", ((7, 5), False)), ("9.0,jitter", ((9, 0), True))])
def test_what_is_asked_for(monkeypatch, asked, found):
    monkeypatch.setenv("REHEARSE_CUDA", asked)
    assert asked_for() == found


@pytest.mark.parametrize("asked", ["", "seven", "7", "7.5,noise"])
def test_what_cannot_be_asked_for(monkeypatch, asked):
    monkeypatch.setenv("REHEARSE_CUDA", asked)
    with pytest.raises(ValueError):
        asked_for()


def test_one_failure_on_one_card_fails_all(monkeypatch, capfd):
    monkeypatch.setattr(rehearse, "CARDS", ("7.5", "8.0"))
    code = "import os, sys; print(os.environ['REHEARSE_CUDA']); sys.exit(os.environ['REHEARSE_CUDA'] == '8.0')"
    popen = rehearse.subprocess.Popen
    monkeypatch.setattr(rehearse.subprocess, "Popen", lambda command, **how: popen([command[0], "-c", code], **how))
    assert rehearse.main([]) == 1
    assert capfd.readouterr().out.split() == ["7.5", "8.0"]
