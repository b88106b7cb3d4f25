/* Draws a result's parts: the same ones, in the same markup, as templates/tools_registry/_blocks.html.
   Every text is a text node; nothing that a person wrote is ever read as markup. */

export const SEVERITIES = {
  critical: ["Critical", "bad"], high: ["High", "bad"], medium: ["Medium", "wait"],
  low: ["Low", ""], info: ["Note", ""], good: ["Good", "ok"]
};
const ROWS_MAX = 200;
// A longer description is for whoever does not see the picture: it stands in its name alone.
const CAPTION_MAX = 160;
// A cell with more letters than these is read as a sentence.
const SENTENCE = 60;
let counted = 0;

/* An element: make("p", {class: "small"}, "words", otherElement) */
export function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter(one => one !== null && one !== undefined && one !== ""));
  return element;
}

function icon(name) {
  const model = document.querySelector("svg.icon use");
  const file = model ? model.getAttribute("href").split("#")[0] : "";
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon small");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", file + "#" + name);
  svg.append(use);
  return svg;
}

/* A value for people: numbers with separators and no more decimals than matter. */
export function say(value) {
  if (value === null || value === undefined) return "–";
  if (value === true) return "Yes";
  if (value === false) return "No";
  if (typeof value === "number") {
    if (!Number.isFinite(value)) return "–";
    let shown;
    if (Number.isInteger(value)) shown = Math.abs(value) >= 10000 ? value.toLocaleString("en-GB") : String(value);
    else if (Math.abs(value) < 0.001) shown = value.toLocaleString("en-GB", { maximumSignificantDigits: 3 });
    else shown = value.toLocaleString("en-GB", { maximumFractionDigits: 4 });
    return shown.replace("-", "−");
  }
  if (Array.isArray(value)) return value.map(say).join(", ");
  return String(value);
}

const list = value => (Array.isArray(value) ? value : []);
const text = value => (value === null || value === undefined ? "" : String(value));

function facts(block) {
  const rows = list(block.pairs).map(([name, value]) => make("div", {}, make("dt", {}, text(name)), make("dd", {}, say(value))));
  return [make("dl", { class: "facts" }, ...rows)];
}

/* A number, or one that is written with its currency or per cent. Empty cells beside figures are none. */
const FIGURE = /^([−+-]?[£$€][0-9][0-9,]*(\.[0-9]+)?|[−+-]?[0-9][0-9,]*(\.[0-9]+)? ?%)?$/;
const isFigure = (cell, _, cells) =>
  typeof cell === "number" || (typeof cell === "string" && FIGURE.test(cell) && cells.some(one => one !== ""));

/* So many decimals that the points of a column stand under each other. */
// What is smaller than its column can show keeps its own decimals.
const DECIMALS = /^−?[0-9][0-9,]*(?:\.([0-9]{1,4}))?$/;
function decimals(value) {
  const found = typeof value === "number" ? DECIMALS.exec(say(value)) : null;
  return found ? (found[1] || "").length : 0;
}
function padded(value, places) {
  const shown = say(value);
  const found = places && typeof value === "number" ? DECIMALS.exec(shown) : null;
  return found ? shown + (found[1] ? "" : ".") + "0".repeat(places - (found[1] || "").length) : shown;
}

/* What the page keeps on one line, and what it gives room for a sentence. */
const KEPT_WHOLE = /^(.{1,14}|\S{1,24}|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}\S{0,8})$/u;
function cell(shown, title, isNumber) {
  const shape = KEPT_WHOLE.test(shown) ? "whole" : [...shown].length > SENTENCE && "long";
  return make("td", { "data-label": title, class: isNumber ? "r n" : shape }, shown);
}

function table(block) {
  const columns = list(block.columns).map(text);
  const rows = list(block.rows).filter(Array.isArray);
  if (!rows.length) return [make("p", { class: "in muted" }, "Nothing in it."), ...note(block, 0)];
  const numeric = columns.map((_, at) => {
    const cells = rows.map(row => row[at]).filter(cell => cell !== null && cell !== undefined);
    return cells.length > 0 && cells.every(isFigure);
  });
  const places = columns.map((_, at) => Math.max(0, ...rows.slice(0, ROWS_MAX).map(row => decimals(row[at]))));
  const head = make("tr", {}, ...columns.map((title, at) => make("th", { scope: "col", class: numeric[at] && "r" }, title)));
  const body = rows.slice(0, ROWS_MAX).map(row => make("tr", {}, ...columns.map((title, at) =>
    cell(padded(row[at], places[at]), title, numeric[at]))));
  return [
    make("div", { class: "across", tabindex: 0, role: "region", "aria-label": text(block.title) },
      make("table", { class: "grid-table" }, make("thead", {}, head), make("tbody", {}, ...body))),
    ...note(block, rows.length - body.length)
  ];
}

