// Ask it yourself: a reference picture and a relative caption, and what each method finds.

/** The k best gallery rows, as zscir.retrieval.metrics.top_k has them: near scores rank in gallery order. */
zscirLive.topK = (scores, k, near) => {
  const found = [...scores.keys()].filter(row => scores[row] > -Infinity);
  const order = found.sort((a, b) => scores[b] - scores[a] || a - b);
  const worst = scores[order[Math.min(k, order.length) - 1]];
  const allowed = order.filter(row => scores[row] >= Math.fround(worst - near));
  let group = 0;
  const groups = allowed.map((row, place) => {
    if (place && Math.fround(scores[allowed[place - 1]] - scores[row]) > near) group++;
    return [group, row];
  });
  return groups.sort(([a, first], [b, second]) => a - b || first - second).slice(0, k).map(([, row]) => row);
};

/** Place of a gallery row in the whole ranking, from 1. */
zscirLive.rankOf = (scores, row, near) => {
  const low = Math.fround(scores[row] - near), high = Math.fround(scores[row] + near);
  return 1 + scores.reduce((ahead, score, other) =>
    ahead + Number(score > high || (score >= low && score <= high && other < row)), 0);
};

/** A point on the great circle between two vectors of length 1: the first at weight 0, the second at 1. */
zscirLive.slerp = (first, second, weight) => {
  const cosine = first.reduce((sum, value, k) => sum + value * second[k], 0);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine))), sine = Math.sin(angle);
  const share = part => sine < 1e-6 ? part : Math.sin(part * angle) / sine, a = share(1 - weight), b = share(weight);
  return zscirLive.unit(first.map((value, k) => a * value + b * second[k]));
};

