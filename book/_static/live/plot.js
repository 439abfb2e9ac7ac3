// Line plots and bars as SVG, in the page's colours. `Live.plot("caption", {x: [0, 1], y: [0, 1], across: "dose"})` is
// a view, and `view.show([{line: [[x, y], ...], colour: 1, name: "CE"}, {bars}, {points}, {band}, {texts}])` draws.
(() => {
  "use strict";
  const W = 360,
    H = 250,
    LEFT = 52,
    RIGHT = 10,
    TOP = 10,
    BOTTOM = 42;
  const NS = "http://www.w3.org/2000/svg";

  function svgNode(tag, attributes, text) {
    const made = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // Round numbers between two ends, about `count` of them; on a logarithmic axis the powers of ten.
  function ticks(low, high, { log = false, count = 5 } = {}) {
    if (log) {
      const found = [];
      for (let e = Math.ceil(Math.log10(low) - 1e-9); e <= Math.log10(high) + 1e-9; e++) found.push(10 ** e);
      return found;
    }
    const rough = (high - low) / count,
      power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((m) => m * power >= rough - 1e-12),
      found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++)
      found.push(Number((k * step).toPrecision(12)));
    return found;
  }

  const short = (x) =>
    x !== 0 && (Math.abs(x) >= 1e4 || Math.abs(x) < 1e-3) ? x.toExponential(0).replace("e+", "e") : String(x);

  function plot(caption, options) {
    const svg = svgNode("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", class: "ml-plot" });
    const key = Live.node("div", { class: "ml-key" }),
      view = Live.figure(svg, caption);
    view.figure.insertBefore(key, view.figure.lastChild);
    let named = "";

    view.show = (marks, changed = {}) => {
      const {
        x,
        y,
        across = "",
        up = "",
        logX = false,
        logY = false,
        ticksX,
        format = short,
      } = { ...options, ...changed };
      const place = (value, [low, high], log, from, to) => {
        const [a, b, c] = log ? [Math.log(value), Math.log(low), Math.log(high)] : [value, low, high];
        return from + Math.max(-0.02, Math.min(1.02, (a - b) / (c - b))) * (to - from);
      };
      const px = (value) => place(value, x, logX, LEFT, W - RIGHT),
        py = (value) => place(value, y, logY, H - BOTTOM, TOP);
      const path = (points) =>
        points.map(([a, b], k) => `${k ? "L" : "M"}${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join("");
      svg.replaceChildren();
      svg.setAttribute("viewBox", `0 0 ${W} ${across ? H : H - 20}`);
      const add = (tag, attributes, text) => svg.append(svgNode(tag, attributes, text));
      for (const value of ticksX ? [] : ticks(...x, { log: logX })) {
        add("line", { x1: px(value), x2: px(value), y1: TOP, y2: H - BOTTOM, class: "ml-grid" });
        add("text", { x: px(value), y: H - BOTTOM + 15, "text-anchor": "middle" }, format(value));
      }
      for (const [value, name] of ticksX || [])
        add("text", { x: px(value), y: H - BOTTOM + 15, "text-anchor": "middle" }, name);
      for (const value of ticks(...y, { log: logY })) {
        add("line", { x1: LEFT, x2: W - RIGHT, y1: py(value), y2: py(value), class: "ml-grid" });
        add("text", { x: LEFT - 5, y: py(value) + 4, "text-anchor": "end" }, short(value));
      }
      add("text", { x: (LEFT + W - RIGHT) / 2, y: H - 6, "text-anchor": "middle" }, across);
      add("text", { transform: `translate(12 ${(TOP + H - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" }, up);
      for (const mark of marks) {
        const colour = `ml-c${mark.colour ?? 1}`;
        if (mark.band) {
          const [below, above] = [1, 2].map((side) => mark.band.map((point) => [point[0], point[side]]));
          add("path", { d: `${path([...below, ...above.reverse()])}Z`, class: `ml-band ${colour}` });
        }
        if (mark.bars)
          for (const [from, to, value] of mark.bars) {
            const [top, bottom] = [py(Math.max(value, 0)), py(Math.max(Math.min(value, 0), y[0]))];
            add("rect", {
              x: px(from),
              y: top,
              width: Math.max(0, px(to) - px(from)),
              height: Math.max(0, bottom - top),
              class: `ml-bar ${colour}`,
            });
          }
        if (mark.line)
          add("path", { d: path(mark.line), class: `ml-line ${colour}${mark.dashed ? " ml-dashed" : ""}` });
        for (const [a, b] of mark.points || [])
          add("circle", { cx: px(a), cy: py(b), r: mark.size || 3, class: `ml-point ${colour}` });
        for (const [a, b, text] of mark.texts || [])
          add("text", { x: px(a), y: py(b), "text-anchor": mark.anchor || "middle" }, text);
      }
      const names = marks.filter((mark) => mark.name),
        all = names.map((mark) => mark.name).join();
      if (all !== named)
        key.replaceChildren(
          ...names.map((mark) =>
            Live.node("span", { class: `ml-c${mark.colour ?? 1}${mark.dashed ? " ml-dashed" : ""}` }, mark.name)
          )
        );
      named = all;
    };
    return view;
  }

  Object.assign(Live, { plot, ticks, svgNode });
})();
