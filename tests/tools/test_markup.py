"""All markup that the book uses reaches a notebook as plain Markdown; any other is an error with its line."""
import re

import pytest
from chapters import repository
from markup import Translator
from myst import Code, Directive, MarkupError, Prose, blocks
from references import References

PAGE = "https://someone.github.io/brains/book"
RAW = "https://github.com/someone/brains/raw/trunk"


@pytest.fixture
def translate(book):
    book.chapter("01_one", "(one)=\n# The first\n\n::::{exercise} Millilitres\n:label: one-volume\nHow much?\n::::\n\n"
                 "$$\na = 1\n$$ (eq-a)\n\n```{math}\n:label: eq-b\nb = 2\n```\n\n"
                 ":::{figure} /book/_static/brain.svg\n:name: fig-brain\nA brain\n:::\n")
    book.chapter("02_two", "(two)=\n# The second\n\n(a-part)=\n## A part of `it`\n")
    book.put("book/_static/brain.svg", "<svg/>")
    return Translator("book/principles/01_one", References(book.root, repository(book.root))).translate


@pytest.mark.parametrize("text, plain", [
    ("# A title\n\nPlain *text*, `code` and $x_1 < 2$.", "# A title\n\nPlain *text*, `code` and $x_1 < 2$."),
    ("(label)=\n# A title", "# A title"),
    ("text\n% a comment\nmore", "text\nmore"),
    (":::{note}\nTake *care*.\n:::", "> **Note**\n>\n> Take *care*."),
    ("```{warning}\nHot\n```", "> **Warning**\n>\n> Hot"),
    (":::{seealso} There\n:::", "> **See also**\n>\n> There"),
    (":::{admonition} The `title`\n:class: tip\nOne.\n\n- two\n:::", "> **The `title`**\n>\n> One.\n>\n> - two"),
    (":::{admonition} Hint\n:class: dropdown\nLook *up*.\n:::",
     "<details>\n<summary>Hint</summary>\n\nLook *up*.\n\n</details>"),
    (":::{hint}\n:class: dropdown\nLook.\n:::", "<details>\n<summary>Hint</summary>\n\nLook.\n\n</details>"),
    ("::::{predict}\nWhich?\n\n- [ ] one\n- [x] two\n\n---\n\nTwo.\n::::",
     "> **Predict**\n>\n> Which?\n>\n> - one\n> - two\n\n"
     "<details>\n<summary>The answer</summary>\n\nTwo.\n\n</details>"),
    (":::{predict}\n:number: 0.25\nHow much?\n:::", "> **Predict**\n>\n> How much?"),
    (":::{live} ct-dose\n:name: fig-dose\nThe dose.\n:::",
     "> **A figure to play with**\n>\n> The dose.\n>\n> It computes "
     f"[in the book]({PAGE}/principles/01_one.html#fig-dose)."),
    (":::{architecture} unet\n:name: fig-drawn\nThe U.\n:::", "> **A network, drawn**\n>\n> The U.\n>\n> It is drawn "
     f"[in the book]({PAGE}/principles/01_one.html#fig-drawn)."),
    (":::{chain}\n:name: fig-way\n- tube | Tube | It *sends*.\n- body | Body | It takes.\n\nThe way.\n:::",
     "> **Step by step**\n>\n> 1. **Tube.** It *sends*.\n> 1. **Body.** It takes.\n>\n> The way."),
    (":::{chain}\n:name: fig-ways\n- tube | Tube | One.\n\n- coil | Coil | Other.\n\nTwo ways.\n:::",
     "> **Step by step**\n>\n> 1. **Tube.** One.\n>\n> Beside it:\n>\n> 1. **Coil.** Other.\n>\n> Two ways."),
    (":::{dropdown} More\nText\n:::", "<details>\n<summary>More</summary>\n\nText\n\n</details>"),
    ("::::{note}\nA\n\n:::{tip}\nB\n:::\n::::", "> **Note**\n>\n> A\n>\n> > **Tip**\n> >\n> > B"),
    (":::{note}\n$$\na\n= b\n$$\n:::", "> **Note**\n>\n> $$ a = b $$"),
    ("- item\n\n  :::{note}\n  Within\n  :::", "- item\n\n  > **Note**\n  >\n  > Within"),
    ("::::{exercise} Millilitres\n:label: one-volume\nHow much?\n::::", "**Exercise 1. Millilitres**\n\nHow much?"),
    ("::::{solution} one-volume\n:class: dropdown\nThis much.\n::::",
     "<details>\n<summary>Solution of Exercise 1</summary>\n\nThis much.\n\n</details>"),
    ("```{math}\na = b\n```", "$$\na = b\n$$"),
    ("```{math}\n:label: eq-b\nb = 2\n```", "$$\nb = 2\n\\tag{2}\n$$"),
    ("$$\na = 1\n$$ (eq-a)", "$$\na = 1\n\\tag{1}\n$$"),
    ("\\begin{align}\na &= b\n\\end{align}", "$$\n\\begin{align}\na &= b\n\\end{align}\n$$"),
    ("{math}`x^2`", "$x^2$"),
    (":::{figure} /book/_static/brain.svg\n:name: fig-brain\n:alt: A brain\nA *caption*\n:::",
     f"![A brain]({RAW}/book/_static/brain.svg)\n\n*A *caption**"),
    ("```{image} ../_static/brain.svg\n:alt: A brain\n```", f"![A brain]({RAW}/book/_static/brain.svg)"),
    ("![A brain](../_static/brain.svg){width=50%}", f"![A brain]({RAW}/book/_static/brain.svg)"),
    ("```{code-block} bash\nmake test\n```", "```bash\nmake test\n```"),
    ("```python\n{cite:p}`x` stays\n```", "```python\n{cite:p}`x` stays\n```"),
    ("``{doc}`x` `` and \\$5 and `$y$`", "``{doc}`x` `` and \\$5 and `$y$`"),
    ("{cite:p}`long2015fully`", f"([Long et al., 2015]({PAGE}/reference/bibliography.html#cite-long2015fully))"),
    ("{cite:p}`dollar2014,gudbjartsson1995rician`",
     f"([Dollár, 2014]({PAGE}/reference/bibliography.html#cite-dollar2014); "
     f"[Gudbjartsson and Patz, 1995]({PAGE}/reference/bibliography.html#cite-gudbjartsson1995rician))"),
    ("{cite:t}`long2015fully` say", f"[Long et al. (2015)]({PAGE}/reference/bibliography.html#cite-long2015fully) say"),
    ("{doc}`02_two`", f"[The second]({PAGE}/principles/02_two.html)"),
    ("{doc}`the front\npage </book/intro>`", f"[the front\npage]({PAGE}/intro.html)"),
    ("[there](02_two.md)", f"[there]({PAGE}/principles/02_two.html)"),
    ("[there](#two)", f"[there]({PAGE}/principles/02_two.html#two)"),
    ("[out](https://a.example/x_y)", "[out](https://a.example/x_y)"),
    ("{ref}`two`", f"[The second]({PAGE}/principles/02_two.html#two)"),
    ("{ref}`a-part`", f"[A part of `it`]({PAGE}/principles/02_two.html#a-part)"),
    ("{ref}`so <one-volume>`", f"[so]({PAGE}/principles/01_one.html#one-volume)"),
    ("{numref}`fig-brain`", f"[Figure 1]({PAGE}/principles/01_one.html#fig-brain)"),
    ("{numref}`Figure %s <fig-brain>`", f"[Figure 1]({PAGE}/principles/01_one.html#fig-brain)"),
    ("{eq}`eq-b`", f"[(2)]({PAGE}/principles/01_one.html#equation-eq-b)"),
    ("{term}`voxel`", f"[voxel]({PAGE}/reference/glossary.html#term-voxel)"),
    ("{term}`overlaps <iou>`", f"[overlaps]({PAGE}/reference/glossary.html#term-IoU)"),
    ("{term}`Probability simplex`", f"[Probability simplex]({PAGE}/reference/glossary.html#term-probability-simplex)"),
    ("{py:func}`~medlearn.tasks.check_simplex`",
     f"[`check_simplex`]({PAGE}/reference/tasks.html#medlearn.tasks.check_simplex)"),
    ("{py:func}`medlearn.claim`", f"[`medlearn.claim`]({PAGE}/reference/book.html#medlearn.claim)"),
    ("{py:func}`medlearn.checks.check`",
     f"[`medlearn.checks.check`]({PAGE}/reference/book.html#medlearn.checks.check)"),
    ("H{sub}`2`O", "H<sub>2</sub>O"),
    ("[words]{.wide}", "words"),
])
def test_markup_becomes_plain_markdown(translate, text, plain):
    assert translate(text) == plain
    assert not re.search(r"(?m)^\s*:::|^```\{|\$\$ \(", plain)


