// A brain to paint lesions on, and the trained U-Net that answers: for paint.js and protocol.js.
(() => {
  "use strict";
  const COLOUR = [null, [213, 94, 0], [204, 121, 167]],
    KINDS = ["", "plaque", "mass"],
    NOTHING = -99,
    BRIGHTEST = 1.3; // of white matter's signal: what is shown as white
  const clamp = (x) => Math.max(0, Math.min(1, x));

  function canvas() {
    const b = Live.brain(),
      share = (text) => Float32Array.from(Live.bytes(text), (byte) => byte / 255);
    return { ...b, white: share(b.white), grey: share(b.grey), inside: share(b.inside) };
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

  // the instrument's two controls of the brush
  const BRUSH = {
    kind: { label: "paint", options: { "a plaque": 1, "a mass": 2, "nothing (rub out)": 0 } },
    size: { label: "brush", min: 4, max: 30, step: 1, value: 11, text: (x) => `${x} mm` },
  };

  // The picture to paint on, by pointer, finger or keys; a plaque and a mass are there already.
  function easel(ui, b) {
    const { n } = b,
      plaque = new Float32Array(n * n).fill(NOTHING),
      mass = plaque.slice();
    const scan = ui.add(
      Live.image(n, n, "Paint here, with mouse or finger; or move with the arrow keys and press Enter")
    );
    let cursor = [80, 50];
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
    ui.button("clear", () => {
      plaque.fill(NOTHING);
      mass.fill(NOTHING);
    });
    const show = (image) => {
      scan.paint((i) => image[i] / BRIGHTEST);
      scan.ring(...cursor, ui.v.size / 2 / b.mm);
    };
    return { plaque, mass, show };
  }

  // The picture with the answer's classes in colour; without them the scan alone.
  function reply(ui, n) {
    const answer = ui.add(Live.image(n, n, "What the network says"));
    answer.caption("What the network says: ");
    answer.figure.lastChild.append(
      ...[1, 2].flatMap((k) => [
        Live.node("i", { class: "ml-swatch", style: `background:rgb(${COLOUR[k]})` }),
        `${KINDS[k]} `,
      ])
    );
    return (image, classes) =>
      answer.paint(
        (i) => image[i] / BRIGHTEST,
        (i) => classes?.[i] && [...COLOUR[classes[i]], 0.65]
      );
  }

  const area = (labels, { mm }) =>
    ((labels.reduce((total, label) => total + (label > 0), 0) * mm ** 2) / 100).toFixed(1);

  function score(found, truth, b) {
    const value = dice(found, truth);
    return (
      `painted ${area(truth, b)} cm², found ${area(found, b)} cm²; Dice ` +
      `${Number.isNaN(value) ? "has no meaning: there is nothing, and nothing was found" : value.toFixed(2)}`
    );
  }

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

  // The network in its worker, once `wake()` was called: `question(passes)` is what it is asked, `hear(answer, idle)`
  // gets what it says. Asked while it thinks, it takes the newest question afterwards, and is not idle.
  function consult(ui, question, hear) {
    let asked,
      busy = false,
      again = false;
    function ask(passes) {
      if (!asked) return;
      if (busy) again = true;
      else {
        busy = true;
        asked.postMessage(question(passes));
      }
    }
    let wake = async () => {
      wake = () => {};
      ui.say("the network is on its way");
      try {
        await Live.load("network");
      } catch (error) {
        ui.say(`the network cannot be had: ${error.message}`);
        return;
      }
      asked = worker();
      asked.onmessage = ({ data }) => {
        busy = false;
        const idle = !again;
        again = false;
        if (!idle) ask(0);
        hear(data, idle);
      };
      asked.onerror = (event) => ui.say(`the network cannot run here: ${event.message}`);
      ask(0);
    };
    return { ask, wake: () => wake(), awake: () => Boolean(asked) };
  }

  Object.assign(Live, { stamp, painted, dice, score, easel, reply, consult, BRUSH, paintCanvas: canvas });
})();
