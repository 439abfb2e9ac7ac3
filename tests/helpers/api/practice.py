from helpers.api.data import SCAN
from helpers.api.places import call
from medlearn import practice

CALLS = {"practice.views": call(practice.views, SCAN), "practice.Plan": call(practice.Plan().denoise, SCAN.image)}
