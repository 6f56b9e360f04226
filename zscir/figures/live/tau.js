// Move τ: a picture, the map of a noun and the masked picture, under the reader's finger.
//
// A map comes as levels: for each pixel the largest whole number k for which the map is at least k / 100. So
// "level >= k" is just what keep_mask says at τ = k / 100, to the pixel, and a level is one byte.

/** Which pixels stay at step k, as bytes. A mask that would keep nothing keeps the map's highest (lowest) pixel. */
zscirLive.keepMask = (levels, step, keep, peak, low) => {
  const noun = keep === "noun";
  const kept = levels.map(level => Number(noun ? level >= step : level < step));
  if (!kept.includes(1)) kept[noun ? peak : low] = 1;
  return kept;
};

/** Share of the picture that is kept, and overlap (intersection over union) with the true mask. */
zscirLive.measures = (kept, truth) => {
  let shared = 0, area = 0, all = 0;
  for (let place = 0; place < kept.length; place++) {
    shared += kept[place] & truth[place];
    area += kept[place];
    all += truth[place];
  }
  return { kept: area / kept.length, IoU: shared / (area + all - shared) };
};

zscirLive.tau = figure => {
  const { settings, arrays, app } = figure, { element, field, choice, paint } = zscirLive;
  const { side } = settings, area = side * side;
  const state = { scene: 0, row: 0, step: Math.round(100 * settings.tau), keep: "noun", fill: settings.fill };
  const part = (role, number, size) => arrays[role].subarray(number * size, (number + 1) * size);
  const colour = (from, place) => from.subarray(3 * place, 3 * place + 3);
  const maskAt = step => zscirLive.keepMask(part("levels", state.row, area), step, state.keep,
    settings.peaks[state.row], settings.lows[state.row]);

  const canvases = ["picture", "map", "masked"].map(role => element("canvas", { role: "img", "data-role": role }));
  const titles = canvases.map(() => element("p"));
  const pictures = element("div", { class: "live-pictures" },
    ...canvases.map((canvas, place) => element("div", {}, canvas, titles[place])));
  const caption = element("p", { class: "live-caption" });
  const said = element("p", { class: "live-numbers", role: "status" });
  const chart = element("div", { class: "live-chart" });

  const range = { min: 0, max: 1, step: 0.01, value: settings.tau };
  const slider = element("input", { type: "range", ...range });
  const number = element("input", { type: "number", "aria-label": "τ as a number", ...range });
  const move = value => {
    if (Number.isNaN(value)) return; // a field that is being emptied
    state.step = Math.round(100 * Math.min(1, Math.max(0, value)));
    show();
  };
  slider.oninput = () => move(slider.valueAsNumber);
  number.oninput = () => move(number.valueAsNumber);
  number.onchange = () => { number.value = (state.step / 100).toFixed(2); };
  const selected = (name, options) => {
    const list = choice(options, state[name], () => { state[name] = list.value; show(); });
    return list;
  };
  const nouns = choice([], null, () => { state.row = Number(nouns.value); show(); });
  const keeps = selected("keep", [["noun", "the noun"], ["rest", "the rest"]]);
  const fills = selected("fill", [["mean", "mean colour"], ["black", "black"], ["blur", "blur"]]);

  const scenes = zscirLive.pictureRadios(settings.captions.map((words, scene) => {
    const canvas = element("canvas", { "aria-hidden": "true" }), pixels = part("pictures", scene, 3 * area);
    paint(canvas, side, side, place => colour(pixels, place));
    return [canvas, words];
  }), 0, scene => enter(scene));

  /** Another scene: its caption and nouns. */
  const enter = scene => {
    caption.textContent = `“${settings.captions[scene]}”`;
    nouns.replaceChildren(...settings.nouns[scene].map(([row, noun]) => element("option", { value: row }, noun)));
    Object.assign(state, { scene, row: settings.nouns[scene][0][0] });
    show();
  };

  const known = new Map();
  /** Kept area and IoU at all steps, counted once. */
  const curve = () => {
    const name = `${state.row} ${state.keep}`, truth = part("truths", state.row, area);
    if (!known.has(name))
      known.set(name, [...Array(101).keys()].map(step => zscirLive.measures(maskAt(step), truth)));
    return known.get(name);
  };

  /** The three pictures. */
  const draw = mask => {
    const pixels = part("pictures", state.scene, 3 * area), blurred = part("blurred", state.scene, 3 * area);
    const levels = part("levels", state.row, area), truth = part("truths", state.row, area);
    const outline = place => truth[place] && [-1, 1, -side, side].some(step => !truth[place + step]);
    const overGrey = place => {
      const [red, green, blue] = colour(pixels, place), grey = 0.299 * red + 0.587 * green + 0.114 * blue;
      return settings.colours[levels[place]].map(value => 0.65 * value + 0.35 * grey);
    };
    const fills = { mean: () => settings.mean, black: () => [0, 0, 0], blur: place => colour(blurred, place) };
    const filling = fills[state.fill];
    paint(canvases[0], side, side, place => colour(pixels, place));
    paint(canvases[1], side, side, place => outline(place) ? [255, 255, 255] : overGrey(place));
    paint(canvases[2], side, side, place => mask[place] ? colour(pixels, place) : filling(place));
  };

  /** All that follows from the state. */
  const show = () => {
    const tau = (state.step / 100).toFixed(2), noun = nouns.selectedOptions[0].textContent;
    const mask = maskAt(state.step), own = curve(), { kept, IoU } = own[state.step];
    draw(mask);
    const words = ["the picture", `map of “${noun}”, its true outline in white`, `τ = ${tau}, ${state.keep} kept`];
    words.forEach((text, place) => {
      titles[place].textContent = text;
      canvases[place].setAttribute("aria-label", place ? text : settings.captions[state.scene]);
    });
    slider.value = tau;
    if (number !== document.activeElement) number.value = tau;
    const numbers = `${(100 * kept).toFixed(1)} % kept, IoU ${IoU.toFixed(2)}`;
    slider.setAttribute("aria-valuetext", `${tau}: ${numbers}`);
    const mean = `; mean IoU of all ${settings.objects} objects ${settings.overlaps[state.step].toFixed(2)}`;
    said.textContent = `“${noun}” at τ = ${tau}: ${numbers}${state.keep === "noun" ? mean : ""}`;
    chart.replaceChildren(zscirLive.chart(settings, state, own.map(one => one.IoU), noun));
    Object.assign(figure, { state, mask, kept, IoU });
  };

  app.append(
    element("fieldset", { class: "live-scenes" }, element("legend", {}, "Scene"), ...scenes), caption,
    element("div", { class: "live-controls" }, field("Noun", nouns), field("Keep", keeps), field("Fill", fills),
      element("span", { class: "live-slider" }, field("τ", slider), number)),
    pictures, said, chart);
  enter(0);
};

