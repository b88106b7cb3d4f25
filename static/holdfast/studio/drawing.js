/* Pictures as SVG elements: the same functions as tools_registry/studios/drawing.py and layout.py, drawn the same to the
   byte (a test holds both together), so change both or neither.

   bars(title, rows, {unit, limit, limitLabel, described})                   rows: {label, value, tone, note}
   stacked(title, parts, rows, {unit, described})                            parts: names; rows: {label, values}
   donut(title, rows, {unit, described})                                     rows: {label, value}
   columns(title, rows, {unit, described})                                   rows: {label, value, tone, note}
   lines(title, labels, series, {unit, limit, limitLabel, described})        series: {label, values}
   scatter(title, points, {xTitle, yTitle, described})                       points: {x, y, label, tone}
   heatMap(title, columns, rows, values, {words, scale, least, most, xTitle, yTitle, unit, described})
   timeline(title, rows, {unit, ticks, described})                           rows: {label, start, end, tone, note}
   flame(title, stacks, {unit, described})                                   stacks: [[names, weight], …]
   diagram(title, nodes, edges, zones, {direction, described})
       nodes: {id, label, kind, shape, tone, lines, zone}   edges: {source, target, label, tone, isDashed}
       zones: {id, label, inside, tone}
   svgText(picture)                                                          a picture as the text of a file
   number(value, unit)                                                       a figure as people read it

   tone: plain, sea, brass, coral, quiet · shape: box, square, pill, store, table · scale: amount, risk, both
   direction: right, down. Nothing throws for odd values: what cannot be drawn is said or left out. */

const SVG = "http://www.w3.org/2000/svg";
const FONT = '"Inter Variable",Inter,system-ui,-apple-system,"Segoe UI",sans-serif';
const PALETTE = {
  "card": ["#fffdf8", "#132128"],
  "raised": ["#ffffff", "#182a32"],
  "sunk": ["#f3f0e8", "#0f1b21"],
  "line": ["#e2ddd0", "#22353e"],
  "line-strong": ["#cfc8b6", "#33505c"],
  "ink": ["#14232b", "#edf2f0"],
  "ink-2": ["#4a5a62", "#b2c0c4"],
  "ink-3": ["#5c6a72", "#8f9fa5"],
  "sea": ["#0c6a66", "#3fb8ae"],
  "sea-2": ["#94bbb7", "#28706c"],
  "sea-ink": ["#ffffff", "#06201e"],
  "sea-soft": ["#dcebe8", "#143a39"],
  "sea-text": ["#0a5a57", "#76d6cd"],
  "brass": ["#e0a43a", "#d39a38"],
  "brass-2": ["#ecc583", "#8f6a2b"],
  "brass-ink": ["#14232b", "#14232b"],
  "brass-soft": ["#f7e8cb", "#3a2d14"],
  "brass-text": ["#7a4a06", "#f0c477"],
  "coral": ["#b3372b", "#ee7f70"],
  "coral-ink": ["#ffffff", "#2a0d09"],
  "coral-soft": ["#f8dfda", "#42201c"],
  "coral-text": ["#96291f", "#f6a69b"],
};
const STRONG = { plain: "ink-2", sea: "sea", brass: "brass", coral: "coral", quiet: "ink-3" };
const SOFT = { plain: "raised", sea: "sea-soft", brass: "brass-soft", coral: "coral-soft", quiet: "sunk" };
const EDGED = { plain: "line-strong", sea: "sea", brass: "brass", coral: "coral", quiet: "line-strong" };
const WORDS = { plain: "ink-2", sea: "sea-text", brass: "brass-text", coral: "coral-text", quiet: "ink-3" };
const ROUND = [
  ["sea", "sea-ink"], ["brass", "brass-ink"], ["coral", "coral-ink"], ["sea-2", "ink"], ["ink-3", "card"],
  ["brass-2", "ink"], ["coral-soft", "coral-text"], ["line-strong", "ink"],
];
const DASHES = ["", "7 4", "2 4", "10 3 2 3", "14 4", "4 2", "1 3", "12 3 3 3"];
const LEVELS = {
  amount: [["sunk", "ink"], ["sea-soft", "ink"], ["sea-2", "ink"], ["sea", "sea-ink"]],
  risk: [["sea-soft", "ink"], ["brass-soft", "ink"], ["brass", "brass-ink"], ["coral", "coral-ink"]],
  both: [["coral", "coral-ink"], ["coral-soft", "ink"], ["sunk", "ink"], ["sea-soft", "ink"], ["sea", "sea-ink"]],
};
const ROWS_MAX = 60, POINTS_MAX = 2000, NODES_MAX = 120, EDGES_MAX = 400, WIDTH = 640, BOLD = 1.08, TURN = 10;
const EMPTY = "There is nothing to draw yet.";

/* The page's own theme decides between light and dark, so each colour names both. A made sheet needs no style
   attribute and no inline style, which the page's policy refuses. */
const sheets = new WeakSet();
function adopt(place) {
  if (sheets.has(place) || typeof CSSStyleSheet === "undefined" || !("adoptedStyleSheets" in place)) return;
  const rules = Object.entries(PALETTE).map(([name, [light, dark]]) =>
    `.drawing .f-${name}{fill:light-dark(${light},${dark})}.drawing .s-${name}{stroke:light-dark(${light},${dark})}`);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rules.join(""));
  place.adoptedStyleSheets = [...place.adoptedStyleSheets, sheet];
  sheets.add(place);
}

/* Paper and ink. A part is {name, attributes, inside}. */

function part(name, attributes, ...inside) { return { name, attributes, inside }; }

function one(of, name, otherwise) {
  return Object.prototype.hasOwnProperty.call(of, name) ? of[name] : otherwise;
}

function paint(fill, stroke, width = 1) {
  const names = [];
  if (fill) names.push(`f-${fill}`);
  if (stroke) names.push(`s-${stroke}`);
  const painted = { "class": names.join(" "), fill: fill ? PALETTE[fill][0] : "none" };
  if (stroke) Object.assign(painted, { stroke: PALETTE[stroke][0], "stroke-width": width });
  return painted;
}

function say(x, y, text, { size = 13, ink = "ink", anchor = "start", weight = 400, turned = false, isClear = false } = {}) {
  const attributes = { x, y, "font-size": size };
  if (weight !== 400) attributes["font-weight"] = weight;
  if (anchor !== "start") attributes["text-anchor"] = anchor;
  if (turned) attributes.transform = `rotate(-90 ${figure(x)} ${figure(y)})`;
  if (isClear) return part("text", Object.assign(attributes, paint(ink, "card", 4), { "paint-order": "stroke" }), text);
  return part("text", Object.assign(attributes, paint(ink)), text);
}

function box(x, y, width, height, painted, roundBy = 0) {
  const attributes = { x, y, width: Math.max(width, 0), height: Math.max(height, 0) };
  if (roundBy) attributes.rx = roundBy;
  return part("rect", Object.assign(attributes, painted));
}

function rule(x1, y1, x2, y2, ink = "line", width = 1, dash = "") {
  const attributes = Object.assign({ x1, y1, x2, y2 }, paint("", ink, width));
  if (dash) attributes["stroke-dasharray"] = dash;
  return part("line", attributes);
}

function group(kind, title, ...inside) {
  return part("g", { "class": kind }, part("title", {}, title), ...inside);
}

const trees = new WeakMap();

function sheet(title, described, width, height, ...inside) {
  const root = part(
    "svg",
    {
      xmlns: SVG,
      "class": "drawing",
      viewBox: `0 0 ${figure(width)} ${figure(height)}`,
      width,
      height,
      role: "img",
      "aria-label": title,
      "font-family": FONT,
    },
    part("title", {}, title),
    part("desc", {}, described || title),
    box(0, 0, width, height, paint("card"), 8),
    ...inside,
  );
  adopt(document);
  const drawn = element(root);
  trees.set(drawn, root);
  return drawn;
}

function element(tree) {
  const made = document.createElementNS(SVG, tree.name);
  for (const [name, value] of Object.entries(tree.attributes)) {
    if (name !== "xmlns") made.setAttribute(name, typeof value === "string" ? plain(value) : figure(value));
  }
  for (const inner of tree.inside) {
    made.append(typeof inner === "string" ? document.createTextNode(plain(inner)) : element(inner));
  }
  return made;
}

function empty(title, described, said = EMPTY) {
  return sheet(title, described || said, WIDTH, 96, say(WIDTH / 2, 53, said, { ink: "ink-2", anchor: "middle" }));
}

