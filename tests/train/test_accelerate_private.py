"""The names that Accelerate keeps to itself are still there, and still do what they are used for."""
import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from medlearn.train.accelerate_private import settings_of_its_own


@pytest.mark.parametrize("state", [AcceleratorState, GradientState])
def test_settings_are_one_dictionary_for_the_process(state):
    assert isinstance(getattr(state, "_shared_state", None), dict), f"{state.__name__}._shared_state is gone"
    Accelerator()
    assert state().__dict__ is state._shared_state, f"{state.__name__} keeps its settings elsewhere"


def test_settings_can_be_forgotten():
    assert callable(getattr(AcceleratorState, "_reset_state", None)), "AcceleratorState._reset_state is gone"
    Accelerator()
    with settings_of_its_own():
        assert not AcceleratorState._shared_state, "AcceleratorState._reset_state forgets no more"


def test_what_was_set_before_is_set_again():
    before = Accelerator(mixed_precision="no", gradient_accumulation_steps=3)
    with settings_of_its_own():
        assert Accelerator(mixed_precision="bf16").mixed_precision == "bf16"
    assert before.mixed_precision == "no" and before.gradient_accumulation_steps == 3
