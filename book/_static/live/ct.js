// Computed tomography: photons, logarithm, filtered back-projection, and the window (chapter 11).
// Images are (x, y), y fastest.
(() => {
  "use strict";
  const MU_WATER = 0.0193,
    FINE = 16; // 1/mm; steps of a detector's width in which a filtered view is tabulated

  function torso() {
    const s = Live.files.slices.torso,
      hu = new Int16Array(Live.bytes(s.hu).buffer);
    return { n: s.n, mm: s.mm, hu: Float32Array.from(hu) };
  }

  // The share of a unit square's shadow below t, from its middle, seen at an angle with cosine and sine a, b > 0.
  function shadowBelow(t, a, b) {
    const part = (corner) => Math.max(t + corner, 0) ** 2;
    return (part((a + b) / 2) - part((a - b) / 2) - part((b - a) / 2) + part(-(a + b) / 2)) / (2 * a * b);
  }

  // Rays s = x cos + y sin, as wide as a pixel: the geometry of medlearn.physics.ParallelBeam over 180 degrees.
  function parallelBeam(n, views, mm) {
    let detectors = Math.ceil(n * Math.SQRT2);
    detectors += (detectors - n) % 2;
    const angles = Array.from({ length: views }, (_, v) => [
      Math.cos((v * Math.PI) / views),
      Math.sin((v * Math.PI) / views),
    ]);
    const widths = ([c, s]) => [Math.max(Math.abs(c), 1e-6), Math.max(Math.abs(s), 1e-6)];

    function project(image) {
      const sinogram = new Float64Array(views * detectors);
      angles.forEach((angle, v) => {
        const [a, b] = widths(angle),
          half = (a + b) / 2;
        for (let x = 0; x < n; x++)
          for (let y = 0; y < n; y++) {
            const value = image[x * n + y] * mm;
            if (!value) continue;
            const middle = (x - (n - 1) / 2) * angle[0] + (y - (n - 1) / 2) * angle[1] + detectors / 2,
              first = Math.floor(middle - half);
            let below = 0;
            for (let d = 0; d < 3; d++) {
              const upTo = d < 2 ? shadowBelow(first + d + 1 - middle, a, b) : 1;
              sinogram[v * detectors + first + d] += value * (upTo - below);
              below = upTo;
            }
          }
      });
      return sinogram;
    }

    // h_0 = 1/4, h_k = -1 / (pi k)^2 for odd k; `hann` takes the high frequencies back by averaging neighbours
    function filter(sinogram, hann) {
      const h = Float64Array.from({ length: detectors + 1 }, (_, k) =>
        k === 0 ? 0.25 : k % 2 ? -1 / (Math.PI * k) ** 2 : 0
      );
      const kernel = hann
        ? Float64Array.from({ length: detectors }, (_, k) => 0.5 * h[k] + 0.25 * (h[Math.abs(k - 1)] + h[k + 1]))
        : h;
      const out = new Float64Array(sinogram.length);
      for (let v = 0; v < views; v++)
        for (let d = 0; d < detectors; d++) {
          let total = 0;
          for (let e = 0; e < detectors; e++) total += sinogram[v * detectors + e] * kernel[Math.abs(d - e)];
          out[v * detectors + d] = total;
        }
      return out;
    }

    // each pixel the mean of its rays, weighted as its shadow falls on them
    function backProject(filtered) {
      const image = new Float64Array(n * n),
        table = new Float64Array((detectors + 2) * FINE + 1);
      angles.forEach((angle, v) => {
        const [a, b] = widths(angle),
          half = (a + b) / 2;
        const shares = Array.from({ length: FINE }, (_, k) => {
          const middle = k / FINE,
            first = Math.floor(middle - half),
            found = [];
          for (let d = 0, below = 0; d < 3; d++) {
            const upTo = d < 2 ? shadowBelow(first + d + 1 - middle, a, b) : 1;
            found.push([first + d, upTo - below]);
            below = upTo;
          }
          return found;
        });
        for (let d = 0; d < detectors; d++)
          for (let k = 0; k < FINE; k++) {
            let total = 0;
            for (const [shift, share] of shares[k]) total += share * (filtered[v * detectors + d + shift] || 0);
            table[d * FINE + k] = total;
          }
        for (let x = 0; x < n; x++)
          for (
            let y = 0, t = ((x - (n - 1) / 2) * angle[0] - ((n - 1) / 2) * angle[1] + detectors / 2) * FINE;
            y < n;
            y++, t += angle[1] * FINE
          ) {
            const k = Math.floor(t);
            image[x * n + y] += table[k] + (t - k) * (table[k + 1] - table[k]);
          }
      });
      return image.map((value) => (value * Math.PI) / views / mm);
    }
    return { detectors, views, project, fbp: (sinogram, hann = false) => backProject(filter(sinogram, hann)) };
  }

  const toAttenuation = (hu) => MU_WATER * (1 + hu / 1000),
    toHU = (mu) => (1000 * (mu - MU_WATER)) / MU_WATER;
  // ln(I0 / N); a ray without a photon is read as if half a one had come
  const logTransform = (counts, i0) => counts.map((count) => Math.log(i0 / (count < 1 ? 0.5 : count)));
  const photonCounts = (sinogram, i0, rng) => sinogram.map((p) => rng.poisson(i0 * Math.exp(-p)));

  const FULL_DOSE = 1e6,
    LIVER = [92, 72],
    LESION_MM = 10,
    DARKER_HU = 60;
  Live.instrument("ct-dose", () => ({
    title: "A CT scan, made while you turn the dose",
    tries:
      "a round spot, 60 HU darker, was put into the liver (left half of the picture). At which dose do you " +
      "lose it? And what would the Hann window give you back?",
    files: ["slices"],
    controls: {
      dose: {
        label: "dose",
        min: -3,
        max: 0,
        step: 0.05,
        value: -0.3,
        text: (e) => `${Number((100 * 10 ** e).toPrecision(2))} %`,
      },
      hann: { label: "filter", options: { "ramp: most detail": false, "Hann: least noise": true } },
      window: {
        label: "window",
        options: { "soft tissue, -110 to 190 HU": [-110, 190], "wide, -1000 to 1000 HU": [-1000, 1000] },
      },
    },
    make(ui) {
      const { n, mm, hu } = torso(),
        beam = parallelBeam(n, 180, mm),
        spot = hu.map(
          (value, i) =>
            value -
            DARKER_HU *
              Math.max(
                0,
                Math.min(1, (LESION_MM - mm * Math.hypot(Math.floor(i / n) - LIVER[0], (i % n) - LIVER[1])) / mm + 0.5)
              )
        );
      const sinogram = beam.project(spot.map((value) => toAttenuation(Math.max(-1000, value)))),
        image = ui.add(Live.image(n, n, "The image: the patient's right is on the left"));
      const raw = ui.add(
        Live.image(beam.detectors, beam.views, "The sinogram: 180 views, one a row", { upright: true })
      );
      const flat = [];
      for (let i = 0; i < n * n; i++) {
        const r = Math.hypot(Math.floor(i / n) - LIVER[0], (i % n) - LIVER[1]) * mm;
        if (r > LESION_MM + 6 && r < LESION_MM + 18 && hu[i] > 40 && hu[i] < 180) flat.push(i);
      }
      return (v) => {
        const i0 = FULL_DOSE * 10 ** v.dose,
          counts = photonCounts(sinogram, i0, Live.random(5)),
          measured = logTransform(counts, i0),
          made = beam.fbp(measured, v.hann).map(toHU);
        const [low, high] = v.window,
          starved = counts.reduce((total, count) => total + (count < 1), 0);
        image.paint((i) => (made[i] - low) / (high - low));
        raw.paint((i) => measured[i] / 9);
        const least = counts.reduce((a, b) => Math.min(a, b));
        ui.say(
          `${i0.toLocaleString("en", { maximumFractionDigits: 0 })} photons a ray, ` +
            `${least.toLocaleString("en")} behind the thickest ` +
            `part${starved ? `, none in ${starved} rays` : ""}; in the liver ` +
            `${Live.mean(flat.map((i) => made[i])).toFixed(0)} HU, standard deviation ` +
            `${Live.sd(flat.map((i) => made[i])).toFixed(0)} HU`
        );
      };
    },
  }));

  const WINDOWS = { "soft tissue": [40, 350], lung: [-600, 1500], bone: [400, 1800], "all there is": [200, 2400] };
  // what is black at the window's low end and white at the high one
  const windowed = (hu, centre, width) => Math.max(0, Math.min(1, (hu - centre) / width + 0.5));
  Live.instrument("ct-window", () => ({
    title: "One scan, many pictures: the window",
    tries:
      "choose bone, then soft tissue. Which organs can be told apart in which? Then make the window as " +
      "narrow as it goes.",
    files: ["slices"],
    controls: {
      preset: { label: "window for", options: WINDOWS },
      centre: { label: "centre", min: -1000, max: 1000, step: 10, value: 40, text: (x) => `${x} HU` },
      width: { label: "width", min: 20, max: 3000, step: 10, value: 350, text: (x) => `${x} HU` },
    },
    make(ui) {
      const { n, hu } = torso(),
        image = ui.add(Live.image(n, n, "Tap to read a value")),
        plot = ui.add(
          Live.plot("How often each value occurs, and the window", {
            x: [-1024, 1200],
            y: [0, 1],
            across: "HU",
            up: "share of the most frequent",
          })
        );
      const bins = Array(112).fill(0);
      hu.forEach((value) => {
        if (value > -900) bins[Math.max(0, Math.min(111, Math.floor((value + 1024) / 20)))]++;
      });
      const top = Math.max(...bins);
      let at = [35, 50],
        last = WINDOWS["soft tissue"];
      image.onPoint(at, (column, row) => {
        at = [column, row];
        ui.redraw();
      });
      return (v) => {
        if (v.preset !== last) {
          last = v.preset;
          ui.set("centre", v.preset[0]);
          ui.set("width", v.preset[1]);
        }
        const { centre, width } = v,
          i = (n - 1 - at[0]) * n + n - 1 - at[1];
        image.paint((k) => windowed(hu[k], centre, width));
        image.ring(...at, 3);
        plot.show([
          {
            bars: bins.map((count, k) => [20 * k - 1024, 20 * k - 1005, count / top]),
            colour: 1,
            name: "voxels of the body",
          },
          {
            line: [
              [-1024, 0],
              [centre - width / 2, 0],
              [centre + width / 2, 1],
              [1200, 1],
            ],
            colour: 2,
            name: "window: black to white",
          },
        ]);
        ui.say(
          `from ${centre - width / 2} HU, black, to ${centre + width / 2} HU, white; at the ring ${hu[i].toFixed(0)} HU`
        );
      };
    },
  }));

  Object.assign(Live, { parallelBeam, toAttenuation, toHU, logTransform, photonCounts, windowed });
})();
