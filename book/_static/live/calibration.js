// When to ask a person: calibration, conformal sets, referral (chapter 15).
(() => {
  "use strict";
  const { sum, mean } = Live;
  const percent = (x) => `${Math.round(100 * x)} %`;

  // Calibration -------------------------------------------------------------------------------------------------------

  // Bins of equal width of the confidence; an edge belongs to the bin below.
  function reliability(confidence, right, bins) {
    const found = Array.from({ length: bins }, () => ({ count: 0, sure: 0, right: 0 }));
    confidence.forEach((c, i) => {
      const bin = found[Math.max(0, Math.min(bins - 1, Math.ceil(c * bins - 1e-12) - 1))];
      bin.count++;
      bin.sure += c;
      bin.right += right[i];
    });
    for (const bin of found) {
      bin.sure /= bin.count;
      bin.right /= bin.count;
    }
    return {
      bins: found,
      ece: sum(found.map((bin) => (bin.count ? bin.count * Math.abs(bin.sure - bin.right) : 0))) / confidence.length,
    };
  }

  // Cases of a simulated network for three diagnoses: its logits are `sureness` times those that would be right.
  function cases(count, sureness, rng) {
    return Array.from({ length: count }, () => {
      const z = [0, 1, 2].map(() => 1.5 * rng.normal()),
        p = Live.softmax(z);
      let lot = rng.uniform(),
        label = 0;
      while (label < 2 && lot > p[label]) lot -= p[label++];
      return { z: z.map((value) => value * sureness), label };
    });
  }
  const scaled = ({ z }, temperature) => Live.softmax(z.map((value) => value / temperature));

  Live.instrument("calibration", () => ({
    title: "Is it as sure as it is right?",
    tries:
      "the network is twice as sure as it should be. Raise the temperature until the bars meet the line. " +
      "Does its accuracy change?",
    controls: {
      sureness: {
        label: "the network is too sure by",
        min: 0.5,
        max: 4,
        step: 0.1,
        value: 2,
        text: (s) => `${s.toFixed(1)} x`,
      },
      temperature: { label: "temperature", min: 0.3, max: 5, step: 0.05, value: 1, text: (t) => t.toFixed(2) },
    },
    make(ui) {
      const plot = ui.add(
        Live.plot("Of all answers as sure as this, how many are right", {
          x: [0.3, 1],
          y: [0, 1],
          across: "confidence",
          up: "share that is right",
        })
      );
      const curve = ui.add(
        Live.plot("The negative log-likelihood at every temperature", {
          x: [0.3, 5],
          y: [0.4, 1.6],
          across: "temperature",
          up: "nats a case",
        })
      );
      return (v) => {
        const all = cases(3000, v.sureness, Live.random(21)),
          p = all.map((one) => scaled(one, v.temperature)),
          sure = p.map((one) => Math.max(...one));
        const right = p.map((one, i) => (one.indexOf(sure[i]) === all[i].label ? 1 : 0)),
          found = reliability(sure, right, 15),
          nll = (t) => mean(all.map((one) => -Math.log(scaled(one, t)[one.label])));
        plot.show([
          {
            bars: found.bins.flatMap((bin, k) =>
              bin.count ? [[k / 15 + 0.004, (k + 1) / 15 - 0.004, bin.right]] : []
            ),
            colour: 1,
            name: "right",
          },
          {
            line: [
              [0.3, 0.3],
              [1, 1],
            ],
            colour: 9,
            dashed: true,
            name: "as sure as right",
          },
        ]);
        const temperatures = Array.from({ length: 40 }, (_, k) => 0.3 + (4.7 * k) / 39);
        curve.show([
          { line: temperatures.map((t) => [t, Math.min(1.7, nll(t))]), colour: 1 },
          { points: [[v.temperature, Math.min(1.6, nll(v.temperature))]], colour: 2, size: 6 },
        ]);
        ui.say(
          `calibration error (ECE, 15 bins) ${found.ece.toFixed(3)}, negative log-likelihood ` +
            `${nll(v.temperature).toFixed(3)}; accuracy ${percent(mean(right))}, at every temperature`
        );
      };
    },
  }));

  // Conformal sets ----------------------------------------------------------------------------------------------------

  // The ceil((n + 1)(1 - alpha))-th smallest score; infinity where there are too few cases.
  function conformalQuantile(scores, alpha) {
    const rank = Math.ceil((scores.length + 1) * (1 - alpha) - 1e-9);
    return rank <= scores.length ? Float64Array.from(scores).sort()[rank - 1] : Infinity;
  }

  Live.instrument("conformal", () => ({
    title: "Sets that keep their promise",
    tries:
      "make the network far too sure, and look at the coverage. Then make the promise stricter: what does it " +
      "cost? With which number of cases is nothing promised at all?",
    controls: {
      alpha: { label: "may miss the truth in", min: 0.01, max: 0.4, step: 0.01, value: 0.1, text: percent },
      count: { label: "calibration cases", min: 5, max: 500, step: 5, value: 200 },
      sureness: {
        label: "the network is too sure by",
        min: 0.5,
        max: 4,
        step: 0.1,
        value: 2,
        text: (s) => `${s.toFixed(1)} x`,
      },
    },
    make(ui) {
      const scores = ui.add(
        Live.plot("Scores of the calibration cases, 1 - p of the truth, and their quantile", {
          x: [0, 1.02],
          y: [0, 1],
          across: "score",
          up: "share of the cases",
        })
      );
      const sizes = ui.add(
        Live.plot("How many diagnoses are in a new patient's set", {
          x: [-0.6, 3.6],
          y: [0, 1],
          ticksX: [
            [0, "none"],
            [1, "one"],
            [2, "two"],
            [3, "all"],
          ],
          up: "share of patients",
        })
      );
      return (v) => {
        const score = (one) => 1 - Live.softmax(one.z)[one.label],
          known = cases(v.count, v.sureness, Live.random(31)).map(score),
          fresh = cases(4000, v.sureness, Live.random(32)),
          q = conformalQuantile(known, v.alpha);
        const bins = Array(25).fill(0),
          counts = Array(4).fill(0);
        known.forEach((s) => {
          bins[Math.min(24, Math.floor(25 * s))] += 1 / v.count;
        });
        fresh.forEach((one) => {
          counts[Live.softmax(one.z).filter((p) => 1 - p <= q).length] += 1 / fresh.length;
        });
        const covered = mean(fresh.map((one) => (score(one) <= q ? 1 : 0))),
          end = Math.min(q, 1.01);
        scores.show([
          { bars: bins.map((s, k) => [k / 25, (k + 0.9) / 25, s]), colour: 1, name: "cases" },
          {
            line: [
              [end, 0],
              [end, 1],
            ],
            colour: 2,
            name: "quantile",
          },
        ]);
        sizes.show([
          { bars: counts.map((c, k) => [k - 0.35, k + 0.35, c]), colour: 3 },
          { texts: counts.map((c, k) => [k, c + 0.03, percent(c)]) },
        ]);
        const rest =
          q === Infinity ? "so few cases promise nothing: every set has all three" : `quantile ${q.toFixed(3)}`;
        ui.say(
          `promised: the truth is in the set of at least ${percent(1 - v.alpha)}; ` +
            `of 4000 new patients it is in ${(100 * covered).toFixed(1)} %; ${rest}`
        );
      };
    },
  }));

  // Referral ----------------------------------------------------------------------------------------------------------

  // The mean error of the i most certain cases, against i / n; equal uncertainties share their mean error.
  function riskCoverage(uncertainty, error) {
    const order = uncertainty.map((_, i) => i).sort((a, b) => uncertainty[a] - uncertainty[b]),
      sorted = order.map((i) => error[i]),
      n = order.length;
    for (let start = 0, end; start < n; start = end) {
      for (end = start + 1; end < n && uncertainty[order[end]] === uncertainty[order[start]];) end++;
      const shared = mean(sorted.slice(start, end));
      sorted.fill(shared, start, end);
    }
    const running = (values) => {
      let total = 0;
      return values.map((e, i) => (total += e) / (i + 1));
    };
    return { risk: running(sorted), best: running([...error].sort((a, b) => a - b)) };
  }

  Live.instrument("risk-coverage", () => ({
    title: "Ten of a hundred go to the radiologist: which ten?",
    tries:
      "send ten of a hundred. Then let the uncertainty know less: at 0 % it is as good as a lot. Where is " +
      "most of the error?",
    controls: {
      referred: { label: "referred", min: 0, max: 0.6, step: 0.01, value: 0.1, text: percent },
      knows: { label: "how much the uncertainty knows", min: 0, max: 1, step: 0.05, value: 0.7, text: percent },
    },
    make(ui) {
      const left = ui.add(
        Live.plot("A hundred simulated patients: expected and true Dice", {
          x: [0, 1],
          y: [0, 1],
          across: "Dice, as expected",
          up: "Dice, as it is",
        })
      );
      const right = ui.add(
        Live.plot("The error that is left, 1 - Dice", {
          x: [0, 60],
          y: [0, 0.4],
          across: "patients referred, %",
          up: "mean error of those kept",
        })
      );
      return (v) => {
        const rng = Live.random(41),
          n = 100,
          all = Array.from({ length: n }, () => ({
            error: Math.min(1, 0.08 - 0.18 * Math.log(1 - rng.uniform())),
            other: Math.min(1, 0.08 - 0.18 * Math.log(1 - rng.uniform())),
          }));
        const error = all.map((one) => one.error),
          unsure = all.map((one) => v.knows * one.error + (1 - v.knows) * one.other),
          { risk, best } = riskCoverage(unsure, error);
        const sent = new Set(
            unsure
              .map((_, i) => i)
              .sort((a, b) => unsure[b] - unsure[a])
              .slice(0, Math.round(n * v.referred))
          ),
          kept = n - sent.size;
        const points = (which) => all.flatMap((_, i) => (which(i) ? [[1 - unsure[i], 1 - error[i]]] : []));
        left.show([
          {
            line: [
              [0, 0],
              [1, 1],
            ],
            colour: 0,
            dashed: true,
          },
          { points: points((i) => !sent.has(i)), colour: 1, size: 4, name: "kept" },
          { points: points((i) => sent.has(i)), colour: 2, size: 4, name: "referred" },
        ]);
        const line = (values) => values.map((r, i) => [n - 1 - i, r]).slice(n - 61);
        right.show([
          { line: line(risk), colour: 1, name: "by this uncertainty" },
          { line: line(best), colour: 3, dashed: true, name: "an oracle" },
          {
            line: [
              [0, mean(error)],
              [60, mean(error)],
            ],
            colour: 0,
            dashed: true,
            name: "by lot",
          },
          { points: [[n - kept, risk[kept - 1]]], colour: 2, size: 6 },
        ]);
        const caught = sum([...sent].map((i) => error[i])) / sum(error);
        ui.say(
          `${sent.size} of 100 referred: they hold ${percent(caught)} of the error; of those kept the mean ` +
            `error is ${risk[kept - 1].toFixed(3)} (an oracle ${best[kept - 1].toFixed(3)}, nobody referred ` +
            `${risk[n - 1].toFixed(3)})`
        );
      };
    },
  }));

  Object.assign(Live, { reliability, conformalQuantile, riskCoverage });
})();
