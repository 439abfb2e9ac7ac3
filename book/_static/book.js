// What a page can do without a kernel: predictions that commit, folds that open where a link leads, boxes that scroll.
(() => {
  "use strict";

  // `node("b", {class: "x"}, "text", child)`
  function node(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // Predict, then see ---------------------------------------------------------------------------------------------------

  const memory = {      // a page from a file may have none
    get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* then it is kept until the page is left */ } },
    forget: (key) => { try { localStorage.removeItem(key); } catch { /* nothing was kept */ } },
  };

  function prediction(box, index) {
    const key = `predict ${location.pathname} ${index}`, { kind, right = "", number, unit = "", within } = box.dataset;
    const answer = box.querySelector(":scope > .fold-answer"), form = node("form");
    const said = node("p", { class: "predict-said", role: "status" });
    const commit = node("button", { type: "submit" }, answer ? "Commit, then see" : "Keep my answer");
    const again = node("button", { type: "button" }, "Think again");
    let value, labels = [];
    if (kind === "choice") {
      const list = [...box.querySelectorAll(":scope > ul")].pop();
      const type = right.includes(",") ? "checkbox" : "radio";
      labels = [...list.children].map((item, i) => node("label", {}, node("input", { type, name: key, value: i }),
        node("span", {}, ...item.childNodes)));
      form.append(...labels);
      list.replaceWith(form);
      value = {
        get: () => [...form.querySelectorAll("input:checked")].map((input) => input.value).join(","),
        set: (text) => form.querySelectorAll("input").forEach((input) => { input.checked = text.split(",").includes(input.value); }),
      };
    } else {
      const input = kind === "number"
        ? node("input", { type: "number", step: "any", "aria-label": `Your number${unit && `, in ${unit}`}` })
        : node("textarea", { "aria-label": "Your prediction", placeholder: "Your answer, before you read on" });
      form.append(kind === "number" ? node("label", {}, input, unit) : input);
      answer ? answer.before(form) : box.append(form);
      value = { get: () => input.value.trim(), set: (text) => { input.value = text; } };
    }
    form.append(node("div", {}, commit, " ", again), said);

    function show() {
      const kept = memory.get(key), given = kept !== null;
      if (given) value.set(kept);
      form.querySelectorAll("input, textarea").forEach((input) => { input.disabled = given; });
      commit.hidden = given;
      again.hidden = !given;
      if (answer) { answer.hidden = !given; answer.open = given; }
      const rights = right.split(","), chosen = given ? kept.split(",") : [];
      labels.forEach((label, i) => {
        label.classList.toggle("right", given && rights.includes(String(i)));
        label.classList.toggle("wrong", chosen.includes(String(i)) && !rights.includes(String(i)));
      });
      said.textContent = given ? verdict(kept) : "";
    }

    function verdict(kept) {
      if (kind === "choice" && right) return kept === right ? "You saw it coming." : "It came otherwise.";
      if (kind !== "number") return "Kept in this browser only.";
      const guess = Number(kept), truth = Number(number), reach = within === undefined ? Math.abs(truth) * 0.1 : Number(within);
      return Math.abs(guess - truth) <= reach ? `You saw it coming: it is ${number} ${unit}.` : `It is ${number} ${unit}.`;
    }

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (value.get() === "") { said.textContent = "Say something first: a wrong answer teaches, too."; return; }
      memory.set(key, value.get());
      show();
      if (memory.get(key) === null && answer) { answer.hidden = false; answer.open = true; }
    });
    again.addEventListener("click", () => { memory.forget(key); show(); });
    show();
  }

  // Schematics ----------------------------------------------------------------------------------------------------------

  // A part of a drawing says what it is, below the drawing, when it is pointed at, reached by Tab or tapped.
  function schematic(root) {
    const says = root.querySelector(".schematic-says"), parts = root.querySelectorAll(".part");
    parts.forEach((part) => {
      const show = () => {
        says.textContent = part.dataset.says;
        parts.forEach((other) => other.classList.toggle("shown", other === part));
      };
      ["pointerenter", "focus", "click"].forEach((event) => part.addEventListener(event, show));
    });
  }

  // Folds and boxes -----------------------------------------------------------------------------------------------------

  // A link into a fold opens it.
  function openTarget() {
    const target = location.hash === "" ? null : document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    if (target?.closest("details")) target.scrollIntoView();
  }

  const SCROLLS = "div.math mjx-container, dl.py dd > p, pre, .table-box, .output.text_html, .pst-scrollable-table-container, table.claim-study";

  // What has to be scrolled sideways can be reached by keyboard, and nothing else is a stop on the way.
  function reachable() {
    document.querySelectorAll(`.bd-article :is(${SCROLLS})`).forEach((box) => {
      const wide = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
      if (!wide) {
        if (box.dataset.reach) ["tabindex", "role", "aria-label", "data-reach"].forEach((name) => box.removeAttribute(name));
        return;
      }
      box.dataset.reach = "scroll";
      box.tabIndex = 0;
      if (box.tagName !== "TABLE") { box.setAttribute("role", "region"); box.setAttribute("aria-label", "Scroll sideways"); }
    });
  }

  function print() {
    const closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((fold) => { fold.open = true; });
    addEventListener("afterprint", () => closed.forEach((fold) => { fold.open = false; }), { once: true });
  }

  document.querySelectorAll(".predict").forEach(prediction);
  document.querySelectorAll(".schematic-box").forEach(schematic);
  addEventListener("hashchange", openTarget);
  addEventListener("beforeprint", print);
  addEventListener("resize", reachable);
  document.addEventListener("toggle", reachable, true);
  openTarget();
  addEventListener("load", () => (window.MathJax?.startup?.promise || Promise.resolve()).then(reachable));
})();
