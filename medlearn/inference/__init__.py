"""From a trained network to an answer on the scan's own grid: large volumes window by window."""
from medlearn.inference.predict import Prediction, predict_file, predict_volume
from medlearn.inference.windows import blended_planes, gaussian_window, window_starts

__all__ = ["Prediction", "blended_planes", "gaussian_window", "predict_file", "predict_volume", "window_starts"]
