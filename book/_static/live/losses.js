// Losses (chapters 2 and 4).
(() => {
  "use strict";
  const { sum } = Live;
  const percent = (x) => `${Number((100 * x).toPrecision(2))} %`;

  // p_k = exp z_k / sum exp z
  function softmax(z) {
    const top = Math.max(...z),
      e = z.map((value) => Math.exp(value - top)),
      total = sum(e);
    return e.map((value) => value / total);
  }
  const crossEntropy = (z, truth) => -Math.log(softmax(z)[truth]);
  // the gradient of the cross-entropy at the logits: p - y
  const gradient = (z, truth) => softmax(z).map((p, k) => p - (k === truth ? 1 : 0));

  // A network that says p everywhere, and a lesion of prevalence pi: the lesion's share of the gradient's mass.
  function lesionShare(p, pi) {
    const dice = (2 * p * pi) / (p + pi),
      of = (lesion, rest) => lesion / (lesion + rest);
    return { crossEntropy: of(pi * (1 - p), (1 - pi) * p), dice: of(pi * (2 - dice), (1 - pi) * dice) };
  }

  const CLASSES = ["CSF", "grey", "white"];
  Live.instrument("softmax", () => ({
    title: "What does a wrong answer teach?",
    tries:
      "make grey's logit very low while grey is the truth: the gradient saturates at -1. Then make it very " +
      "high: a right " +
      "and sure answer is hardly taught any more. The three bars of the gradient always sum to zero.",
    controls: {
      csf: { label: "logit of CSF", min: -6, max: 6, step: 0.1, value: 0.5, text: (x) => x.toFixed(1) },
      grey: { label: "of grey", min: -6, max: 6, step: 0.1, value: -1, text: (x) => x.toFixed(1) },
      white: { label: "of white", min: -6, max: 6, step: 0.1, value: 0, text: (x) => x.toFixed(1) },
      truth: { label: "the truth is", options: { "grey matter": 1, CSF: 0, "white matter": 2 } },
    },
    make(ui) {
      const ticksX = CLASSES.map((name, k) => [k, name]),
        x = [-0.6, 2.6];
      const said = ui.add(Live.plot("the answer p", { x, y: [0, 1.2], ticksX })),
        taught = ui.add(Live.plot("the gradient at the logits, p - y", { x, y: [-1.3, 1.3], ticksX }));
      const bars = (values, colour) => [
        { bars: values.map((value, k) => [k - 0.35, k + 0.35, value]), colour },
        { texts: values.map((value, k) => [k, value + (value < 0 ? -0.17 : 0.05), value.toFixed(2)]) },
      ];
      return ({ csf, grey, white, truth }) => {
        const z = [csf, grey, white];
        said.show(bars(softmax(z), 1));
        taught.show(bars(gradient(z, truth), 2));
        ui.say(
          `cross-entropy ${crossEntropy(z, truth).toFixed(3)} nats; the true class has probability ` +
            `${softmax(z)[truth].toFixed(3)}`
        );
      };
    },
  }));

  Live.instrument("imbalance", () => ({
    title: "Who moves the network: the lesion, or the background?",
    tries:
      "leave the lesion at one voxel in a thousand and let the network say less and less. How far must the " +
      "background be " +
      "learnt until cross-entropy gives the lesion a tenth of the gradient?",
    controls: {
      says: {
        label: "the network says everywhere",
        min: -3,
        max: -0.3,
        step: 0.05,
        value: -0.3,
        text: (e) => percent(10 ** e),
      },
      prevalence: {
        label: "the lesion fills",
        min: -4,
        max: -0.5,
        step: 0.05,
        value: -3,
        text: (e) => percent(10 ** e),
      },
    },
    make(ui) {
      const curves = ui.add(
        Live.plot("The lesion's share of the gradient's mass, at each prevalence", {
          x: [1e-4, 10 ** -0.5],
          y: [0, 1],
          logX: true,
          format: percent,
          across: "prevalence of the lesion",
          up: "the lesion's share",
        })
      );
      const dice = ui.add(
        Live.plot("What answering background everywhere is worth", {
          x: [-0.6, 1.6],
          y: [0, 1.2],
          ticksX: [
            [0, "accuracy"],
            [1, "Dice of the lesion"],
          ],
        })
      );
      const places = Array.from({ length: 61 }, (_, k) => 10 ** (-4 + (3.5 * k) / 60));
      return (v) => {
        const p = 10 ** v.says,
          pi = 10 ** v.prevalence,
          here = lesionShare(p, pi);
        const line = (key, colour, name) => ({ line: places.map((q) => [q, lesionShare(p, q)[key]]), colour, name });
        curves.show([
          line("crossEntropy", 1, "cross-entropy"),
          line("dice", 2, "soft Dice"),
          {
            points: [
              [pi, here.crossEntropy],
              [pi, here.dice],
            ],
            colour: 9,
            size: 5,
          },
        ]);
        dice.show([
          { bars: [[-0.3, 0.3, 1 - pi]], colour: 1 },
          { bars: [[0.7, 1.3, 0]], colour: 2 },
          {
            texts: [
              [0, 1.04 - pi, `${(100 * (1 - pi)).toPrecision(4)} %`],
              [1, 0.04, "0"],
            ],
          },
        ]);
        ui.say(
          `of the gradient the lesion has ${percent(here.crossEntropy)} with cross-entropy and ` +
            `${percent(here.dice)} with soft Dice`
        );
      };
    },
  }));

  Object.assign(Live, { softmax, crossEntropy, gradient, lesionShare });
})();
