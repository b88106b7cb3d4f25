/* A tool's page: reads the form as the inputs that the server takes, judges them by the same schema, keeps the draft in
   this browser, draws what the tool's own module makes of it, and runs the tool where the server has a part.
   Once the page is open all but the run goes on without the server. */
import { draw, save } from "studio/blocks";

const tool = JSON.parse(document.getElementById("tool").textContent);
const form = document.getElementById("draft");
/* A draft is its person's: whoever sits here next does not see it. Who signs in to run what they wrote takes it along. */
const draftOf = person => `studio draft of ${person || "nobody"}: ${tool.slug}`;
const DRAFT = draftOf(tool.person);
const TAKEN_ALONG = "studio draft taken along";
const DRAFT_LETTERS_MAX = 2000000;
const JSON_BYTES_MAX = 900000;
/* Longer than this a text is not put into a field, which would be slow; it stays a file. */
const PASTED_LETTERS_MAX = 300000;
const letters = text => Array.from(text).length;
const bytes = text => new TextEncoder().encode(text).length;
const at = path => form.querySelector(`[data-path="${CSS.escape(path)}"]`);

/* The files that were chosen, by the place of their field: {file, name, text (null where it is none)} */
const files = new Map();
/* Where something was wrong and the person has been there, or has asked to run. */
const touched = new Set();
let isAsked = false;
let said = {};

/* Reading: the same rules as drafting.py */

function readAll(fields, place) {
  const found = {};
  for (const of of fields) {
    const value = readOne(of, place + of.name);
    if (value !== undefined) found[of.name] = value;
  }
  return found;
}

function control(path) {
  const found = form.elements.namedItem(path);
  return found instanceof RadioNodeList ? [...found].find(one => one.type !== "file") || null : found;
}

function readOne(of, path) {
  if (of.kind === "rows") return rowsOf(path).map(row => readAll(of.fields, row.dataset.row + "."));
  if (of.kind === "document") return readDocument(of, path);
  if (of.kind === "choices") return [...form.querySelectorAll(`input[name="${CSS.escape(path)}"]:checked`)].map(one => one.value);
  const input = control(path);
  if (of.kind === "flag") return Boolean(input && input.checked);
  const radios = form.querySelectorAll(`input[type=radio][name="${CSS.escape(path)}"]`);
  const written = radios.length ? ([...radios].find(one => one.checked) || { value: "" }).value : input ? input.value : "";
  if (of.kind === "lines") return written.split("\n").map(line => line.trim()).filter(Boolean);
  if (of.kind === "whole" && /^-?[0-9]{1,15}$/.test(written.trim())) return Number(written);
  if (of.kind === "number" && written.trim() && Number.isFinite(Number(written))) return Number(written);
  if (!written.trim() && !(of.is_required && of.kind === "text")) return undefined;
  return written;
}

function readDocument(of, path) {
  const chosen = files.get(path);
  if (chosen && !chosen.isShown) return chosen.text === null || !of.is_text ? undefined : chosen.text;
  const input = of.is_text && control(path);
  return input && input.value.trim() ? input.value : undefined;
}

const rowsOf = path => {
  const place = at(path);
  return place ? [...place.querySelectorAll(":scope > .row-list > [data-row]")] : [];
};

export const inputs = () => readAll(tool.fields, "");

/* Filling */

function defaultOf(schema, of) {
  return ((schema.properties || {})[of.name] || {}).default;
}

function fillOne(of, path, value, fallback) {
  const given = value === undefined || value === null ? fallback : value;
  if (of.kind === "rows") return fillRows(of, path, Array.isArray(given) ? given : []);
  if (of.kind === "document") return fillDocument(of, path, given);
  if (of.kind === "choices") {
    const on = Array.isArray(given) ? given : [];
    for (const one of form.querySelectorAll(`input[name="${CSS.escape(path)}"]`)) one.checked = on.includes(one.value);
    return;
  }
  const input = control(path);
  const radios = form.querySelectorAll(`input[type=radio][name="${CSS.escape(path)}"]`);
  if (radios.length) { for (const one of radios) one.checked = one.value === String(given); return; }
  if (!input) return;
  if (of.kind === "flag") input.checked = given === true;
  else if (of.kind === "lines") input.value = Array.isArray(given) ? given.join("\n") : "";
  else input.value = given === undefined || given === null ? "" : String(given);
}

