// What every live figure needs: its data, its waking, and small tools. No library, no network.
//
// A figure is a <div class="zscir-live" data-live="tau">: a still picture, what its arrays are, and these as
// text; one of them is its settings, as JSON. Nothing is read before the reader presses the button.
// zscirLive.tau(figure) then fills `figure.app`.
// In the built pages the arrays are files of their own, which a <script> fetches from beside the pages; in a
// notebook they stand in the figure itself.

window.zscirLive ??= { arrays: {} };

/** An element with attributes and children; a property such as `onclick` is set, other names are attributes. */
zscirLive.element = (tag, attributes = {}, ...children) => {
  const space = ["svg", "path", "line", "circle", "rect", "text", "g"].includes(tag) ? "http://www.w3.org/2000/svg" : null;
  const made = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) made[name] = value;
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

/** The text of an array: in the figure, or in the file that the build of the pages made of it. */
zscirLive.textOf = async (root, name) => {
  const inside = root.querySelector(`script[data-array="${name}"]`);
  if (inside?.textContent.trim()) return inside.textContent.trim();
  if (!(name in zscirLive.arrays))
    await new Promise((done, failed) => {
      const top = document.documentElement.dataset.content_root ?? "./";
      const src = `${top}_static/live/${name}.js`;
      const missing = () => failed(new Error(`its data ${src} cannot be read`));
      document.head.append(zscirLive.element("script", { src, onload: done, onerror: missing }));
    });
  return zscirLive.arrays[name];
};

/** The bytes that base64 text stands for. */
zscirLive.fromBase64 = text => {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place++) bytes[place] = letters.charCodeAt(place);
  return bytes;
};

/** An array that Python packed: base64, gzip, and the bytes of all numbers sorted by their place in a number. */
zscirLive.read = async (root, { name, type }) => {
  const packed = new Blob([zscirLive.fromBase64(await zscirLive.textOf(root, name))]);
  const stream = packed.stream().pipeThrough(new DecompressionStream("gzip"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  if (type === "uint8") return planes;
  const bytes = new Uint8Array(planes.length), count = planes.length / 4;
  for (let plane = 0; plane < 4; plane++)
    for (let place = 0; place < count; place++) bytes[4 * place + plane] = planes[plane * count + place];
  return new Float32Array(bytes.buffer);
};

/** A canvas of pixels: `colour(place)` gives red, green and blue of the place-th of width x height. */
zscirLive.paint = (canvas, width, height, colour) => {
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    image.data.set(colour(place), 4 * place);
    image.data[4 * place + 3] = 255;
  }
  context.putImageData(image, 0, 0);
};

/** A name that no other element of the page has, for labels. */
zscirLive.unique = (() => {
  let count = 0;
  return word => `zscir-${word}-${++count}`;
})();

/** A labelled control: [label, control] in one box. */
zscirLive.field = (words, control) => {
  control.id ||= zscirLive.unique("field");
  return zscirLive.element("span", { class: "live-field" },
    zscirLive.element("label", { for: control.id }, words), control);
};

/** A <select> of [value, words] pairs. */
zscirLive.choice = (options, value, onchange) => {
  const list = options.map(([one, words]) =>
    zscirLive.element("option", { value: one, selected: one === value }, words));
  return zscirLive.element("select", { onchange }, ...list);
};

/** Radio buttons under pictures, of [canvas, words] pairs. */
zscirLive.pictureRadios = (pictures, chosen, onchange) => {
  const { element } = zscirLive, name = zscirLive.unique("picture");
  return pictures.map(([canvas, words], place) => {
    const radio = { type: "radio", name, "aria-label": words, checked: place === chosen };
    return element("label", { title: words }, element("input", { ...radio, onchange: () => onchange(place) }), canvas);
  });
};

/** What cuts small pictures out of a sheet (a WebP file): place of a picture -> canvas. */
zscirLive.cutter = async (bytes, side, columns) => {
  const sheet = await createImageBitmap(new Blob([bytes], { type: "image/webp" }));
  return (place, attributes = { "aria-hidden": "true" }) => {
    const canvas = zscirLive.element("canvas", { width: side, height: side, ...attributes });
    const from = [place % columns * side, Math.floor(place / columns) * side, side, side];
    canvas.getContext("2d").drawImage(sheet, ...from, 0, 0, side, side);
    return canvas;
  };
};

/** What is read of a figure once: its arrays by name; its settings are one of them. */
zscirLive.load = async root => {
  const { made, arrays: packed } = JSON.parse(root.querySelector(".live-packed").textContent), arrays = {};
  for (const [role, one] of Object.entries(packed)) arrays[role] = await zscirLive.read(root, one);
  const settings = JSON.parse(new TextDecoder().decode(arrays.settings));
  return { root, settings, arrays, made };
};

/** Wake a figure: read its data, put the live one into the place of the still one, tell when it failed. */
zscirLive.wake = async root => {
  const said = root.querySelector(".live-said"), button = root.querySelector(".live-wake");
  const start = performance.now();
  said.textContent = "Reading its data …";
  button.disabled = true;
  try {
    const figure = await zscirLive.load(root);
    figure.app = zscirLive.element("div", { class: "live-app" });
    await zscirLive[root.dataset.live](figure);
    figure.app.append(zscirLive.element("p", { class: "live-made" }, figure.made));
    root.append(figure.app);
    root.classList.add("live-awake");
    said.textContent = "";
    root.figure = figure;
    figure.app.querySelector("input, select, button").focus({ preventScroll: true });
    figure.awakeAfter = performance.now() - start;
  } catch (error) {
    said.textContent = `This figure did not wake: ${error.message}. The still one stays.`;
    button.disabled = false;
  }
};

/** Give every figure that has none its button. */
zscirLive.start = () => {
  for (const root of document.querySelectorAll(".zscir-live:not([data-ready])")) {
    root.dataset.ready = "";
    const onclick = () => zscirLive.wake(root);
    root.append(zscirLive.element("p", { class: "live-door" },
      zscirLive.element("button", { type: "button", class: "live-wake", onclick }, root.dataset.button), " ",
      zscirLive.element("span", { class: "live-said", role: "status" })));
  }
};