/** A picture of this module as the text of an SVG file, with its own style for light and dark. */
export function svgText(picture) {
  const tree = trees.get(picture);
  if (!tree) return new XMLSerializer().serializeToString(picture);
  const used = new Set();
  const waiting = [tree];
  while (waiting.length) {
    const next = waiting.pop();
    for (const name of String(next.attributes.class || "").split(" ")) used.add(name);
    for (const inner of next.inside) if (typeof inner !== "string") waiting.push(inner);
  }
  const rules = [];
  for (const name of Object.keys(PALETTE)) if (used.has(`f-${name}`)) rules.push(`.f-${name}{fill:${PALETTE[name][1]}}`);
  for (const name of Object.keys(PALETTE)) if (used.has(`s-${name}`)) rules.push(`.s-${name}{stroke:${PALETTE[name][1]}}`);
  return written(tree, `@media(prefers-color-scheme:dark){${rules.join("")}}`);
}

function written(tree, style = "") {
  if (typeof tree === "string") return escaped(tree);
  const attributes = Object.entries(tree.attributes)
    .map(([name, value]) => ` ${name}="${typeof value === "string" ? escaped(value) : figure(value)}"`).join("");
  let inside = tree.inside.map((inner) => written(inner)).join("");
  if (style) inside = `<style>${style}</style>${inside}`;
  return inside ? `<${tree.name}${attributes}>${inside}</${tree.name}>` : `<${tree.name}${attributes}/>`;
}

function plain(text) {
  return text.replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "�");
}

