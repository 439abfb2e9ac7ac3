"""Judging a model: a table of every case and class from two folders, in which no case is lost (chapter 17)."""
from medlearn.evaluate.bootstrap import bootstrap_interval
from medlearn.evaluate.cards import model_card
from medlearn.evaluate.drift import Drift, DriftChart, drift_chart
from medlearn.evaluate.folders import evaluate_folders
from medlearn.evaluate.groups import Subgroups, read_patients, subgroups, write_subgroups
from medlearn.evaluate.picture import show_worst
from medlearn.evaluate.scores import METRICS, score_volume
from medlearn.evaluate.table import Evaluation, Row

__all__ = ["METRICS", "Drift", "DriftChart", "Evaluation", "Row", "Subgroups", "bootstrap_interval", "drift_chart",
           "evaluate_folders", "model_card", "read_patients", "score_volume", "show_worst", "subgroups",
           "write_subgroups"]
