// Paint a lesion on the brain, and the trained U-Net answers (chapter 7).
(() => {
  "use strict";
  const COLOUR = [null, [213, 94, 0], [204, 121, 167]],
    KINDS = ["", "plaque", "mass"],
    NOTHING = -99,
    PASSES = 8;
  const clamp = (x) => Math.max(0, Math.min(1, x));

  function canvas() {
    const b = Live.brain(),
      share = (text) => Float32Array.from(Live.bytes(text), (byte) => byte / 255);
    return { ...b, white: share(b.white), inside: share(b.inside) };
  }

  // A round stamp: how deep in the lesion each voxel lies, in mm; `depth` keeps the deepest. Erasing digs out.
  function stamp(depth, { n, mm }, [x, y], radius_mm, erase = false) {
    const reach = Math.ceil(radius_mm / mm) + 2;
    for (let a = Math.max(0, x - reach); a <= Math.min(n - 1, x + reach); a++)
      for (let b = Math.max(0, y - reach); b <= Math.min(n - 1, y + reach); b++) {
        const here = radius_mm - mm * Math.hypot(a - x, b - y),
          i = a * n + b;
        depth[i] = erase ? Math.min(depth[i], -here) : Math.max(depth[i], here);
      }
  }

  // The scan with its lesions, as BrainCohort draws them: a soft border, plaques in white matter, masses with a core.
  function painted(b, plaque, mass) {
    const { lesion } = b,
      image = b.t1.slice(),
      truth = new Uint8Array(b.t1.length);
    for (let i = 0; i < image.length; i++) {
      const p = clamp(0.5 + plaque[i] / lesion.edge_mm) * b.white[i],
        m = clamp(0.5 + mass[i] / lesion.edge_mm) * b.inside[i];
      const core =
        1 - lesion.core_loss * clamp((mass[i] - lesion.core_mm[0]) / (lesion.core_mm[1] - lesion.core_mm[0]));
      image[i] += p * (lesion.plaque - image[i]);
      image[i] += m * (lesion.mass * core - image[i]);
      if (plaque[i] > 0 && b.white[i] > 0.5) truth[i] = 1;
      if (mass[i] > 0 && b.inside[i] > 0.5) truth[i] = 2;
    }
    return { image, truth };
  }

  // sqrt((s + a)^2 + b^2), a and b normal: what the magnitude of a noisy complex signal is
  const rician = (image, sigma, noise) =>
    image.map((s, i) => Math.hypot(s + sigma * noise[i], sigma * noise[image.length + i]));

  function dice(found, truth) {
    let both = 0,
      all = 0;
    found.forEach((label, i) => {
      both += label > 0 && truth[i] > 0;
      all += (label > 0) + (truth[i] > 0);
    });
    return all ? (2 * both) / all : NaN;
  }

  // In the worker: answers to `{net, image, n, passes}`; the levels are kept, so that dropout repeats the way up only.
  function serve(unet, random, pages) {
    const nets = {};
    let last = {};
    onmessage = ({ data: { net: name, image, n, passes, number } }) => {
      const net = (nets[name] ||= unet(pages[name])),
        start = performance.now();
      if (image) last = { name, seen: net.encode(net.standardise(image), n, n) };
      const rng = random(1),
        answers = passes
          ? Array.from({ length: passes }, () =>
              net.probabilities(net.decode(last.seen, net.draw(last.seen, rng.uniform)))
            )
          : [net.probabilities(net.decode(last.seen))];
      postMessage({
        classes: net.classes(answers[0]),
        ...net.entropies(answers),
        passes,
        number,
        ms: performance.now() - start,
      });
    };
  }

  function worker() {
    const source = `(${serve})(${Live.unet}, ${Live.random}, ${JSON.stringify(Live.files.network)})`;
    return new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  }

  Live.instrument("paint", () => ({
    title: "Draw a lesion. Does the network see it?",
    tries:
      "turn up the noise: from which point on does it miss what you still see? It learnt with at most 4 %. " +
      "Then paint over the " +
      "ventricles, where it never saw a lesion; then plaques of 6 mm, for the network without skips.",
    files: ["slices"], // the network has some 200 kB, and comes when somebody wants to paint
    controls: {
      kind: { label: "paint", options: { "a plaque": 1, "a mass": 2, "nothing (rub out)": 0 } },
      size: { label: "brush", min: 4, max: 30, step: 1, value: 11, text: (x) => `${x} mm` },
      noise: { label: "noise", min: 0, max: 0.4, step: 0.01, value: 0.02, text: (x) => `${Math.round(100 * x)} %` },
      net: { label: "network", options: { "with skips": "skips", "trained without skips": "no_skips" } },
      unsure: {
        label: "uncertainty",
        options: { "entropy of its answer": "total", [`disagreement of ${PASSES} dropout passes`]: "disagreement" },
      },
    },
    make(ui) {
      ui.views.classList.add("ml-small");
      const b = canvas(),
        n = b.n,
        rng = Live.random(3),
        noise = Float32Array.from({ length: 2 * n * n }, rng.normal);
      const plaque = new Float32Array(n * n).fill(NOTHING),
        mass = plaque.slice();
      const scan = ui.add(
        Live.image(n, n, "Paint here, with mouse or finger; or move with the arrow keys and press Enter")
      );
      const answer = ui.add(Live.image(n, n, "What the network says")),
        doubt = ui.add(Live.image(n, n, "Where it is unsure"));
      answer.caption("What the network says: ");
      answer.figure.lastChild.append(
        ...[1, 2].flatMap((k) => [
          Live.node("i", { class: "ml-swatch", style: `background:rgb(${COLOUR[k]})` }),
          `${KINDS[k]} `,
        ])
      );
      const clear = () => {
        plaque.fill(NOTHING);
        mass.fill(NOTHING);
      };
      let cursor = [80, 50],
        busy = false,
        again = false,
        number = 0,
        asked,
        now,
        said,
        later;
      const voxel = ([column, row]) => [n - 1 - column, n - 1 - row];
      const paint = () => {
        const { kind, size } = ui.v;
        for (const [depth, mine] of [
          [plaque, 1],
          [mass, 2],
        ])
          if (kind === mine || kind === 0) stamp(depth, b, voxel(cursor), size / 2, kind === 0);
        ui.redraw();
      };
      scan.onPoint(
        cursor,
        (column, row, pointer) => {
          cursor = [column, row];
          if (pointer) paint();
          else ui.redraw();
        },
        { pressed: paint, step: 2 }
      );
      stamp(plaque, b, voxel([45, 52]), 5.5);
      stamp(mass, b, voxel([82, 74]), 12);
      ui.button("clear", clear);

      let wakes = async () => {
        wakes = () => {};
        ui.say("the network is on its way");
        try {
          await Live.load("network");
        } catch (error) {
          ui.say(`the network cannot be had: ${error.message}`);
          return;
        }
        asked = worker();
        asked.onmessage = ({ data }) => hear(data);
        asked.onerror = (event) => ui.say(`the network cannot run here: ${event.message}`);
        ask(0);
      };
      for (const event of ["pointerenter", "pointerdown", "focusin"]) ui.root.addEventListener(event, () => wakes());

      function ask(passes) {
        if (!asked) return;
        if (busy) {
          again = true;
          return;
        }
        busy = true;
        asked.postMessage({ net: ui.v.net, image: passes ? undefined : now.noisy, n, passes, number });
      }
      function hear(data) {
        busy = false;
        if (!data.passes) said = data;
        else if (data.number === number) said = { ...said, disagreement: data.disagreement, passes: data.passes };
        if (again) {
          again = false;
          ask(0);
        } else if (!data.passes && ui.v.unsure === "disagreement") later = setTimeout(() => ask(PASSES), 150);
        tell();
      }
      function tell() {
        const of = Live.files.network[ui.v.net],
          share = said.classes,
          score = dice(share, now.truth),
          map = said[ui.v.unsure],
          waits = ui.v.unsure === "disagreement" && !said.passes;
        const count = (labels) => labels.reduce((total, label) => total + (label > 0), 0),
          area = (labels) => ((count(labels) * b.mm ** 2) / 100).toFixed(1);
        answer.paint(
          (i) => now.noisy[i] / 1.3,
          (i) => share[i] && [...COLOUR[share[i]], 0.65]
        );
        doubt.map((i) => (waits ? 0 : map[i] / (ui.v.unsure === "total" ? 1 : 0.3)));
        doubt.caption(
          ui.v.unsure === "total"
            ? "Where it is unsure: the entropy of its answer, 0 to 1 nat"
            : "Where its dropout passes disagree: mutual information, 0 to 0.3 nat"
        );
        ui.say(
          `painted ${area(now.truth)} cm², found ${area(share)} cm²; Dice ` +
            `${Number.isNaN(score) ? "has no meaning: there is nothing, and nothing was found" : score.toFixed(2)}. ` +
            `On unseen patients this network reaches ${of.dice_int8.toFixed(2)}; it has ` +
            `${of.parameters.toLocaleString("en")} weights and took ${said.ms.toFixed(0)} ms`
        );
        ui.root.dataset.answered = number;
      }
      return (v) => {
        const { image, truth } = painted(b, plaque, mass);
        now = { noisy: rician(image, v.noise, noise), truth };
        number++;
        clearTimeout(later);
        scan.paint((i) => now.noisy[i] / 1.3);
        scan.ring(...cursor, v.size / 2 / b.mm);
        if (!asked) {
          answer.paint((i) => now.noisy[i] / 1.3);
          doubt.paint(() => 0);
          ui.say("A plaque and a mass are painted. Touch the picture: a network comes into your browser, and answers here");
        }
        ask(0);
      };
    },
  }));

  Object.assign(Live, { stamp, painted, rician, dice, paintCanvas: canvas });
})();
