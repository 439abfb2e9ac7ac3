"""Where scans come from: the MNI152 brain that ships with the package, and the cohort made from it (chapter 1);
phantoms whose truth is a formula (chapters 9 and 11)."""
from medlearn.data.brain import TISSUES, Brain, load_mni152
from medlearn.data.cohort import BrainCohort, Protocol
from medlearn.data.lesions import LESIONS, NO_LESIONS, LesionSpec
from medlearn.data.phantoms import Ellipses, cysts, random_ellipses, scatterers, shepp_logan
from medlearn.data.samples import as_samples
from medlearn.data.scan import Scan, standardise

__all__ = [
    "LESIONS", "NO_LESIONS", "TISSUES", "Brain", "BrainCohort", "Ellipses", "LesionSpec", "Protocol", "Scan",
    "as_samples", "cysts", "load_mni152", "random_ellipses", "scatterers", "shepp_logan", "standardise",
]