function fillRows(of, path, rows) {
  for (const row of rowsOf(path)) row.remove();
  const count = Math.min(Math.max(rows.length, of.count_min), 1000);
  for (let number = 0; number < count; number += 1) {
    addRow(path);
    const row = rows[number];
    fillWithDefaults(of.fields, `${path}.${number}.`, row && typeof row === "object" ? row : {}, schemaAt(path).items);
  }
  for (const row of rowsOf(path)) row.querySelector("details").open = count * of.fields.length <= FOLDED_FROM;
}

function fillWithDefaults(fields, place, values, schema) {
  for (const of of fields) fillOne(of, place + of.name, values[of.name], defaultOf(schema, of));
}

function schemaAt(path) {
  let schema = tool.schema;
  for (const part of path.split(".")) schema = /^[0-9]+$/.test(part) ? schema.items : schema.properties[part];
  return schema;
}

function fillDocument(of, path, given) {
  forget(path);
  if (typeof given !== "string") { const input = of.is_text && control(path); if (input) input.value = ""; return; }
  showText(of, path, given, null);
}

export function fill(values) {
  fillWithDefaults(tool.fields, "", values, tool.schema);
  touched.clear();
  isAsked = false;
  said = {};
  follow();
}

/* Rows. Where there are many fields the rows are closed, each with a line that says what is in it: as drafting.py does. */

const FOLDED_FROM = 16;

/* Every row's line says what is in it, and whether something is to be corrected. */
function summarise() {
  for (const row of form.querySelectorAll("[data-row]")) {
    const line = row.querySelector("[data-summary]");
    const isWrong = Boolean(row.querySelector(".error"));
    const text = (isWrong ? "To correct: " : "") + gist(row);
    if (line.textContent !== text) line.textContent = text;
  }
}

function gist(row) {
  const found = [];
  for (const field of row.querySelector(".field-grid").children) {
    const place = field.dataset.path;
    if (!place || found.length === 5) continue;
    if (field.dataset.rows) { found.push(`${rowsOf(place).length} ${field.querySelector("legend").textContent.trim().toLowerCase()}`); continue; }
    const input = control(place);
    if (!input || input.type === "radio") continue;
    if (input.type === "checkbox") { if (input.checked) found.push(input.closest("label").textContent.trim()); }
    else if (input.tagName === "SELECT") { if (input.value && (found.length < 2 || !input.selectedOptions[0].defaultSelected)) found.push(input.selectedOptions[0].textContent.trim()); }
    else if (input.value.trim() && input.value !== input.defaultValue) found.push(input.value.trim().slice(0, 80));
  }
  return found.join(" · ");
}

function addRow(path) {
  const place = at(path);
  const list = place.querySelector(":scope > .row-list");
  const row = place.querySelector(":scope > template").content.firstElementChild.cloneNode(true);
  list.append(row);
  rename(row, path + ".__", `${path}.${list.children.length - 1}`);
  number(row, list.children.length);
  return row;
}

const NAMED = ["name", "id", "for", "data-path", "data-row", "data-rows", "data-document", "data-count", "aria-describedby"];

/* Every place below the row begins with another number, in rows inside it and in what further rows begin as too. */
function rename(root, from, to) {
  const within = [root, ...root.querySelectorAll("*")];
  for (const element of within) {
    for (const name of NAMED) {
      const value = element.getAttribute(name);
      if (value !== null && value.includes(from)) {
        element.setAttribute(name, value.split(" ").map(one => replaced(one, from, to)).join(" "));
      }
    }
    if (element.tagName === "BUTTON" && element.value) element.value = replaced(element.value, from, to);
    if (element.tagName === "TEMPLATE") for (const inner of element.content.children) rename(inner, from, to);
  }
}

