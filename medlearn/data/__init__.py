"""Where scans come from: the MNI152 brain that ships with the package, and the cohort made from it (chapter 1);
phantoms whose truth is a formula (chapters 11 and 13); and the reader's own: files, folders, patches, augmentation."""
from medlearn.data.as_measured import load_measured
from medlearn.data.augment import (Augmented, BiasField, Flip, Intensity, LowDose, RicianNoise, Speckle, Standardise,
                                   Warp, augment_batch)
from medlearn.data.brain import TISSUES, Brain, load_mni152
from medlearn.data.cache import ArrayCache, Entry
from medlearn.data.cohort import BrainCohort, Protocol
from medlearn.data.files import Report, read_channels, read_volume, write_volume
from medlearn.data.folder import Case, Folder, folds_by_patient, read_folder, write_folder
from medlearn.data.lesions import LESIONS, NO_LESIONS, LesionSpec
from medlearn.data.patches import Patches
from medlearn.data.phantoms import Ellipses, cysts, random_ellipses, scatterers, shepp_logan
from medlearn.data.public import COHORTS, PublicCohort, download, read_medmnist
from medlearn.data.regions import LabelRegion, region_masks
from medlearn.data.resampling import resample, resample_labels, resized_grid, respaced_grid
from medlearn.data.samples import as_samples
from medlearn.data.scan import Scan, standardise
from medlearn.data.volumes import Stored, Volume, check_same_grid, crop, pad, reorient, to_ras
from medlearn.data.windows import WINDOWS_HU, hu_window

__all__ = [
    "COHORTS", "LESIONS", "NO_LESIONS", "TISSUES", "WINDOWS_HU", "ArrayCache", "Augmented", "BiasField", "Brain",
    "BrainCohort", "Case", "Ellipses", "Entry", "Flip", "Folder", "Intensity", "LabelRegion", "LesionSpec",
    "LowDose", "Patches", "Protocol", "PublicCohort", "Report", "RicianNoise", "Scan", "Speckle", "Standardise",
    "Stored", "Volume", "Warp", "as_samples", "augment_batch", "check_same_grid", "crop", "cysts", "download",
    "folds_by_patient", "hu_window", "load_measured", "load_mni152", "pad", "random_ellipses", "read_channels",
    "read_folder", "read_medmnist", "read_volume", "region_masks", "reorient", "resample", "resample_labels",
    "resized_grid", "respaced_grid", "scatterers", "shepp_logan", "standardise", "to_ras", "write_folder",
    "write_volume",
]