@pytest.mark.parametrize("text, line, why", [
    ("one\n\n::::{grid} 2\n::::", 12, "directive {grid}"),
    (":::{note}\none\n\n:::{tab-set}\n:::", 13, ":::{tab-set} is never closed"),
    ("::::{note}\none\n\n:::{tab-set}\n:::\n::::", 13, "directive {tab-set}"),
    ("one\ntwo {kbd}`Ctrl`", 11, "role {kbd}"),
    (":::{note}\n\ntwo {kbd}`Ctrl`\n:::", 12, "role {kbd}"),
    ("one {doc}`x", 10, "never closed"),
    (":::{note}\none", 10, "never closed"),
    (":::\none\n:::", 10, "without the name"),
    ("{doc}`03_three`", 10, "no page book/principles/03_three"),
    ("[there](03_three.md)", 10, "no page book/principles/03_three"),
    ("{ref}`nowhere`", 10, "no label 'nowhere'"),
    ("{eq}`two`", 10, "no equation 'two'"),
    ("{term}`pixel`", 10, "no term in the glossary 'pixel'"),
    ("{cite:p}`long2015fully,nobody1900`", 10, "no entry nobody1900"),
    ("![x](nothing.png)", 10, "no file nothing.png"),
    ("```{image} ../../../../etc/passwd\n```", 10, "no file"),
    ("text[^1]", 10, "footnote"),
    ("term\n: what it means", 11, "definition list"),
    (":::{exercise} X\ntext\n:::", 10, "needs a :label:"),
])
def test_what_cannot_be_translated_is_named_with_its_line(translate, text, line, why):
    with pytest.raises(MarkupError, match=re.escape(why)) as error:
        translate(text, 10)
    assert error.value.line == line


def test_blocks_know_their_lines():
    found = list(blocks("a\n\n:::{note} title\n:class: tip\n\nbody\n:::\n```py\nx\n```\nb", 5))
    assert [type(block) for block in found] == [Prose, Directive, Code, Prose]
    assert [block.line for block in found] == [5, 7, 12, 15]
    note = found[1]
    assert (note.name, note.argument, note.classes, note.body, note.body_line) == ("note", "title", ["tip"], "body", 10)
    assert list(blocks("")) == [Prose("", 1)]
