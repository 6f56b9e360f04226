// Which word is it? A picture, whole or masked for one of its things, and the nouns nearest to its pseudo-words.
//
// Python ranked the nouns: for each network a list a picture, then one a masked picture, picture after picture.

zscirLive.word = async figure => {
  const { settings, arrays, app } = figure, { element, field } = zscirLive, { side, nouns } = settings;
  const picture = await zscirLive.cutter(arrays.sheet, side, settings.pictures.length);
  const state = { picture: 0, thing: -1 };
  const canvas = element("canvas", { role: "img" });
  const caption = element("p", { class: "live-caption" }), said = element("p", { role: "status" });
  const things = element("select", { onchange: () => { state.thing = Number(things.value); show(); } });
  const lists = element("div", { class: "live-words" });

  /** Where the masks of a picture begin among all masks. */
  const start = chosen => nouns.slice(0, chosen).reduce((sum, own) => sum + own.length, 0);

  /** The picture as the networks see it; what share of it is left, in percent. */
  const draw = () => {
    const area = side * side, place = start(state.picture) + state.thing;
    const mask = state.thing < 0 ? null : arrays.masks.subarray(place * area, (place + 1) * area);
    Object.assign(canvas, { width: side, height: side });
    const context = canvas.getContext("2d");
    context.drawImage(picture(state.picture), 0, 0);
    context.fillStyle = `rgb(${settings.mean})`;
    mask?.forEach((kept, at) => { if (!kept) context.fillRect(at % side, Math.floor(at / side), 1, 1); });
    return mask ? 100 * mask.reduce((sum, kept) => sum + kept, 0) / area : 100;
  };

  /** All that follows from the state. */
  const show = () => {
    const masked = state.thing >= 0, own = nouns[state.picture], words = settings.pictures[state.picture];
    const row = masked ? nouns.length + start(state.picture) + state.thing : state.picture;
    const kept = draw();
    caption.textContent = words;
    canvas.setAttribute("aria-label", masked ? `${words}, masked for “${own[state.thing]}”` : words);
    figure.found = Object.entries(settings.nearest).map(([method, found]) =>
      [method, found[row].map(([number, cosine]) => [settings.names[number], cosine])]);
    lists.replaceChildren(...figure.found.map(([method, found]) => {
      const title = zscirLive.unique("method");
      const items = found.map(([noun, cosine]) => element("li", { class: own.includes(noun) ? "live-right" : null },
        `${noun} `, element("span", {}, cosine.toFixed(2) + (own.includes(noun) ? ", shown" : ""))));
      return element("section", { "aria-labelledby": title },
        element("p", {}, element("strong", { id: title }, method)), element("ol", {}, ...items));
    }));
    const nearest = figure.found.map(([method, [[noun]]]) => `${method}: ${noun}`).join("; ");
    const how = masked ? `Masked for “${own[state.thing]}” at τ = ${settings.tau}, ${kept.toFixed(0)} % kept` : "Whole";
    said.textContent = `${how}. Nearest: ${nearest}.`;
  };

  /** Another picture, whole at first. */
  const enter = chosen => {
    Object.assign(state, { picture: chosen, thing: -1 });
    const offers = ["nothing", ...nouns[chosen]].map((noun, place) => element("option", { value: place - 1 }, noun));
    things.replaceChildren(...offers);
    show();
  };

  const radios = zscirLive.pictureRadios(settings.pictures.map((words, place) => [picture(place), words]), 0, enter);
  app.append(
    element("fieldset", { class: "live-scenes" }, element("legend", {}, "Picture"), ...radios),
    element("div", { class: "live-query" }, element("div", { class: "live-seen" }, canvas),
      element("div", {}, caption, element("div", { class: "live-controls" }, field("Masked for", things)), said)),
    lists);
  enter(0);
};
