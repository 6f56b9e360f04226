// Look around the record: the trainings of one study by one metric; pointer or focus on one tells its settings.

/** About five round numbers between two ends. */
zscirLive.ticks = (low, high) => {
  const ten = 10 ** Math.floor(Math.log10((high - low) / 5));
  const step = ten * [1, 2, 5, 10].find(one => 5 * one * ten >= high - low), first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return [...Array(count).keys()].map(place => Number(((first + place) * step).toPrecision(6)));
};

/** A label of a study: a number as people write it, or words. */
zscirLive.labelOf = label => typeof label === "number" ? label.toLocaleString("en") : label;

zscirLive.record = figure => {
  const { settings, app } = figure, { element, field, choice } = zscirLive;
  const state = { study: settings.study, metric: settings.metrics[0][0] };
  const chart = element("div", { class: "live-chart live-record" });
  const said = element("div", { class: "live-told", role: "status" });

  /** What is known of a training. */
  const tell = ({ label, found, seeds, seconds, changed, settings: own }) => {
    const [values, mean, low, high] = found[state.metric];
    const rest = Object.entries(own).filter(([name, value]) => !changed.includes(name) && value !== "");
    const write = (name, value) => `${name} ${value}`;
    const each = seeds.map((seed, place) => `seed ${seed}: ${values[place].toFixed(1)}`).join(", ");
    said.replaceChildren(
      element("p", {}, element("strong", {}, zscirLive.labelOf(label)),
        `: ${mean.toFixed(1)} %, 95 % interval ${low.toFixed(1)} to ${high.toFixed(1)}; ${each}`),
      element("p", {}, "Settings: ", element("strong", {}, changed.map(name => write(name, own[name])).join(", ")),
        changed.length ? "; " : "", rest.map(([name, value]) => write(name, value)).join(", "),
        seconds === null ? "." : `; ${seconds} s of training.`));
  };

  const show = () => {
    const points = settings.studies[state.study].filter(point => point.found[state.metric]);
    const name = settings.metrics.find(([one]) => one === state.metric)[1];
    figure.points = points;
    said.textContent = points.length ? "Point at a training, or go to it with the Tab key, for its settings."
      : "No training of this study has this metric.";
    chart.replaceChildren(points.length ? zscirLive.dots(points, state.metric, `${name}, %`, tell) : "");
  };
  const selected = (name, options) => {
    const list = choice(options, state[name], () => { state[name] = list.value; show(); });
    return list;
  };
  const studies = Object.keys(settings.studies).map(name => [name, name]);
  app.append(
    element("div", { class: "live-controls" }, field("Study", selected("study", studies)),
      field("Metric", selected("metric", settings.metrics))), chart, said);
  show();
};

/** A line a training: its seeds as small dots, their mean as a large one on its interval. */
zscirLive.dots = (points, metric, title, tell) => {
  const { element, labelOf } = zscirLive, rowHeight = 26, bottom = 8 + rowHeight * points.length;
  const left = Math.min(140, 12 + 4.9 * Math.max(...points.map(({ label }) => labelOf(label).length)));
  const all = points.flatMap(({ found }) => found[metric].flat()), low = Math.min(...all), high = Math.max(...all);
  const room = 0.04 * (high - low) || 1, from = low - room, to = high + room;
  const across = value => left + (332 - left) * (value - from) / (to - from);
  const text = (x, y, words, anchor) => element("text", { x, y, "text-anchor": anchor }, words);
  const ticks = zscirLive.ticks(from, to).flatMap(value => [
    element("line", { class: "grid", x1: across(value), x2: across(value), y1: 4, y2: bottom }),
    text(across(value), bottom + 12, String(value), "middle"),
  ]);
  const rows = points.map((point, row) => {
    const [values, mean, ...ends] = point.found[metric], y = 8 + rowHeight * (row + 0.5), words = labelOf(point.label);
    const jitter = place => y + (values.length > 1 ? 8 * (place / (values.length - 1) - 0.5) : 0);
    const label = `${words}: ${mean.toFixed(1)} %, ${values.length} seeds`, on = () => tell(point);
    return element("g", { tabindex: 0, role: "img", "aria-label": label, onfocus: on, onpointerenter: on },
      element("rect", { x: 1, y: y - rowHeight / 2, width: 338, height: rowHeight }),
      text(left - 8, y + 3, words, "end"),
      ...values.map((value, place) => element("circle", { class: "seed", cx: across(value), cy: jitter(place), r: 2.2 })),
      element("line", { class: "interval", x1: across(ends[0]), x2: across(ends[1]), y1: y, y2: y }),
      element("circle", { cx: across(mean), cy: y, r: 4.5 }));
  });
  const box = `0 0 340 ${bottom + 30}`;
  return element("svg", { viewBox: box, role: "group", "aria-label": `${title}, a line a training` },
    ...ticks, ...rows, text((left + 332) / 2, bottom + 26, title, "middle"));
};
