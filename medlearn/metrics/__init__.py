"""How good an answer is: things found and outlined (chapter 1)."""
from medlearn.metrics.instances import (Detection, PanopticQuality, detection_f1, panoptic_quality,
                                        panoptic_quality_per_class)

__all__ = ["Detection", "PanopticQuality", "detection_f1", "panoptic_quality", "panoptic_quality_per_class"]
