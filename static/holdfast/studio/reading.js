/* Tables out of pasted text, for a preview: CSV of any delimiter, JSON, JSON lines. The same reading as the server's
   (tools_registry/studios/data/reading.py), up to ROWS_MAX rows. Never throws: what cannot be read is a sentence. */

export const ROWS_MAX = 20000;
const COLUMNS_MAX = 500;
const DELIMITERS = { ",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar" };

/* {columns: [name], rows: [[text or null]], told, problem, isCut}. Without a table: problem says why. */
export function readTable(written, { hasHeading = true } = {}) {
  const none = (problem) => ({ columns: [], rows: [], told: "", problem, isCut: false });
  if (typeof written !== "string" || !written.trim()) return none("Paste a table, or choose a file.");
  const text = written.replace(/^\uFEFF/, "");
  if (/^\s*[[{]/.test(text)) {
    const found = jsonRows(text);
    if (typeof found === "string") return none(found);
    if (found) return fromObjects(found);
  }
  return fromCsv(text, hasHeading);
}

function fromObjects(objects) {
  const names = [];
  const known = new Set();
  for (const row of objects.slice(0, ROWS_MAX)) {
    for (const name of Object.keys(row)) if (!known.has(name)) { known.add(name); names.push(name); }
  }
  const rows = objects.slice(0, ROWS_MAX).map((row) => names.map((name) => cell(row[name])));
  const { columns } = nameColumns(names);
  return { columns, rows, told: `JSON, ${rows.length} rows`, problem: names.length ? "" : "The JSON holds no rows with names and values.",
    isCut: objects.length > ROWS_MAX };
}

function cell(value) {
  if (value === null || value === undefined || value === "") return null;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function jsonRows(text) {
  let found;
  try { found = JSON.parse(text); } catch (error) { return jsonLines(text); }
  if (!Array.isArray(found)) {
    const lists = Object.values(found).filter((one) => Array.isArray(one) && one.length && isObject(one[0]));
    found = lists.length === 1 ? lists[0] : [found];
  }
  if (found.length && Array.isArray(found[0])) {
    const [head, ...rest] = found;
    return rest.filter(Array.isArray).map((row) => Object.fromEntries(head.map((name, at) => [String(name), row[at]])));
  }
  const odd = found.findIndex((row) => !isObject(row));
  return odd < 0 ? found : `Item ${odd + 1} of the JSON list is no object with names and values.`;
}

const isObject = (one) => one !== null && typeof one === "object" && !Array.isArray(one);

function jsonLines(text) {
  const rows = [];
  const lines = text.split(/\r?\n/);
  for (let at = 0; at < lines.length && rows.length <= ROWS_MAX; at += 1) {
    if (!lines[at].trim()) continue;
    let row;
    try { row = JSON.parse(lines[at]); } catch (error) {
      if (!rows.length) return /^\s*(\{\s*["}]|\[\s*[{["\]])/.test(text) ? "This is no JSON yet." : null;
      return `Line ${at + 1}: this is no JSON.`;
    }
    if (!isObject(row)) return `Line ${at + 1}: write an object with names and values.`;
    rows.push(row);
  }
  return rows;
}

/* CSV */

export function parseCsv(text, delimiter, most = ROWS_MAX + 2) {
  const rows = [];
  let row = [], value = "", isQuoted = false, at = 0;
  const end = () => { row.push(value); value = ""; };
  const endRow = () => {
    end();
    if (row.length > 1 || row[0].trim()) rows.push(row);
    row = [];
  };
  while (at < text.length && rows.length < most) {
    const one = text[at];
    if (isQuoted) {
      if (one === '"' && text[at + 1] === '"') { value += '"'; at += 1; }
      else if (one === '"') isQuoted = false;
      else value += one;
    } else if (one === '"' && value === "") isQuoted = true;
    else if (one === delimiter) end();
    else if (one === "\n" || one === "\r") { if (one === "\r" && text[at + 1] === "\n") at += 1; endRow(); }
    else value += one;
    at += 1;
  }
  if ((value || row.length) && rows.length < most) endRow();
  return rows;
}

export function sniff(text) {
  const sample = text.slice(0, 65536);
  let best = [0, 0], found = ",";
  for (const delimiter of Object.keys(DELIMITERS)) {
    const widths = parseCsv(sample, delimiter, 500).map((row) => row.length);
    if (sample.length < text.length && widths.length > 1) widths.pop();
    if (!widths.length || widths[0] < 2) continue;
    const fit = widths.reduce((sum, width) => sum + (width === widths[0] ? 1 : width > 1 ? 0.5 : 0), 0);
    const score = [Math.round(fit / widths.length * 100) / 100, widths[0]];
    if (score[0] > best[0] || (score[0] === best[0] && score[1] > best[1])) { best = score; found = delimiter; }
  }
  return found;
}

function fromCsv(text, hasHeading) {
  const told = /^sep=(.)\r?\n/.exec(text);
  const body = told ? text.slice(told[0].length) : text;
  const delimiter = told ? told[1] : sniff(body);
  const rows = parseCsv(body, delimiter);
  if (!rows.length) return { columns: [], rows: [], told: "", problem: "There is nothing in it.", isCut: false };
  const width = hasHeading ? rows[0].length : rows.reduce((most, row) => Math.max(most, row.length), 0);
  const head = hasHeading ? rows.shift() : Array.from({ length: width }, (_, at) => `column_${at + 1}`);
  const isCut = rows.length > ROWS_MAX;
  const kept = rows.slice(0, ROWS_MAX);
  const ragged = kept.filter((row) => row.length !== width).length;
  const { columns } = nameColumns(head.slice(0, COLUMNS_MAX));
  const cells = kept.map((row) => columns.map((_, at) => (row[at] === undefined || row[at] === "" ? null : row[at])));
  const said = `CSV, cells parted by ${DELIMITERS[delimiter] || delimiter}` + (ragged ? `, ${ragged} rows of another width` : "");
  return { columns, rows: cells, told: said, problem: "", isCut };
}

function nameColumns(head) {
  const taken = new Set();
  const columns = head.map((written, at) => {
    const plain = String(written).trim().split(/\s+/).join(" ").slice(0, 200) || `column_${at + 1}`;
    let name = plain;
    for (let again = 2; taken.has(name); again += 1) name = `${plain}_${again}`;
    taken.add(name);
    return name;
  });
  return { columns };
}

/* What a column is */

/* Ways to write a number, as tools_registry/studios/data/kinds.py has them. */
const WAYS = [
  ["whole", /^[+-]?(0|[1-9]\d*)$/],
  ["point", /^([+-]?\d*\.\d+(e[+-]?\d+)?|[+-]?\d+(\.\d*)?e[+-]?\d+)$/i],
  ["grouped", /^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/],
  ["comma", /^([+-]?(\d+|\d{1,3}(\.\d{3})+),\d+|[+-]?[1-9]\d{0,2}([ \u00a0\u202f]\d{3})+,\d{1,2})$/],
  ["money", /^(-?[£$€] ?-?\d[\d,.]*|-?\d[\d,.]* ?([£$€]|GBP|EUR|USD))$/i],
  ["percent", /^[+-]?\d+([.,]\d+)? ?%$/],
];
const DOTTED = /^[+-]?[1-9]\d{0,2}(\.\d{3})+$/;
const KINDS = [
  ["datetime", /^\d{4}[-/]\d{1,2}[-/]\d{1,2}[T ]\d{1,2}:\d{2}/],
  ["date", /^(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[/.]\d{1,2}[/.](\d{4}|\d{2})|\d{1,2}-\d{1,2}-\d{4})$/],
  ["boolean", /^(true|false|yes|no)$/i],
  ["email", /^[^\s@,;<>]+@[^\s@,;<>]+\.[a-z]{2,}$/i],
  ["url", /^(https?|ftp):\/\/\S+$/i],
  ["uuid", /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i],
];
const NOTHING = new Set(["null", "n/a", "#n/a", "nan", "none", "nil", "undefined", "(null)", "(blank)"]);

function wayOf(value) {
  const found = WAYS.find(([, form]) => form.test(value));
  return found ? found[0] : "";
}

/** The ways of a column's values, each of them settled by the others; "" for what is no number. */
export function waysOf(values) {
  const ways = new Map();
  for (const value of values) if (value && !ways.has(value)) ways.set(value, wayOf(value));
  const all = [...ways];
  const isOther = ([value, way]) => way === "grouped" && (value.includes(".") || value.split(",").length > 2);
  if (all.some(([, way]) => way === "comma") && !all.some(isOther)) {
    for (const [value, way] of all) if (way === "grouped" || ((way === "point" || !way) && DOTTED.test(value))) ways.set(value, "comma");
  }
  return ways;
}

export function kindOf(value, way = wayOf(value)) {
  if (way) return way === "whole" ? "integer" : "decimal";
  const found = KINDS.find(([, form]) => form.test(value));
  return found ? found[0] : "text";
}

/* Each column: {name, kind, missing, distinct, examples, values} */
export function profile(table) {
  return table.columns.map((name, at) => {
    const counted = new Map();
    let missing = 0;
    for (const row of table.rows) {
      const value = row[at] === null ? "" : row[at].trim();
      if (!value || NOTHING.has(value.toLowerCase())) missing += 1;
      else counted.set(value, (counted.get(value) || 0) + 1);
    }
    const kinds = new Map(), ways = waysOf(counted.keys());
    let total = 0, looked = 0;
    for (const [value, count] of counted) {
      total += count;
      if (looked < 2000) { const kind = kindOf(value, ways.get(value)); kinds.set(kind, (kinds.get(kind) || 0) + count); looked += 1; }
    }
    const seen = [...kinds.values()].reduce((sum, count) => sum + count, 0);
    if (kinds.get("decimal")) { kinds.set("decimal", kinds.get("decimal") + (kinds.get("integer") || 0)); kinds.delete("integer"); }
    if (kinds.get("datetime")) { kinds.set("datetime", kinds.get("datetime") + (kinds.get("date") || 0)); kinds.delete("date"); }
    kinds.delete("text");
    const [kind, count] = [...kinds].sort((one, two) => two[1] - one[1])[0] || ["text", 0];
    return {
      name, at, kind: seen && count >= 0.7 * seen ? kind : "text", missing, distinct: counted.size, total,
      isUnique: total > 0 && counted.size === total && !missing, examples: [...counted.keys()].slice(0, 3), values: counted,
    };
  });
}

/* The number that is written, as the server reads it; null for none. */
export function numberOf(value, known = null) {
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (typeof value !== "string" || !value.trim()) return null;
  const way = known === null ? wayOf(value.trim()) : known;
  if (!way) return null;
  let plain = value.trim();
  if (way !== "whole" && way !== "point") {
    plain = plain.replace(/[^\d.,+-]/g, "");
    if (way === "comma" || ((way === "money" || way === "percent") && /,\d{1,2}$/.test(plain))) plain = plain.replace(/\./g, "").replace(",", ".");
    plain = plain.replace(/,/g, "");
  }
  const number = Number(plain);
  return plain && Number.isFinite(number) ? number : null;
}