function replaced(text, from, to) {
  const start = text.startsWith("in-") ? 3 : 0;
  const isThere = text.startsWith(from, start) && [undefined, ".", "-"].includes(text[start + from.length]);
  return isThere ? text.slice(0, start) + to + text.slice(start + from.length) : text;
}

function number(row, count) {
  const noun = row.querySelector(".part-head b").firstChild.textContent.trim();
  row.querySelector("[data-number]").textContent = count;
  row.setAttribute("aria-label", `${noun} ${count}`);
  row.querySelector(":scope > [data-remove]").setAttribute("aria-label", `Remove ${noun.toLowerCase()} ${count}`);
}

function removeRow(row) {
  const path = row.parentElement.parentElement.dataset.rows;
  const list = row.parentElement;
  for (const key of [...files.keys()]) if (key.startsWith(row.dataset.row + ".")) files.delete(key);
  row.remove();
  [...list.children].forEach((one, index) => {
    if (one.dataset.row !== `${path}.${index}`) rename(one, one.dataset.row, `${path}.${index}`);
    number(one, index + 1);
  });
}

/* Documents */

const documentField = path => {
  let fields = tool.fields, of = null;
  for (const part of path.split(".")) {
    if (/^[0-9]+$/.test(part)) continue;
    of = fields.find(one => one.name === part);
    fields = (of && of.fields) || [];
  }
  return of;
};

function forget(path) {
  files.delete(path);
  const place = at(path);
  const chooser = place.querySelector("input[type=file]");
  if (chooser) chooser.value = "";
  place.querySelector("[data-chosen]").hidden = true;
  place.querySelector("[data-hint]").hidden = false;
  const area = place.querySelector("textarea");
  if (area) area.hidden = false;
}

function showText(of, path, text, name) {
  const area = at(path).querySelector("textarea");
  const isShown = Boolean(area) && text.length <= PASTED_LETTERS_MAX;
  if (area) area.value = isShown ? text : "";
  if (name || !isShown) {
    files.set(path, { file: null, name: name || of.file_name, text, size: bytes(text), isShown });
    showChosen(path);
  }
}

function showChosen(path) {
  const place = at(path), chosen = files.get(path);
  place.querySelector("[data-chosen]").hidden = false;
  place.querySelector("[data-hint]").hidden = true;
  place.querySelector("[data-chosen-name]").textContent = chosen.name;
  place.querySelector("[data-chosen-size]").textContent = size(chosen.size);
  const area = place.querySelector("textarea");
  if (area) area.hidden = !chosen.isShown;
}

function size(count) {
  if (count < 1000) return count + " bytes";
  return count < 1000000 ? Math.round(count / 1000) + " KB" : (count / 1000000).toFixed(1) + " MB";
}

async function choose(path, file) {
  const of = documentField(path);
  forget(path);
  touched.add(path);
  if (of.accepts.length && !of.accepts.some(ending => file.name.toLowerCase().endsWith(ending))) {
    said[path] = [`Send a file that ends in ${of.accepts.join(", ")}.`];
    return follow(true);
  }
  if (file.size > of.bytes_max) {
    said[path] = [`At most ${size(of.bytes_max)}; this has ${size(file.size)}.`];
    return follow(true);
  }
  delete said[path];
  const content = await file.arrayBuffer();
  let text = null;
  try { text = new TextDecoder("utf-8", { fatal: true }).decode(content); } catch (refused) { /* it is no text */ }
  if (text !== null && text.includes("\0")) text = null;
  if (of.is_text && text !== null) showText(of, path, text, file.name);
  else {
    files.set(path, { file, name: file.name, text: null, size: file.size, isShown: false });
    showChosen(path);
  }
  follow();
}

/* Judging, by the schema. The sentences are those of the server. */