function escaped(text) {
  return plain(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

function figure(value) {
  const tenths = Math.floor(value * 10 + 0.5) + 0;
  return String(tenths % 10 === 0 ? Math.trunc(tenths / 10) : tenths / 10).replace(/^-0$/, "0");
}

/** A figure as people read it: 1,234.5; "–" where there is none. */
export function number(value, unit = "") {
  if (finite(value) === null) return "–";
  let size = Math.abs(value);
  let behind = "";
  if (size >= 1e15) {
    const power = powerOf(size);
    behind = ` × 10^${zeros(power)}`;
    size /= power;
  } else if (size >= 1e12) {
    size /= 1e12;
    behind = " tn";
  } else if (size >= 1e9) {
    size /= 1e9;
    behind = " bn";
  }
  let decimals = size >= 1000 ? 0 : size >= 100 ? 1 : 2;
  if (size > 0 && size < 1) decimals = Math.min(8, 2 + zeros(1 / powerOf(size)));
  const isMoney = unit === "£" || unit === "$" || unit === "€";
  const hasPence = isMoney && !behind && size >= 0.01 && size < 10000;
  if (hasPence) decimals = 2;
  const factor = 10 ** decimals;
  const units = Math.floor(size * factor + 0.5);
  const whole = String(Math.floor(units / factor));
  const figures = String(units % factor).padStart(decimals, "0").slice(0, decimals), short = figures.replace(/0+$/, "");
  const rest = short && hasPence ? figures : short;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const sign = value < 0 && units ? "−" : "";
  const said = `${grouped}${rest ? "." + rest : ""}${behind}`;
  if (isMoney) return `${sign}${unit}${said}`;
  return `${sign}${said}${unit === "" || unit === "%" ? "" : " "}${unit}`;
}

function powerOf(size) {
  let power = 1;
  while (power * 10 <= size && power < 1e300) power *= 10;
  while (power > size && power > 1e-300) power /= 10;
  return power;
}

function zeros(power) {
  let count = 0;
  while (power >= 9.5) {
    power /= 10;
    count += 1;
  }
  return count;
}

function breadth(text, size) {
  let total = 0;
  for (const letter of text) {
    const point = letter.codePointAt(0);
    if (point >= 0x1100) total += 1.05;
    else if ("iIjltf.,:;|!'()[]{} /\\-".includes(letter)) total += 0.36;
    else if ("mwMW@%&—…".includes(letter)) total += 0.92;
    else if (point >= 65 && point <= 90) total += 0.7;
    else total += 0.6;
  }
  return total * size;
}

function wordsOf(text) { return text.split(/\s+/u).filter(Boolean); }

function cut(text, wide, size) {
  text = wordsOf(text).join(" ");
  if (breadth(text, size) <= wide + 0.01) return text;
  let kept = "";
  for (const letter of text) {
    if (breadth(kept + letter + "…", size) > wide) break;
    kept += letter;
  }
  return kept.trimEnd() + "…";
}

function folded(text, wide, size, most) {
  const lines = [];
  let line = "";
  const words = wordsOf(text);
  for (let index = 0; index < words.length; index += 1) {
    const longer = line ? `${line} ${words[index]}` : words[index];
    if (!line || breadth(longer, size) <= wide) {
      line = longer;
    } else if (lines.length + 1 === most) {
      line = [line, ...words.slice(index)].join(" ");
      break;
    } else {
      lines.push(line);
      line = words[index];
    }
  }
  return [...lines, line].map((each) => cut(each, wide, size));
}

function finite(value) {
  return typeof value === "number" && Number.isFinite(value) && Math.abs(value) < 1e300 ? value : null;
}

function text(value) { return value === undefined || value === null ? "" : String(value); }

function list(value) { return Array.isArray(value) ? value.filter((each) => each !== null && each !== undefined) : []; }

function ticksOf(low, high, count = 5) {
  if (high <= low) high = low + 1;
  const rough = (high - low) / count;
  const power = powerOf(rough);
  const times = [1, 2, 2.5, 5, 10].find((each) => power * each >= rough) || 10;
  const step = power * times;
  const first = Math.floor(low / step), last = Math.ceil(high / step);
  if (last - first > 40) return [low, high];
  const ticks = [];
  for (let place = first; place <= last; place += 1) ticks.push(place * step + 0);
  return ticks;
}

function more(count, noun) { return count > 0 ? `and ${count.toLocaleString("en-GB")} more ${noun} not drawn` : ""; }

function sum(values) { return values.reduce((total, value) => total + value, 0); }

function legend(names, top, mark) {
  const parts = [];
  let x = 16, y = top;
  names.forEach((name, index) => {
    const said = cut(name, 180, 13);
    const wide = 30 + breadth(said, 13) + 14;
    if (x > 16 && x + wide > WIDTH - 16) {
      x = 16;
      y += 22;
    }
    parts.push(group("key", name, mark(index, x, y), say(x + 28, y + 4.5, said, { ink: "ink-2" })));
    x += wide;
  });
  return [parts, y + 18];
}

function scaleOf(low, high, start, end) {
  return (value) => start + (value - low) / (high - low) * (end - start);
}

/* Charts */

function barRows(rows) {
  return list(rows).map((row) => ({
    label: text(row.label), value: finite(row.value), tone: row.tone || "sea", note: text(row.note),
  }));
}

export function bars(title, rows, { unit = "", limit = null, limitLabel = "Limit", described = "" } = {}) {
  const all = barRows(rows);
  const drawn = all.slice(0, ROWS_MAX);
  if (!drawn.length) return empty(title, described);
  const bound = finite(limit);
  const known = drawn.map((row) => row.value).filter((value) => value !== null);
  if (bound !== null) known.push(bound);
  const low = Math.min(0, ...known);
  let high = Math.max(0, ...known);
  if (high === low) high = low + 1;
  const said = drawn.map((row) =>
    (row.value !== null ? number(row.value, unit) : "no value") + (row.note ? ` · ${row.note}` : ""));
  const left = 16 + Math.min(200, Math.max(...drawn.map((row) => breadth(row.label, 13)))) + 12;
  const right = Math.min(200, Math.max(...said.map((each) => breadth(each, 13) * BOLD))) + 26;
  const wide = WIDTH - left - right;
  const top = bound !== null ? 34 : 12;
  const at = scaleOf(low, high, left, left + wide);
  const parts = [];
  drawn.forEach((row, index) => {
    const y = top + index * 28, words = said[index];
    const start = at(Math.min(row.value || 0, 0)), end = at(Math.max(row.value || 0, 0));
    parts.push(group(
      "bar",
      `${row.label}: ${words}`,
      say(left - 12, y + 18, cut(row.label, left - 28, 13), { anchor: "end" }),
      box(left, y + 4, wide, 20, paint("sunk"), 4),
      box(start, y + 4, Math.max(end - start, row.value ? 2 : 0), 20, paint(one(STRONG, row.tone, "sea")), 4),
      say(left + wide + 10, y + 18, cut(words, (right - 24) / BOLD, 13), { weight: 600 }),
    ));
  });
  let bottom = top + drawn.length * 28;
  if (low < 0) parts.push(rule(at(0), top, at(0), bottom, "ink-3"));
  if (bound !== null) {
    const words = `${limitLabel}: ${number(bound, unit)}`;
    const anchor = at(bound) + breadth(words, 12) < WIDTH - 12 ? "start" : "end";
    parts.push(rule(at(bound), top - 4, at(bound), bottom, "ink", 1.5, "4 3"));
    parts.push(say(at(bound), top - 12, words, { size: 12, ink: "ink-2", anchor }));
  }
  if (all.length > ROWS_MAX) {
    parts.push(say(left, bottom + 18, more(all.length - ROWS_MAX, "rows"), { ink: "ink-2" }));
    bottom += 24;
  }
  const told = described || drawn.map((row, index) => `${row.label}: ${said[index]}`).join("; ");
  return sheet(title, told, WIDTH, bottom + 12, ...parts);
}

export function stacked(title, parts, rows, { unit = "", described = "" } = {}) {
  const all = list(rows), drawn = all.slice(0, ROWS_MAX);
  const allNames = list(parts), names = allNames.slice(0, ROUND.length).map(text);
  if (!drawn.length || !names.length) return empty(title, described);
  const labels = drawn.map((row) => text(row.label));
  const kept = drawn.map((row) =>
    (Array.isArray(row.values) ? row.values : []).slice(0, names.length).map((value) => Math.max(finite(value) || 0, 0)));
  const totals = kept.map(sum);
  const high = Math.max(...totals) || 1;
  const said = totals.map((total) => number(total, unit));
  const left = 16 + Math.min(200, Math.max(...labels.map((label) => breadth(label, 13)))) + 12;
  const right = Math.min(160, Math.max(...said.map((each) => breadth(each, 13) * BOLD))) + 26;
  const wide = WIDTH - left - right;
  const [marks, top] = legend(names.map((name, index) => `${index + 1} ${name}`), 20,
    (index, x, y) => box(x, y - 7, 20, 14, paint(ROUND[index][0]), 3));
  kept.forEach((values, index) => {
    const y = top + index * 30;
    let x = left;
    const inside = [say(left - 12, y + 19, cut(labels[index], left - 28, 13), { anchor: "end" })];
    values.forEach((value, place) => {
      const share = value / high * wide;
      if (share <= 0) return;
      const piece = [box(x, y + 4, share, 22, paint(ROUND[place][0], "card"))];
      if (share >= 16) {
        piece.push(say(x + share / 2, y + 19, String(place + 1), { size: 11, ink: ROUND[place][1], anchor: "middle" }));
      }
      inside.push(group("piece", `${labels[index]}, ${names[place]}: ${number(value, unit)}`, ...piece));
      x += share;
    });
    inside.push(say(left + wide + 10, y + 19, cut(said[index], (right - 24) / BOLD, 13), { weight: 600 }));
    marks.push(group("bar", `${labels[index]}: ${said[index]}`, ...inside));
  });
  let bottom = top + drawn.length * 30;
  const leftOut = [more(all.length - ROWS_MAX, "rows"), more(allNames.length - names.length, "parts")]
    .filter(Boolean).join("; ");
  if (leftOut) {
    marks.push(say(left, bottom + 18, leftOut, { ink: "ink-2" }));
    bottom += 24;
  }
  const told = described || labels.map((label, index) => `${label}: ${said[index]}`).join("; ");
  return sheet(title, told, WIDTH, bottom + 10, ...marks);
}

export function donut(title, rows, { unit = "", described = "" } = {}) {
  let known = barRows(rows).map((row) => [row.label, Math.max(row.value || 0, 0)]).filter((row) => row[1] > 0);
  if (!known.length) return empty(title, described);
  if (known.length > ROUND.length) {
    const rest = known.slice(ROUND.length - 1);
    known = [...known.slice(0, ROUND.length - 1), [`${rest.length} others`, sum(rest.map((row) => row[1]))]];
  }
  const total = sum(known.map((row) => row[1]));
  const height = Math.max(240, 40 + known.length * 28);
  const cx = 130, cy = height / 2, outer = 104, inner = 64;
  const parts = [];
  let angle = 0;
  known.forEach(([label, value], index) => {
    const turn = value / total;
    const shape = ring(cx, cy, outer, inner, angle, angle + turn);
    const percent = number(Math.floor(turn * 1000 + 0.5) / 10, "%");
    const said = `${number(value, unit)}, ${percent}`;
    const y = height / 2 - known.length * 14 + index * 28 + 18;
    const middle = (angle + turn / 2) * 2 * Math.PI;
    const radius = (outer + inner) / 2;
    const inside = [part("path", Object.assign({ d: shape }, paint(ROUND[index][0], "card", 2)))];
    if (turn >= 0.04) {
      inside.push(say(cx + radius * Math.sin(middle), cy - radius * Math.cos(middle) + 4, String(index + 1),
        { size: 12, ink: ROUND[index][1], anchor: "middle", weight: 600 }));
    }
    parts.push(group("slice", `${label}: ${said}`, ...inside));
    const name = cut(`${index + 1} ${label}`, WIDTH - 304 - 20 - breadth(said, 13), 13);
    parts.push(group(
      "key",
      label,
      box(268, y - 11, 20, 14, paint(ROUND[index][0]), 3),
      say(298, y, name),
      say(WIDTH - 20, y, said, { anchor: "end", ink: "ink-2" }),
    ));
    angle += turn;
  });
  parts.push(say(cx, cy - 2, cut(number(total, unit), 112, 18), { size: 18, anchor: "middle", weight: 600 }));
  parts.push(say(cx, cy + 17, "in all", { size: 12, ink: "ink-2", anchor: "middle" }));
  const told = described || known.map(([label, value]) => `${label}: ${number(value, unit)}`).join("; ");
  return sheet(title, told, WIDTH, height, ...parts);
}

function ring(cx, cy, outer, inner, start, end) {
  if (end - start > 0.9999) {
    const half = start + (end - start) / 2;
    return `${ring(cx, cy, outer, inner, start, half)} ${ring(cx, cy, outer, inner, half, end - 0.00001)}`;
  }
  const first = start * 2 * Math.PI, second = end * 2 * Math.PI;
  const isLarge = end - start > 0.5 ? 1 : 0;
  const spots = [[outer, first], [outer, second], [inner, second], [inner, first]].map(([radius, angle]) =>
    `${figure(cx + radius * Math.sin(angle))} ${figure(cy - radius * Math.cos(angle))}`);
  const out = `${figure(outer)} ${figure(outer)}`, back = `${figure(inner)} ${figure(inner)}`;
  return `M${spots[0]}A${out} 0 ${isLarge} 1 ${spots[1]}L${spots[2]}A${back} 0 ${isLarge} 0 ${spots[3]}Z`;
}

function planeOf(values, unit, top, fromNothing) {
  const known = values.length ? values : [0];
  let low = Math.min(...known), high = Math.max(...known);
  if (fromNothing || low > 0 && low < high * 0.6) {
    low = Math.min(low, 0);
    high = Math.max(high, 0);
  }
  const ticks = ticksOf(low, high);
  const said = ticks.map((each) => number(each, unit));
  const left = 16 + Math.max(...said.map((each) => breadth(each, 12))) + 8;
  const bottom = top + 220;
  const at = scaleOf(ticks[0], ticks[ticks.length - 1], bottom, top);
  const parts = [];
  ticks.forEach((each, index) => {
    parts.push(rule(left, at(each), WIDTH - 16, at(each), each === 0 ? "ink-3" : "line"));
    parts.push(say(left - 8, at(each) + 4, said[index], { size: 12, ink: "ink-2", anchor: "end" }));
  });
  return { left, right: WIDTH - 16, top, bottom, at, parts };
}

function named(labels, places, room, bottom) {
  const widest = Math.min(110, Math.max(0, ...labels.map((label) => breadth(label, 12)))) + 10;
  const each = Math.max(1, Math.ceil(widest / Math.max(room, 0.1)));
  const parts = [];
  for (let index = 0; index < labels.length; index += each) {
    const said = cut(labels[index], widest, 12);
    const half = breadth(said, 12) / 2;
    const x = Math.min(Math.max(places[index], 8 + half), WIDTH - 8 - half);
    parts.push(say(x, bottom + 18, said, { size: 12, ink: "ink-2", anchor: "middle" }));
  }
  return parts;
}

export function columns(title, rows, { unit = "", described = "" } = {}) {
  const all = barRows(rows), drawn = all.slice(0, ROWS_MAX);
  if (!drawn.length) return empty(title, described);
  const plane = planeOf(drawn.map((row) => row.value).filter((value) => value !== null), unit, 24, true);
  const room = (plane.right - plane.left) / drawn.length;
  const wide = Math.min(56, room * 0.72);
  const parts = [...plane.parts];
  const places = drawn.map((_, index) => plane.left + room * (index + 0.5));
  drawn.forEach((row, index) => {
    const x = places[index], value = row.value;
    const said = value !== null ? number(value, unit) : "no value";
    const start = plane.at(Math.max(value || 0, 0)), end = plane.at(Math.min(value || 0, 0));
    const painted = paint(one(STRONG, row.tone, "sea"));
    const inside = [box(x - wide / 2, start, wide, Math.max(end - start, value ? 1 : 0), painted, 3)];
    if (breadth(said, 11) <= room) {
      inside.push(say(x, start - 5, said, { size: 11, ink: "ink-2", anchor: "middle" }));
    }
    parts.push(group("bar", `${row.label}: ${said}${row.note ? ` · ${row.note}` : ""}`, ...inside));
  });
  parts.push(...named(drawn.map((row) => row.label), places, room, plane.bottom));
  let height = plane.bottom + 34;
  if (all.length > ROWS_MAX) {
    parts.push(say(plane.left, height + 6, more(all.length - ROWS_MAX, "columns"), { ink: "ink-2" }));
    height += 20;
  }
  const told = described || drawn.map((row) => `${row.label}: ${number(row.value, unit)}`).join("; ");
  return sheet(title, told, WIDTH, height, ...parts);
}

export function lines(title, labels, series, { unit = "", limit = null, limitLabel = "Limit", described = "" } = {}) {
  const all = list(series), drawn = all.slice(0, ROUND.length);
  const names = list(labels).slice(0, POINTS_MAX).map(text);
  const titles = drawn.map((each) => text(each.label));
  const kept = drawn.map((each) => (Array.isArray(each.values) ? each.values : []).slice(0, names.length).map(finite));
  const known = kept.flat().filter((value) => value !== null);
  if (!known.length) return empty(title, described);
  const bound = finite(limit);
  const boundSaid = [];
  let [marks, top] = legend(titles, 20, (index, x, y) =>
    part("g", {}, rule(x, y, x + 22, y, lineInk(index), 2.5, DASHES[index]), dot(x + 11, y, index)));
  if (all.length > drawn.length) {
    marks.push(say(16, top + 4, more(all.length - drawn.length, "lines"), { ink: "ink-2" }));
    top += 20;
  }
  const plane = planeOf(bound !== null ? [...known, bound] : known, unit, top + 14, false);
  const room = (plane.right - plane.left) / Math.max(names.length, 1);
  const places = names.map((_, index) => plane.left + room * (index + 0.5));
  const parts = [...marks, ...plane.parts];
  if (bound !== null) {
    const y = plane.at(bound);
    const said = `${limitLabel}: ${number(bound, unit)}`;
    parts.push(rule(plane.left, y, plane.right, y, "ink", 1.5, "4 3"));
    boundSaid.push(say(plane.right, y - 6, said, { size: 12, ink: "ink-2", anchor: "end", isClear: true }));
  }
  kept.forEach((values, index) => {
    let path = "", isDown = false;
    const dots = [];
    values.forEach((value, place) => {
      if (value === null) {
        isDown = false;
        return;
      }
      path += `${isDown ? "L" : "M"}${figure(places[place])} ${figure(plane.at(value))}`;
      isDown = true;
      if (names.length <= 40) dots.push(dot(places[place], plane.at(value), index));
    });
    const stroke = Object.assign(paint("", lineInk(index), 2.5), { "stroke-linejoin": "round" });
    if (DASHES[index]) stroke["stroke-dasharray"] = DASHES[index];
    const present = values.filter((value) => value !== null);
    const first = present.length ? present[0] : null, last = present.length ? present[present.length - 1] : null;
    const told = `${titles[index]}: from ${number(first, unit)} to ${number(last, unit)}`;
    parts.push(group("series", told, part("path", Object.assign({ d: path || "M0 0" }, stroke)), ...dots));
  });
  parts.push(...boundSaid);
  parts.push(...named(names, places, room, plane.bottom));
  const told = described || kept.map((values, index) =>
    `${titles[index]}: ${values.slice(0, 24).map((value) => number(value, unit)).join(", ")}`).join("; ");
  return sheet(title, told, WIDTH, plane.bottom + 34, ...parts);
}

function lineInk(index) {
  return ["sea", "brass", "coral", "ink-2", "sea-2", "brass-text", "coral-text", "line-strong"][index];
}

function turnedSquare(x, y, spots) {
  return "M" + spots.map(([dx, dy]) => `${figure(x + dx)} ${figure(y + dy)}`).join("L") + "Z";
}

function dot(x, y, index) {
  const painted = paint("card", lineInk(index), 2);
  if (index % 4 === 0) return part("circle", Object.assign({ cx: x, cy: y, r: 3.5 }, painted));
  if (index % 4 === 1) return box(x - 3, y - 3, 6, 6, painted);
  const shape = index % 4 === 2 ? [[0, -4.5], [4.5, 0], [0, 4.5], [-4.5, 0]] : [[0, -4.5], [4, 3], [-4, 3]];
  return part("path", Object.assign({ d: turnedSquare(x, y, shape) }, painted));
}

export function scatter(title, points, { xTitle = "", yTitle = "", described = "" } = {}) {
  const all = list(points);
  const known = all.slice(0, POINTS_MAX).filter((each) => finite(each.x) !== null && finite(each.y) !== null);
  if (!known.length) return empty(title, described);
  const plane = planeOf(known.map((each) => each.y), "", 40, false);
  const ticks = ticksOf(known.reduce((low, each) => Math.min(low, each.x), Infinity),
    known.reduce((high, each) => Math.max(high, each.x), -Infinity));
  const at = scaleOf(ticks[0], ticks[ticks.length - 1], plane.left + 8, plane.right - 24);
  const parts = [...plane.parts];
  if (yTitle) parts.push(say(16, 24, cut(yTitle, WIDTH - 32, 12), { size: 12, ink: "ink-2", weight: 600 }));
  for (const each of known) {
    const said = `${each.label ? text(each.label) + ": " : ""}${number(each.x)}, ${number(each.y)}`;
    const spot = Object.assign({ cx: at(each.x), cy: plane.at(each.y), r: 4 }, paint(one(STRONG, each.tone || "sea", "sea")));
    parts.push(group("point", said, part("circle", Object.assign(spot, { "fill-opacity": "0.75" }))));
  }
  const room = (plane.right - plane.left) / ticks.length;
  parts.push(...named(ticks.map((each) => number(each)), ticks.map(at), room, plane.bottom));
  let height = plane.bottom + 34;
  const leftOut = more(all.length - POINTS_MAX, "points");
  if (xTitle || leftOut) {
    const below = cut([xTitle, leftOut].filter(Boolean).join(" · "), WIDTH - 32, 12);
    parts.push(say(plane.right, height + 4, below, { size: 12, ink: "ink-2", anchor: "end", weight: 600 }));
    height += 18;
  }
  const told = described || `${known.length.toLocaleString("en-GB")} points of ${xTitle || "x"} and ${yTitle || "y"}.`;
  return sheet(title, told, WIDTH, height, ...parts);
}

export function heatMap(title, columns, rows, values, {
  words = null, scale = "amount", least = null, most = null, xTitle = "", yTitle = "", unit = "", described = "",
} = {}) {
  const allAcross = list(columns), allDown = list(rows);
  const across = allAcross.slice(0, 40).map(text), down = allDown.slice(0, 40).map(text);
  if (!across.length || !down.length) return empty(title, described);
  const within = (of, r, c) => (Array.isArray(of) && Array.isArray(of[r]) ? of[r][c] : undefined);
  const grid = down.map((_, r) => across.map((__, c) => finite(within(values, r, c))));
  let known = grid.flat().filter((value) => value !== null);
  if (!known.length) known = [0];
  let low = least === null ? Math.min(...known) : least, high = most === null ? Math.max(...known) : most;
  if (scale === "both") {
    high = Math.max(Math.abs(low), Math.abs(high));
    low = -high;
  }
  const left = 16 + Math.min(170, Math.max(...down.map((each) => breadth(each, 13)))) + 12 + (yTitle ? 20 : 0);
  const wide = Math.max(46, Math.min(120, (WIDTH - left - 16) / across.length));
  const isTurned = across.some((each) => breadth(each, 12) > wide - 4) && across.length > 4;
  const head = isTurned ? Math.min(110, Math.max(...across.map((each) => breadth(each, 12)))) + 10 : 26;
  const top = 10 + head + (xTitle ? 20 : 0);
  const tall = 36;
  const parts = [];
  if (xTitle) parts.push(say(left, 22, cut(xTitle, wide * across.length, 12), { size: 12, ink: "ink-2", weight: 600 }));
  if (yTitle) {
    const said = cut(yTitle, tall * down.length, 12), middle = top + tall * down.length / 2;
    parts.push(say(22, middle, said, { size: 12, ink: "ink-2", anchor: "middle", weight: 600, turned: true }));
  }
  across.forEach((each, index) => {
    const x = left + wide * (index + 0.5);
    if (isTurned) parts.push(say(x + 4, top - 8, cut(each, head - 8, 12), { size: 12, ink: "ink-2", turned: true }));
    else parts.push(say(x, top - 9, cut(each, wide - 4, 12), { size: 12, ink: "ink-2", anchor: "middle" }));
  });
  down.forEach((name, r) => {
    const y = top + tall * r;
    const room = left - 28 - (yTitle ? 20 : 0);
    parts.push(say(left - 12, y + 22, cut(name, room, 13), { anchor: "end" }));
    across.forEach((other, c) => {
      const value = grid[r][c];
      const said = text(within(words, r, c)) || number(value, unit);
      const [fill, ink] = levelOf(value, low, high, one(LEVELS, scale, LEVELS.amount));
      const x = left + wide * c;
      parts.push(group(
        "cell",
        `${name}, ${other}: ${said}`,
        box(x + 1, y + 1, wide - 2, tall - 2, paint(fill), 4),
        say(x + wide / 2, y + 22, cut(said, wide - 6, 12), { size: 12, ink, anchor: "middle" }),
      ));
    });
  });
  let bottom = top + tall * down.length;
  const leftOut = [more(allDown.length - down.length, "rows"), more(allAcross.length - across.length, "columns")]
    .filter(Boolean).join("; ");
  if (leftOut) {
    parts.push(say(left, bottom + 18, leftOut, { ink: "ink-2" }));
    bottom += 22;
  }
  const told = described
    || `${down.length} rows by ${across.length} columns, from ${number(low, unit)} to ${number(high, unit)}.`;
  return sheet(title, told, Math.max(WIDTH, left + wide * across.length + 16), bottom + 14, ...parts);
}

function levelOf(value, low, high, levels) {
  if (value === null) return ["card", "ink-3"];
  const share = high > low ? (value - low) / (high - low) : 0.5;
  return levels[Math.min(levels.length - 1, Math.max(0, Math.floor(share * levels.length)))];
}

export function timeline(title, rows, { unit = "", ticks = null, described = "" } = {}) {
  const known = list(rows).filter((each) => finite(each.start) !== null);
  const drawn = known.slice(0, ROWS_MAX);
  if (!drawn.length) return empty(title, described);
  const ends = drawn.map((each) => Math.max(each.start, finite(each.end) === null ? each.start : each.end));
  let low = Math.min(...drawn.map((each) => each.start)), high = Math.max(...ends);
  let marked = list(ticks).filter((each) => finite(each[0]) !== null).map((each) => [each[0], text(each[1])]);
  if (!marked.length) marked = ticksOf(low, high).map((each) => [each, number(each, unit)]);
  low = Math.min(low, ...marked.map((each) => each[0]));
  high = Math.max(high, ...marked.map((each) => each[0]));
  if (high === low) high = low + 1;
  const left = 16 + Math.min(200, Math.max(...drawn.map((each) => breadth(text(each.label), 13)))) + 12;
  const at = scaleOf(low, high, left, WIDTH - 24);
  const top = 34;
  let bottom = 34 + drawn.length * 28;
  const parts = marked.map(([place]) => rule(at(place), top - 6, at(place), bottom, "line"));
  const room = (WIDTH - 24 - left) / Math.max(marked.length - 1, 1);
  parts.push(...named(marked.map((each) => each[1]), marked.map((each) => at(each[0])), room, 4));
  drawn.forEach((each, index) => {
    const label = text(each.label), tone = each.tone || "sea", end = ends[index];
    const y = top + index * 28, x = at(each.start);
    const wide = at(end) - x;
    const note = text(each.note) || (end > each.start ? number(end - each.start, unit) : "");
    const painted = paint(one(SOFT, tone, "sea-soft"), one(EDGED, tone, "sea"));
    const inside = [];
    let after;
    if (each.end === null || each.end === undefined) {
      const path = turnedSquare(x, y + 14, [[0, -8], [8, 0], [0, 8], [-8, 0]]);
      inside.push(part("path", Object.assign({ d: path }, painted)));
      after = x + 12;
    } else {
      inside.push(box(x, y + 4, Math.max(wide, 2), 20, painted, 4));
      after = x + Math.max(wide, 2) + 6;
    }
    const said = cut(note, 200, 12);
    const long = breadth(said, 12);
    if (said && long + 12 <= wide) inside.push(say(x + 6, y + 18, said, { size: 12 }));
    else if (said && after + long < WIDTH - 8) inside.push(say(after, y + 18, said, { size: 12, ink: "ink-2" }));
    else if (said && x - long - 8 > left) {
      inside.push(say(x - 8, y + 18, said, { size: 12, ink: "ink-2", anchor: "end" }));
    }
    inside.unshift(say(left - 12, y + 18, cut(label, left - 28, 13), { anchor: "end" }));
    parts.push(group("span", `${label}${note ? `: ${note}` : ""}`, ...inside));
  });
  if (known.length > ROWS_MAX) {
    parts.push(say(left, bottom + 16, more(known.length - ROWS_MAX, "rows"), { ink: "ink-2" }));
    bottom += 20;
  }
  const told = described || drawn.map((each, index) =>
    `${text(each.label)} from ${number(each.start, unit)} to ${number(ends[index], unit)}`).join("; ");
  return sheet(title, told, WIDTH, bottom + 14, ...parts);
}

export function flame(title, stacks, { unit = "", described = "" } = {}) {
  const frame = (name) => ({ name, weight: 0, below: new Map() });
  const root = frame("all");
  for (const [names, weight] of list(stacks)) {
    const share = finite(weight);
    if (share === null || share <= 0) continue;
    root.weight += share;
    let at = root;
    for (const name of list(names).map(text)) {
      if (!at.below.has(name)) at.below.set(name, frame(name));
      at = at.below.get(name);
      at.weight += share;
    }
  }
  if (root.weight <= 0) return empty(title, described);
  const wide = 960, tall = 22;
  const parts = [];
  let leftOut = 0, deepest = 0;
  const waiting = [[root, 0, 0]];
  while (waiting.length) {
    const [each, start, depth] = waiting.pop();
    const long = each.weight / root.weight * (wide - 32);
    if (long < 1 || depth > 60) {
      leftOut += 1;
      continue;
    }
    deepest = Math.max(deepest, depth);
    const percent = number(Math.floor(each.weight / root.weight * 1000 + 0.5) / 10, "%");
    const letters = sum(Array.from(each.name, (letter) => letter.codePointAt(0)));
    const fill = ["sunk", "sea-soft", "brass-soft", "coral-soft"][depth === 0 ? 0 : 1 + letters % 3];
    const x = 16 + start, y = 14 + depth * tall;
    const inside = [box(x, y, long, tall - 1, paint(fill, "card"), 2)];
    if (long > 30) inside.push(say(x + 5, y + 15, cut(each.name, long - 8, 12), { size: 12 }));
    parts.push(group("frame", `${each.name}: ${number(each.weight, unit)}, ${percent}`, ...inside));
    let inner = start;
    for (const child of each.below.values()) {
      waiting.push([child, inner, depth + 1]);
      inner += child.weight / root.weight * (wide - 32);
    }
  }
  let bottom = 14 + (deepest + 1) * tall;
  if (leftOut) {
    parts.push(say(16, bottom + 18, more(leftOut, "narrow or deep frames"), { ink: "ink-2" }));
    bottom += 24;
  }
  const told = described || `${number(root.weight, unit)} in all, ${deepest} calls deep at most.`;
  return sheet(title, told, wide, bottom + 12, ...parts);
}

/* Diagrams */

export function diagram(title, nodes, edges, zones = [], { direction = "right", described = "" } = {}) {
  const known = new Map();
  for (const node of list(nodes)) {
    const id = text(node.id);
    if (!known.has(id)) {
      known.set(id, {
        id, label: text(node.label), kind: text(node.kind), shape: node.shape || "box", tone: node.tone || "plain",
        lines: list(node.lines).map(text), zone: text(node.zone),
      });
    }
  }
  const drawn = new Map([...known].slice(0, NODES_MAX));
  const frames = framesOf(zones);
  if (!drawn.size && !frames.size) return empty(title, described);
  const joined = list(edges)
    .map((edge) => ({
      source: text(edge.source), target: text(edge.target), label: text(edge.label), tone: edge.tone || "plain",
      isDashed: Boolean(edge.isDashed),
    }))
    .filter((edge) => drawn.has(edge.source) && drawn.has(edge.target));
  const arrows = joined.filter((edge) => edge.source !== edge.target).slice(0, EDGES_MAX);
  const own = joined.filter((edge) => edge.source === edge.target).slice(0, EDGES_MAX);
  const isDown = direction === "down";
  const loops = new Map();
  for (const edge of own) {
    loops.set(edge.source, [...(loops.get(edge.source) || []), `↻ ${edge.label || "to itself"}`]);
  }
  const faces = new Map([...drawn].map(([id, node]) => [id, faceOf(node, loops.get(id) || [])]));
  const words = arrows.map((edge) => cut(edge.label, 150, 12));
  const turned = (along, across) => (isDown ? { along: across, across: along } : { along, across });
  const laid = layOut(
    new Map([...faces].map(([id, face]) => [id, turned(face.width, face.height)])),
    new Map([...drawn].map(([id, node]) => [id, frames.has(node.zone) ? node.zone : ""])),
    new Map([...frames].map(([id, zone]) => [id, zone.inside])),
    arrows.map((edge, index) => ({
      tail: edge.source,
      head: edge.target,
      size: words[index] ? turned(breadth(words[index], 12) + 10, 20) : { along: 0, across: 0 },
      isTurned: false,
    })),
    turned(0, 20),
  );
  const width = isDown ? laid.size.across : laid.size.along;
  let height = isDown ? laid.size.along : laid.size.across;
  const flat = (spot) => (isDown ? [spot.across, spot.along] : [spot.along, spot.across]);
  const upright = (rect) => (isDown
    ? [rect.across, rect.along, rect.wide, rect.long] : [rect.along, rect.across, rect.long, rect.wide]);
  const label = (id) => drawn.get(id).label;
  const parts = [];
  for (const [id, zone] of outermostFirst(frames)) {
    const [x, y, wide, tall] = upright(laid.frames.get(id));
    const frame = Object.assign(paint(one(SOFT, zone.tone, "sunk"), one(EDGED, zone.tone, "line-strong"), 1.5),
      { "stroke-dasharray": "6 4", "fill-opacity": "0.45" });
    const said = cut(zone.label, wide - 24, 12);
    const name = say(x + 12, y + 21, said, { size: 12, ink: one(WORDS, zone.tone, "ink-2"), weight: 600 });
    parts.push(group("zone", zone.label, box(x, y, wide, tall, frame, 10), name));
  }
  arrows.forEach((edge, index) => {
    const said = `${label(edge.source)} → ${label(edge.target)}${edge.label ? `: ${edge.label}` : ""}`;
    parts.push(group("edge", said, ...arrowOf(edge, laid.routes[index].map(flat), isDown)));
  });
  for (const edge of own) {
    parts.push(group("edge", `${label(edge.source)} → itself${edge.label ? `: ${edge.label}` : ""}`));
  }
  arrows.forEach((edge, index) => {
    if (!laid.labels[index]) return;
    const [x, y] = flat(laid.labels[index]), said = words[index];
    const long = breadth(said, 12) + 6;
    const back = box(x - long / 2, y - 9, long, 18, paint("card"), 4);
    const written = say(x, y + 4, said, { size: 12, ink: one(WORDS, edge.tone, "ink-2"), anchor: "middle" });
    parts.push(group("label", edge.label, back, written));
  });
  for (const [id, node] of drawn) {
    const [x, y] = upright(laid.boxes.get(id));
    parts.push(drawnNode(node, faces.get(id), x, y));
  }
  const leftOut = [more(known.size - drawn.size, "boxes"), more(joined.length - arrows.length - own.length, "arrows")]
    .filter(Boolean).join("; ");
  if (leftOut) {
    parts.push(say(16, height + 8, leftOut, { ink: "ink-2" }));
    height += 24;
  }
  const told = described || `${drawn.size} boxes and ${joined.length} arrows: ` + joined.slice(0, 60).map((edge) =>
    `${label(edge.source)} to ${label(edge.target)}${edge.label ? ` (${edge.label})` : ""}`).join("; ");
  return sheet(title, told, Math.max(width, 240), height, ...parts);
}

function faceOf(node, loops) {
  const isTable = node.shape === "table";
  const most = isTable ? 300 : 190;
  const kind = cut(node.kind, most, 11);
  const names = folded(node.label || node.id, most, 14, isTable ? 1 : 2);
  const given = [...node.lines, ...loops];
  const linesMax = isTable ? 40 : 8;
  const shown = given.slice(0, linesMax).map((line) => cut(line, most, 12));
  if (given.length > linesMax) shown.push(`and ${given.length - linesMax} more`);
  const wide = Math.max(breadth(kind, 11), ...names.map((name) => breadth(name, 14) * BOLD),
    ...shown.map((line) => breadth(line, 12)));
  const tall = 20 + (kind ? 14 : 0) + 18 * names.length + 16 * shown.length + (isTable && shown.length ? 8 : 0);
  return {
    kind, names, lines: shown, width: Math.max(wide + 28, 72), height: tall + (node.shape === "store" ? 8 : 0),
  };
}

function drawnNode(node, face, x, y) {
  const edged = one(EDGED, node.tone, "line-strong");
  const painted = paint(one(SOFT, node.tone, "raised"), edged, 1.5);
  const { width, height } = face;
  const inside = [];
  let at = y + 10;
  if (node.shape === "store") {
    const ends = `${figure(width / 2)} 5 0 0 0`;
    const left = figure(x), right = figure(x + width), over = figure(y + 5), under = figure(y + height - 5);
    const side = `M${left} ${over}V${under}A${ends} ${right} ${under}V${over}A${ends} ${left} ${over}Z`;
    inside.push(part("path", Object.assign({ d: side }, painted)));
    inside.push(part("path", Object.assign({ d: `M${left} ${over}A${ends} ${right} ${over}` }, paint("", edged, 1.5))));
    at += 6;
  } else {
    const rounding = { square: 0, pill: Math.min(height / 2, 28), table: 6 };
    inside.push(box(x, y, width, height, painted, one(rounding, node.shape, 8)));
  }
  if (node.shape === "square") inside.push(box(x + 3, y + 3, width - 6, height - 6, paint("", edged)));
  const isTable = node.shape === "table";
  const anchor = isTable ? "start" : "middle", middle = isTable ? x + 14 : x + width / 2;
  if (face.kind) {
    inside.push(say(middle, at + 9, face.kind, { size: 11, ink: one(WORDS, node.tone, "ink-3"), anchor }));
    at += 14;
  }
  for (const name of face.names) {
    inside.push(say(middle, at + 13, name, { size: 14, anchor, weight: 600 }));
    at += 18;
  }
  if (isTable && face.lines.length) {
    inside.push(rule(x, at + 5, x + width, at + 5, edged));
    at += 8;
  }
  for (const line of face.lines) {
    inside.push(say(middle, at + 12, line, { size: 12, ink: "ink-2", anchor }));
    at += 16;
  }
  const whole = [node.kind, node.label || node.id].filter(Boolean).join(": ");
  return group("node", [whole, ...node.lines].join("; "), ...inside);
}

function framesOf(zones) {
  const frames = new Map();
  for (const zone of list(zones)) {
    const id = text(zone.id);
    if (id && !frames.has(id)) {
      frames.set(id, { id, label: text(zone.label), inside: text(zone.inside), tone: zone.tone || "quiet" });
    }
  }
  for (const [id, zone] of [...frames]) {
    const seen = new Set([id]);
    let around = zone.inside;
    while (frames.has(around) && !seen.has(around)) {
      seen.add(around);
      around = frames.get(around).inside;
    }
    if (!frames.has(zone.inside) || seen.has(around)) frames.set(id, Object.assign({}, zone, { inside: "" }));
  }
  return frames;
}

function outermostFirst(frames) {
  const depth = (id) => (frames.get(id).inside ? 1 + depth(frames.get(id).inside) : 0);
  return [...frames].sort((a, b) => depth(a[0]) - depth(b[0]));
}

function arrowOf(edge, route, isDown) {
  const ink = edge.tone === "plain" || edge.tone === "quiet" ? "ink-3" : one(EDGED, edge.tone, "ink-3");
  let path = `M${figure(route[0][0])} ${figure(route[0][1])}`;
  for (let index = 0; index + 1 < route.length; index += 1) {
    const [x, y] = route[index], [right, low] = route[index + 1];
    if (Math.abs(x - right) + Math.abs(y - low) < 0.05) continue;
    if (Math.abs(y - low) < 0.05 || Math.abs(x - right) < 0.05) {
      path += `L${figure(right)} ${figure(low)}`;
    } else if (isDown) {
      const half = (y + low) / 2;
      path += `C${figure(x)} ${figure(half)} ${figure(right)} ${figure(half)} ${figure(right)} ${figure(low)}`;
    } else {
      const half = (x + right) / 2;
      path += `C${figure(half)} ${figure(y)} ${figure(half)} ${figure(low)} ${figure(right)} ${figure(low)}`;
    }
  }
  const stroke = Object.assign({ d: path }, paint("", ink, 1.5));
  if (edge.isDashed) stroke["stroke-dasharray"] = "5 4";
  const [x, y] = route[route.length - 1];
  let before = route[0];
  for (let index = route.length - 1; index >= 0; index -= 1) {
    if (Math.abs(route[index][0] - x) + Math.abs(route[index][1] - y) > 0.5) {
      before = route[index];
      break;
    }
  }
  const back = (isDown ? before[1] <= y : before[0] <= x) ? -TURN : TURN;
  const corners = isDown ? [[x - 4.5, y + back], [x + 4.5, y + back]] : [[x + back, y - 4.5], [x + back, y + 4.5]];
  const head = `M${figure(x)} ${figure(y)}` + corners.map(([a, b]) => `L${figure(a)} ${figure(b)}`).join("") + "Z";
  return [part("path", stroke), part("path", Object.assign({ d: head }, paint(ink)))];
}

/* Where boxes stand and arrows run: layers, frames within frames. See layout.py for the method and its source. */

const PAD = 16, GAP = 22, GAP_LABEL = 8, GAP_BEND = 12, STEP = 26, SWEEPS = 12, OUTSIDE = "";

function layOut(boxes, inside, frames, links, head) {
  const held = new Map();
  for (const [id, other] of frames) held.set(`z${id}`, other ? `z${other}` : "");
  for (const [id, other] of inside) held.set(`n${id}`, other ? `z${other}` : "");
  const items = new Map([[OUTSIDE, []]]);
  for (const id of frames.keys()) items.set(`z${id}`, []);
  const enter = (item) => {
    const holder = held.get(item);
    if (items.get(holder).includes(item)) return;
    items.get(holder).push(item);
    if (holder !== OUTSIDE) enter(holder);
  };
  for (const id of boxes.keys()) enter(`n${id}`);
  for (const id of frames.keys()) enter(`z${id}`);
  const pathOf = (item) => {
    const path = [item];
    while (path[path.length - 1] !== OUTSIDE) path.push(held.get(path[path.length - 1]));
    return path;
  };
  const paths = links.map((link) => [pathOf(`n${link.tail}`), pathOf(`n${link.head}`)]);
  const shared = paths.map(([tail, end]) => tail.slice(1).find((each) => end.slice(1).includes(each)));
  const made = new Map();
  const sizeOf = (item) => (item[0] === "n" ? boxes.get(item.slice(1)) : made.get(item).size);
  const within = (holder, path) => (path.indexOf(holder) > 0 ? path[path.indexOf(holder) - 1] : null);

  const offset = (vertex, link) => {
    if (vertex.item[0] !== "z") return 0;
    const inner = made.get(vertex.item);
    const bends = inner.routes.get(link);
    const [tail, end] = paths[link];
    const bend = (links[link].isTurned ? end : tail).includes(vertex.item) ? bends[bends.length - 1] : bends[0];
    return bend.across - inner.size.across / 2;
  };

  const arrange = (holder) => {
    const own = items.get(holder);
    let ends = [];
    paths.forEach(([tail, end], index) => {
      const first = within(holder, tail), second = within(holder, end);
      if ((first !== null || second !== null) && first !== second) ends.push([index, first, second]);
    });
    turn(own, ends.filter((each) => each[1] !== null && each[2] !== null), links);
    ends = ends.map(([index, first, second]) => (links[index].isTurned ? [index, second, first] : [index, first, second]));
    const layers = ranked(own, ends.filter((each) => each[1] !== null && each[2] !== null));
    for (const item of own) if (item[0] === "z") arrange(item);
    const linked = new Set();
    for (const [, first, second] of ends) {
      if (first !== null) linked.add(first);
      if (second !== null) linked.add(second);
    }
    const rows = rowsOf(own, ends, layers, linked, sizeOf, links);
    order(rows);
    settle(rows, offset);
    made.set(holder, placed(holder !== OUTSIDE, rows, own.filter((item) => !linked.has(item)), sizeOf, offset, head));
  };
  arrange(OUTSIDE);

  const laid = { boxes: new Map(), frames: new Map(), routes: [], labels: [], size: made.get(OUTSIDE).size };
  const corners = new Map([[OUTSIDE, { along: 0, across: 0 }]]);
  const waiting = [OUTSIDE];
  const moved = (corner, spot) => ({ along: corner.along + spot.along, across: corner.across + spot.across });
  while (waiting.length) {
    const holder = waiting.pop();
    for (const item of items.get(holder)) {
      const at = moved(corners.get(holder), made.get(holder).items.get(item)), size = sizeOf(item);
      const rect = { along: at.along, across: at.across, long: size.along, wide: size.across };
      if (item[0] === "n") {
        laid.boxes.set(item.slice(1), rect);
      } else {
        laid.frames.set(item.slice(1), rect);
        corners.set(item, at);
        waiting.push(item);
      }
    }
  }
  links.forEach((link, index) => {
    const [tail, end] = link.isTurned ? [paths[index][1], paths[index][0]] : paths[index];
    const common = shared[index];
    const holders = [
      ...tail.slice(1, tail.indexOf(common)), common, ...end.slice(1, end.indexOf(common)).reverse(),
    ];
    const route = holders.flatMap((holder) =>
      made.get(holder).routes.get(index).map((bend) => moved(corners.get(holder), bend)));
    laid.routes.push(link.isTurned ? route.reverse() : route);
    const label = made.get(common).labels.get(index);
    laid.labels.push(label ? moved(corners.get(common), label) : null);
  });
  return laid;
}

function turn(items, ends, links) {
  const out = new Map(items.map((item) => [item, []]));
  for (const [index, first, second] of ends) out.get(first).push([index, second]);
  const targets = new Set(ends.map((each) => each[2]));
  const state = new Map();
  for (const first of [...items.filter((item) => !targets.has(item)), ...items]) {
    if (state.has(first)) continue;
    state.set(first, 1);
    const trail = [[first, 0]];
    while (trail.length) {
      const [item, done] = trail.pop();
      if (done === out.get(item).length) {
        state.set(item, 2);
        continue;
      }
      trail.push([item, done + 1]);
      const [index, other] = out.get(item)[done];
      if (state.get(other) === 1) {
        links[index].isTurned = true;
      } else if (!state.has(other)) {
        state.set(other, 1);
        trail.push([other, 0]);
      }
    }
  }
}

function ranked(items, ends) {
  const out = new Map(items.map((item) => [item, []]));
  const count = new Map(items.map((item) => [item, 0]));
  for (const [, first, second] of ends) {
    out.get(first).push(second);
    count.set(second, count.get(second) + 1);
  }
  const sequence = items.filter((item) => count.get(item) === 0);
  const sources = new Set(sequence);
  const layers = new Map(items.map((item) => [item, 0]));
  for (let at = 0; at < sequence.length; at += 1) {
    for (const other of out.get(sequence[at])) {
      layers.set(other, Math.max(layers.get(other), layers.get(sequence[at]) + 1));
      count.set(other, count.get(other) - 1);
      if (count.get(other) === 0) sequence.push(other);
    }
  }
  for (const item of sequence.slice().reverse()) {
    if (sources.has(item) && out.get(item).length) {
      layers.set(item, Math.min(...out.get(item).map((other) => layers.get(other))) - 1);
    }
  }
  return layers;
}

function rowsOf(items, ends, layers, linked, sizeOf, links) {
  const last = 2 * Math.max(0, ...[...linked].map((item) => layers.get(item)));
  const rows = Array.from({ length: last + 3 }, () => []);
  const vertex = (layer, size, item, link, isLabel) => {
    const made = { layer, size, item, link, isLabel, place: 0, middle: 0, before: [], after: [] };
    rows[layer].push(made);
    return made;
  };
  const of = new Map();
  for (const item of items) {
    if (linked.has(item)) of.set(item, vertex(2 * layers.get(item) + 1, sizeOf(item), item, -1, false));
  }
  for (const [index, first, second] of ends) {
    const size = links[index].size;
    const start = first !== null ? of.get(first).layer : -1;
    const end = second !== null ? of.get(second).layer : last + 3;
    let middle = -1;
    if (first !== null && second !== null && size.along > 0) {
      middle = Math.floor((start + end) / 2);
      middle -= middle % 2;
    }
    let at = first !== null ? of.get(first) : null;
    for (let layer = start + 1; layer < end; layer += 1) {
      const isLabel = layer === middle;
      const bend = vertex(layer, isLabel ? size : { along: 0, across: 0 }, "", index, isLabel);
      if (at !== null) {
        at.after.push([bend, index]);
        bend.before.push([at, index]);
      }
      at = bend;
    }
    if (second !== null && at !== null) {
      at.after.push([of.get(second), index]);
      of.get(second).before.push([at, index]);
    }
  }
  return rows;
}

function order(rows) {
  const number = (row) => row.forEach((vertex, place) => { vertex.place = place; });
  rows.forEach(number);
  let best = rows.map((row) => row.slice()), least = crossings(rows);
  for (let sweep = 0; sweep < SWEEPS && least > 0; sweep += 1) {
    const forward = sweep % 2 === 0;
    for (const row of forward ? rows : rows.slice().reverse()) {
      const keys = new Map();
      for (const vertex of row) {
        const near = forward ? vertex.before : vertex.after;
        keys.set(vertex, near.length ? sum(near.map((each) => each[0].place)) / near.length : vertex.place);
      }
      row.sort((a, b) => keys.get(a) - keys.get(b) || a.place - b.place);
      number(row);
    }
    const now = crossings(rows);
    if (now < least) {
      best = rows.map((row) => row.slice());
      least = now;
    }
  }
  rows.forEach((row, index) => {
    row.splice(0, row.length, ...best[index]);
    number(row);
  });
}

function after(values, value) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value < values[middle]) high = middle; else low = middle + 1;
  }
  return low;
}

