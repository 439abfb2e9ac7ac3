"""What the practice chapters are about: problems of the clinic, each with a budget, a baseline and a score."""
from medlearn.practice.audit import Study, said, submission
from medlearn.practice.rare import Trial, clinic, trial, views

__all__ = ["Study", "Trial", "clinic", "said", "submission", "trial", "views"]