function judge(value, schema, place, wrong) {
  const say = sentence => { wrong[place || "inputs"] = [sentence]; };
  if (schema.enum) { if (!schema.enum.includes(value)) say("Choose one of them."); return; }
  if (schema.type === "string") {
    if (typeof value !== "string") say("Write text here.");
    else if (schema.minLength && !value.trim()) say("Write something here.");
    else if (letters(value.trim()) > schema.maxLength) {
      say(`At most ${schema.maxLength.toLocaleString("en-GB")} characters; this has ${letters(value.trim()).toLocaleString("en-GB")}.`);
    }
  } else if (schema.type === "integer" || schema.type === "number") {
    const isWhole = schema.type === "integer";
    if (typeof value !== "number" || (isWhole && !Number.isInteger(value))) {
      say(`Write a ${isWhole ? "whole number" : "number"} from ${schema.minimum} to ${schema.maximum}.`);
    } else if (value < schema.minimum || value > schema.maximum) say(`From ${schema.minimum} to ${schema.maximum}.`);
  } else if (schema.type === "boolean") {
    if (typeof value !== "boolean") say("Write true or false.");
  } else if (schema.type === "array") {
    if (!Array.isArray(value)) return say("Send a list.");
    if (value.length < (schema.minItems || 0)) say(`At least ${schema.minItems} of them; there ${value.length === 1 ? "is" : "are"} ${value.length}.`);
    if (schema.maxItems && value.length > schema.maxItems) say(`At most ${schema.maxItems} of them; there are ${value.length}.`);
    if (schema.uniqueItems && new Set(value).size !== value.length) say("Choose each only once.");
    value.forEach((one, index) => judge(one, schema.items, `${place}.${index}`, wrong));
  } else if (schema.type === "object") {
    if (!value || typeof value !== "object" || Array.isArray(value)) return say("Send an object with these fields.");
    const within = place ? place + "." : "";
    for (const name of schema.required || []) if (!(name in value)) wrong[within + name] = ["This is needed."];
    for (const [name, inner] of Object.entries(value)) {
      if (!(name in schema.properties)) wrong[within + name] = ["There is no such input."];
      else judge(inner, schema.properties[name], within + name, wrong);
    }
  }
}

/* What is wrong with the inputs: sentences by place. Chosen files count as there. */
export function problems(values) {
  const wrong = {};
  judge(values, tool.schema, "", wrong);
  for (const path of files.keys()) if (files.get(path).text === null) delete wrong[path];
  if (half && half.problems) {
    try {
      for (const [place, sentence] of Object.entries(half.problems(values) || {})) {
        if (!(place in wrong)) wrong[place] = [].concat(sentence);
      }
    } catch (error) { console.warn("problems():", error); }
  }
  return wrong;
}

function showWrong(wrong) {
  const shown = new Map();
  for (const [place, sentences] of Object.entries(wrong)) {
    let path = place, field = at(path), line = "";
    if (!field) {
      const parent = path.replace(/\.[^.]*$/, "");
      const number = Number(path.slice(parent.length + 1));
      if (Number.isInteger(number)) line = `Line ${number + 1}: `;
      path = parent;
      field = at(path);
    }
    if (!field || !(isAsked || touched.has(path) || touched.has(place) || place in said)) continue;
    shown.set(field, [...(shown.get(field) || []), ...sentences.map(one => line + one)]);
  }
  for (const field of form.querySelectorAll("[data-path]")) {
    const sentences = shown.get(field) || [];
    let list = field.querySelector(":scope > .error");
    if (!sentences.length) { if (list) list.remove(); mark(field, false); continue; }
    if (!list) {
      list = document.createElement("ul");
      list.className = "error";
      const help = field.querySelector(":scope > .help");
      if (help && !field.dataset.rows) help.before(list);
      else if (field.dataset.rows) field.querySelector(":scope > .row-list").before(list);
      else field.append(list);
    }
    list.id = `in-${field.dataset.path}-wrong`;
    list.replaceChildren(...sentences.map(one => { const item = document.createElement("li"); item.textContent = one; return item; }));
    mark(field, true);
  }
  return shown.size;
}

function mark(field, isWrong) {
  if (field.dataset.rows || field.classList.contains("field-grid")) return;
  for (const input of field.querySelectorAll("input:not([type=file]), select, textarea")) {
    if (isWrong) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
    const id = `in-${field.dataset.path}-wrong`;
    const others = (input.getAttribute("aria-describedby") || "").split(" ").filter(one => one && one !== id);
    if (isWrong) others.unshift(id);
    if (others.length) input.setAttribute("aria-describedby", others.join(" ")); else input.removeAttribute("aria-describedby");
  }
}

