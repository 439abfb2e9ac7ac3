// Three planes through a real scan, with labels, in millimetres: data-volume="brain" or "torso".
(() => {
  "use strict";
  async function unzip(text) {
    const flow = new Blob([Live.bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(flow).arrayBuffer());
  }
  const PLANES = { axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0] }; // across, up, through
  const WAYS = [
    ["right", "left"],
    ["front", "back"],
    ["up", "down"],
  ];
  const PALETTE = [
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [230, 110, 20],
    [204, 121, 167],
    [170, 220, 120],
    [255, 190, 120],
    [150, 90, 200],
    [190, 150, 90],
    [0, 200, 220],
    [220, 40, 80],
    [250, 70, 60],
    [235, 225, 200],
    [140, 200, 190],
    [90, 110, 170],
  ];
  const KINDS = {
    brain: {
      title: "The average brain of 152 people, in three planes",
      windows: { "as it is": [0, 1.1] },
      start: [-24, -17, 20],
      value: (x) => x.toFixed(2),
      opacity: 0.35,
      tries: "find the lateral ventricles in all three planes, and follow the cortex of one side around the front.",
    },
    torso: {
      title: "A real torso CT and its organs, in three planes",
      windows: { "soft tissue": [-135, 215], lung: [-1350, 150], bone: [-500, 1000] },
      start: [62, 170, 385],
      value: (x) => `${x.toFixed(0)} HU`,
      opacity: 0.4,
      tries:
        "find the liver and both kidneys in each plane. Then choose bone and take the labels away. The " +
        "labels are a model's answer (TotalSegmentator): where is it wrong?",
    },
  };
  const told = (mm) => mm.map((x, d) => `${Math.abs(x).toFixed(0)} mm ${WAYS[d][x < 0 ? 1 : 0]}`).join(", ");

  Live.instrument("planes", ({ volume = "brain" }) => ({
    title: KINDS[volume].title,
    tries: KINDS[volume].tries,
    files: [`volume-${volume}`],
    controls: {
      window: { label: "window", options: KINDS[volume].windows },
      opacity: {
        label: "labels",
        min: 0,
        max: 1,
        step: 0.05,
        value: KINDS[volume].opacity,
        text: (o) => `${Math.round(100 * o)} %`,
      },
    },
    async make(ui) {
      const kind = KINDS[volume],
        scan = Live.files[`volume-${volume}`],
        { shape, spacing_mm: mm, origin_mm: origin, low, step, names } = scan;
      const [image, labels] = await Promise.all([unzip(scan.image), unzip(scan.labels)]),
        stride = [1, shape[0], shape[0] * shape[1]];
      const at = kind.start.map((place, d) =>
        Math.max(0, Math.min(shape[d] - 1, Math.round((place - origin[d]) / mm[d])))
      );
      const key = Live.node("div", { class: "ml-key" });
      const views = Object.entries(PLANES).map(([name, [across, up, through]]) => {
        const nx = shape[across],
          ny = shape[up],
          view = ui.add(Live.image(nx, ny, name, { upright: true })),
          flip = across === 0; // the patient's right on the left
        view.canvas.style.aspectRatio = `${nx * mm[across]} / ${ny * mm[up]}`;
        const column = () => (flip ? nx - 1 - at[across] : at[across]),
          row = () => ny - 1 - at[up];
        view.onPoint([column(), row()], (c, r) => {
          at[across] = flip ? nx - 1 - c : c;
          at[up] = ny - 1 - r;
          ui.redraw();
        });
        return {
          view,
          draw: ([black, white], opacity) => {
            const place = (i) =>
              stride[across] * (flip ? nx - 1 - (i % nx) : i % nx) +
              stride[up] * (ny - 1 - Math.floor(i / nx)) +
              stride[through] * at[through];
            view.paint(
              (i) => (low + step * image[place(i)] - black) / (white - black),
              (i) => {
                const label = labels[place(i)];
                return label && opacity && [...PALETTE[(label - 1) % PALETTE.length], opacity];
              }
            );
            view.context.fillStyle = "rgba(230, 159, 0, .75)";
            view.context.fillRect(column() + 0.3, 0, 0.4, ny);
            view.context.fillRect(0, row() + 0.3, nx, 0.4);
            view.caption(`${name}, ${flip ? "the patient's right on the left" : "the front on the right"}`);
          },
        };
      });
      ui.views.classList.add("ml-small");
      names.forEach((name, k) =>
        key.append(Live.node("span", { style: `--ml-c: rgb(${PALETTE[k % PALETTE.length]})` }, name))
      );
      ui.views.after(key);
      return (v) => {
        views.forEach(({ draw }) => draw(v.window, v.opacity));
        const i = at.reduce((total, k, d) => total + k * stride[d], 0),
          place = at.map((k, d) => origin[d] + k * mm[d]);
        ui.say(`${told(place)}: ${kind.value(low + step * image[i])}${labels[i] ? `, ${names[labels[i] - 1]}` : ""}`);
      };
    },
  }));
})();
