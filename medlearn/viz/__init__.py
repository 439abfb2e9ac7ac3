"""Pictures of the book: one style, labels over scans, the triangle of three classes, figures to play with."""
from medlearn.viz.explorer import Explorer, explore
from medlearn.viz.simplex import simplex_triangle
from medlearn.viz.slices import show_labels, show_plane, show_slice, slice_of
from medlearn.viz.style import COLOURS, colours_of, use_style
from medlearn.viz.tables import table

__all__ = ["COLOURS", "Explorer", "colours_of", "explore", "show_labels", "show_plane", "show_slice",
           "simplex_triangle", "slice_of", "table", "use_style"]
