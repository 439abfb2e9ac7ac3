// Magnetic resonance: noise that cannot be negative, and k-space (chapter 12). Images are (x, y), y fastest.
(() => {
  "use strict";
  // ln(e^-x I0(x)), by series below 12 and asymptotically above
  function logI0e(x) {
    if (x < 12) {
      let term = 1,
        total = 1;
      for (let k = 1; term > 1e-17 * total; k++) total += term *= (x / 2 / k) ** 2;
      return Math.log(total) - x;
    }
    let term = 1,
      total = 1;
    for (let k = 1; k < 12; k++) total += term *= (2 * k - 1) ** 2 / (8 * k * x);
    return Math.log(total) - Math.log(2 * Math.PI * x) / 2;
  }
  // Rice: ln(m / s^2) - (m - nu)^2 / 2 s^2 + ln(e^-x I0(x)), x = m nu / s^2
  const riceLogPdf = (m, nu, s) => Math.log(m / s ** 2) - (m - nu) ** 2 / (2 * s * s) + logI0e((m * nu) / s ** 2);

  Live.instrument("mri-noise", () => ({
    title: "Why is the air grey?",
    tries:
      "lower the SNR to 1. Where does the air's histogram end up, and how far apart are air and white matter " +
      "now? Then put the noise on the magnitude, where it does not belong.",
    files: ["slices"],
    controls: {
      snr: { label: "SNR of white matter", min: 0.5, max: 20, step: 0.5, value: 5 },
      before: {
        label: "noise",
        options: { "before the magnitude, as in a scanner": true, "on the magnitude (wrong)": false },
      },
    },
    make(ui) {
      const b = Live.brain(),
        n = b.n,
        rng = Live.random(11),
        noise = Float32Array.from({ length: 2 * n * n }, rng.normal);
      const view = ui.add(Live.image(n, n, "The scan")),
        plot = ui.add(
          Live.plot("Histograms, and Rice's density for each voxel's own signal, averaged", {
            x: [-1.5, 3.5],
            y: [0, 3],
            across: "magnitude, white matter = 1",
            up: "density",
          })
        );
      const air = [],
        white = [];
      b.t1.forEach((value, i) => {
        if (value === 0) air.push(i);
        else if (b.tissue[i] === 3) white.push(i);
      });
      return (v) => {
        const sigma = 1 / v.snr,
          image = b.t1.map((s, i) =>
            v.before ? Math.hypot(s + sigma * noise[i], sigma * noise[n * n + i]) : s + sigma * noise[i]
          );
        view.paint((i) => image[i] / 1.6);
        const levels = Array.from({ length: 120 }, (_, k) => 0.004 + (3.5 * k) / 119),
          marks = [];
        let top = 1;
        for (const [where, colour, name] of [
          [air, 1, "air"],
          [white, 2, "white matter"],
        ]) {
          const bins = Array(100).fill(0),
            some = where.filter((_, k) => k % Math.ceil(where.length / 250) === 0);
          for (const i of where) {
            const k = Math.floor((image[i] + 1.5) / 0.05);
            if (k >= 0 && k < 100) bins[k] += 20 / where.length;
          }
          const theory = levels.map((m) => [m, Live.mean(some.map((i) => Math.exp(riceLogPdf(m, b.t1[i], sigma))))]);
          top = Math.max(top, ...theory.map(([, p]) => p));
          marks.push(
            {
              band: bins.flatMap((count, k) => [
                [0.05 * k - 1.5, 0, count],
                [0.05 * k - 1.45, 0, count],
              ]),
              colour,
            },
            { line: theory, colour, name }
          );
        }
        plot.show(marks, { y: [0, 1.15 * top] });
        const mean = (where) => Live.mean(where.map((i) => image[i]));
        ui.say(
          `mean of the air ${mean(air).toFixed(2)}, of white matter ${mean(white).toFixed(2)}: apart by ` +
            `${(mean(white) - mean(air)).toFixed(2)}, without noise by ` +
            `${Live.mean(white.map((i) => b.t1[i])).toFixed(2)}`
        );
      };
    },
  }));

  // Which lines and points of k-space are kept: the middle of `share`, the rest, or every `step`th line.
  function kept(n, { share, keep, step }) {
    return Uint8Array.from({ length: n * n }, (_, i) => {
      const kx = Math.floor(i / n) - n / 2,
        ky = (i % n) - n / 2,
        middle = Math.max(Math.abs(kx), Math.abs(ky)) <= (share * n) / 2;
      return keep === "lines" ? ky % step === 0 : keep === "middle" ? middle : !middle;
    });
  }

  Live.instrument("k-space", () => ({
    title: "What the scanner measures, and what is missing",
    tries:
      "keep only the middle tenth: smooth, with ripples. Then leave out the middle: edges without " +
      "brightness. Then measure every second line: the brain twice.",
    files: ["slices"],
    controls: {
      keep: {
        label: "measured",
        options: {
          "the middle": "middle",
          "all but the middle": "outside",
          "every second line": "lines 2",
          "every third line": "lines 3",
        },
      },
      share: {
        label: "size of the middle",
        min: 0.02,
        max: 1,
        step: 0.02,
        value: 0.3,
        text: (s) => `${Math.round(100 * s)} %`,
      },
      snr: { label: "SNR", min: 2, max: 40, step: 1, value: 40 },
    },
    make(ui) {
      const b = Live.brain(),
        n = b.n,
        rng = Live.random(12),
        noise = Float32Array.from({ length: 2 * n * n }, rng.normal),
        clean = Live.toKSpace(b.t1, new Float64Array(n * n), n);
      const seen = ui.add(Live.image(n, n, "k-space, logarithm of the magnitude: black was not measured")),
        made = ui.add(Live.image(n, n, "The image from what was measured"));
      return (v) => {
        const [keep, step] = v.keep.split(" "),
          mask = kept(n, { share: v.share, keep, step: Number(step) });
        const part = (values, shift) => values.map((value, i) => (mask[i] ? value + noise[shift + i] / v.snr : 0)),
          re = part(clean.re, 0),
          im = part(clean.im, n * n);
        const image = Live.fromKSpace(re, im, n);
        seen.paint((i) => (mask[i] ? Math.log10(1 + 30 * Math.hypot(re[i], im[i])) / 3.5 : 0));
        made.paint(
          (i) => Math.hypot(image.re[i], image.im[i]) / (keep === "outside" ? 0.5 : keep === "lines" ? 0.6 : 1.1)
        );
        const measured = mask.reduce((a, m) => a + m, 0) / mask.length;
        const error = Math.sqrt(
          Live.mean(Array.from(image.re, (re2, i) => (Math.hypot(re2, image.im[i]) - b.t1[i]) ** 2))
        );
        ui.say(
          `${(100 * measured).toFixed(0)} % of k-space was measured; the image is off by ${error.toFixed(3)} ` +
            "(root mean square, white matter = " +
            `1)${keep === "middle" ? `, and its smallest detail is ${(b.mm / v.share).toFixed(1)} mm` : ""}`
        );
      };
    },
  }));

  Object.assign(Live, { logI0e, riceLogPdf });
})();
