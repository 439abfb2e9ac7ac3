"""The book's markup as plain Markdown, which Colab, VS Code and JupyterLab show alike.

Admonitions become block quotes, or <details> where they fold; references become links to the built book. What cannot be
translated is an error, so that no raw directive reaches a notebook.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from docutils.nodes import make_id

from myst import Code, Directive, MarkupError, Prose, blocks
from references import Place, References

TITLES = {"note": "Note", "tip": "Tip", "hint": "Hint", "important": "Important", "warning": "Warning",
          "caution": "Caution", "attention": "Attention", "danger": "Danger", "error": "Error", "seealso": "See also"}
API_ROLES = {"func", "class", "meth", "mod", "attr", "data", "exc", "obj"}

# in this order: what is matched first hides what it contains from those after it
_INLINE = re.compile(r"""
    (?P<comment>^[ \t]*%[^\n]*(?:\n|\Z))
  | (?P<target>^[ \t]*\([^)\n]+\)=[ \t]*(?:\n|\Z))
  | \$\$(?P<display>.+?)\$\$(?:[ \t]*\((?P<label>[^)\n]+)\)[ \t]*$)?
  | (?P<amsmath>^\\begin\{(?P<env>equation|align|gather|multline|alignat)(?P<star>\*?)\}.*?\\end\{(?P=env)(?P=star)\})
  | \{(?P<role>[A-Za-z][\w:+.-]*)\}(?P<ticks>`+)(?P<text>(?:(?!\n[ \t]*\n).)+?)(?P=ticks)(?!`)
  | (?P<unclosed>\{[A-Za-z][\w:+.-]*\}`)
  | (?P<code>(?P<quote>`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)(?P=quote)(?!`))(?:\{[^}\n]*\})?
  | (?P<escaped>\\[$\[\]{}`])
  | (?P<math>\$(?![\s$])(?:(?!\n[ \t]*\n)[^$\\]|\\.)+?(?<!\s)\$(?!\d))
  | (?P<footnote>\[\^[^\]\n]+\])
  | (?P<image>!?)\[(?P<shown>[^\[\]]*)\]\((?P<to>[^()\s]+)(?P<tail>[ \t]+"[^"\n]*")?\)(?:\{[^}\n]*\})?
  | \[(?P<span>[^\[\]]*)\]\{[.\#][^}\n]*\}
  | (?P<definition>^:[ \t]+(?=\S))
""", re.VERBOSE | re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Translator:
    """Translates the Markdown of one page."""
    page: str  # as Sphinx names it: book/principles/01_tasks
    book: References

    def translate(self, text: str, line: int = 1) -> str:
        """Text whose first line is line `line` of the page's file; MarkupError for what no notebook could show."""
        done = [self._block(block) for block in blocks(text, line)]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(done)).strip("\n")

    # Blocks ----------------------------------------------------------------------------------------------------------

    def _block(self, block: Prose | Code | Directive) -> str:
        if isinstance(block, Code):
            return block.text
        if isinstance(block, Prose):
            return self._inline(block.text, block.line)
        return _indented(self._directive(block), block.indent)

    def _directive(self, it: Directive) -> str:
        if it.name in TITLES:  # what follows the name on its line is the first line of the text
            return self._aside(it, TITLES[it.name], "\n\n".join(filter(None, [self._argument(it), self._body(it)])))
        match it.name:
            case "admonition":
                return self._aside(it, self._argument(it), self._body(it))
            case "predict":
                return self._predict(it)
            case "live":
                to = self.book.link(Place(self.page, make_id(it.label or f"live-{it.argument}"), "in the book"))
                return self._aside(it, "A figure to play with",
                                   "\n\n".join(filter(None, [self._body(it), f"It computes {to}."])))
            case "architecture":
                to = self.book.link(Place(self.page, make_id(it.label or f"architecture-{it.argument}"), "in the book"))
                return self._aside(it, "A network, drawn",
                                   "\n\n".join(filter(None, [self._body(it), f"It is drawn {to}."])))
            case "chain":
                rows = it.body.replace("\n\n- ", "\n\nBeside it:\n\n- ")
                steps = re.sub(r"^- \S+ \| ([^|]+?) \| (.+)$", r"1. **\1.** \2", rows, flags=re.MULTILINE)
                return self._aside(it, "Step by step", self.translate(steps, it.body_line))
            case "dropdown":
                return _folded(self._argument(it), self._body(it))
            case "exercise":
                title = f"{self._numbered(it)}. {self._argument(it)}".removesuffix(". ")
                return f"**{title}**\n\n{self._body(it)}"
            case "solution":
                return _folded(f"Solution of {self._look_up(it.line, self.book.label, it.argument).title}",
                               self._body(it))
            case "figure":
                caption = self._body(it)
                return self._picture(it) + (f"\n\n*{caption}*" if caption else "")
            case "image":
                return self._picture(it)
            case "math":
                return self._display("\n".join(filter(None, [it.argument, it.body])), it.label, it.line)
            case "code" | "code-block":
                return f"```{it.argument}\n{it.body}\n```"
        raise MarkupError(it.line, f"the directive {{{it.name}}} has no translation for notebooks")

    def _predict(self, it: Directive) -> str:
        """The question, its choices without their marks, and the answer folded."""
        question, cut, answer = re.sub(r"^- \[[ x]\] ", "- ", it.body, flags=re.MULTILINE).partition("\n---\n")
        asked = self._aside(it, "Predict", self.translate(question.strip("\n"), it.body_line))
        if not cut:
            return asked
        line = it.body_line + question.count("\n") + 2
        return f"{asked}\n\n{_folded('The answer', self.translate(answer, line))}"

    def _body(self, it: Directive) -> str:
        return self.translate(it.body, it.body_line)

    def _argument(self, it: Directive) -> str:
        return self._inline(it.argument, it.line)

    def _aside(self, it: Directive, title: str, body: str) -> str:
        if "dropdown" in it.classes:
            return _folded(title, body)
        # no `>` within a formula
        body = re.sub(r"\$\$.+?\$\$", lambda m: " ".join(m[0].split()), body, flags=re.DOTALL)
        return "\n".join(f"> {line}".rstrip() for line in f"**{title}**\n\n{body}".split("\n"))

    def _numbered(self, it: Directive) -> str:
        if not it.label:
            raise MarkupError(it.line, "an exercise needs a :label:")
        return self._look_up(it.line, self.book.label, it.label).title

    def _picture(self, it: Directive) -> str:
        return f"![{it.options.get('alt', '')}]({self._file(it.argument, it.line)})"

    def _file(self, path: str, line: int) -> str:
        """A file of the book, by its address in the repository."""
        if re.match(r"[a-z]+:", path):
            return path
        root = self.book.root.resolve()
        found = (root / path.lstrip("/") if path.startswith("/") else (root / self.page).parent / path).resolve()
        if not found.is_file() or not found.is_relative_to(root):
            raise MarkupError(line, f"no file {path}")
        return self.book.repository.raw(found.relative_to(root).as_posix())

    def _display(self, math: str, label: str, line: int) -> str:
        tag = f"\n\\tag{{{self._look_up(line, self.book.equation, label).title[1:-1]}}}" if label else ""
        return f"$$\n{math.strip()}{tag}\n$$"

    # Within a line ---------------------------------------------------------------------------------------------------

    def _inline(self, text: str, line: int) -> str:
        def replace(found: re.Match) -> str:
            at = line + text.count("\n", 0, found.start())
            if found["comment"] or found["target"]:
                return ""
            if found["display"]:
                return self._display(found["display"], found["label"], at) if found["label"] else found[0]
            if found["amsmath"]:
                return f"$$\n{found['amsmath']}\n$$"
            if found["role"]:
                return self._role(found["role"], found["text"].strip(), at)
            if found["unclosed"]:
                raise MarkupError(at, f"{found['unclosed']}...` is never closed")
            if found["footnote"]:
                raise MarkupError(at, f"the footnote {found['footnote']} has no translation for notebooks")
            if found["definition"]:
                raise MarkupError(at, "a definition list has no translation for notebooks")
            if found["to"]:
                return self._link(found, at)
            if found["span"] is not None:
                return self._inline(found["span"], at)
            return found["code"] or found[0]
        return _INLINE.sub(replace, text)

    def _link(self, found: re.Match, line: int) -> str:
        to, shown = found["to"], self._inline(found["shown"], line)
        if found["image"]:
            return f"![{shown}]({self._file(to, line)})"
        if re.match(r"[a-z]+:", to):
            return f"[{shown}]({to}{found['tail'] or ''})"
        if to.startswith("#"):
            return self.book.link(self._look_up(line, self.book.label, to[1:]), shown)
        if to.endswith(".md"):
            return self.book.link(self._look_up(line, self.book.document, to, self.page), shown)
        return f"[{shown}]({self._file(to, line)})"

    def _role(self, role: str, text: str, line: int) -> str:
        explicit = re.fullmatch(r"(.*?)\s*<([^<>]+)>", text, re.DOTALL)
        shown, target = explicit.groups() if explicit else ("", " ".join(text.split()))
        match role:
            case "doc":
                return self.book.link(self._look_up(line, self.book.document, target, self.page), shown)
            case "ref":
                return self.book.link(self._look_up(line, self.book.label, target), shown)
            case "numref":
                place = self._look_up(line, self.book.label, target)
                number = place.title.split()[-1]
                return self.book.link(place, shown.replace("%s", number).replace("{number}", number))
            case "eq":
                return self.book.link(self._look_up(line, self.book.equation, target))
            case "term":
                return self.book.link(self._look_up(line, self.book.term, target), shown or target)
            case "cite" | "cite:p":
                works = (self._cited(key, line, "{0}, {1}") for key in target.split(","))
                return f"({'; '.join(works)})"
            case "cite:t":
                return ", ".join(self._cited(key, line, "{0} ({1})") for key in target.split(","))
            case "math":
                return f"${text}$"
            case "exact":
                return text
            case "study":
                return self._look_up(line, self.book.quoted, text)
            case "sub" | "sup":
                return f"<{role}>{text}</{role}>"
            case "abbr":
                return f"{shown} ({target})" if shown else target
        if role.removeprefix("py:") in API_ROLES:
            name = target.lstrip("~")
            short = name.rpartition(".")[2] if target.startswith("~") else name
            return self.book.link(self.book.code(name), shown or f"`{short}`")
        raise MarkupError(line, f"the role {{{role}}} has no translation for notebooks")

    def _cited(self, key: str, line: int, form: str) -> str:
        authors, year, place = self._look_up(line, self.book.citation, key.strip())
        return self.book.link(place, form.format(authors, year))

    def _look_up(self, line: int, find, *names: str) -> Place:
        try:
            return find(*names)
        except LookupError as missing:
            raise MarkupError(line, str(missing.args[0])) from None


def _folded(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _indented(text: str, indent: str) -> str:
    return "\n".join(indent + line if line else line for line in text.split("\n"))