function note(block, more) {
  const said = (more > 0 ? more + " more rows are not shown here. " : "") + text(block.note);
  return said ? [make("p", { class: "end small muted" }, said)] : [];
}

function findings(block) {
  const rows = list(block.rows);
  if (!rows.length) return [make("p", { class: "in good" }, icon("check"), text(block.none) || "Nothing was found.")];
  const shown = rows.slice(0, ROWS_MAX).map(row => {
    const [word, kind] = Object.keys(SEVERITIES).includes(row.severity) ? SEVERITIES[row.severity] : SEVERITIES.info;
    const told = make("div", { class: "told" }, make("b", {}, text(row.title)));
    if (row.where) told.append(" ", make("code", {}, text(row.where)));
    if (row.text) told.append(make("p", {}, text(row.text)));
    if (row.fix) told.append(make("p", { class: "fix" }, make("b", {}, "What to do:"), " " + text(row.fix)));
    if (text(row.link).startsWith("https://")) {
      told.append(make("p", {}, make("a", { href: row.link, rel: "noreferrer noopener", target: "_blank" }, "Read more")));
    }
    return make("li", {}, make("span", { class: ("tag " + kind).trim() }, word), told);
  });
  const more = rows.length - shown.length;
  return [make("ul", { class: "findings" }, ...shown), ...(more ? [make("p", { class: "end small muted" }, more + " more are not shown here.")] : [])];
}

function paragraphs(block) {
  return [make("div", { class: "in prose" }, ...list(block.paragraphs).map(one => make("p", {}, text(one))))];
}

function code(block, id) {
  return [make("pre", { class: "source", id: id, tabindex: 0 }, make("code", {}, text(block.source)))];
}

function picture(block) {
  if (!(block.svg instanceof Element)) return [];
  block.svg.setAttribute("role", "img");
  if (block.described) block.svg.setAttribute("aria-label", block.described);
  const caption = block.described && [...block.described].length <= CAPTION_MAX;
  return [make("figure", { class: "picture", tabindex: 0 }, block.svg, caption ? make("figcaption", { class: "small muted" }, block.described) : "")];
}

const DRAW = { facts, table, findings, text: paragraphs, code, picture };

/* A button that saves a text as a file, wholly in the browser. */
export function download(file) {
  const button = make("button", { type: "button", class: "btn small" }, icon("down"), "Download ",
    make("span", { class: "file-name" }, text(file.name)));
  button.addEventListener("click", () => save(file.name, file.content, file.content_type));
  return button;
}

/* The content is saved as a file of that name. */
export function save(name, content, contentType) {
  const url = URL.createObjectURL(new Blob([content], { type: contentType || "text/plain" }));
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function buttons(block, id) {
  const found = [];
  if (block.kind === "code") {
    const copy = make("button", { type: "button", class: "btn small", "data-copy": "#" + id }, icon("copy"), make("span", { "data-label": true }, "Copy"));
    if (block.language) found.push(make("span", { class: "small quiet" }, text(block.language)));
    found.push(copy);
  }
  for (const file of list(block.downloads)) found.push(download(file));
  return found.length ? [make("span", { class: "row" }, ...found)] : [];
}

/* The blocks as one fragment. A block that cannot be drawn is left out. */
export function draw(blocks) {
  const whole = document.createDocumentFragment();
  for (const block of list(blocks)) {
    if (!block || !Object.keys(DRAW).includes(block.kind)) continue;
    const id = "live-" + (counted += 1);
    const section = make("section", { class: "card block " + block.kind + "-block" });
    const extra = buttons(block, id);
    if (block.title || extra.length) section.append(make("div", { class: "cap" }, make("h3", {}, text(block.title)), ...extra));
    section.append(...DRAW[block.kind](block, id));
    whole.append(section);
  }
  return whole;
}
