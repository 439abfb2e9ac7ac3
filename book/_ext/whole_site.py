"""What a site needs beside its pages: its search, its front door, its map, the notebooks to download."""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path

from sphinx.application import Sphinx

from chapters import chapters, documents, repository
from notebooks import student, text_of
from page_head import description
from references import References
from search import write_search


# Files ---------------------------------------------------------------------------------------------------------------

def no_index(app: Sphinx) -> None:
    """Sphinx's own search loads every page that it finds; ours takes its place."""
    app.builder.search = False


def more_pages(app: Sphinx) -> Iterator[tuple[str, dict, str]]:
    yield "search", {}, "search.html"


def write_files(app: Sphinx, error: Exception | None) -> None:
    """After the pages."""
    if error or app.builder.format != "html":
        return
    root, out = Path(app.srcdir), Path(app.outdir)
    write_search(app)
    write_notebooks(root, out)
    write_door(app, out)
    write_lost(app, out)
    write_map(app, out)
    shutil.rmtree(out / "_static/vendor/fontawesome", ignore_errors=True)


def write_notebooks(root: Path, out: Path) -> None:
    """The generated notebooks, where the pages' buttons expect them."""
    book = References(root, repository(root))
    for chapter in chapters(root):
        path = out / "_sources" / chapter.relative_to(root).with_suffix(".ipynb")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(student(chapter, book)), encoding="utf-8")


def write_door(app: Sphinx, out: Path) -> None:
    """index.html leads on to the front page; what shows a link to it finds its title and its picture there."""
    front, at = app.config.root_doc, repository(Path(app.srcdir))
    title, told = escape(app.config.html_title or app.config.project), escape(front_description(app))
    head = [f'<meta property="og:title" content="{title}">', f'<meta property="og:description" content="{told}">',
            f'<meta name="description" content="{told}">', '<meta property="og:type" content="website">']
    if at.known:
        head += [f'<link rel="canonical" href="{at.page(front)}">',
                 f'<meta property="og:url" content="{at.page(front)}">',
                 f'<meta property="og:image" content="{at.book}_static/readme.png">']
    (out / "index.html").write_text(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n' + "\n".join(head)
        + f'\n<meta http-equiv="refresh" content="0; url={front}.html"></head>\n'
          f'<body><p><a href="{front}.html">{title}</a></p></body></html>\n', encoding="utf-8")


def write_lost(app: Sphinx, out: Path) -> None:
    """404.html, which a server shows for any address: so it needs no other file, and its link begins at the book."""
    at, front = repository(Path(app.srcdir)), app.config.root_doc
    to = at.page(front) if at.known else f"{front}.html"
    (out / "404.html").write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta name="color-scheme" content="light dark">'
        '<link rel="icon" href="data:,"><title>No such page</title></head>\n'
        '<body style="font: 1.1rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem">'
        '<main><h1>There is no such page</h1><p>It may have moved. The '
        f'<a style="color: inherit" href="{to}">front page</a> lists all chapters.</p>'
        "</main></body></html>\n", encoding="utf-8")


def front_description(app: Sphinx) -> str:
    return description(app.env.get_doctree(app.config.root_doc))


def write_map(app: Sphinx, out: Path) -> None:
    """sitemap.xml, for who looks for pages; it needs the book's address."""
    at = repository(Path(app.srcdir))
    if at.known:
        places = "".join(f"<url><loc>{at.page(page)}</loc></url>\n" for page in documents(Path(app.srcdir)))
        (out / "sitemap.xml").write_text('<?xml version="1.0" encoding="UTF-8"?>\n'
                                         f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{places}</urlset>\n')
        (out / "robots.txt").write_text(f"User-agent: *\nSitemap: {at.book}sitemap.xml\n")
