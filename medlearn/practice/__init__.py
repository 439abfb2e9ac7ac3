"""What the practice chapters are about: problems of the clinic, each with a budget, a baseline and a score."""
from medlearn.practice.audit import Study, said, submission
from medlearn.practice.capstone import Patient, patients, ward
from medlearn.practice.rare import Trial, clinic, trial, views

__all__ = ["Patient", "Study", "Trial", "clinic", "patients", "said", "submission", "trial", "views", "ward"]
