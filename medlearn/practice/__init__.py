"""What the practice chapters are about: problems of the clinic, each with a budget, a baseline and a score."""
from medlearn.practice.audit import Study, said, submission

__all__ = ["Study", "said", "submission"]