/** IoU against τ: this object's own curve, and the mean over all objects where the noun is kept; dots at τ. */
zscirLive.chart = ({ band: [taus, low, high], overlaps, tau }, { step, keep }, own, noun) => {
  const { element } = zscirLive, across = value => 34 + 296 * value, down = value => 170 - 156 * value;
  const path = points => points.map(([x, y], place) => `${place ? "L" : "M"}${across(x)},${down(y)}`).join("");
  const text = (x, y, words, anchor = "start") => element("text", { x, y, "text-anchor": anchor }, words);
  const line = (kind, x1, x2, y1, y2) => element("line", { class: kind, x1, x2, y1, y2 });
  const ticks = [0, 0.25, 0.5, 0.75, 1].flatMap(value => [
    line("grid", across(0), across(1), down(value), down(value)),
    text(across(0) - 5, down(value) + 3.5, String(value), "end"),
    text(across(value), 184, String(value), "middle"),
  ]);
  const series = (kind, values, words, row) => [
    element("path", { class: kind, d: path(values.map((value, place) => [place / 100, value])) }),
    element("circle", { class: kind, cx: across(step / 100), cy: down(values[step]), r: 4.5 }),
    line(kind, 250, 264, 22 + 11 * row, 22 + 11 * row), text(268, 25 + 11 * row, words),
  ];
  const edges = [...taus.map((at, place) => [at, low[place]]), ...taus.map((at, place) => [at, high[place]]).reverse()];
  const all = keep === "noun"
    ? [element("path", { class: "band", d: path(edges) }), ...series("mean", overlaps, "all objects", 1)] : [];
  const label = `IoU of ${noun} against τ, from 0 to 1; at τ = ${(step / 100).toFixed(2)} it is ${own[step].toFixed(2)}`;
  return element("svg", { viewBox: "0 0 340 202", role: "img", "aria-label": label }, ...ticks,
    line("mark", across(tau), across(tau), down(0), down(1)), ...all, ...series("own", own, noun, 0),
    text(across(0.5), 198, "τ", "middle"), text(across(0), 10, "IoU"));
};
