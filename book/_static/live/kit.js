// Figures that compute in the page. <div class="ml-live" data-instrument="ct-dose"></div> becomes an instrument: its
// script is loaded when it comes near the screen. Plain scripts beside the page, so it works from file://, too.
const Live = (() => {
  "use strict";
  const here = document.currentScript.src.replace(/[^/]*$/, "");
  const SCRIPTS = {
    paint: ["unet.js", "easel.js", "paint.js"],
    protocol: ["unet.js", "fourier.js", "easel.js", "protocol.js"],
    planes: ["planes.js"],
    softmax: ["losses.js"],
    imbalance: ["losses.js"],
    "receptive-field": ["kernels.js"],
    convolution: ["kernels.js"],
    halvings: ["kernels.js"],
    "unet-plus-plus": ["nets.js"],
    attention: ["nets.js"],
    touching: ["shapes.js"],
    surface: ["shapes.js"],
    "ct-dose": ["ct.js"],
    "ct-window": ["ct.js"],
    "mri-noise": ["mri.js"],
    "k-space": ["fourier.js", "mri.js"],
    phasors: ["ultrasound.js"],
    speckle: ["fourier.js", "ultrasound.js"],
    ensemble: ["ensemble.js"],
    calibration: ["losses.js", "calibration.js"],
    conformal: ["losses.js", "calibration.js"],
    "risk-coverage": ["calibration.js"],
    scaling: ["scaling.js"],
  };
  const instruments = {},
    files = {},
    loading = {};

  // Loading -----------------------------------------------------------------------------------------------------------

  const load = (name) =>
    (loading[name] ||= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = here + name;
      script.onload = done;
      script.onerror = () => failed(new Error(`${name} could not be loaded`));
      document.head.append(script);
    }));

  async function mount(root) {
    if (root.dataset.state) return;
    root.dataset.state = "loading";
    try {
      const name = root.dataset.instrument;
      if (!SCRIPTS[name]) throw new Error(`there is no instrument ${name}`);
      for (const script of ["plot.js", ...SCRIPTS[name]]) await load(script);
      const spec = instruments[name](root.dataset);
      for (const file of spec.files || []) await load(`${file}.js`);
      await build(root, spec);
      root.dataset.state = "ready";
    } catch (error) {
      root.dataset.state = "failed";
      root.textContent = `This figure cannot be shown: ${error.message}.`;
      console.error(error);
    }
  }

  function start() {
    const all = document.querySelectorAll(".ml-live[data-instrument]");
    if (!window.IntersectionObserver) return all.forEach(mount);
    const near = new IntersectionObserver(
      (seen) =>
        seen.forEach((entry) => {
          if (entry.isIntersecting) {
            near.unobserve(entry.target);
            mount(entry.target);
          }
        }),
      { rootMargin: "800px" }
    );
    all.forEach((root) => near.observe(root));
  }

  // The frame of an instrument ----------------------------------------------------------------------------------------

  // `node("b", {class: "x"}, "text", child)`
  function node(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  async function build(root, spec) {
    const views = node("div", { class: "ml-views" }),
      controls = node("div", { class: "ml-controls" });
    const says = node("output", { class: "ml-says", "aria-live": "polite" });
    root.replaceChildren(
      node("p", { class: "ml-title" }, spec.title),
      views,
      controls,
      says,
      node("p", { class: "ml-try" }, node("b", {}, "Try: "), spec.tries)
    );
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", spec.title);
    const v = {},
      texts = [],
      shown = [];
    let asked = false;
    const ui = {
      root,
      views,
      controls,
      v,
      files,
      say: (text) => {
        if (says.textContent !== text) says.textContent = text;
      },
      add: (view) => {
        views.append(view.figure);
        shown.push(view);
        return view;
      },
      // draws at the next frame, once for all that has changed since
      redraw: () => {
        if (!asked) {
          asked = true;
          requestAnimationFrame(drawNow);
        }
      },
      button: (label, act) => {
        const button = node("button", { type: "button" }, label);
        button.addEventListener("click", () => {
          act();
          ui.redraw();
        });
        controls.append(button);
        return button;
      },
      set: (name, value) => {
        inputs[name].value = value;
        inputs[name].dispatchEvent(new Event("input"));
      },
    };
    const inputs = {};
    for (const [name, options] of Object.entries(spec.controls || {})) {
      const made = control(name, options, v, ui.redraw);
      inputs[name] = made.input;
      texts.push(made.text);
      controls.append(made.label);
    }
    const draw = await spec.make(ui);
    function drawNow() {
      asked = false;
      draw(v);
      const values = texts.map((text) => text()).join(", ");
      shown.forEach((view) => view.describe(values));
    }
    drawNow();
  }

  // A slider, a choice or a tick, which keeps its value in `v[name]`.
  function control(name, { label, min, max, step, value, text = String, options, tick }, v, changed) {
    if (options) {
      const input = node("select", {}, ...Object.keys(options).map((key) => node("option", {}, key)));
      input.value = value ?? Object.keys(options)[0];
      const take = () => {
        v[name] = options[input.value];
      };
      take();
      input.addEventListener("input", () => {
        take();
        changed();
      });
      return { input, label: node("label", {}, node("span", {}, label), input), text: () => `${label} ${input.value}` };
    }
    if (tick) {
      const input = node("input", { type: "checkbox" });
      input.checked = v[name] = Boolean(value);
      input.addEventListener("input", () => {
        v[name] = input.checked;
        changed();
      });
      return {
        input,
        label: node("label", { class: "ml-tick" }, input, node("span", {}, label)),
        text: () => `${label} ${v[name] ? "on" : "off"}`,
      };
    }
    const input = node("input", { type: "range", min, max, step, value, autocomplete: "off", "aria-label": label });
    const said = node("b");
    const take = () => {
      v[name] = Number(input.value);
      said.textContent = text(v[name]);
      input.setAttribute("aria-valuetext", said.textContent);
    };
    take();
    input.addEventListener("input", () => {
      take();
      changed();
    });
    input.addEventListener("keydown", (event) => event.stopPropagation()); // arrows turn no pages
    return {
      input,
      label: node("label", {}, node("span", {}, `${label}: `, said), input),
      text: () => `${label} ${said.textContent}`,
    };
  }

  function figure(content, caption) {
    const made = node("figure", {}, content, node("figcaption", {}, caption));
    return {
      figure: made,
      caption: (text) => {
        made.lastChild.textContent = text;
        caption = text;
      },
      describe: (values) => content.setAttribute("aria-label", values ? `${caption} (${values})` : caption),
    };
  }

  // Pictures ----------------------------------------------------------------------------------------------------------

  // A canvas of nx x ny voxels. An array lies as in medlearn, (x, y) to the patient's right and front, y fastest; the
  // picture is radiological: the patient's right on the left, the front on top. `upright` is an array (row, column).
  function image(nx, ny, caption, { upright = false, smooth = true } = {}) {
    const canvas = node("canvas", { role: "img", width: nx, height: ny });
    if (!smooth) canvas.classList.add("ml-sharp");
    const context = canvas.getContext("2d"),
      pixels = context.createImageData(nx, ny),
      view = figure(canvas, caption);
    const at = upright ? (column, row) => row * nx + column : (column, row) => (nx - 1 - column) * ny + (ny - 1 - row);
    view.canvas = canvas;
    view.context = context;
    // `grey(i)` is 0..1; `over(i)` is [red, green, blue, opacity], or nothing
    view.paint = (grey, over = () => null) => {
      for (let row = 0, o = 0; row < ny; row++)
        for (let column = 0; column < nx; column++, o += 4) {
          const i = at(column, row),
            g = 255 * Math.max(0, Math.min(1, grey(i))),
            c = over(i),
            a = c ? c[3] : 0;
          for (let k = 0; k < 3; k++) pixels.data[o + k] = g * (1 - a) + (c ? c[k] * a : 0);
          pixels.data[o + 3] = 255;
        }
      context.putImageData(pixels, 0, 0);
    };
    view.map = (share) =>
      view.paint(
        () => 0,
        (i) => [...viridis(share(i)), 1]
      );
    // a ring around a voxel (column, row of the picture)
    view.ring = (column, row, radius, colour = "#E69F00") => {
      context.strokeStyle = colour;
      context.lineWidth = Math.max(1, nx / 100);
      context.beginPath();
      context.arc(column + 0.5, row + 0.5, radius, 0, 2 * Math.PI);
      context.stroke();
    };
    // `moved(column, row)` by pointer, finger or arrow keys; a finger that moves up or down scrolls the page instead
    view.onPoint = (start, moved, { pressed = () => {}, step = 1 } = {}) => {
      canvas.tabIndex = 0;
      canvas.classList.add("ml-touch");
      // `from` is where a button or finger went down. A finger draws once it has gone sideways, or when it lifts: a tap
      let [column, row] = start,
        from = null,
        drawing = false;
      const go = (event) => {
        const box = canvas.getBoundingClientRect();
        column = Math.max(0, Math.min(nx - 1, Math.floor(((event.clientX - box.left) / box.width) * nx)));
        row = Math.max(0, Math.min(ny - 1, Math.floor(((event.clientY - box.top) / box.height) * ny)));
        moved(column, row, true);
      };
      canvas.addEventListener("pointerdown", (event) => {
        if (event.button || !event.isPrimary) return;
        from = event;
        drawing = event.pointerType !== "touch";
        canvas.setPointerCapture(event.pointerId);
        if (drawing) go(event);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!from || !event.isPrimary) return;
        const dx = Math.abs(event.clientX - from.clientX),
          dy = Math.abs(event.clientY - from.clientY);
        if (!drawing && dy > dx)
          from = null; // the page scrolls
        else if (drawing || dx > 3) {
          drawing = true;
          go(event);
        }
      });
      canvas.addEventListener("pointerup", (event) => {
        if (from) go(event);
        from = null;
      });
      canvas.addEventListener("pointercancel", () => {
        from = null;
      });
      canvas.addEventListener("keydown", (event) => {
        const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (way) {
          column = Math.max(0, Math.min(nx - 1, column + way[0] * step));
          row = Math.max(0, Math.min(ny - 1, row + way[1] * step));
          moved(column, row, false);
        } else if (event.key === "Enter" || event.key === " ") pressed(column, row);
        else return;
        event.preventDefault();
        event.stopPropagation();
      });
    };
    return view;
  }

  const VIRIDIS = [
    [68, 1, 84],
    [59, 82, 139],
    [33, 145, 140],
    [94, 201, 98],
    [253, 231, 37],
  ];
  function viridis(share) {
    const t = 4 * Math.max(0, Math.min(1, share)),
      k = Math.min(3, Math.floor(t)),
      f = t - k;
    return VIRIDIS[k].map((c, i) => c + f * (VIRIDIS[k + 1][i] - c));
  }

  // Data and numbers --------------------------------------------------------------------------------------------------

  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  // the slice of the MNI152 brain: T1, white matter about 1, and the tissue of each voxel
  function brain() {
    const s = files.slices.brain;
    return { ...s, t1: Float32Array.from(bytes(s.t1), (b) => (b / 255) * s.t1_range), tissue: bytes(s.tissue) };
  }

  // Random numbers from a seed, the same on every machine (mulberry32).
  function random(seed) {
    let state = seed >>> 0,
      spare = null;
    const uniform = () => {
      let t = (state = (state + 0x6d2b79f5) | 0);
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const normal = () => {
      if (spare !== null) {
        const kept = spare;
        spare = null;
        return kept;
      }
      const r = Math.sqrt(-2 * Math.log(1 - uniform())),
        a = 2 * Math.PI * uniform();
      spare = r * Math.sin(a);
      return r * Math.cos(a);
    };
    const poisson = (mean) => {
      if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal()));
      const end = Math.exp(-mean);
      let count = 0,
        p = uniform();
      while (p > end) {
        count++;
        p *= uniform();
      }
      return count;
    };
    return { uniform, normal, poisson };
  }

  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const mean = (values) => sum(values) / values.length;
  const sd = (values) => {
    const m = mean(values);
    return Math.sqrt(mean(values.map((x) => (x - m) ** 2)));
  };

  const api = {
    node,
    figure,
    image,
    viridis,
    bytes,
    brain,
    random,
    sum,
    mean,
    sd,
    mount,
    files,
    load: (file) => load(`${file}.js`), // data that is wanted later than `spec.files`
    scripts: SCRIPTS,
    instrument: (name, spec) => {
      instruments[name] = spec;
    },
    file: (name, data) => {
      files[name] = data;
    },
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
  return api;
})();
