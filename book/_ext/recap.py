"""A chapter's pictures once more, small, before its exercises and its questions: what did each of them show?"""
from __future__ import annotations

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

PLACES = ("exercises", "three-questions")
ASKS = ("First without words: what did each of these show? Press one to see it again.", "And these?")
MOST = 6


class AddRecap(SphinxPostTransform):
    """At the beginning of *Exercises* and of *Three questions*, some of the figures that code has drawn, as links."""

    default_priority = 260  # when figures have their twins
    formats = ("html",)

    def run(self) -> None:
        drawn = [figure for figure in self.document.findall(nodes.figure) if any(_images(figure))]
        places = [section for name in PLACES for section in self.document.findall(nodes.section)
                  if name in section["ids"]]
        shown = spread(drawn, MOST)
        for k, (section, asks) in enumerate(zip(places, ASKS)):
            items = [nodes.list_item("", self._link(figure)) for figure in
                     shown[k * len(shown) // len(places):(k + 1) * len(shown) // len(places)]]
            if items:
                section[1:1] = [nodes.paragraph("", asks), nodes.bullet_list("", *items, classes=["recap"])]

    def _link(self, figure: nodes.figure) -> nodes.paragraph:
        numbers = self.env.toc_fignumbers.get(self.env.docname, {}).get("figure", {})
        name = "Figure " + ".".join(map(str, numbers.get(figure["ids"][0], ())))
        shown = [image.deepcopy() for image in _images(figure)]
        for image in shown:
            image["alt"], image["ids"] = "", []  # the link has a name
        caption = figure.next_node(nodes.caption)
        says = nodes.inline("", f": {caption.astext()}" if caption else "", classes=["visually-hidden"])
        return nodes.paragraph("", "", nodes.reference("", "", *shown, nodes.inline("", name), says, internal=True,
                                                       refuri=f"#{figure['ids'][0]}"))


def _images(figure: nodes.figure) -> list[nodes.image]:
    return [image for image in figure.findall(nodes.image) if "jupyter_execute" in image["uri"]]


def spread(items: list, most: int) -> list:
    """At most so many of them, the first and the last among them, the others evenly between."""
    if len(items) <= most:
        return items
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]
