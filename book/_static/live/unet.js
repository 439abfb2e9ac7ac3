// The U-Net of chapter 7 in plain JavaScript, from what medlearn.export.page_network wrote: one thread, no library.
// It needs nothing around it, so that a worker can be made of its source. Maps are Float32Array, channel first.
Live.unet = function unet(page) {
  "use strict";
  const raw = Uint8Array.from(atob(page.weights), (c) => c.charCodeAt(0)),
    view = new DataView(raw.buffer);
  const widths = page.widths,
    depth = widths.length - 1;
  let at = 0;

  // s and bias as float32, then the whole numbers q: w = s q
  function read(out, inn, size) {
    const n = inn * size * size,
      w = new Float32Array(out * n),
      bias = new Float32Array(out);
    for (let o = 0; o < out; o++) {
      const scale = view.getFloat32(at + 4 * o, true);
      bias[o] = view.getFloat32(at + 4 * (out + o), true);
      for (let k = 0; k < n; k++) w[o * n + k] = scale * view.getInt8(at + 8 * out + o * n + k);
    }
    at += 8 * out + out * n;
    return { out, inn, size, w, bias };
  }
  const two = (inn, out) => {
    const first = read(out, inn, 3);
    return [first, read(out, out, 3)];
  };
  const down = widths.map((w, i) => two(i ? widths[i - 1] : 1, w));
  const narrow = widths.slice(1).map((coarse, i) => read(widths[i], coarse, 1));
  const up = widths.slice(0, depth).map((w) => two(page.skips ? 2 * w : w, w));
  const head = read(page.classes, widths[0], 1);

  // `maps` lie side by side as the channels of one; zeros around
  function conv({ out, inn, size, w, bias }, maps, height, width, relu) {
    const n = height * width,
      W = width + 2,
      P = (height + 2) * W,
      padded = new Float32Array(inn * P),
      y = new Float32Array(out * n);
    let c = 0;
    for (const map of maps)
      for (let k = 0; k < map.length / n; k++, c++) {
        for (let i = 0; i < height; i++)
          padded.set(map.subarray(k * n + i * width, k * n + (i + 1) * width), c * P + (i + 1) * W + 1);
      }
    for (let o = 0; o < out; o++) {
      y.fill(bias[o], o * n, (o + 1) * n);
      for (c = 0; c < inn; c++) {
        const f = (o * inn + c) * size * size;
        if (size === 1) {
          const a = w[f];
          for (let i = 0; i < height; i++)
            for (let p = c * P + (i + 1) * W + 1, z = o * n + i * width, end = z + width; z < end; z++, p++)
              y[z] += a * padded[p];
          continue;
        }
        const a0 = w[f],
          a1 = w[f + 1],
          a2 = w[f + 2],
          a3 = w[f + 3],
          a4 = w[f + 4],
          a5 = w[f + 5],
          a6 = w[f + 6],
          a7 = w[f + 7],
          a8 = w[f + 8];
        for (let i = 0; i < height; i++)
          for (let p = c * P + i * W, z = o * n + i * width, end = z + width; z < end; z++, p++) {
            y[z] +=
              a0 * padded[p] +
              a1 * padded[p + 1] +
              a2 * padded[p + 2] +
              a3 * padded[p + W] +
              a4 * padded[p + W + 1] +
              a5 * padded[p + W + 2] +
              a6 * padded[p + 2 * W] +
              a7 * padded[p + 2 * W + 1] +
              a8 * padded[p + 2 * W + 2];
          }
      }
      if (relu) for (let z = o * n; z < (o + 1) * n; z++) if (y[z] < 0) y[z] = 0;
    }
    return y;
  }
  const block = ([first, second], maps, h, w) => conv(second, [conv(first, maps, h, w, true)], h, w, true);

  function halve(map, h, w) {
    const y = new Float32Array(map.length / 4);
    for (let i = 0, k = 0; i < map.length / w; i += 2)
      for (let j = 0; j < w; j += 2, k++) {
        y[k] = Math.max(map[i * w + j], map[i * w + j + 1], map[i * w + w + j], map[i * w + w + j + 1]);
      }
    return y;
  }
  function double(map, w) {
    const y = new Float32Array(map.length * 4);
    for (let i = 0, k = 0; i < (2 * map.length) / w; i++)
      for (let j = 0; j < 2 * w; j++, k++) y[k] = map[(i >> 1) * w + (j >> 1)];
    return y;
  }
  const masked = (map, mask) => (mask ? map.map((value, k) => value * mask[k]) : map);

  // (x - mean) / sd, as medlearn.data.scan.standardise
  function standardise(x) {
    let mean = 0,
      variance = 0;
    for (const value of x) mean += value / x.length;
    for (const value of x) variance += (value - mean) ** 2 / x.length;
    return Float32Array.from(x, (value) => (variance ? (value - mean) / Math.sqrt(variance) : 0));
  }
  // the levels, the finest first; height and width can be halved `depth` times
  function encode(x, height, width) {
    const levels = [];
    let map = x,
      h = height,
      w = width;
    down.forEach((blocks, i) => {
      if (i) {
        map = halve(map, h, w);
        h /= 2;
        w /= 2;
      }
      levels.push((map = block(blocks, [map], h, w)));
    });
    return { levels, height, width };
  }
  // logits; `masks[i]` multiplies the map of level i, as dropout does
  function decode({ levels, height, width }, masks = []) {
    let y = masked(levels[depth], masks[depth]);
    for (let i = depth - 1; i >= 0; i--) {
      const h = height >> i,
        w = width >> i;
      y = double(conv(narrow[i], [y], h / 2, w / 2, false), w / 2);
      y = masked(block(up[i], page.skips ? [levels[i], y] : [y], h, w), masks[i]);
    }
    return conv(head, [y], height, width, false);
  }
  // masks of dropout: 0 with the probability of the level, else 1 / (1 - p)
  function draw({ height, width }, uniform) {
    return widths.map((channels, i) => {
      const p = page.dropout[i],
        size = channels * (height >> i) * (width >> i);
      return p ? Float32Array.from({ length: size }, () => (uniform() < p ? 0 : 1 / (1 - p))) : null;
    });
  }
  function probabilities(logits) {
    const k = page.classes,
      n = logits.length / k,
      p = new Float32Array(logits.length);
    for (let i = 0; i < n; i++) {
      let top = -Infinity,
        total = 0;
      for (let c = 0; c < k; c++) top = Math.max(top, logits[c * n + i]);
      for (let c = 0; c < k; c++) total += p[c * n + i] = Math.exp(logits[c * n + i] - top);
      for (let c = 0; c < k; c++) p[c * n + i] /= total;
    }
    return p;
  }
  function classes(p) {
    const n = p.length / page.classes,
      best = new Uint8Array(n);
    for (let i = 0; i < n; i++)
      for (let c = 1; c < page.classes; c++) if (p[c * n + i] > p[best[i] * n + i]) best[i] = c;
    return best;
  }
  // of several answers: the entropy of the mean, and how much of it is disagreement (mutual information), in nats
  function entropies(answers) {
    const n = answers[0].length / page.classes,
      total = new Float32Array(n),
      disagreement = new Float32Array(n),
      h = (p) => (p > 0 ? -p * Math.log(p) : 0);
    for (let i = 0; i < n; i++) {
      let each = 0;
      for (let c = 0; c < page.classes; c++) {
        let mean = 0;
        for (const p of answers) {
          mean += p[c * n + i] / answers.length;
          each += h(p[c * n + i]) / answers.length;
        }
        total[i] += h(mean);
      }
      disagreement[i] = Math.max(0, total[i] - each);
    }
    return { total, disagreement };
  }
  return { standardise, encode, decode, draw, probabilities, classes, entropies };
};
