// Searches the book's prose, which search-words.js has brought: sections that hold every word, best first.
(() => {
  "use strict";
  const SHOWN = 40, BEFORE = 60, LENGTH = 220;
  const field = document.querySelector(".search-form input"), list = document.querySelector(".search-results");
  const count = document.querySelector(".search-count"), root = document.documentElement.dataset.content_root;
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const sections = window.searchWords.map((one) => ({ ...one, words: plain(one.text), heading: plain(one.title) }));

  // How well a section answers; 0 where it lacks a word. A title counts more than its text, a whole word more than a part.
  function score(section, words) {
    let sum = 0;
    for (const word of words) {
      const whole = new RegExp(`(^|[^\\p{L}\\p{N}])${word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`, "u");
      const inTitle = section.heading.includes(word), inText = section.words.includes(word);
      if (!inTitle && !inText) return 0;
      sum += 8 * inTitle + 4 * whole.test(section.heading) + inText + 2 * whole.test(section.words)
        + Math.min(3, section.words.split(word).length / 4);
    }
    return sum;
  }

  // The text around the first place where a word stands, the words marked.
  function excerpt(section, words) {
    const found = words.map((word) => section.words.indexOf(word)).filter((i) => i >= 0);
    let start = Math.max(0, (found.length ? Math.min(...found) : 0) - BEFORE);
    if (start) start = section.text.indexOf(" ", start) + 1;
    const text = section.text.slice(start, start + LENGTH), small = plain(text), made = document.createElement("p");
    made.append(start ? "… " : "");
    for (let i = 0; i < text.length;) {
      const word = words.find((one) => small.startsWith(one, i)), next = document.createElement("mark");
      if (word) { next.textContent = text.slice(i, i += word.length); made.append(next); }
      else made.append(text[i++]);
    }
    made.append(start + LENGTH < section.text.length ? " …" : "");
    made.normalize();
    return made;
  }

  function search() {
    const words = plain(field.value).split(/\s+/).filter(Boolean);
    const found = words.length ? sections.map((section) => [score(section, words), section]).filter(([s]) => s > 0) : [];
    found.sort((a, b) => b[0] - a[0]);
    count.textContent = words.length ? `${found.length} place${found.length === 1 ? "" : "s"}` : "";
    list.replaceChildren(...found.slice(0, SHOWN).map(([, section]) => {
      const item = document.createElement("li"), link = document.createElement("a"), where = document.createElement("span");
      link.href = `${root}${section.page}.html#${section.at}`;
      link.textContent = section.title;
      where.textContent = section.of === section.title ? "" : section.of;
      item.append(link, where, excerpt(section, words));
      return item;
    }));
  }

  field.value = new URLSearchParams(location.search).get("q") || "";
  field.addEventListener("input", search);
  field.form.addEventListener("submit", (event) => event.preventDefault());
  search();
  field.focus();
})();