function crossings(rows) {
  let total = 0;
  for (const row of rows) {
    const seen = [];
    for (const vertex of row) {
      const targets = vertex.after.map((each) => each[0].place).sort((a, b) => a - b);
      for (const target of targets) total += seen.length - after(seen, target);
      for (const target of targets) seen.splice(after(seen, target), 0, target);
    }
  }
  return total;
}

function apart(first, second) {
  const gap = first.item && second.item ? GAP : first.isLabel && second.isLabel ? GAP_LABEL : GAP_BEND;
  return (first.size.across + second.size.across) / 2 + gap;
}

function settle(rows, offset) {
  for (const row of rows) {
    let at = 0;
    row.forEach((vertex, place) => {
      if (place) at += apart(row[place - 1], vertex);
      vertex.middle = at;
    });
  }
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const side = ["before", "after", "both"][sweep % 3];
    for (const row of side === "after" ? rows.slice().reverse() : rows) {
      const wished = row.map((vertex) => {
        const near = [...(side !== "after" ? vertex.before : []), ...(side !== "before" ? vertex.after : [])];
        let total = 0;
        for (const [other, link] of near) total += other.middle + offset(other, link) - offset(vertex, link);
        return near.length ? total / near.length : vertex.middle;
      });
      nearest(row, wished);
    }
  }
}

