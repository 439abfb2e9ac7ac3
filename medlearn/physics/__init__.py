"""How scanners measure: MRI (chapter 10)."""
from medlearn.physics import mri

__all__ = ["mri"]
