// Makes one page of the whole book, within its front page: every place gets a name of its own, links lead to places,
// folds are opened, solutions move to the end.
async (pages) => {
  const root = new URL(document.documentElement.dataset.content_root, location.href), known = new Set(pages);
  const place = (page, id = "top") => `${page}--${id}`.replaceAll("/", "-");
  const node = (tag, text = "", attributes = {}) => Object.assign(document.createElement(tag), { textContent: text, ...attributes });

  async function article(page) {
    const address = new URL(`${page}.html`, root);
    const other = new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html");
    const made = other.querySelector("article.bd-article");
    const here = (link) => new URL(link, address).href;
    made.querySelectorAll(".ml-live").forEach((e) => {
      e.replaceWith(node("p", "This figure computes in the browser, on the page of the book."));
    });
    made.querySelectorAll("script, .headerlink, noscript, img.only-dark").forEach((e) => e.remove());
    made.querySelectorAll("img").forEach((e) => { e.loading = "eager"; e.src = here(e.getAttribute("src")); });
    made.querySelectorAll("a[href]").forEach((e) => {
      const to = new URL(e.getAttribute("href"), address), name = to.href.slice(root.href.length).replace(/\.html.*$/, "");
      e.href = to.href.startsWith(root.href) && known.has(name)
        ? `#${place(name, decodeURIComponent(to.hash.slice(1)) || undefined)}` : to.href;
    });
    made.querySelectorAll("[id]").forEach((e) => { e.id = place(page, e.id); });
    made.querySelectorAll("details").forEach((e) => { e.open = true; });
    made.id = place(page);
    made.style.breakBefore = "page";
    return made;
  }

  // Leaves a link where each solution stood.
  function solutionsOf(made, page) {
    return [...made.querySelectorAll("details.fold-solution")].map((solution, i) => {
      const mark = node("p"), title = solution.querySelector("summary").textContent;
      solution.id ||= place(page, `solution-${i + 1}`);
      mark.append(node("a", `${title}: at the end`, { href: `#${solution.id}` }));
      solution.replaceWith(mark);
      return solution;
    });
  }

  const whole = node("main", "", { className: "bd-content" }), end = node("article", "", { className: "bd-article" });
  end.append(node("h1", "Solutions"));
  end.style.breakBefore = "page";
  for (const page of pages) {
    const made = await article(page), solutions = solutionsOf(made, page);
    if (solutions.length) end.append(node("h2", made.querySelector("h1").textContent), ...solutions);
    whole.append(made);
  }
  whole.append(end);
  document.body.replaceChildren(whole);
  document.documentElement.dataset.theme = document.documentElement.dataset.mode = "light";

  window.MathJax = { options: { enableMenu: false, processHtmlClass: "tex2jax_process|mathjax_process|math|output_area" } };
  await new Promise((done) => {
    const script = node("script", "", { src: new URL("_static/vendor/mathjax/tex-mml-chtml.js", root).href, onload: done, onerror: done });
    document.head.append(script);
  });
  await window.MathJax?.startup?.promise;
  await Promise.all([...document.images].map((image) => image.decode().catch(() => image.remove())));
  return [...document.querySelectorAll('a[href^="#"]')].map((e) => decodeURIComponent(e.getAttribute("href").slice(1)))
    .filter((id) => !document.getElementById(id));
}