/* Following what is written */

let half = null;
let waiting = 0;
const live = document.querySelector("#live [data-blocks]");

function follow(isAtOnce) {
  clearTimeout(waiting);
  if (isAtOnce === true) return followNow();
  waiting = setTimeout(followNow, 120);
}

/* Who leaves within that moment has written it all the same. */
addEventListener("pagehide", () => { if (waiting) keep(inputs()); });

function followNow() {
  waiting = 0;
  const values = inputs();
  showWrong({ ...problems(values), ...said });
  summarise();
  keep(values);
  ask(values);
  if (half && live) {
    try { live.replaceChildren(draw(half.view(values))); }
    catch (error) { console.error("view():", error); }
  }
}

form.addEventListener("input", event => {
  const field = event.target.closest("[data-path]");
  if (field) {
    delete said[field.dataset.path];
    const chosen = field.dataset.document && files.get(field.dataset.path);
    if (chosen && event.target.tagName === "TEXTAREA") {
      chosen.text = event.target.value;
      chosen.size = bytes(chosen.text);
      showChosen(field.dataset.path);
    }
  }
  follow();
});
form.addEventListener("focusout", event => {
  const field = event.target.closest("[data-path]");
  if (field && !event.target.matches("button") && event.target.value) { touched.add(field.dataset.path); follow(); }
});
form.addEventListener("change", event => {
  const place = event.target.closest("[data-document]");
  if (event.target.type === "file" && place && event.target.files[0]) choose(place.dataset.path, event.target.files[0]);
});
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, event => {
    if (!event.dataTransfer || ![...event.dataTransfer.types].includes("Files")) return;
    const drops = [...form.querySelectorAll("[data-document]")];
    const place = event.target.closest("[data-document]") || (drops.length === 1 ? drops[0] : null);
    event.preventDefault();
    form.querySelectorAll(".drop.over").forEach(one => one.classList.remove("over"));
    if (!place) return;
    if (kind === "dragover") place.querySelector(".drop").classList.add("over");
    else if (event.dataTransfer.files[0]) choose(place.dataset.path, event.dataTransfer.files[0]);
  });
}
document.addEventListener("dragleave", event => { if (!event.relatedTarget) form.querySelectorAll(".drop.over").forEach(one => one.classList.remove("over")); });

form.addEventListener("click", event => {
  const button = event.target.closest("button, a");
  if (!button) return;
  if ("add" in button.dataset) {
    event.preventDefault();
    const row = addRow(button.value);
    row.querySelector("details").open = true;
    const first = row.querySelector("input:not([type=hidden]), select, textarea");
    if (first) first.focus();
    follow();
  } else if ("remove" in button.dataset) {
    event.preventDefault();
    const list = button.closest("[data-rows]");
    removeRow(button.closest("[data-row]"));
    list.querySelector(":scope > div > [data-add]").focus();
    follow();
  } else if ("unchoose" in button.dataset) {
    const path = button.closest("[data-document]").dataset.path;
    forget(path);
    const area = control(path);
    if (area && area.tagName === "TEXTAREA") area.value = "";
    delete said[path];
    follow();
  } else if ("example" in button.dataset) {
    event.preventDefault();
    example();
  } else if ("runExample" in button.dataset) {
    event.preventDefault();
    if (isRunning) return;
    example();
    run();
  } else if ("export" in button.dataset) exportDraft();
  else if ("import" in button.dataset) document.getElementById("import").click();
  else if ("afresh" in button.dataset) { fill({}); clearKept(); tell("A fresh form. What was kept in this browser is gone."); }
});

/* The draft */

let isForgotten = false;
document.addEventListener("forgotten", () => { isForgotten = true; });

