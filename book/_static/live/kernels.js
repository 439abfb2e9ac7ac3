// What a kernel sees, and what halving forgets (chapters 6 and 7). Images are (x, y), y fastest.
(() => {
  "use strict";
  const { sum } = Live;
  const TISSUE = [null, [86, 180, 233], [0, 158, 115], [240, 228, 66]];

  // Kernels -----------------------------------------------------------------------------------------------------------

  // y[x, y] = sum of kernel (3 x 3) times image (n x n), its taps `rate` voxels apart, zeros around
  function convolve(image, kernel, n, rate = 1) {
    const out = new Float32Array(n * n);
    for (let a = -1; a <= 1; a++)
      for (let b = -1; b <= 1; b++) {
        const w = kernel[3 * (a + 1) + b + 1],
          dx = a * rate,
          dy = b * rate;
        if (w)
          for (let x = Math.max(0, -dx); x < Math.min(n, n - dx); x++)
            for (let y = Math.max(0, -dy); y < Math.min(n, n - dy); y++)
              out[x * n + y] += w * image[(x + dx) * n + y + dy];
      }
    return out;
  }

  // as on the screen: rows from front to back, columns from the patient's right to left
  const ninth = 1 / 9,
    KERNELS = {
      "edges, left to right": [1, 0, -1, 2, 0, -2, 1, 0, -1],
      "edges, front to back": [1, 2, 1, 0, 0, 0, -1, -2, -1],
      "as it is": [0, 0, 0, 0, 1, 0, 0, 0, 0],
      average: Array(9).fill(ninth),
      sharpen: [0, -1, 0, -1, 5, -1, 0, -1, 0],
      "Laplace (spots)": [0, 1, 0, 1, -4, 1, 0, 1, 0],
    };
  const turned = (screen) => Array.from({ length: 9 }, (_, k) => screen[3 * (2 - (k % 3)) + 2 - Math.floor(k / 3)]);
  Live.instrument("convolution", () => ({
    title: "Nine numbers, slid over a brain",
    tries:
      "write your own nine numbers. What does the picture become when they sum to zero, and what when they " +
      "sum to one? Then spread the taps.",
    files: ["slices"],
    controls: {
      preset: { label: "kernel", options: KERNELS },
      rate: { label: "taps apart by", min: 1, max: 8, step: 1, value: 1, text: (r) => `${r} voxel${r > 1 ? "s" : ""}` },
    },
    make(ui) {
      const b = Live.brain(),
        given = ui.add(Live.image(b.n, b.n, "A slice of the MNI152 brain"));
      const grid = Live.node("div", { class: "ml-kernel", role: "group" }),
        weights = Array.from({ length: 9 }, (_, k) => {
          const input = Live.node("input", {
            type: "number",
            step: "any",
            "aria-label": `row ${Math.floor(k / 3) + 1}, column ${(k % 3) + 1}`,
          });
          input.addEventListener("input", ui.redraw);
          input.addEventListener("keydown", (event) => event.stopPropagation());
          grid.append(input);
          return input;
        });
      ui.add(Live.figure(grid, "The kernel: change it"));
      const made = ui.add(Live.image(b.n, b.n, "What the kernel answers"));
      let last = null;
      given.paint((i) => b.t1[i] / 1.1);
      return (v) => {
        if (v.preset !== last)
          weights.forEach((input, k) => {
            input.value = Number(v.preset[k].toFixed(3));
          });
        const typed = weights.map((input) => Number(input.value) || 0);
        const kernel =
          v.preset !== last ? v.preset : typed.map((w, k) => (Math.abs(w - v.preset[k]) < 1e-3 ? v.preset[k] : w));
        last = v.preset;
        const out = convolve(b.t1, turned(kernel), b.n, v.rate),
          signed = out.some((value) => value < -0.05),
          top = out.reduce((m, value) => Math.max(m, Math.abs(value)), 1e-6);
        made.paint((i) => (signed ? 0.5 + out[i] / top / 2 : out[i] / top));
        made.caption(signed ? "What the kernel answers: grey is zero, black below it" : "What the kernel answers");
        ui.say(
          `the numbers sum to ${Number(sum(kernel).toFixed(3))}; nine weights span ${1 + 2 * v.rate} x ` +
            `${1 + 2 * v.rate} voxels, ${((1 + 2 * v.rate) * b.mm).toFixed(0)} mm`
        );
      };
    },
  }));

  // Reach -------------------------------------------------------------------------------------------------------------

  // On how many paths each voxel along an axis reaches the output, through 3-tap layers at these rates.
  function paths(rates) {
    let count = [1];
    for (const rate of rates) {
      const wider = Array(count.length + 2 * rate).fill(0);
      count.forEach((c, i) =>
        [0, rate, 2 * rate].forEach((shift) => {
          wider[i + shift] += c;
        })
      );
      count = wider;
    }
    return count;
  }

  const rateOf = (label, value) => ({
    label,
    min: 0,
    max: 9,
    step: 1,
    value,
    text: (r) => (r ? `rate ${r}` : "left out"),
  });
  Live.instrument("receptive-field", () => ({
    title: "What does a stack of 3 x 3 layers look at?",
    tries:
      "at rate 3 throughout, eight of nine voxels are never looked at. Find three rates that see further and " +
      "leave no hole.",
    controls: { a: rateOf("first layer", 3), b: rateOf("second", 3), c: rateOf("third", 3), d: rateOf("fourth", 0) },
    make(ui) {
      const n = 288,
        seen = ui.add(
          Live.image(
            n,
            n,
            "The input: bright voxels reach the output in the middle on many paths, black ones on none",
            { upright: true, smooth: false }
          )
        );
      const along = ui.add(
        Live.plot("Paths from each voxel to the output, along one axis", {
          x: [-36, 36],
          y: [0, 1],
          across: "voxels from the middle",
          up: "share of the most",
        })
      );
      return (v) => {
        const rates = [v.a, v.b, v.c, v.d].filter(Boolean),
          count = paths(rates),
          reach = (count.length - 1) / 2,
          top = Math.max(...count);
        const half = Math.max(8, reach + 2),
          voxel = (pixel) => Math.floor(((pixel + 0.5) / n) * (2 * half + 1)) - half,
          at = (k) => count[k + reach] || 0;
        seen.paint(
          () => 0,
          (i) => {
            const dx = voxel(Math.floor(i / n)),
              dy = voxel(i % n),
              share = (at(dx) * at(dy)) / top ** 2;
            if (share) return [...Live.viridis(0.25 + 0.75 * share ** 0.4), 1];
            return Math.max(Math.abs(dx), Math.abs(dy)) <= reach ? [110, 36, 30, 1] : [16, 16, 16, 1];
          }
        );
        along.show([{ bars: count.map((c, k) => [k - reach - 0.4, k - reach + 0.4, c / top]), colour: 1 }], {
          x: [-half, half],
        });
        const width = count.length,
          looked = count.filter(Boolean).length;
        ui.say(
          `${rates.length} layers, ${9 * rates.length} weights: a box of ${width} x ${width} voxels, of ` +
            `which ${looked ** 2} are looked ` +
            `at${looked === width ? ", no hole" : `, ${width ** 2 - looked ** 2} are holes (dark red)`}. One ` +
            `dense kernel of this width has ${width ** 2} weights.`
        );
      };
    },
  }));

  // Halving -----------------------------------------------------------------------------------------------------------

  // Of every four voxels the largest label, `times` over; then each voxel again as wide.
  function halved(labels, n, times) {
    const step = 2 ** times,
      out = new Uint8Array(n * n);
    for (let x = 0; x < n; x += step)
      for (let y = 0; y < n; y += step) {
        let top = 0;
        for (let a = 0; a < step; a++) for (let b = 0; b < step; b++) top = Math.max(top, labels[(x + a) * n + y + b]);
        for (let a = 0; a < step; a++) out.fill(top, (x + a) * n + y, (x + a) * n + y + step);
      }
    return out;
  }

  Live.instrument("halvings", () => ({
    title: "What is left of a border after some halvings?",
    tries: "halve three times, as a U-Net does. How thick was the cortex, and how thick is it now?",
    files: ["slices"],
    controls: {
      times: { label: "halvings", min: 0, max: 5, step: 1, value: 0 },
      opacity: {
        label: "labels over the scan",
        min: 0,
        max: 1,
        step: 0.05,
        value: 0.5,
        text: (o) => `${Math.round(100 * o)} %`,
      },
    },
    make(ui) {
      const b = Live.brain(),
        view = ui.add(
          Live.image(b.n, b.n, "The tissues of the MNI152 brain, halved and doubled again", { smooth: false })
        );
      const volumes = ui.add(
        Live.plot("The area of each tissue in this slice", {
          x: [-0.6, 2.6],
          y: [0, 150],
          up: "cm²",
          ticksX: [
            [0, "CSF"],
            [1, "grey"],
            [2, "white"],
          ],
        })
      );
      const area = (labels) =>
          [1, 2, 3].map((k) => (labels.reduce((count, label) => count + (label === k), 0) * b.mm ** 2) / 100),
        before = area(b.tissue);
      return (v) => {
        const now = halved(b.tissue, b.n, v.times),
          same = now.reduce((count, label, i) => count + (label === b.tissue[i] && label > 0), 0),
          all = b.tissue.reduce((count, label) => count + (label > 0), 0);
        view.paint(
          (i) => b.t1[i] / 1.1,
          (i) => TISSUE[now[i]] && [...TISSUE[now[i]], v.opacity]
        );
        volumes.show([
          { bars: area(now).map((a, k) => [k - 0.35, k + 0.35, a]), colour: 3 },
          { points: before.map((a, k) => [k, a]), colour: 9, size: 5 },
        ]);
        ui.say(
          `${b.n >> v.times} x ${b.n >> v.times} places of ${(b.mm * 2 ** v.times).toFixed(1)} mm; ` +
            `${((100 * same) / all).toFixed(0)} % of the brain's voxels keep their tissue. The dots are the ` +
            "areas before."
        );
      };
    },
  }));

  Object.assign(Live, { convolve, paths, halved });
})();
