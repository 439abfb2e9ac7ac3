// Noise and ignorance: the law of total variance on a curve (chapter 14).
(() => {
  "use strict";
  const { sum, mean } = Live;

  // Var y = mean of the members' variances + variance of their means
  function totalVariance(means, variances) {
    const aleatoric = mean(variances),
      middle = mean(means),
      epistemic = mean(means.map((m) => (m - middle) ** 2));
    return { total: aleatoric + epistemic, aleatoric, epistemic };
  }

  // Ridge regression by Cholesky: w of least |X w - y|^2 + penalty |w|^2
  function ridge(rows, y, penalty) {
    const k = rows[0].length,
      a = Array.from({ length: k }, () => new Float64Array(k)),
      b = new Float64Array(k);
    rows.forEach((row, n) => {
      for (let i = 0; i < k; i++) {
        b[i] += row[i] * y[n];
        for (let j = 0; j <= i; j++) a[i][j] += row[i] * row[j];
      }
    });
    for (let i = 0; i < k; i++) {
      a[i][i] += penalty;
      for (let j = 0; j <= i; j++) {
        let value = a[i][j];
        for (let m = 0; m < j; m++) value -= a[i][m] * a[j][m];
        a[i][j] = i === j ? Math.sqrt(value) : value / a[j][j];
      }
    }
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < i; j++) b[i] -= a[i][j] * b[j];
      b[i] /= a[i][i];
    }
    for (let i = k - 1; i >= 0; i--) {
      for (let j = i + 1; j < k; j++) b[i] -= a[j][i] * b[j];
      b[i] /= a[i][i];
    }
    return b;
  }

  // The marker of chapter 14, its noise largest at its peak; from day 5 to 7 nobody is measured.
  const level = (day) => 0.2 + day * Math.exp(-day / 2.2),
    spread = (day) => 0.04 + 0.2 * level(day);
  function patients(count, rng) {
    return Array.from({ length: count }, () => {
      let day = 8 * rng.uniform();
      if (day >= 5) day += 2;
      return [day, level(day) + spread(day) * rng.normal()];
    });
  }
  // A small network of one layer whose first weights stay random; the second are fitted to a resample of the patients.
  function member(data, rng) {
    const units = Array.from({ length: 30 }, () => [1.1 * rng.normal(), 2 * Math.PI * rng.uniform()]);
    const features = (day) => [1, ...units.map(([w, b]) => Math.cos(w * day + b))],
      drawn = data.map(() => data[Math.floor(rng.uniform() * data.length)]);
    const rows = drawn.map(([day]) => features(day)),
      w = ridge(
        rows,
        drawn.map(([, y]) => y),
        0.3
      ),
      at = (weights, day) => sum(features(day).map((f, k) => f * weights[k]));
    const logs = ridge(
      rows,
      drawn.map(([day, y]) => Math.log((y - at(w, day)) ** 2 + 1e-4)),
      10
    );
    // the mean of ln of a squared normal number is -1.27
    return { mean: (day) => at(w, day), variance: (day) => Math.exp(Math.max(-8, Math.min(0, at(logs, day) + 1.27))) };
  }

  Live.instrument("ensemble", () => ({
    title: "What is noise, and what is ignorance?",
    tries:
      "more patients: which of the two bands shrinks on day 2, and which in the gap from day 5 to 7? Then " +
      "ask one member only.",
    controls: {
      size: { label: "patients", min: 1.3, max: 3.2, step: 0.1, value: 1.8, text: (e) => String(Math.round(10 ** e)) },
      members: { label: "members", min: 1, max: 12, step: 1, value: 8 },
      seed: { label: "draw of patients", min: 1, max: 9, step: 1, value: 1 },
    },
    make(ui) {
      const curve = ui.add(
        Live.plot("The marker against the day: ensemble, and two standard deviations to each side", {
          x: [0, 10],
          y: [-0.6, 2.2],
          across: "day",
          up: "marker",
        })
      );
      const parts = ui.add(
        Live.plot("The two standard deviations", { x: [0, 10], y: [0, 0.4], across: "day", up: "standard deviation" })
      );
      const days = Array.from({ length: 81 }, (_, k) => k / 8);
      return (v) => {
        const data = patients(Math.round(10 ** v.size), Live.random(v.seed)),
          net = Array.from({ length: v.members }, (_, k) => member(data, Live.random(1000 * v.seed + k)));
        const found = days.map((day) => {
          const means = net.map((one) => one.mean(day));
          return {
            day,
            middle: mean(means),
            ...totalVariance(
              means,
              net.map((one) => one.variance(day))
            ),
          };
        });
        const band = (key) =>
            found.map((f) => [f.day, f.middle - 2 * Math.sqrt(f[key]), f.middle + 2 * Math.sqrt(f[key])]),
          line = (key) => found.map((f) => [f.day, Math.sqrt(f[key])]);
        curve.show([
          { band: band("total"), colour: 2 },
          { band: band("aleatoric"), colour: 1 },
          { points: data.slice(0, 300), colour: 0, size: 1.5 },
          { line: days.map((day) => [day, level(day)]), colour: 9, dashed: true, name: "the truth" },
          { line: found.map((f) => [f.day, f.middle]), colour: 1, name: "ensemble" },
        ]);
        parts.show([
          {
            band: [
              [5, 0, 0.4],
              [7, 0, 0.4],
            ],
            colour: 0,
          },
          { line: days.map((day) => [day, spread(day)]), colour: 9, dashed: true, name: "true noise" },
          { line: line("aleatoric"), colour: 1, name: "aleatoric: noise" },
          { line: line("epistemic"), colour: 2, name: "epistemic: ignorance" },
        ]);
        const at = (day) => found[8 * day],
          say = (f) => `${Math.sqrt(f.aleatoric).toFixed(2)} noise and ${Math.sqrt(f.epistemic).toFixed(2)} ignorance`;
        ui.say(
          `day 2: ${say(at(2))}; day 6, in the gap: ` +
            `${say(at(6))}${v.members === 1 ? ". One member disagrees with nobody: its ignorance cannot be seen" : ""}`
        );
      };
    },
  }));

  Object.assign(Live, { totalVariance, ridge });
})();
