"""Ctrl-C is held back until it is heeded, once, and only where it can be caught."""
import signal
import threading

import pytest

from medlearn.train.interrupt import Interrupt


def press():
    signal.raise_signal(signal.SIGINT)


def test_it_is_held_back_and_heeded_later():
    with Interrupt() as interrupt:
        assert not interrupt.asked
        press()
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            interrupt.heed()
        assert not interrupt.asked


def test_a_second_one_is_heard_at_once():
    with pytest.raises(KeyboardInterrupt), Interrupt():
        press()
        press()
        raise AssertionError("it went on")


def test_within_at_once_nothing_is_held_back():
    with Interrupt() as interrupt:
        with pytest.raises(KeyboardInterrupt), interrupt.at_once():
            press()
            raise AssertionError("it went on")
        press()                                             # held back again
        with pytest.raises(KeyboardInterrupt), interrupt.at_once():
            raise AssertionError("it did not hear what had come before")


def test_one_that_nobody_heeded_comes_at_the_end():
    with pytest.raises(KeyboardInterrupt), Interrupt():
        press()


def test_an_error_goes_first():
    with pytest.raises(ValueError), Interrupt():
        press()
        raise ValueError


def test_the_callers_own_handler_is_asked_and_put_back():
    heard = []
    own = lambda number, frame: heard.append(number)
    before = signal.signal(signal.SIGINT, own)
    try:
        with Interrupt() as interrupt:
            press()
            assert heard == []
            interrupt.heed()
            assert heard == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_caught():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with Interrupt() as interrupt:
            seen.extend([signal.getsignal(signal.SIGINT), interrupt.asked])
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]