/** The engine of a figure: features of a query by every method, and what they find. */
zscirLive.engine = (settings, arrays) => {
  const { unit, slerp } = zscirLive, { width, near } = settings, tower = zscirLive.tower(settings, arrays);
  const count = settings.images.length, dim = arrays.gallery.length / count;
  const gallery = [...Array(count).keys()].map(row => unit(arrays.gallery.subarray(row * dim, (row + 1) * dim)));
  const cleanings = {
    none: caption => caption,
    strip: caption => caption.replace(/^[.?, ]+|[.?, ]+$/g, ""),
    lower: caption => {
      const words = caption.toLowerCase().replace(/[.!"()*#:;~]/g, " ").split(/\s+/).filter(Boolean);
      return words.slice(0, 30).join(" ");
    },
  };
  const clean = caption => cleanings[settings.cleaning](caption);
  const prompt = caption => settings.prompt.replace("{caption}", () => clean(caption).replaceAll("*", " "));
  let last = {};
  const sum = (a, b) => unit(a.map((value, k) => value + b[k]));
  return {
    tower, prompt, clean, count,

    /** Method -> feature of length 1. What the weight does not change is kept for the next call. */
    features: (reference, caption, weight) => {
      const name = `${reference} ${caption}`;
      if (last.name !== name) {
        const word = role => arrays[role].subarray(reference * width, (reference + 1) * width);
        const composed = settings.methods.filter(({ kind }) => kind === "inversion")
          .map(({ name: role }) => [role, tower.encode(prompt(caption), word(role))]);
        last = { name, text: tower.encode(clean(caption)), composed: Object.fromEntries(composed) };
      }
      const image = gallery[reference], { text, composed } = last;
      const simple = { image: () => image, text: () => text, "image+text": () => sum(image, text),
        slerp: () => slerp(image, text, weight) };
      const found = settings.methods.map(({ name: role, kind }) => [role, composed[role] ?? simple[kind]()]);
      return Object.fromEntries(found);
    },

    /** Cosines of a feature with the gallery, in the precision that Python ranks by; the reference never counts. */
    scores: (feature, reference) => Float32Array.from(gallery, (own, row) => {
      if (settings.removed && row === reference) return -Infinity;
      let cosine = 0;
      for (let k = 0; k < dim; k++) cosine += own[k] * feature[k];
      return cosine;
    }),

    /** What a query finds by each method: the best rows, and the rank of a target where there is one. */
    answer(reference, caption, { weight = settings.weight, k = 8, target = -1 } = {}) {
      return Object.entries(this.features(reference, caption, weight)).map(([name, feature]) => {
        const scores = this.scores(feature, reference);
        const rank = target < 0 ? 0 : zscirLive.rankOf(scores, target, near);
        return { name, rows: zscirLive.topK(scores, k, near), scores, rank };
      });
    },
  };
};

zscirLive.ask = async figure => {
  const { settings, arrays, app } = figure, { element, field } = zscirLive, shelfSize = 12;
  const { images, queries } = settings;
  const engine = figure.engine = zscirLive.engine(settings, arrays);
  const picture = await zscirLive.cutter(arrays.sheet, settings.side, settings.columns);
  const state = { reference: 0, target: -1, caption: "", weight: settings.weight, page: 0 };

  const button = (words, onclick, attributes = {}) =>
    element("button", { type: "button", onclick, ...attributes }, words);

  const said = element("p", { class: "live-numbers", role: "status" });
  const prompt = element("p", { class: "live-prompt" });
  const results = element("div", { class: "live-results" });
  const line = element("p", { class: "live-line", role: "status" });
  const legend = element("legend"), shelved = element("span", { class: "live-row" });
  const reference = element("div", { class: "live-reference" });
  const wish = element("input", { type: "text", maxlength: 300, autocomplete: "off", spellcheck: "false" });
  const chosen = element("select", { onchange: () => take(Number(chosen.value)) });

  /** The pictures to choose a reference from, a page of them. */
  const fill = () => {
    const pages = Math.ceil(images.length / shelfSize);
    state.page = (state.page + pages) % pages;
    const first = state.page * shelfSize, own = images.slice(first, first + shelfSize);
    const pictures = own.map((words, place) => [picture(first + place), words]);
    legend.textContent = `Reference: pictures ${first + 1} to ${first + own.length} of ${images.length}`;
    shelved.replaceChildren(
      ...zscirLive.pictureRadios(pictures, state.reference - first, place => refer(first + place)));
  };
  const turn = step => { state.page += step; fill(); };
  const turnTo = picked => { state.page = Math.floor(picked / shelfSize); fill(); };
  const shelf = element("fieldset", { class: "live-scenes" }, legend, shelved,
    element("span", { class: "live-buttons" }, button("earlier", () => turn(-1)), button("later", () => turn(1)),
      button("the reference's page", () => turnTo(state.reference))));

  /** Another reference; its queries of the benchmark can be chosen. */
  const refer = (row, ask = true) => {
    Object.assign(state, { reference: row, target: -1 });
    reference.replaceChildren(picture(row, { role: "img", "aria-label": `The reference: ${images[row]}` }),
      element("p", {}, images[row]));
    const numbered = queries.map((query, number) => [number, query]), own = numbered.filter(([, [from]]) => from === row);
    const offers = own.map(([number, [, caption]]) => element("option", { value: number }, caption));
    const none = own.length ? "– choose –" : "– this picture has none –";
    chosen.replaceChildren(element("option", { value: -1 }, none), ...offers);
    if (ask) answer();
  };

  /** A query of the benchmark, whose target is known. */
  const take = number => {
    if (number < 0) return;
    const [row, caption, target] = queries[number];
    if (row !== state.reference) {
      refer(row, false);
      turnTo(row);
    }
    chosen.value = number;
    wish.value = caption;
    state.target = target;
    answer();
  };

  let copies = 0;
  /** Away with the line of Python, and with one that still waits for the clipboard; its number. */
  const clear = () => { line.textContent = ""; return ++copies; };

  /** Ask all methods and show what they find; a word that the tower never met is named, and nothing is asked. */
  const answer = () => {
    const caption = wish.value.trim();
    const unknown = engine.tower.unknown(`${engine.clean(caption)} ${engine.prompt(caption)}`);
    prompt.textContent = settings.methods.some(({ kind }) => kind === "inversion")
      ? `Composed prompt: “${engine.prompt(caption)}”, * is the reference's pseudo-word` : "";
    clear();
    results.hidden = true;
    Object.assign(figure, { asked: caption, found: [] });
    if (!caption || unknown.length) {
      const words = unknown.map(word => `“${word}”`).join(", ");
      said.textContent = words ? `Not asked: no caption of this build has ${words}, so the tower has not met it.`
        : "Type a relative caption, such as one of the benchmark's.";
      return;
    }
    const start = performance.now();
    figure.found = engine.answer(state.reference, caption, state);
    figure.milliseconds = performance.now() - start;
    for (const found of figure.found) list(found);
    results.hidden = false;
    said.textContent = `Answered in ${figure.milliseconds.toFixed(0)} ms` +
      `${state.target < 0 ? "." : "; the benchmark's target has an orange frame."}`;
  };

  const slider = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: state.weight });
  const share = element("span");
  const weight = element("span", { class: "live-slider" }, field("text’s share", slider), share);
  const weigh = () => {
    state.weight = slider.valueAsNumber;
    share.textContent = state.weight.toFixed(2);
    slider.setAttribute("aria-valuetext", `${state.weight.toFixed(2)} text`);
  };
  weigh();
  slider.oninput = () => { weigh(); answer(); };

  /** The query as a line of Python, for the chapter's notebook. */
  const copy = async code => {
    const own = clear(); // the line of another method must not stand here while the clipboard is asked
    const words = JSON.stringify(wish.value.trim());
    const wanted = `Query("0", ${JSON.stringify(settings.ids[state.reference])}, (${words},))`;
    const how = code.replace("{weight}", state.weight.toFixed(2));
    const python = "from dataclasses import replace; from zscir import Query; " +
      `own = replace(cirr, queries=[${wanted}]); ` +
      `retrieve(own, query_features(clip, own, ${how}), gallery, 0, k=8).ids`;
    const copied = await navigator.clipboard?.writeText(python).then(() => true, () => false);
    if (own !== copies) return; // another query, or another method, came meanwhile
    const told = copied ? "Copied, for a cell of this chapter: " : "For a cell of this chapter: ";
    line.replaceChildren(told, element("code", {}, python));
  };

  /** A row a method: its name, the rank of the target, its answers. */
  const rows = new Map(settings.methods.map(({ name, kind, code }) => {
    const title = zscirLive.unique("method"), rank = element("span"), answers = element("ol");
    const python = button("Python", () => copy(code), { "aria-label": `Copy as Python: ${name}` });
    const head = element("p", { class: "live-method" }, element("strong", { id: title }, name), rank,
      kind === "slerp" ? weight : "", python);
    results.append(element("section", { "aria-labelledby": title, "data-method": name }, head, answers));
    return [name, { rank, answers }];
  }));
  const list = ({ name, rows: found, scores, rank }) => {
    rows.get(name).rank.textContent = rank ? `target at rank ${rank}` : "";
    rows.get(name).answers.replaceChildren(...found.map((own, place) => {
      const target = own === state.target, words = `${place + 1}: ${images[own]}${target ? ", the target" : ""}`;
      const go = () => { refer(own); turnTo(own); wish.focus({ preventScroll: true }); };
      const title = `${words}, cosine ${scores[own].toFixed(3)}`, kind = target ? "live-target" : null;
      return element("li", {}, button(picture(own), go, { "aria-label": words, title, class: kind }));
    }));
  };

  const form = element("form", { class: "live-controls", onsubmit: event => {
    event.preventDefault();
    state.target = -1;
    chosen.value = -1;
    answer();
  } }, field("Relative caption", wish), element("button", { type: "submit" }, "Ask"));
  app.append(element("div", { class: "live-query" }, reference, element("div", {}, form,
    element("div", { class: "live-controls" }, field("Or one of the benchmark's", chosen),
      button("a query by chance", () => take(Math.floor(Math.random() * queries.length)))), prompt, said)),
  shelf, results, line);
  refer(queries[settings.first][0], false);
  turnTo(state.reference);
  take(settings.first);
};