function nearest(row, wished) {
  const shifts = [], pools = [];
  let shift = 0;
  row.forEach((vertex, place) => {
    if (place) shift += apart(row[place - 1], vertex);
    shifts.push(shift);
    const weight = vertex.item ? 1 : vertex.before.length && vertex.after.length ? 4 : 2;
    let total = (wished[place] - shift) * weight, heavy = weight, count = 1;
    while (pools.length && pools[pools.length - 1][0] / pools[pools.length - 1][1] > total / heavy) {
      const [first, other, many] = pools.pop();
      total = first + total;
      heavy = other + heavy;
      count = many + count;
    }
    pools.push([total, heavy, count]);
  });
  let place = 0;
  for (const [total, heavy, count] of pools) {
    for (let turns = 0; turns < count; turns += 1) {
      row[place].middle = total / heavy + shifts[place];
      place += 1;
    }
  }
}

function placed(isFramed, rows, alone, sizeOf, offset, head) {
  const start = isFramed ? { along: PAD + head.along, across: PAD + head.across } : { along: PAD, across: PAD };
  const filled = rows.flat();
  const low = filled.length ? Math.min(...filled.map((vertex) => vertex.middle - vertex.size.across / 2)) : 0;
  const high = filled.length ? Math.max(...filled.map((vertex) => vertex.middle + vertex.size.across / 2)) : 0;
  const shift = start.across - low;
  const begins = [], longs = [];
  let at = start.along;
  rows.forEach((row, number) => {
    const long = Math.max(0, ...row.map((vertex) => vertex.size.along));
    const isEdge = number === 0 || number === rows.length - 1;
    if (number > 1 && !isEdge) at += STEP;
    else if (number === 1 && rows[0].length || isEdge && number && row.length) at += PAD;
    begins.push(at);
    longs.push(long);
    at += long;
  });
  const end = filled.length ? at : start.along;
  const items = new Map();
  for (const vertex of filled) {
    if (vertex.item) {
      items.set(vertex.item, {
        along: begins[vertex.layer] + (longs[vertex.layer] - vertex.size.along) / 2,
        across: vertex.middle - vertex.size.across / 2 + shift,
      });
    }
  }
  const below = start.across + (filled.length ? high - low : 0);
  const spots = packed(alone.map((item) => [item, sizeOf(item)]), end - start.along);
  const gap = spots.size && filled.length ? GAP : 0;
  let far = end, deep = below;
  for (const [item, spot] of spots) {
    const at = { along: start.along + spot.along, across: below + gap + spot.across };
    items.set(item, at);
    far = Math.max(far, at.along + sizeOf(item).along);
    deep = Math.max(deep, at.across + sizeOf(item).across);
  }
  const size = {
    along: Math.max(far + PAD, isFramed ? 120 : 0), across: Math.max(deep + PAD, start.across + PAD),
  };
  const met = (vertex, link, leaves, towards) => {
    const spot = items.get(vertex.item), own = vertex.size;
    let across;
    if (vertex.item[0] === "z") {
      across = spot.across + own.across / 2 + offset(vertex, link);
    } else {
      const side = leaves ? vertex.after : vertex.before;
      const places = side.map((_, place) => place).sort((a, b) => side[a][0].middle - side[b][0].middle || a - b);
      const share = places.findIndex((place) => side[place][1] === link);
      across = spot.across + own.across * (share + 1) / (side.length + 1);
      if (side.length === 1 && spot.across + 10 < towards && towards < spot.across + own.across - 10) across = towards;
    }
    if (leaves) {
      return [{ along: spot.along + own.along, across }, { along: begins[vertex.layer] + longs[vertex.layer], across }];
    }
    return [{ along: begins[vertex.layer], across }, { along: spot.along, across }];
  };
  const bends = new Map();
  for (const vertex of filled) {
    if (vertex.link >= 0) bends.set(vertex.link, [...(bends.get(vertex.link) || []), vertex]);
  }
  const routes = new Map(), labels = new Map();
  for (const [link, vertices] of bends) {
    const route = [];
    const first = vertices[0], last = vertices[vertices.length - 1];
    if (first.before.length) route.push(...met(first.before[0][0], link, true, first.middle + shift));
    else route.push({ along: 0, across: first.middle + shift });
    for (const vertex of vertices) {
      const across = vertex.middle + shift, begin = begins[vertex.layer], long = longs[vertex.layer];
      route.push({ along: begin, across }, { along: begin + long, across });
      if (vertex.isLabel) labels.set(link, { along: begin + long / 2, across });
    }
    if (last.after.length) route.push(...met(last.after[0][0], link, false, last.middle + shift));
    else route.push({ along: size.along, across: last.middle + shift });
    routes.set(link, route);
  }
  return { size, items, routes, labels };
}

function packed(sizes, long) {
  const area = sum(sizes.map(([, size]) => (size.along + GAP) * (size.across + GAP)));
  const most = Math.max(long, Math.sqrt(area) * 1.3, ...sizes.map(([, size]) => size.along));
  const spots = new Map();
  let along = 0, across = 0, deep = 0;
  for (const [item, size] of sizes) {
    if (along && along + size.along > most) {
      along = 0;
      across += deep + GAP;
      deep = 0;
    }
    spots.set(item, { along, across });
    along += size.along + GAP;
    deep = Math.max(deep, size.across);
  }
  return spots;
}
