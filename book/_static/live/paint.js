// Paint a lesion on the brain, and the trained U-Net answers (chapter 7).
(() => {
  "use strict";
  const PASSES = 8;

  // sqrt((s + a)^2 + b^2), a and b normal: what the magnitude of a noisy complex signal is
  const rician = (image, sigma, noise) =>
    image.map((s, i) => Math.hypot(s + sigma * noise[i], sigma * noise[image.length + i]));

  Live.instrument("paint", () => ({
    title: "Draw a lesion. Does the network see it?",
    tries:
      "turn up the noise: from which point on does it miss what you still see? It learnt with at most 4 %. " +
      "Then paint over the " +
      "ventricles, where it never saw a lesion; then plaques of 6 mm, for the network without skips.",
    files: ["slices"], // the network has some 200 kB, and comes when somebody wants to paint
    controls: {
      ...Live.BRUSH,
      noise: { label: "noise", min: 0, max: 0.4, step: 0.01, value: 0.02, text: (x) => `${Math.round(100 * x)} %` },
      net: { label: "network", options: { "with skips": "skips", "trained without skips": "no_skips" } },
      unsure: {
        label: "uncertainty",
        options: { "entropy of its answer": "total", [`disagreement of ${PASSES} dropout passes`]: "disagreement" },
      },
    },
    make(ui) {
      ui.views.classList.add("ml-small");
      const b = Live.paintCanvas(),
        n = b.n,
        rng = Live.random(3),
        noise = Float32Array.from({ length: 2 * n * n }, rng.normal);
      const { plaque, mass, show } = Live.easel(ui, b),
        answer = Live.reply(ui, n),
        doubt = ui.add(Live.image(n, n, "Where it is unsure"));
      let number = 0,
        now,
        said,
        later;

      const question = (passes) => ({ net: ui.v.net, image: passes ? undefined : now.noisy, n, passes, number });
      const network = Live.consult(ui, question, (data, idle) => {
        if (!data.passes) said = data;
        else if (data.number === number) said = { ...said, disagreement: data.disagreement, passes: data.passes };
        if (idle && !data.passes && ui.v.unsure === "disagreement") later = setTimeout(() => network.ask(PASSES), 150);
        tell();
      });
      for (const event of ["pointerenter", "pointerdown", "focusin"]) ui.root.addEventListener(event, network.wake);

      function tell() {
        const of = Live.files.network[ui.v.net],
          map = said[ui.v.unsure],
          waits = ui.v.unsure === "disagreement" && !said.passes;
        answer(now.noisy, said.classes);
        doubt.map((i) => (waits ? 0 : map[i] / (ui.v.unsure === "total" ? 1 : 0.3)));
        doubt.caption(
          ui.v.unsure === "total"
            ? "Where it is unsure: the entropy of its answer, 0 to 1 nat"
            : "Where its dropout passes disagree: mutual information, 0 to 0.3 nat"
        );
        ui.say(
          `${Live.score(said.classes, now.truth, b)}. On unseen patients this network reaches ` +
            `${of.dice_int8.toFixed(2)}; it has ` +
            `${of.parameters.toLocaleString("en")} weights and took ${said.ms.toFixed(0)} ms`
        );
        ui.root.dataset.answered = number;
      }
      return (v) => {
        const { image, truth } = Live.painted(b, plaque, mass);
        now = { noisy: rician(image, v.noise, noise), truth };
        number++;
        clearTimeout(later);
        show(now.noisy);
        if (!network.awake()) {
          answer(now.noisy);
          doubt.paint((i) => now.noisy[i] / 4); // the scan, dimmed: there is no answer yet
          doubt.caption("Where it is unsure: as soon as it has answered");
          ui.say(
            "A plaque and a mass are painted. Touch the picture: a network comes into your browser, and answers here"
          );
        }
        network.ask(0);
      };
    },
  }));

  Object.assign(Live, { rician });
})();
