// Things and their borders: components and watershed (chapter 1), surface distances (chapter 7).
// Arrays are rows of width w.
(() => {
  "use strict";
  const COLOURS = [
    [213, 94, 0],
    [0, 114, 178],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
  ];

  function* neighbours(i, w, h, corners) {
    const x = i % w,
      y = (i - x) / w;
    for (let b = -1; b <= 1; b++)
      for (let a = -1; a <= 1; a++) {
        if ((a || b) && (corners || !a || !b) && x + a >= 0 && x + a < w && y + b >= 0 && y + b < h)
          yield i + b * w + a;
      }
  }

  // One id for voxels that touch, by a side or a corner.
  function components(mask, w, h) {
    const ids = new Uint16Array(w * h);
    let count = 0;
    for (let start = 0; start < mask.length; start++) {
      if (!mask[start] || ids[start]) continue;
      const rim = [start];
      ids[start] = ++count;
      while (rim.length)
        for (const j of neighbours(rim.pop(), w, h, true))
          if (mask[j] && !ids[j]) {
            ids[j] = count;
            rim.push(j);
          }
    }
    return { ids, count };
  }

  // To the nearest voxel outside of the mask; only voxels are outside, not what lies beyond the picture.
  function depthOf(mask, w, h) {
    const outside = [],
      depth = new Float64Array(w * h);
    for (let i = 0; i < w * h; i++)
      if (!mask[i] && [...neighbours(i, w, h, true)].some((j) => mask[j])) outside.push([i % w, Math.floor(i / w)]);
    for (let i = 0; i < w * h; i++)
      if (mask[i]) depth[i] = Math.min(...outside.map(([x, y]) => Math.hypot(x - (i % w), y - Math.floor(i / w))));
    return depth;
  }

  // From each peak of the depth (the highest of 5 x 3 x ... 5 around) downhill, the highest voxel of all rims first.
  function watershed(mask, w, h) {
    const depth = depthOf(mask, w, h),
      peaks = mask.map((inside, i) => {
        if (!inside) return 0;
        const x = i % w,
          y = Math.floor(i / w);
        for (let b = -2; b <= 2; b++)
          for (let a = -2; a <= 2; a++)
            if (x + a >= 0 && x + a < w && y + b >= 0 && y + b < h && depth[i + b * w + a] > depth[i]) return 0;
        return 1;
      });
    const { ids, count } = components(peaks, w, h),
      rim = [];
    const put = (i) => {
      let k = rim.findIndex((j) => depth[j] < depth[i] || (depth[j] === depth[i] && j > i));
      rim.splice(k < 0 ? rim.length : k, 0, i);
    };
    ids.forEach((id, i) => {
      if (id) put(i);
    });
    while (rim.length) {
      const i = rim.shift();
      for (const j of neighbours(i, w, h, true))
        if (mask[j] && !ids[j]) {
          ids[j] = ids[i];
          put(j);
        }
    }
    return { ids, count };
  }

  Live.instrument("touching", () => ({
    title: "Two lesions draw nearer: one thing, or two?",
    tries:
      "at which gap does the count fall from two to one, by components, and by the watershed? The map itself " +
      "is right all the time.",
    controls: {
      gap: { label: "gap", min: -16, max: 8, step: 1, value: 3, text: (g) => `${g} voxels` },
      radius: { label: "second radius", min: 4, max: 10, step: 1, value: 10, text: (r) => `${r} voxels` },
    },
    make(ui) {
      const w = 64,
        h = 48,
        views = ["The truth: 2 things", "The semantic map", "", ""].map((caption) =>
          ui.add(Live.image(w, h, caption, { upright: true, smooth: false }))
        );
      ui.views.classList.add("ml-small");
      const show = (view, ids) =>
        view.paint(
          () => 0.08,
          (i) => ids[i] && [...COLOURS[(ids[i] - 1) % COLOURS.length], 1]
        );
      return ({ gap, radius }) => {
        const disc = (cx, r) => (_, i) => (((i % w) - cx) ** 2 + (Math.floor(i / w) - 24) ** 2 <= r * r ? 1 : 0),
          all = Array(w * h).fill(0);
        const left = all.map(disc(21 - gap / 2, 10)),
          right = all.map(disc(32 + gap / 2 + radius, radius)),
          mask = left.map((inside, i) => inside || right[i]);
        const parts = components(mask, w, h),
          floods = watershed(mask, w, h);
        show(
          views[0],
          left.map((inside, i) => (inside ? 1 : right[i] ? 2 : 0))
        );
        views[1].paint(
          () => 0.08,
          (i) => mask[i] && [200, 200, 200, 1]
        );
        show(views[2], parts.ids);
        show(views[3], floods.ids);
        views[2].caption(`Components: ${parts.count}`);
        views[3].caption(`Watershed: ${floods.count}`);
        ui.say(
          `components count ${parts.count}, the watershed ${floods.count}; the truth is 2, and the semantic ` +
            "map is right"
        );
      };
    },
  }));

  // Surfaces ----------------------------------------------------------------------------------------------------------

  // Voxels of the mask with a side to the outside; beyond the picture is outside.
  function surface(mask, w, h) {
    const found = [];
    for (let i = 0; i < w * h; i++)
      if (mask[i] && [...neighbours(i, w, h, false)].filter((j) => mask[j]).length < 4)
        found.push([i % w, Math.floor(i / w)]);
    return found;
  }

  // How far each surface voxel of one mask lies from the nearest of the other, both ways, in mm.
  function surfaceDistances(prediction, target, w, h, mm) {
    const here = surface(prediction, w, h),
      there = surface(target, w, h);
    const way = (from, to) => from.map(([x, y]) => mm * Math.min(...to.map(([a, b]) => Math.hypot(x - a, y - b))));
    return { prediction: way(here, there), target: way(there, here) };
  }

  // interpolated linearly, as NumPy's
  function percentile(values, share) {
    const sorted = [...values].sort((a, b) => a - b),
      place = share * (sorted.length - 1),
      k = Math.floor(place);
    return sorted[k] + (place - k) * ((sorted[k + 1] ?? sorted[k]) - sorted[k]);
  }

  function surfaceMetrics({ prediction, target }, tolerance) {
    const pooled = [...prediction, ...target];
    return {
      hausdorff: Math.max(...pooled),
      hausdorff95: Math.max(percentile(prediction, 0.95), percentile(target, 0.95)),
      assd: Live.mean(pooled),
      nsd: pooled.filter((d) => d <= tolerance * (1 + 1e-6)).length / pooled.length,
    };
  }

  Live.instrument("surface", () => ({
    title: "Which error does which number see?",
    tries:
      "leave everything at zero and add the stray speck, far away: Dice hardly moves, the Hausdorff distance " +
      "leaps, HD95 stays calm. " +
      "Then take the speck away and make the outline too large by 2 mm.",
    controls: {
      shift: { label: "moved by", min: 0, max: 12, step: 1, value: 2, text: (x) => `${x} mm` },
      grow: { label: "too large by", min: -6, max: 6, step: 1, value: 0, text: (x) => `${x} mm` },
      speck: {
        label: "a stray speck, this far away",
        min: 0,
        max: 40,
        step: 1,
        value: 0,
        text: (x) => (x ? `${x} mm` : "none"),
      },
      tolerance: { label: "tolerance", min: 1, max: 6, step: 1, value: 2, text: (x) => `${x} mm` },
    },
    make(ui) {
      const n = 96,
        mm = 1,
        view = ui.add(
          Live.image(n, n, "Truth (blue) and answer (orange); where both are, grey", { upright: true, smooth: false })
        );
      const plot = ui.add(
        Live.plot("The share of both surfaces that lies within a distance", {
          x: [0, 20],
          y: [0, 1],
          across: "mm",
          up: "share of the surface",
        })
      );
      // a lesion with a bay, so that it has something to lose
      const blob = (dx, extra) =>
        Array.from({ length: n * n }, (_, i) => {
          const x = (i % n) - 38 - dx,
            y = Math.floor(i / n) - 48,
            r = 19 + extra + 4 * Math.cos(3 * Math.atan2(y, x));
          return x * x + y * y <= r * r ? 1 : 0;
        });
      const truth = blob(0, 0);
      return (v) => {
        const answer = blob(v.shift, v.grow);
        if (v.speck)
          for (const a of [0, 1])
            for (const b of [0, 1]) answer[(48 + b) * n + Math.min(n - 2, 58 + v.speck - 4) + a] = 1;
        const distances = surfaceDistances(answer, truth, n, n, mm),
          m = surfaceMetrics(distances, v.tolerance),
          both = truth.reduce((count, t, i) => count + t * answer[i], 0);
        const dice = (2 * both) / (Live.sum(truth) + Live.sum(answer)),
          pooled = [...distances.prediction, ...distances.target].sort((a, b) => a - b);
        view.paint(
          () => 0.06,
          (i) =>
            truth[i] && answer[i]
              ? [150, 156, 162, 1]
              : truth[i]
                ? [46, 134, 193, 1]
                : answer[i]
                  ? [230, 126, 34, 1]
                  : null
        );
        plot.show([
          {
            line: [
              [0, 0],
              ...pooled.flatMap((d, k) => [
                [d, k / pooled.length],
                [d, (k + 1) / pooled.length],
              ]),
              [20, 1],
            ],
            colour: 1,
            name: "both surfaces",
          },
          {
            line: [
              [m.hausdorff95, 0],
              [m.hausdorff95, 1],
            ],
            colour: 2,
            dashed: true,
            name: "HD95",
          },
          {
            line: [
              [v.tolerance, 0],
              [v.tolerance, 1],
            ],
            colour: 3,
            dashed: true,
            name: "tolerance",
          },
        ]);
        ui.say(
          `Dice ${dice.toFixed(3)}; Hausdorff ${m.hausdorff.toFixed(1)} mm, HD95 ${m.hausdorff95.toFixed(1)} ` +
            `mm, average ${m.assd.toFixed(2)} mm; NSD at ${v.tolerance} mm ${m.nsd.toFixed(2)}`
        );
      };
    },
  }));

  Object.assign(Live, { components, depthOf, watershed, surfaceDistances, surfaceMetrics });
})();
