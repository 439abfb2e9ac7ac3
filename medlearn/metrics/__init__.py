"""How good an answer is: things found and outlined (chapter 1), overlap and borders (chapter 7)."""
from medlearn.base.grid import spacing_from_affine
from medlearn.metrics._summary import Summary, summarise
from medlearn.metrics.instances import (Detection, PanopticQuality, detection_f1, panoptic_quality,
                                        panoptic_quality_per_class)
from medlearn.metrics.overlap import ConfusionCounts, confusion_counts, volumes_ml
from medlearn.metrics.surface import (SurfaceDistances, SurfaceReport, assd, hausdorff, hausdorff95, nsd,
                                      surface_distances, surface_report)

__all__ = [
    "ConfusionCounts", "Detection", "PanopticQuality", "Summary", "SurfaceDistances", "SurfaceReport", "assd",
    "confusion_counts", "detection_f1", "hausdorff", "hausdorff95", "nsd", "panoptic_quality",
    "panoptic_quality_per_class", "spacing_from_affine", "summarise", "surface_distances", "surface_report",
    "volumes_ml",
]
