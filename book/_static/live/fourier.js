// Fourier transforms of lengths that are powers of two (chapters 12 and 13).
(() => {
  "use strict";
  // in place; `sign` -1 forward, 1 back; no scale
  function fft(re, im, sign) {
    const n = re.length;
    for (let i = 1, j = 0; i < n; i++) {
      let bit = n >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j |= bit;
      if (i < j) {
        [re[i], re[j]] = [re[j], re[i]];
        [im[i], im[j]] = [im[j], im[i]];
      }
    }
    for (let size = 2; size <= n; size *= 2) {
      for (let k = 0; k < size / 2; k++) {
        const c = Math.cos((2 * Math.PI * k) / size),
          s = sign * Math.sin((2 * Math.PI * k) / size);
        for (let i = k; i < n; i += size) {
          const j = i + size / 2,
            a = re[j] * c - im[j] * s,
            b = re[j] * s + im[j] * c;
          re[j] = re[i] - a;
          im[j] = im[i] - b;
          re[i] += a;
          im[i] += b;
        }
      }
    }
  }

  // n x n, unitary, with the middle (n / 2, n / 2) as zero on both sides, as medlearn.physics.to_kspace
  function transform2(re, im, n, sign) {
    const out = { re: Float64Array.from(re), im: Float64Array.from(im) },
      half = n / 2,
      shifted = (k) => (k + half) % n;
    for (const [stride, across] of [
      [1, n],
      [n, 1],
    ])
      for (let line = 0; line < n; line++) {
        const a = Float64Array.from({ length: n }, (_, k) => out.re[line * across + shifted(k) * stride]);
        const b = Float64Array.from({ length: n }, (_, k) => out.im[line * across + shifted(k) * stride]);
        fft(a, b, sign);
        for (let k = 0; k < n; k++) {
          out.re[line * across + shifted(k) * stride] = a[k] / Math.sqrt(n);
          out.im[line * across + shifted(k) * stride] = b[k] / Math.sqrt(n);
        }
      }
    return out;
  }

  Object.assign(Live, {
    fft,
    toKSpace: (re, im, n) => transform2(re, im, n, -1),
    fromKSpace: (re, im, n) => transform2(re, im, n, 1),
  });
})();
