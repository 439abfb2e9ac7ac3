// Nested skips and attention (chapters 8 and 9).
(() => {
  "use strict";
  const { sum } = Live;

  // UNet++ ------------------------------------------------------------------------------------------------------------

  const WIDTHS = [32, 64, 128, 256, 512];
  // The weights of node x(i, j) of the paper's network, with its up-convolution: all kernels have biases.
  function nodeWeights(i, j) {
    const w = WIDTHS[i],
      taken = j ? (j + 1) * w : i ? WIDTHS[i - 1] : 1;
    return 9 * taken * w + w + 9 * w * w + w + (j ? 4 * WIDTHS[i + 1] * w + w : 0);
  }
  // The sub-network of depth d: the nodes with i + j <= d, and a head of one class.
  function prunedWeights(depth) {
    let total = WIDTHS[0] + 1;
    for (let i = 0; i <= depth; i++) for (let j = 0; i + j <= depth; j++) total += nodeWeights(i, j);
    return total;
  }

  Live.instrument("unet-plus-plus", () => ({
    title: "Every depth at once",
    tries:
      "go from depth 4 to depth 1. Each step cuts off a diagonal, and what is left answers as before, bit " +
      "for bit. Then ask a node what it takes.",
    controls: {
      depth: { label: "depth", min: 1, max: 4, step: 1, value: 4 },
      row: { label: "row of the node", min: 0, max: 4, step: 1, value: 0 },
      column: { label: "its place in the row", min: 0, max: 4, step: 1, value: 2 },
    },
    make(ui) {
      const svg = Live.svgNode("svg", { viewBox: "0 0 460 330", role: "img", class: "ml-plot" }),
        view = ui.add(
          Live.figure(svg, "UNet++ as it is nested: down the left side, up along each diagonal, skips along the rows")
        );
      const bars = ui.add(
        Live.plot("The weights of the sub-network of each depth", {
          x: [0.4, 4.6],
          y: [1e4, 1e8],
          logY: true,
          across: "depth",
          up: "weights",
          ticksX: [
            [1, "1"],
            [2, "2"],
            [3, "3"],
            [4, "4"],
          ],
        })
      );
      const at = (i, j) => [40 + 95 * j + 47 * i, 40 + 62 * i];
      return (v) => {
        const i0 = Math.min(v.row, v.depth),
          j0 = Math.min(v.column, v.depth - i0),
          takes = (i, j) =>
            j ? [...Array.from({ length: j }, (_, k) => [i, k]), [i + 1, j - 1]] : i ? [[i - 1, 0]] : [];
        svg.replaceChildren();
        const add = (...args) => svg.append(Live.svgNode(...args));
        for (let i = 0; i <= 4; i++)
          for (let j = 0; i + j <= 4; j++)
            for (const [a, b] of takes(i, j)) {
              const [x1, y1] = at(a, b),
                [x2, y2] = at(i, j),
                mine = i === i0 && j === j0,
                far = a === i && j - b > 1,
                bend = far ? 20 + 8 * (j - b) : 0;
              add("path", {
                d: `M${x1} ${y1} Q${(x1 + x2) / 2} ${(y1 + y2) / 2 - bend} ${x2} ${y2}`,
                class: `ml-line ${mine ? "ml-c2" : "ml-c0"}`,
                style: `opacity:${i + j > v.depth ? 0.12 : mine ? 1 : 0.45};stroke-width:${mine ? 3 : 1.4}`,
              });
            }
        for (let i = 0; i <= 4; i++)
          for (let j = 0; i + j <= 4; j++) {
            const [x, y] = at(i, j),
              inside = i + j <= v.depth;
            add("circle", {
              cx: x,
              cy: y,
              r: 19,
              class: `ml-point ${i === i0 && j === j0 ? "ml-c2" : "ml-c1"}`,
              style: inside ? "" : "opacity:.15",
            });
            if (inside)
              add(
                "text",
                { x, y: y + 4.5, "text-anchor": "middle", style: "fill:var(--ml-card);font-weight:650;font-size:15px" },
                `${i},${j}`
              );
          }
        bars.show(
          [1, 2, 3, 4].flatMap((d) => [
            { bars: [[d - 0.35, d + 0.35, prunedWeights(d)]], colour: d === v.depth ? 1 : 0 },
          ])
        );
        const from =
          takes(i0, j0)
            .map(([a, b]) => `x(${a},${b})`)
            .join(", ") || "the image";
        ui.say(
          `depth ${v.depth}: ${prunedWeights(v.depth).toLocaleString("en")} weights. Node x(${i0},${j0}), ` +
            `${nodeWeights(i0, j0).toLocaleString("en")} of them, takes ${from}.`
        );
        view.caption(`UNet++ of depth ${v.depth}: down the left side, up along each diagonal, skips along the rows`);
      };
    },
  }));

  // Attention ---------------------------------------------------------------------------------------------------------

  // softmax over the keys of -|f_q - f_k|^2 / 2, for features given as a list of arrays
  function attention(features, query) {
    const n = features[0].length,
      score = new Float64Array(n);
    let top = -Infinity,
      total = 0;
    for (const f of features) for (let k = 0; k < n; k++) score[k] -= (f[k] - f[query]) ** 2 / 2;
    for (const value of score) top = Math.max(top, value);
    for (let k = 0; k < n; k++) total += score[k] = Math.exp(score[k] - top);
    return score.map((value) => value / total);
  }
  // The features: where a voxel is, and what its 3 x 3 neighbourhood looks like, each divided by its tolerance.
  function tokens(image, n, { mm, place, look }) {
    const found = [],
      wide = (x, y) => (x < 0 || y < 0 || x >= n || y >= n ? 0 : image[x * n + y]);
    if (place)
      for (const axis of [0, 1])
        found.push(Float64Array.from({ length: n * n }, (_, i) => ((axis ? i % n : Math.floor(i / n)) * mm) / place));
    if (look)
      for (let a = -1; a <= 1; a++)
        for (let b = -1; b <= 1; b++)
          found.push(Float64Array.from({ length: n * n }, (_, i) => wide(Math.floor(i / n) + a, (i % n) + b) / look));
    return found;
  }

  Live.instrument("attention", () => ({
    title: "One query, and every place that answers it",
    tries:
      "tap white matter and compare by look: white matter answers all over the brain. Then the cortex. Then " +
      "compare by place: a blur that never looks.",
    files: ["slices"],
    controls: {
      by: { label: "compares", options: { "look and place": [1, 1], "look alone": [0, 1], "place alone": [1, 0] } },
      noise: { label: "noise", min: 0, max: 0.3, step: 0.01, value: 0.1, text: (x) => `${Math.round(100 * x)} %` },
      strict: {
        label: "how different may a look be",
        min: 0.1,
        max: 0.6,
        step: 0.01,
        value: 0.25,
        text: (x) => `${Math.round(100 * x)} %`,
      },
    },
    make(ui) {
      const b = Live.brain(),
        n = b.n / 2,
        mm = 2 * b.mm,
        clean = new Float32Array(n * n),
        rng = Live.random(7),
        noise = Array.from({ length: n * n }, rng.normal);
      for (let x = 0; x < b.n; x++)
        for (let y = 0; y < b.n; y++) clean[(x >> 1) * n + (y >> 1)] += b.t1[x * b.n + y] / 4;
      const scan = ui.add(Live.image(n, n, "The query, in a noisy slice: tap, drag, or use the arrow keys")),
        map = ui.add(Live.image(n, n, "Its attention: how much each place has to say"));
      let at = [20, 40];
      scan.onPoint(at, (column, row) => {
        at = [column, row];
        ui.redraw();
      });
      return (v) => {
        const image = clean.map((value, i) => value + v.noise * noise[i]),
          query = (n - 1 - at[0]) * n + n - 1 - at[1],
          [place, look] = v.by;
        const f = tokens(image, n, { mm, place: place && (look ? 10 : 4), look: look && v.strict }),
          w = attention(f, query);
        const top = Math.max(...w),
          answer = sum(Array.from(w, (share, i) => share * image[i])),
          several = Math.exp(-sum(Array.from(w, (share) => (share > 0 ? share * Math.log(share) : 0))));
        scan.paint((i) => image[i] / 1.2);
        scan.ring(...at, 2.5);
        map.map((i) => Math.sqrt(w[i] / top));
        map.ring(...at, 2.5);
        ui.say(
          `the query is ${image[query].toFixed(2)}, its answer the weighted mean ${answer.toFixed(2)} ` +
            `(without noise ${clean[query].toFixed(2)}); as many as ${several.toFixed(0)} of ${n * n} places ` +
            `have a say, the loudest ${(100 * top).toPrecision(2)} %`
        );
      };
    },
  }));

  Object.assign(Live, { nodeWeights, prunedWeights, attention, tokens });
})();
