// Ultrasound: walks of phasors, speckle, its logarithm, and looks (chapter 13). Images are rows of depth, `w` wide.
(() => {
  "use strict";
  const H = 256,
    W = 128,
    STEP_MM = [0.04, 0.1],
    FWHM = Math.sqrt(8 * Math.log(2)),
    PULSE = { mhz: 5, axial: 0.3, lateral: 0.6 };
  const WAVES = (2 * PULSE.mhz) / 1.54; // cycles of the carrier for each mm of depth

  // The pulse along an axis, out to four standard deviations.
  function along(width, step, wave) {
    const sd = width / FWHM,
      reach = Math.ceil((4 * sd) / step);
    return Float64Array.from({ length: 2 * reach + 1 }, (_, k) => {
      const t = step * (k - reach);
      return Math.exp((-t * t) / (2 * sd * sd)) * Math.cos(2 * Math.PI * wave * t);
    });
  }
  const unit = (kernel) => {
    const norm = Math.sqrt(kernel.reduce((sum, value) => sum + value * value, 0));
    return kernel.map((value) => value / norm);
  };
  const DOWN = unit(along(PULSE.axial, STEP_MM[0], WAVES)),
    ACROSS = unit(along(PULSE.lateral, STEP_MM[1], 0));

  // The echo: the scatterers convolved with the pulse, zeros around.
  function radioFrequency(scatterers, h = H, w = W) {
    const one = new Float64Array(h * w),
      rf = new Float64Array(h * w),
      a = (DOWN.length - 1) / 2,
      b = (ACROSS.length - 1) / 2;
    for (let z = 0; z < h; z++)
      for (let k = -a; k <= a; k++)
        if (z + k >= 0 && z + k < h)
          for (let x = 0; x < w; x++) one[z * w + x] += DOWN[k + a] * scatterers[(z + k) * w + x];
    for (let z = 0; z < h; z++)
      for (let x = 0; x < w; x++) {
        let total = 0;
        for (let k = Math.max(-b, -x); k <= Math.min(b, w - 1 - x); k++) total += ACROSS[k + b] * one[z * w + x + k];
        rf[z * w + x] = total;
      }
    return rf;
  }

  // |r + i H r|, Hilbert's transform along depth
  function envelope(rf, h = H, w = W) {
    const out = new Float64Array(h * w);
    for (let x = 0; x < w; x++) {
      const re = Float64Array.from({ length: h }, (_, z) => rf[z * w + x]),
        im = new Float64Array(h);
      Live.fft(re, im, -1);
      for (let k = 0; k < h; k++) {
        const weight = k === 0 || k === h / 2 ? 1 : k < h / 2 ? 2 : 0;
        re[k] *= weight;
        im[k] *= weight;
      }
      Live.fft(re, im, 1);
      for (let z = 0; z < h; z++) out[z * w + x] = Math.hypot(re[z], im[z]) / h;
    }
    return out;
  }

  // 20 log10(a / max a), not below minus the dynamic range
  function logCompress(amplitude, range_db) {
    const top = amplitude.reduce((a, b) => Math.max(a, b), 1e-300);
    return amplitude.map((a) => Math.max(-range_db, 20 * Math.log10(Math.max(a / top, 1e-30))));
  }

  Live.instrument("phasors", () => ({
    title: "How far from home does a walk end?",
    tries:
      "begin with one point in the cell and add others. From how many on does the histogram keep to Rayleigh's line?",
    controls: { points: { label: "points in the cell", min: 1, max: 40, step: 1, value: 3 } },
    make(ui) {
      const walks = ui.add(
        Live.plot("Eight cells: each point adds an arrow with a phase of its own", {
          x: [-2.5, 2.5],
          y: [-1.75, 1.75],
          across: "real part",
          up: "imaginary part",
        })
      );
      const ends = ui.add(
        Live.plot("How bright 20 000 cells are", {
          x: [0, 3],
          y: [0, 1.6],
          across: "distance from home",
          up: "density",
        })
      );
      return ({ points }) => {
        const rng = Live.random(points),
          length = 1 / Math.sqrt(points),
          bins = Array(60).fill(0),
          marks = [],
          distances = [];
        for (let k = 0; k < 20000; k++) {
          const path = [[0, 0]];
          let x = 0,
            y = 0;
          for (let s = 0; s < points; s++) {
            const turn = 2 * Math.PI * rng.uniform();
            x += length * Math.cos(turn);
            y += length * Math.sin(turn);
            if (k < 8) path.push([x, y]);
          }
          if (k < 8) marks.push({ line: path, colour: 1 + (k % 6) }, { points: [[x, y]], colour: 9, size: 4 });
          const d = Math.hypot(x, y);
          distances.push(d);
          if (d < 3) bins[Math.floor(20 * d)] += 20 / 20000;
        }
        walks.show(marks);
        ends.show([
          { bars: bins.map((p, k) => [k / 20, (k + 0.9) / 20, Math.min(p, 1.7)]), colour: 6, name: "cells" },
          {
            line: Array.from({ length: 101 }, (_, k) => [0.03 * k, 2 * 0.03 * k * Math.exp(-((0.03 * k) ** 2))]),
            colour: 9,
            name: "Rayleigh",
          },
        ]);
        const apart = Live.sd(distances),
          ratio = apart < 1e-9 ? "without end" : (Live.mean(distances) / apart).toFixed(2);
        ui.say(`mean over standard deviation ${ratio}; Rayleigh's is 1.91`);
      };
    },
  }));

  // Echoes of three discs: a cyst, a darker and a brighter one. Amplitudes of the scatterers against the tissue's.
  const DISCS = [
    [2.2, 6.4, 1.35, 0],
    [5.3, 6.4, 1.35, 10 ** (-8 / 20)],
    [8.4, 6.4, 1.35, 10 ** (8 / 20)],
  ];
  const strength = (z, x) =>
    DISCS.reduce((kept, [cz, cx, r, a]) => (Math.hypot(z * STEP_MM[0] - cz, x * STEP_MM[1] - cx) < r ? a : kept), 1);

  Live.instrument("speckle", () => ({
    title: "Cyst or solid? Grains, their logarithm, and looks",
    tries:
      "which of the three discs can you still see with one look and 60 dB? Average more looks. Then narrow " +
      "the dynamic range: what vanishes first?",
    controls: {
      looks: { label: "independent looks", min: 1, max: 16, step: 1, value: 1 },
      range: { label: "dynamic range", min: 10, max: 80, step: 5, value: 50, text: (x) => `${x} dB` },
      log: { label: "shown", options: { "in decibels": true, "as it is measured": false } },
    },
    make(ui) {
      const view = ui.add(
        Live.image(W, H, "B-mode, 10.2 mm deep and 12.8 mm wide: a cyst, a darker and a brighter disc, from the top", {
          upright: true,
        })
      );
      view.canvas.style.aspectRatio = `${W * STEP_MM[1]} / ${H * STEP_MM[0]}`;
      const plot = ui.add(
          Live.plot("How often each amplitude occurs in the plain tissue", {
            x: [0, 3.5],
            y: [0, 2],
            across: "amplitude, mean = 1",
            up: "density",
          })
        ),
        looks = [];
      const look = (k) =>
        (looks[k] ||= (() => {
          const rng = Live.random(100 + k);
          return envelope(
            radioFrequency(
              Float64Array.from({ length: H * W }, (_, i) => strength(Math.floor(i / W), i % W) * rng.normal())
            )
          );
        })());
      const tissue = [];
      for (let z = 20; z < H - 20; z++) for (let x = 15; x < 45; x++) tissue.push(z * W + x);
      return (v) => {
        const amplitude = new Float64Array(H * W),
          bins = Array(70).fill(0);
        for (let k = 0; k < v.looks; k++)
          look(k).forEach((a, i) => {
            amplitude[i] += a / v.looks;
          });
        const db = logCompress(amplitude, v.range),
          top = amplitude.reduce((a, b) => Math.max(a, b)),
          values = tissue.map((i) => amplitude[i]),
          mean = Live.mean(values);
        view.paint((i) => (v.log ? 1 + db[i] / v.range : amplitude[i] / top));
        for (const a of values) {
          const k = Math.floor((20 * a) / mean);
          if (k < 70) bins[k] += 20 / values.length;
        }
        plot.show(
          [
            {
              bars: bins.map((p, k) => [k / 20, (k + 0.9) / 20, p]),
              colour: 6,
              name: `${v.looks} look${v.looks > 1 ? "s" : ""}`,
            },
            {
              line: Array.from({ length: 101 }, (_, k) => {
                const a = 0.035 * k;
                return [a, (Math.PI / 2) * a * Math.exp((-Math.PI / 4) * a * a)];
              }),
              colour: 9,
              name: "Rayleigh",
            },
          ],
          { y: [0, Math.max(1, ...bins) * 1.1] }
        );
        ui.say(
          `mean over standard deviation ${(mean / Live.sd(values)).toFixed(2)} in the plain tissue; of ` +
            `${v.looks} independent look${v.looks > 1 ? "s" : ""} it should be ` +
            `${(Math.sqrt(Math.PI / (4 - Math.PI)) * Math.sqrt(v.looks)).toFixed(2)}`
        );
      };
    },
  }));

  Object.assign(Live, { radioFrequency, envelope, logCompress });
})();
