// The text tower of a small CLIP, as plain numbers: a sentence in, its feature out, the same as in Python.
//
// Letters: n tokens, W their width. Rows lie one after the other in one Float32Array.

/** Whole words of a text as open_clip cleans and splits it; `*` is a word of its own. */
zscirLive.wordsOf = text => {
  const plain = document.createElement("textarea");
  plain.innerHTML = text.replaceAll("*", " * ").replaceAll("<", "&lt;"); // HTML's names of letters become letters
  const clean = plain.value.normalize("NFC").replace(/[\u2018\u2019\u02bc]/g, "'").replace(/[\u201c\u201d]/g, '"');
  return clean.toLowerCase().match(/'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/gu) ?? [];
};

/** The error function, from its series: all terms are positive, so nothing cancels. */
zscirLive.erf = x => {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-10 * Math.abs(sum); n++) sum += term *= 2 * x * x / (2 * n + 1);
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
};

/** x weight^T + bias for n rows; four rows at once, so that a weight is read once for four. */
zscirLive.linear = (x, weight, bias) => {
  const tall = bias.length, wide = weight.length / tall, rows = x.length / wide, y = new Float32Array(rows * tall);
  for (let row = 0; row < rows; row += 4)
    for (let out = 0; out < tall; out++) {
      const at = out * wide, first = row * wide, second = first + wide, third = second + wide, fourth = third + wide;
      let a = bias[out], b = a, c = a, d = a;
      for (let k = 0; k < wide; k++) {
        const w = weight[at + k];
        a += w * x[first + k];
        b += w * x[second + k];
        c += w * x[third + k];
        d += w * x[fourth + k];
      }
      y[row * tall + out] = a;
      y[(row + 1) * tall + out] = b;
      y[(row + 2) * tall + out] = c;
      y[(row + 3) * tall + out] = d;
    }
  return y;
};

/** Rows of width W with mean 0 and variance 1, then scaled and shifted. */
zscirLive.layerNorm = (x, weight, bias) => {
  const wide = bias.length, y = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += wide) {
    let sum = 0, squares = 0;
    for (let k = 0; k < wide; k++) sum += x[start + k];
    const mean = sum / wide;
    for (let k = 0; k < wide; k++) squares += (x[start + k] - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / wide + 1e-5);
    for (let k = 0; k < wide; k++) y[start + k] = (x[start + k] - mean) * scale * weight[k] + bias[k];
  }
  return y;
};

/** What each token sees of itself and those before it, from queries, keys and values side by side [n, 3 W]. */
zscirLive.attention = (projected, wide, heads) => {
  const rows = projected.length / (3 * wide), own = wide / heads, seen = new Float32Array(rows * wide);
  for (let head = 0; head < heads; head++)
    for (let row = 0; row < rows; row++) {
      const query = 3 * wide * row + own * head, scores = new Float64Array(row + 1);
      for (let other = 0; other <= row; other++) {
        const key = 3 * wide * other + wide + own * head;
        for (let k = 0; k < own; k++) scores[other] += projected[query + k] * projected[key + k];
      }
      const most = Math.max(...scores);
      let total = 0;
      for (let other = 0; other <= row; other++)
        total += scores[other] = Math.exp((scores[other] - most) / Math.sqrt(own));
      for (let other = 0; other <= row; other++) {
        const value = 3 * wide * other + 2 * wide + own * head, share = scores[other] / total;
        for (let k = 0; k < own; k++) seen[wide * row + own * head + k] += share * projected[value + k];
      }
    }
  return seen;
};

/** A vector of length 1. */
zscirLive.unit = x => {
  const length = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));
  return Float64Array.from(x, value => value / length);
};

/** The tower of a figure's weights: `encode(text, pseudoWord)` and `unknown(text)`. */
zscirLive.tower = ({ width, heads, layers, context, weights, words }, arrays) => {
  const { linear, layerNorm, wordsOf } = zscirLive, part = {};
  let start = 0;
  for (const [name, size] of weights) part[name] = arrays.tower.subarray(start, start += size);
  const known = new Map(words);
  const add = (x, more) => x.forEach((value, place) => { x[place] = value + more[place]; });

  const block = (x, number) => {
    const weights = (name, mark = ".") => ["weight", "bias"].map(kind =>
      part[`transformer.resblocks.${number}.${name}${mark}${kind}`]);
    const projected = linear(layerNorm(x, ...weights("ln_1")), ...weights("attn.in_proj", "_"));
    add(x, linear(zscirLive.attention(projected, width, heads), ...weights("attn.out_proj")));
    const hidden = linear(layerNorm(x, ...weights("ln_2")), ...weights("mlp.c_fc"));
    add(x, linear(hidden.map(value => value * (1 + zscirLive.erf(value * Math.SQRT1_2)) / 2), ...weights("mlp.c_proj")));
  };

  return {
    /** Words that the tower's captions never had. */
    unknown: text => [...new Set(wordsOf(text))].filter(word => !known.has(word)),

    /** The feature of a text, of length 1; a pseudo-word, where there is one, stands for its `*`. */
    encode: (text, pseudoWord = null) => {
      const star = known.get("*")[0], body = wordsOf(text).flatMap(word => known.get(word));
      const tokens = [0, ...body.slice(0, context - 2), 1], end = tokens.length - 1;
      const x = new Float32Array(4 * Math.ceil(tokens.length / 4) * width); // what follows the end is never seen
      tokens.forEach((token, place) => {
        const piece = arrays.embeddings.subarray(token * width, (token + 1) * width);
        const own = pseudoWord && token === star ? pseudoWord : piece;
        x.set(own.map((value, k) => value + part.positional_embedding[place * width + k]), place * width);
      });
      for (let number = 0; number < layers; number++) block(x, number);
      const last = layerNorm(x.slice(end * width, (end + 1) * width), part["ln_final.weight"], part["ln_final.bias"]);
      const feature = new Float64Array(part.text_projection.length / width);
      last.forEach((value, k) => feature.forEach((sum, d) => {
        feature[d] = sum + value * part.text_projection[k * feature.length + d];
      }));
      return zscirLive.unit(feature);
    },
  };
};
