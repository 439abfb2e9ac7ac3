"""How scanners measure: MRI (chapter 10) and ultrasound (chapter 11)."""
from medlearn.physics import despeckle, mri, rician, ultrasound

__all__ = ["despeckle", "mri", "rician", "ultrasound"]
