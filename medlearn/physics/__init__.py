"""How scanners measure: CT (chapter 9), MRI (chapter 10) and ultrasound (chapter 11)."""
from medlearn.physics import ct, despeckle, mri, noise_power, projection, rician, stabilise, ultrasound

__all__ = ["ct", "despeckle", "mri", "noise_power", "projection", "rician", "stabilise", "ultrasound"]
