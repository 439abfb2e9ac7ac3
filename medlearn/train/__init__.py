"""How a network learns: one short loop, from a laptop to many GPUs, that can be stopped at any moment."""
from medlearn.train.checkpoints import load_weights
from medlearn.train.history import History
from medlearn.train.loop import fit, train_steps
from medlearn.train.recipe import Recipe
from medlearn.train.samples import Samples
from medlearn.train.supervision import deep_supervision

__all__ = ["History", "Recipe", "Samples", "deep_supervision", "fit", "load_weights", "train_steps"]