function keep(values) {
  if (isForgotten) return;
  try {
    const text = JSON.stringify(values);
    if (text.length <= DRAFT_LETTERS_MAX) localStorage.setItem(DRAFT, text);
  } catch (refused) { /* storage is off or full: the draft lives as long as the page */ }
}
function clearKept() { try { localStorage.removeItem(DRAFT); } catch (refused) { /* there is none */ } }
function kept() {
  try {
    takeAlong();
    return JSON.parse(localStorage.getItem(DRAFT));
  } catch (refused) { return null; }
}
/* What was written before signing in: it goes before an older draft where its writer went to sign in from this page. */
function takeAlong() {
  const written = tool.person && localStorage.getItem(draftOf(""));
  if (!written) return;
  const isAsked = sessionStorage.getItem(TAKEN_ALONG) === tool.slug;
  if (isAsked || !localStorage.getItem(DRAFT)) localStorage.setItem(DRAFT, written);
  localStorage.removeItem(draftOf(""));
  sessionStorage.removeItem(TAKEN_ALONG);
}
document.addEventListener("click", event => {
  if (tool.person || !event.target.closest("a[data-takes-along]")) return;
  try { sessionStorage.setItem(TAKEN_ALONG, tool.slug); } catch (refused) { /* then there is no draft either */ }
});
function tell(words) {
  const line = document.getElementById("kept");
  line.textContent = words;
  line.hidden = !words;
}

/* The example, with its files. */
export function example() {
  fill(tool.example);
  for (const [field, file] of Object.entries(tool.example_files)) {
    showText(documentField(field), field, file.text, file.name);
  }
  tell("This is the example. Change what you like.");
  follow(true);
}

/* The draft as JSON: what the server takes, as it takes it. */
export function exported() { return JSON.stringify(inputs(), null, 2) + "\n"; }

function exportDraft() {
  save(tool.slug.replace("/", "-") + ".json", exported(), "application/json");
  const missing = [...files.values()].filter(one => one.text === null);
  if (missing.length) tell(`Saved without the file ${missing[0].name}, which is no text.`);
}

document.getElementById("import").addEventListener("change", async event => {
  const file = event.target.files[0];
  event.target.value = "";
  if (!file) return;
  let values = null;
  try { values = JSON.parse(await file.text()); } catch (refused) { /* said below */ }
  if (!values || typeof values !== "object" || Array.isArray(values)) { tell(`${file.name} is no draft: it must be JSON, as “Save the draft” writes it.`); return; }
  const unknown = Object.keys(values).filter(name => !(name in tool.schema.properties));
  fill(values);
  isAsked = true;
  tell(`Opened ${file.name}.` + (unknown.length ? ` Left out, because there are no such inputs: ${unknown.join(", ")}.` : ""));
  follow(true);
});

/* The price */

let bucket = Number((document.getElementById("estimate") || { dataset: {} }).dataset.bucket);

function ask(values) {
  const shown = document.getElementById("estimate");
  if (!shown || tool.mode === "client") return;
  let count = bytes(JSON.stringify(values));
  for (const chosen of files.values()) if (chosen.text === null) count += chosen.size;
  const now = Math.min(15, Math.ceil(Math.log(Math.max(count, 1)) / Math.log(4)));
  if (now === bucket) return;
  bucket = now;
  fetch(`${tool.url}/estimate?bytes=${count}`, { headers: { "X-Part": "estimate" } })
    .then(answer => (answer.ok ? answer.text() : Promise.reject(answer)))
    .then(text => { if (bucket === now) put(document.getElementById("estimate"), text); })
    .catch(() => { /* the last one stays: its bounds are the same for every size */ });
}

/* The server's own markup takes an element's place. */
function put(element, text) {
  const fresh = document.createRange().createContextualFragment(text).firstElementChild;
  element.replaceWith(fresh);
  if (window.htmx) window.htmx.process(fresh);
  document.dispatchEvent(new CustomEvent("htmx:load", { detail: { elt: fresh } }));
  return fresh;
}

/* Running */

let isRunning = false;

form.addEventListener("submit", event => {
  event.preventDefault();
  if (tool.mode === "client") return follow(true);
  run();
});

