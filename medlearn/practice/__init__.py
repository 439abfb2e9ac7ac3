"""What the practice chapters are about: problems of the clinic, each with a budget, a baseline and a score."""
from medlearn.practice.audit import Study, said, submission
from medlearn.practice.capstone import Patient, patients, ward
from medlearn.practice.eye import EyeCost, EyeTrial, Slices, eye_cost, eye_trial, torsos
from medlearn.practice.noise import NoiseTrial, Plan, Repeats, noise_trial, repeats
from medlearn.practice.rare import Trial, clinic, trial, views

__all__ = ["EyeCost", "EyeTrial", "NoiseTrial", "Patient", "Plan", "Repeats", "Slices", "Study", "Trial", "clinic",
           "eye_cost", "eye_trial", "noise_trial", "patients", "repeats", "said", "submission", "torsos", "trial", "views",
           "ward"]
