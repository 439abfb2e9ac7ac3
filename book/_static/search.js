// Searches the book: the index says which places hold every word; the text around a word comes with its page's file.
(() => {
  "use strict";
  const AT_ONCE = 12, BEFORE = 60, LENGTH = 220;
  const { pages, places, words: steps } = window.searchIndex;
  const field = document.querySelector(".search-form input"), list = document.querySelector(".search-results");
  const count = document.querySelector(".search-count"), more = document.querySelector(".search-more");
  const root = document.documentElement.dataset.content_root;
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const wordsOf = (text) => plain(text).match(/[\p{L}\p{N}]+/gu) || [];
  const titles = places.map(([, , title]) => plain(title)), titleWords = titles.map(wordsOf);
  const firstOf = pages.map((_, page) => places.findIndex(([of]) => of === page));
  let found = [], asked = [], shown = 0;

  // How well each place answers a word. A title counts more than a text, a whole word more than a part of one.
  function scores(word) {
    const inText = new Map(), all = new Map();
    for (const [known, gaps] of Object.entries(steps)) {
      if (!known.includes(word)) continue;
      let place = 0;
      for (const gap of gaps) inText.set(place += gap, Math.max(inText.get(place) || 0, known === word ? 3 : 1));
    }
    titles.forEach((title, place) => {
      const score = (inText.get(place) || 0) + 8 * title.includes(word) + 4 * titleWords[place].includes(word);
      if (score) all.set(place, score);
    });
    return all;
  }

  // The texts of a page, from its own file: a script, since a folder of files lets nothing else in.
  const waiting = {}, arrived = {};
  window.searchTexts = (page, texts) => arrived[page](texts);
  function textsOf(page) {
    return waiting[page] ||= new Promise((resolve) => {
      const script = document.createElement("script");
      arrived[page] = resolve;
      script.src = `${root}_static/search/${page}.js`;
      document.head.append(script);
    });
  }

  // The text around the first place where a word stands, the words marked.
  function excerpt(whole, words) {
    const lower = plain(whole), at = words.map((word) => lower.indexOf(word)).filter((i) => i >= 0);
    let start = Math.max(0, (at.length ? Math.min(...at) : 0) - BEFORE);
    if (start) start = whole.indexOf(" ", start) + 1;
    const text = whole.slice(start, start + LENGTH), small = plain(text), made = document.createElement("p");
    made.append(start ? "… " : "");
    for (let i = 0; i < text.length;) {
      const word = words.find((one) => small.startsWith(one, i)), mark = document.createElement("mark");
      if (word) { mark.textContent = text.slice(i, i += word.length); made.append(mark); }
      else made.append(text[i++]);
    }
    made.append(start + LENGTH < whole.length ? " …" : "");
    made.normalize();
    return made;
  }

  function showMore() {
    for (const place of found.slice(shown, shown += AT_ONCE)) {
      const [page, at, title] = places[place], [path, of] = pages[page], words = asked;
      const item = document.createElement("li"), link = document.createElement("a"), where = document.createElement("span");
      link.href = `${root}${path}.html#${at}`;
      link.textContent = title;
      where.textContent = of === title ? "" : of;
      item.append(link, where);
      list.append(item);
      textsOf(page).then((texts) => item.append(excerpt(texts[place - firstOf[page]], words)));
    }
    more.hidden = shown >= found.length;
  }

  function search() {
    asked = wordsOf(field.value);
    const each = asked.map(scores), sum = (place) => each.reduce((total, of) => total + of.get(place), 0);
    found = each.length ? [...each[0].keys()].filter((place) => each.every((of) => of.has(place))) : [];
    found.sort((a, b) => sum(b) - sum(a) || a - b);
    count.textContent = asked.length ? `${found.length} place${found.length === 1 ? "" : "s"}` : "";
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  field.value = new URLSearchParams(location.search).get("q") || "";
  field.addEventListener("input", search);
  field.form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", showMore);
  search();
  field.focus();
})();
