// The painted lesion on another scanner: signal equation, coil, k-space, noise, and two alarms (chapter 18).
(() => {
  "use strict";
  const HOME = "3 T",
    WHITE = 2,
    PLAQUE = 3,
    MASS = 4;
  const CURVES = [
    ["fluid", 1],
    ["grey matter", 0],
    ["white matter", 9],
    ["plaque", 2],
    ["mass", 4],
  ];

  // the steady state, as medlearn.physics.spoiled_gradient_echo
  function gradientEcho(density, t1, t2star, { tr_ms, te_ms, flip_deg }) {
    const flip = (flip_deg * Math.PI) / 180,
      recovered = -Math.expm1(-tr_ms / t1);
    return (
      ((density * Math.sin(flip) * recovered) / (1 - Math.cos(flip) * (1 - recovered))) * Math.exp(-te_ms / t2star)
    );
  }

  // The five tissues' signals, white matter's is 1. Solid tissue has other times in another field, fluid has not.
  function signals({ tissues, reference_t, t1_power, t2star_power }, settings) {
    const ratio = settings.field_t / reference_t,
      there = (power, k) => (k ? ratio ** power : 1);
    const raw = tissues.density.map((density, k) => {
      const t1 = tissues.t1_ms[k] * there(t1_power, k),
        t2star = tissues.t2star_ms[k] * there(t2star_power, k);
      return gradientEcho(density, t1, t2star, settings);
    });
    return raw.map((signal) => signal / raw[WHITE]);
  }

  // The brain with each tissue's mean moved to its signal, ready to be painted on: as the cohort makes it.
  function withContrast(b, levels, signal) {
    const [fluid, grey, white] = levels.map((level, k) => signal[k] - level);
    const t1 = b.t1.map(
      (value, i) =>
        value + Math.max(0, b.inside[i] - b.grey[i] - b.white[i]) * fluid + b.grey[i] * grey + b.white[i] * white
    );
    return { ...b, t1, lesion: { ...b.lesion, plaque: signal[PLAQUE], mass: signal[MASS] } };
  }

  // A coil that hears the patient's left better: half a wave across the picture. `strength` is the standard deviation
  // of its logarithm, as in medlearn.physics.bias_field.
  const coil = (n, strength) =>
    Float32Array.from({ length: n * n }, (_, i) =>
      Math.exp(strength * Math.SQRT2 * Math.cos((Math.PI * (Math.floor(i / n) + 0.5)) / n))
    );

  // along each axis, the waves that voxels of this width can hold
  const measuredWaves = ({ n, mm }, voxel_mm) => {
    const half = (0.5 / Math.max(1, voxel_mm / mm)) * (1 + 1e-6);
    return Uint8Array.from({ length: n }, (_, k) => Math.abs(k - n / 2) / n <= half);
  };

  // |F^-1 M (F S + n)|, as medlearn.physics.acquire; `noise` holds 2 n^2 normal numbers
  function acquire(signal, b, { snr, voxel_mm }, noise) {
    const { n } = b,
      measured = measuredWaves(b, voxel_mm),
      sigma = 1 / snr / Live.mean(measured),
      { re, im } = Live.toKSpace(signal, new Float64Array(n * n), n);
    const part = (values, from) =>
      values.map((value, i) => (measured[Math.floor(i / n)] && measured[i % n] ? value + sigma * noise[from + i] : 0));
    const image = Live.fromKSpace(part(re, 0), part(im, n * n), n);
    return Float32Array.from(image.re, (value, i) => Math.hypot(value, image.im[i]));
  }

  // How much power lies in fast waves, how dark the darkest quarter is, how lopsided the histogram.
  function looks(image, n) {
    const mean = Live.mean(image),
      sd = Live.sd(image),
      x = Float64Array.from(image, (value) => (value - mean) / sd),
      { re, im } = Live.toKSpace(x, new Float64Array(n * n), n),
      far = (k) => Math.abs(k - n / 2) > n / 4;
    let fast = 0,
      all = 0;
    re.forEach((value, i) => {
      const power = value ** 2 + im[i] ** 2;
      all += power;
      if (far(Math.floor(i / n)) || far(i % n)) fast += power;
    });
    const sorted = x.slice().sort(),
      place = (x.length - 1) / 4,
      below = Math.floor(place);
    const dark = sorted[below] + (place - below) * (sorted[below + 1] - sorted[below]);
    return [Math.log(fast / all), dark, Live.mean(x.map((value) => value ** 3))];
  }

  // above 1 the alarm rings
  const strangeness = (found, { middle, spread, looks: threshold }) =>
    Math.max(...found.map((value, k) => Math.abs(value - middle[k]) / spread[k])) / threshold;

  const percent = (share) => `${Math.round(100 * share)} %`;

  // What each slider changes in the physics, in a sentence.
  const BECAUSE = {
    field_t: ({ here }) =>
      `At ${here.field_t} T solid tissue recovers faster (its T₁ is shorter), and contrast changes little. ` +
      "What a weak magnet costs is signal: the SNR falls with the field.",
    flip_deg({ here, home, plaque }) {
      const [size, change] = here.flip_deg < home.flip_deg ? ["smaller", "less"] : ["larger", "more"];
      return (
        `A ${size} flip angle uses up ${change} of the magnetisation. What recovers slowly, as a lesion does, falls ` +
        `behind ${change}: a plaque is ${percent(plaque.here)} as bright as white matter, at home ` +
        `${percent(plaque.home)}.`
      );
    },
    snr: ({ here, home }) =>
      `Each channel's noise is ${percent(1 / here.snr)} of white matter's signal, at home ${percent(1 / home.snr)}.`,
    bias: ({ here }) =>
      `The coil hears one edge of the picture ${Math.exp(2 * Math.SQRT2 * here.bias).toFixed(1)} times as well as ` +
      "the other.",
    voxel_mm: ({ here, kept }) =>
      `Waves shorter than ${(2 * here.voxel_mm).toFixed(1)} mm were not measured: ${percent(kept)} of k-space is left.`,
  };

  Live.instrument("protocol", () => ({
    title: "The same lesion on another scanner",
    tries:
      "'fast': what is left of the answer, and which alarm rings? Then 'low flip', and lower the flip angle " +
      "further, to 8°. Then paint a lesion where a shaded scanner hears badly.",
    files: ["slices", "network"],
    controls: {
      field_t: { label: "magnet", min: 0.5, max: 3, step: 0.05, value: 3, text: (x) => `${x} T` },
      flip_deg: { label: "flip angle", min: 4, max: 45, step: 1, value: 28, text: (x) => `${x}°` },
      snr: { label: "SNR", min: 2, max: 50, step: 1, value: 50 },
      bias: { label: "coil shade", min: 0, max: 0.8, step: 0.05, value: 0.05 },
      voxel_mm: { label: "voxels", min: 1.625, max: 8, step: 0.125, value: 1.625, text: (x) => `${x.toFixed(1)} mm` },
      ...Live.BRUSH,
    },
    make(ui) {
      ui.views.classList.add("ml-flow");
      const b = Live.paintCanvas(),
        { n } = b,
        { scanners } = ui.files.slices,
        { protocols } = scanners,
        { alarms } = ui.files.network.skips,
        home = protocols[HOME],
        rng = Live.random(18),
        noise = Float32Array.from({ length: 2 * n * n }, rng.normal);
      const { plaque, mass, show } = Live.easel(ui, b),
        answer = Live.reply(ui, n),
        curves = ui.add(
          Live.plot(
            "The signal equation: white matter is 1, in a band of its noise. Where a lesion's curve meets it, nothing is " +
              "to be seen",
            { x: [4, 45], y: [0, 1.3], across: "flip angle in degrees", up: "signal" }
          )
        );
      curves.figure.classList.add("ml-wide");
      const rings = Live.node("p", { "aria-live": "polite" }),
        because = Live.node("p");
      ui.root.querySelector(".ml-try").before(rings, because);
      if (ui.root.clientWidth < 500) because.after(curves.figure); // on a phone the answer is seen while a slider moves

      const settings = Object.keys(BECAUSE),
        is = (protocol) => settings.every((key) => protocol[key] === ui.v[key]),
        set = (protocol) => settings.forEach((key) => ui.set(key, protocol[key]));
      const row = Live.node("div", { class: "ml-row", role: "group", "aria-label": "scanner" }, "scanner"),
        buttons = Object.entries(protocols).map(([name, protocol]) => [ui.button(name, () => set(protocol)), protocol]);
      row.append(...buttons.map(([button]) => button));
      ui.controls.prepend(row);

      let number = 0,
        now;
      const question = () => ({ net: "skips", image: now.seen, n, passes: 0, number });
      const network = Live.consult(ui, question, (said, idle) => {
        answer(now.seen, said.classes);
        ui.say(`${Live.score(said.classes, now.truth, b)}.`);
        rings.replaceChildren(
          "Alarms (threshold 1): ",
          ...lamp("network's doubt", Live.mean(said.total) / alarms.doubt),
          "; ",
          ...lamp("scan's looks", strangeness(looks(now.seen, n), alarms))
        );
        if (idle) ui.root.dataset.answered = number;
      });

      function lamp(name, share) {
        const [told, colour] = share > 1 ? ["rings", "--ml-2"] : ["silent", "--ml-line"];
        const light = Live.node("i", { class: "ml-swatch", style: `background:var(${colour})` });
        return [light, `${name} ${share.toFixed(2)}, `, Live.node("b", {}, told)];
      }

      function explain(here, signal) {
        const facts = {
          here,
          home,
          plaque: { here: signal[PLAQUE], home: signals(scanners, home)[PLAQUE] },
          kept: Live.mean(measuredWaves(b, here.voxel_mm)) ** 2,
        };
        const told = settings.filter((key) => here[key] !== home[key]).map((key) => BECAUSE[key](facts));
        because.textContent = told.join(" ") || `At home: ${HOME}, the scanner that the network learnt from.`;
      }

      function draw(v, signal) {
        const flips = Array.from({ length: 83 }, (_, k) => 4 + k / 2),
          at = flips.map((flip_deg) => signals(scanners, { ...home, ...v, flip_deg }));
        curves.show([
          { band: [4, 45].map((flip) => [flip, 1 - 1 / v.snr, 1 + 1 / v.snr]), colour: 9 },
          { line: [0, 1.3].map((y) => [v.flip_deg, y]), colour: 0, dashed: true },
          ...CURVES.map(([name, colour], k) => ({
            line: flips.map((flip, j) => [flip, at[j][k]]),
            points: [[v.flip_deg, signal[k]]],
            size: 4,
            colour,
            name,
          })),
        ]);
      }

      return (v) => {
        const signal = signals(scanners, { ...home, ...v }),
          { image, truth } = Live.painted(withContrast(b, scanners.levels, signal), plaque, mass),
          field = coil(n, v.bias),
          heard = image.map((value, i) => Math.max(0, value) * field[i]),
          seen = acquire(heard, b, v, noise);
        now = { seen, truth };
        number++;
        show(seen);
        for (const [button, protocol] of buttons) button.setAttribute("aria-pressed", is(protocol));
        draw(v, signal);
        explain(v, signal);
        if (!network.awake()) answer(seen);
        network.wake();
        network.ask(0);
      };
    },
  }));

  Live.scanner = { signals, withContrast, coil, acquire, looks, strangeness };
})();
