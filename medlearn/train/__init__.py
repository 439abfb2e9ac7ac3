"""How a network learns: one short loop, from a laptop to many GPUs, that can be stopped at any moment."""
from medlearn.train.checkpoints import load_weights
from medlearn.train.history import History
from medlearn.train.loop import fit, train_steps
from medlearn.train.memory import saved_bytes
from medlearn.train.recipe import Recipe
from medlearn.train.samples import Samples
from medlearn.train.scaling import Machine, StepTime, Workload, ring_all_reduce_s, step_time, training_hours
from medlearn.train.supervision import deep_supervision

__all__ = ["History", "Machine", "Recipe", "Samples", "StepTime", "Workload", "deep_supervision", "fit", "load_weights",
           "ring_all_reduce_s", "saved_bytes", "step_time", "train_steps", "training_hours"]
