"""Where scans come from: the MNI152 brain that ships with the package, and the cohort made from it (chapter 1)."""
from medlearn.data.brain import TISSUES, Brain, load_mni152
from medlearn.data.cohort import BrainCohort, Protocol
from medlearn.data.lesions import LESIONS, NO_LESIONS, LesionSpec
from medlearn.data.scan import Scan, standardise

__all__ = [
    "LESIONS", "NO_LESIONS", "TISSUES", "Brain", "BrainCohort", "LesionSpec", "Protocol", "Scan", "load_mni152",
    "standardise",
]
