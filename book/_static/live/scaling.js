// A training on many processes, on paper (chapter 20): the numbers of medlearn.train.scaling.
(() => {
  "use strict";

  // n processes in a ring get the sum of b bytes: 2 (n - 1) (latency + b / (n v))
  const ringAllReduce = (bytes, { processes: n, link, latency }) => 2 * (n - 1) * (latency + bytes / n / link);

  // where the seconds of a step go; `exchange` is the whole exchange, `wait` what is left of it to wait for
  function stepTime(work, machine) {
    const compute = work.batch * work.patch,
      exchange = ringAllReduce(work.gradientBytes, machine),
      wait = Math.max(0, exchange - machine.overlap * compute),
      reading = (machine.processes * work.batch * work.patchBytes) / machine.storage,
      starve = Math.max(0, reading - compute - wait);
    return { compute, exchange, wait, starve, total: compute + wait + starve };
  }

  // N patches in batches of B, and 1 + B / Bc times as many since larger batches need more
  function trainingHours(work, machine) {
    const batch = work.batch * machine.processes,
      steps = ((work.scans * work.looks) / batch) * (1 + batch / work.critical);
    return (steps * stepTime(work, machine).total) / 3600;
  }

  const assumptions = (v, processes) => [
    {
      scans: 10 ** v.scans,
      looks: v.looks,
      batch: v.batch,
      patch: v.patch / 1e3,
      patchBytes: v.patchBytes * 1e6,
      gradientBytes: v.gradientBytes * 1e6,
      critical: 10 ** v.critical,
    },
    {
      processes,
      link: 10 ** v.link * 1e9,
      latency: v.latency / 1e6,
      storage: 10 ** v.storage * 1e9,
      overlap: v.overlap / 100,
    },
  ];
  const digits = (x) => Number(x.toPrecision(x < 10 ? 2 : 3)).toLocaleString("en"),
    power = (unit) => (e) => `${digits(10 ** e)} ${unit}`.trim();
  const slider = (label, min, max, step, value, text) => ({ label, min, max, step, value, text });
  const long = (hours) => (hours < 48 ? `${digits(hours)} hours` : `${digits(hours / 24)} days`);

  Live.instrument("scaling", () => ({
    title: "How long on sixty-four?",
    tries:
      "go to 64 GPUs, then make the links a hundred times slower, or the storage. Put them back, and lower the " +
      "critical batch to 50: which line of the first plot bends?",
    controls: {
      gpus: slider("GPUs", 0, 6, 1, 3, (e) => String(2 ** e)),
      scans: slider("scans", 2, 6, 0.5, 6, power("")),
      looks: slider("patches of each scan", 1, 100, 1, 20),
      batch: slider("patches for each GPU at a step", 1, 16, 1, 2),
      patch: slider("time of a patch", 5, 1000, 5, 100, (t) => `${t} ms`),
      gradientBytes: slider("gradients", 4, 1000, 4, 120, (m) => `${m} MB`),
      link: slider("link to the neighbour", -2, 2.5, 0.1, 1.4, power("GB/s")),
      latency: slider("latency of a message", 1, 1000, 1, 10, (t) => `${t} µs`),
      overlap: slider("of the computing hides messages", 0, 100, 5, 70, (p) => `${p} %`),
      patchBytes: slider("reading for a patch", 0, 100, 1, 8, (m) => `${m} MB`),
      storage: slider("shared storage", -2, 2, 0.1, 0.7, power("GB/s")),
      critical: slider("critical batch", 1, 4, 0.1, 2.7, power("patches")),
    },
    make(ui) {
      const time = ui.add(Live.plot("Time of the training against the number of GPUs", { x: [1, 64], y: [1, 10] }));
      const parts = ui.add(Live.plot("Where a step goes at each number of GPUs", { x: [-0.6, 6.6], y: [0, 1] }));
      const counts = [1, 2, 4, 8, 16, 32, 64],
        ticks = counts.map((n, k) => [k, String(n)]);
      return (v) => {
        const n = 2 ** v.gpus,
          hours = counts.map((count) => trainingHours(...assumptions(v, count))),
          steps = counts.map((count) => stepTime(...assumptions(v, count))),
          ideal = counts.map((count) => hours[0] / count),
          longest = Math.max(...steps.map((step) => step.total)) * 1e3;
        const line = (values) => values.map((h, k) => [counts[k], h]);
        time.show(
          [
            { line: line(ideal), colour: 9, dashed: true, name: "if nothing were lost" },
            { line: line(hours), colour: 1, name: "by this model" },
            { points: [[n, hours[v.gpus]]], colour: 2, size: 6 },
          ],
          {
            logX: true,
            logY: true,
            ticksX: counts.map((count) => [count, String(count)]),
            y: [10 ** Math.floor(Math.log10(ideal[6])), 10 ** Math.ceil(Math.log10(Math.max(...hours)))],
            across: "GPUs",
            up: "hours",
          }
        );
        // one in front of the other: of each colour the part above the next one is seen
        const stack = [
          [(s) => s.total, 3, "waiting for the storage"],
          [(s) => s.compute + s.wait, 2, "waiting for gradients"],
          [(s) => s.compute, 1, "computing"],
        ];
        parts.show(
          stack.map(([to, colour, name]) => ({
            bars: steps.map((step, k) => [k - 0.35, k + 0.35, 1e3 * to(step)]),
            colour,
            name,
          })),
          { y: [0, 1.1 * longest], ticksX: ticks, across: "GPUs", up: "ms a step" }
        );
        const step = steps[v.gpus],
          lost = 1 - hours[0] / hours[v.gpus] / n;
        ui.say(
          `${n} GPUs: ${long(hours[v.gpus])}, ${digits(n * hours[v.gpus])} GPU hours, of which ` +
            `${Math.round(100 * Math.max(0, lost))} % are lost; a step of ${digits(1e3 * step.total)} ms, with ` +
            `${digits(1e3 * step.wait)} waiting for gradients and ${digits(1e3 * step.starve)} for the storage; ` +
            `a batch of ${n * v.batch}`
        );
      };
    },
  }));

  Object.assign(Live, { scaling: { ringAllReduce, stepTime, trainingHours } });
})();