function request(values) {
  const body = new FormData();
  const sent = { ...values };
  body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  body.append("key", form.elements.key.value);
  for (const [path, chosen] of files) {
    delete sent[path];
    body.append(path, chosen.file || new Blob([chosen.text]), chosen.name);
  }
  if (bytes(JSON.stringify(sent)) > JSON_BYTES_MAX) {
    for (const of of tool.fields) {
      if (of.kind !== "document" || typeof sent[of.name] !== "string") continue;
      body.append(of.name, new Blob([sent[of.name]]), of.file_name);
      delete sent[of.name];
    }
  }
  body.append("inputs", JSON.stringify(sent));
  return body;
}

async function run() {
  const button = document.getElementById("run");
  if (isRunning || !button) return;
  isAsked = true;
  said = {};
  const values = inputs();
  const wrong = problems(values);
  if (showWrong(wrong)) { goToFirstWrong(); return; }
  isRunning = true;
  button.disabled = true;
  const outcome = document.getElementById("outcome");
  outcome.replaceChildren();
  const stop = showRunning();
  try {
    const answer = await fetch(tool.url, { method: "POST", body: request(values), headers: { "X-Part": "outcome" } });
    const text = await answer.text();
    if (!text.includes('id="outcome"')) throw new Error(answer.status);
    const fresh = put(outcome, text);
    form.elements.key.value = fresh.dataset.key;
    said = JSON.parse(fresh.dataset.wrong || "{}");
    if (Object.keys(said).length) { showWrong({ ...problems(values), ...said }); goToFirstWrong(); }
    else {
      const result = fresh.querySelector("#result");
      if (result) { result.focus({ preventScroll: true }); fresh.scrollIntoView({ block: "start" }); }
    }
    document.body.dispatchEvent(new Event("purse"));
    bucket = -1;
    ask(values);
  } catch (error) {
    const box = document.createElement("div");
    box.className = "notice bad";
    box.setAttribute("role", "alert");
    const body = document.createElement("div");
    body.className = "body";
    body.append("The server did not answer. If the run was started, it stands under ");
    const link = document.createElement("a");
    link.href = "/studio/runs";
    link.textContent = "your runs";
    body.append(link, "; pressing Run again does not start it twice. Your draft is kept.");
    box.append(body);
    document.getElementById("outcome").replaceChildren(box);
    box.scrollIntoView({ block: "nearest" });
  }
  stop();
  isRunning = false;
  button.disabled = false;
}

function goToFirstWrong() {
  const first = form.querySelector(".error");
  if (!first) return;
  for (let around = first.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
  const field = first.closest("[data-path]");
  const input = field.querySelector("input:not([type=hidden]), select, textarea, button");
  first.scrollIntoView({ block: "center" });
  if (input) input.focus({ preventScroll: true });
}

function showRunning() {
  const card = document.getElementById("running");
  const began = performance.now();
  const progress = card.querySelector("progress");
  const elapsed = card.querySelector("[data-elapsed]");
  const tick = () => {
    const seconds = (performance.now() - began) / 1000;
    elapsed.textContent = seconds.toFixed(1);
    progress.value = Math.min(seconds, tool.seconds);
  };
  tick();
  card.hidden = false;
  card.scrollIntoView({ block: "nearest" });
  const timer = setInterval(tick, 100);
  return () => { clearInterval(timer); card.hidden = true; };
}

/* Beginning */

form.noValidate = true;
said = JSON.parse((document.getElementById("outcome") || { dataset: {} }).dataset.wrong || "{}");
const before = tool.is_given ? null : kept();
if (before && Object.keys(before).length) {
  fillWithDefaults(tool.fields, "", before, tool.schema);
  if (JSON.stringify(before) !== JSON.stringify(tool.example)) tell("This is the draft that you left here; it is kept in this browser.");
}
if (form.dataset.hasScript) {
  import("studio/tool").then(module => { half = module; }, error => {
    console.error("The tool's own script could not be loaded:", error);
    document.getElementById("live").hidden = true;
  }).then(begin);
} else begin();

function begin() {
  follow(true);
  document.documentElement.dataset.studio = "ready";
}
