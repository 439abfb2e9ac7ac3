function (id, data) {
  "use strict";
  // The same explorer may stand on a page twice, and a notebook may draw an output anew: each copy is set up once.
  document.querySelectorAll('[data-explorer="' + id + '"]:not([data-ready])').forEach(function (root) {
    var box = root.querySelector(".medlearn-frame");
    var image = box.querySelector("img");
    var over = image.nextElementSibling;   // what differs from the first frame lies over it
    var sliders = Array.prototype.slice.call(root.querySelectorAll("input"));
    var first = sliders[0];

    function show() {
      var frame = 0;
      sliders.forEach(function (slider, k) {
        var text = data.texts[k][slider.value];
        frame = frame * data.texts[k].length + Number(slider.value);   // the last axis runs fastest
        slider.setAttribute("aria-valuetext", text);
        slider.parentNode.querySelector("b").textContent = text;
      });
      over.hidden = !data.frames[frame][0];
      if (!over.hidden) over.src = data.frames[frame][0];
      image.alt = data.frames[frame][1];
      box.style.setProperty("--paper-only", data.frames[frame][2] || data.frames[0][2]);
    }

    sliders.forEach(function (slider) {
      slider.addEventListener("input", show);
      slider.addEventListener("keydown", function (event) { event.stopPropagation(); });   // arrows turn no pages
    });

    // A drag over the picture: its whole width is the whole first axis.
    var drag = null;
    image.addEventListener("pointerdown", function (event) {
      if (event.button || !event.isPrimary) return;
      drag = { x: event.clientX, value: Number(first.value) };
      image.setPointerCapture(event.pointerId);
    });
    image.addEventListener("pointermove", function (event) {
      if (!drag || !event.isPrimary) return;
      first.value = drag.value + Math.round((event.clientX - drag.x) / image.clientWidth * first.max);
      show();
    });
    ["pointerup", "pointercancel"].forEach(function (end) {
      image.addEventListener(end, function () { drag = null; });
    });

    root.querySelector(".medlearn-sliders").hidden = false;
    root.setAttribute("data-ready", "");
    show();
  });
}
