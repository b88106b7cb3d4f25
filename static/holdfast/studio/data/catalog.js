/* Data catalogue, the half in the browser: what is in the pasted tables, and a first description, owner and tags for
   every column that has none yet, as a draft that can be opened again. */
import { diagram } from "studio/drawing";
import { readTable, profile } from "studio/reading";

const TABLES = ["table", "table_2", "table_3", "table_4"];
const list = (value) => (Array.isArray(value) ? value : []);
const text = (value) => (typeof value === "string" ? value.trim() : "");

/* The same sentences as tools_registry/studios/data/catalog.py */
const SUGGESTIONS = [
  [/^(?:id|key|uuid)$/, "Identifies the row."],
  [/^(.+) (?:id|key|uuid)$/, "Identifies the {}."],
  [/^(?:is|has) (.+)$/, "Whether it is or has {}."],
  [/^(?:(.+) at|(.+) (?:date|time|on)|date of (.+))$/, "When: {}."],
  [/^(?:(?:number|count) of (.+)|(.+) (?:count|quantity|qty))$/, "How many: {}."],
  [/^(?:quantity|qty|count)$/, "How many."],
  [/^(?:amount|total|price|cost|(.+) (?:amount|total|price|cost))$/, "An amount of money: {}."],
  [/^(?:status|state|(.+) (?:status|state))$/, "Where the {} stands."],
  [/^(?:e ?mail|(.+) e ?mail)$/, "An e-mail address."],
  [/^(?:country|(.+) country)$/, "The country."],
];

export function suggest(name, kind) {
  const said = name.replace(/([a-z0-9])(?=[A-Z])/g, "$1 ").replace(/[_\-.]+/g, " ").trim().split(/\s+/).join(" ").toLowerCase();
  for (const [form, sentence] of SUGGESTIONS) {
    const found = form.exec(said);
    if (!found) continue;
    const rest = (found.slice(1).find(Boolean) || "").trim();
    if (!rest && sentence.includes(":")) return sentence.split(":")[0] + ".";
    return sentence.replace("{}", rest || "row");
  }
  if (kind === "date" || kind === "datetime") return `When: ${said}.`;
  if (kind === "boolean") return `Whether: ${said}.`;
  return said.charAt(0).toUpperCase() + said.slice(1) + ".";
}

const PERSONAL = /(^|[_\s])(e?-?mail|phone|tel|mobile|dob|birth|first_?name|last_?name|full_?name|surname|iban|card|ssn|nino|passport|salary|password|diagnos\w*|religio\w*|ethnic\w*|gender)($|[_\s])/i;

function tagsOf(column) {
  const found = [];
  if (column.isUnique && column.total > 1 && !["decimal", "date", "datetime"].includes(column.kind)) found.push("key");
  if (PERSONAL.test(column.name)) found.push("personal");
  if (/amount|total|price|cost|salary|revenue/i.test(column.name)) found.push("money");
  if (["date", "datetime"].includes(column.kind)) found.push("time");
  if (column.missing) found.push("optional");
  return found;
}

function read(inputs) {
  const found = [];
  for (const field of TABLES) {
    if (typeof inputs[field] !== "string" || !inputs[field].trim()) continue;
    const table = readTable(inputs[field]);
    found.push({ field, name: field, table, columns: profile(table) });
  }
  return found;
}

const rowsOf = (inputs) => list(inputs.columns).filter((row) => row && typeof row === "object");
const isOf = (row, column) => text(row.column) === column.name;

export function problems(inputs) {
  const wrong = {};
  const tables = read(inputs || {});
  for (const one of tables) if (one.table.problem) wrong[one.field] = one.table.problem;
  // A file that is no text is only read by the server, and so are the names of files.
  if (!tables.length || tables.some((one) => one.table.problem)) return wrong;
  const isWhole = TABLES.every((field) => inputs[field] === undefined || typeof inputs[field] === "string");
  rowsOf(inputs).forEach((row, at) => {
    const there = tables.some((one) => one.columns.some((column) => isOf(row, column)));
    if (isWhole && text(row.column) && !there) wrong[`columns.${at}.column`] = `There is no column ${text(row.column)}.`;
  });
  return wrong;
}

export function view(inputs) {
  const given = inputs && typeof inputs === "object" ? inputs : {};
  const tables = read(given);
  if (!tables.length) {
    return [{ kind: "text", title: "Preview", paragraphs: ["Paste a table or choose a file to see what is in it. A Parquet file is read on the server."] }];
  }
  const written = rowsOf(given);
  const columns = tables.flatMap((one) => one.columns.map((column) => ({ table: one, column })));
  const open = columns.filter(({ column }) => !written.some((row) => isOf(row, column) && text(row.description)));
  const draft = [
    ...written,
    ...columns.filter(({ column }) => !written.some((row) => isOf(row, column))).map(({ column }) => ({
      table: "", column: column.name, description: suggest(column.name, column.kind), owner: text(given.owner), tags: tagsOf(column).join(", "),
    })),
  ].slice(0, 500);
  const once = draft.filter((row, at) => draft.findIndex((other) => text(other.column) === text(row.column)) === at);
  const blocks = [{
    kind: "facts", title: "So far", pairs: [
      ["Tables", tables.length], ["Columns", columns.length],
      ["Rows", tables.reduce((sum, one) => sum + one.table.rows.length, 0)],
      ["Described", columns.length - open.length], ["Without a description", open.length],
    ],
  }];
  for (const one of tables) {
    if (one.table.problem) {
      blocks.push({ kind: "text", title: one.name, paragraphs: [one.table.problem] });
      continue;
    }
    blocks.push({
      kind: "table", title: one.name, columns: ["Column", "Type", "Missing", "Different", "Description", "Tags", "Examples"],
      rows: one.columns.map((column) => {
        const row = written.find((each) => isOf(each, column)) || {};
        const isPrivate = PERSONAL.test(column.name);
        return [column.name, column.kind, column.missing, column.distinct, text(row.description) || `${suggest(column.name, column.kind)} (suggested)`,
          text(row.tags) || tagsOf(column).join(", "), isPrivate ? "hidden" : column.examples.join(", ").slice(0, 80)];
      }),
      note: one.table.told + (one.table.isCut ? "; only the first rows are looked at here" : ""),
    });
  }
  blocks.push({
    kind: "picture", title: "Tables", described: tables.map((one) => `${one.name} has ${one.columns.length} columns`).join("; "),
    svg: diagram("Tables", tables.map((one) => ({
      id: one.field, label: one.name, kind: `${one.table.rows.length} rows`, shape: "table", tone: "sea",
      lines: one.columns.slice(0, 12).map((column) => `${column.name} · ${column.kind}`),
    })), []),
  });
  blocks.push({
    kind: "text", title: "A first draft of the dictionary",
    paragraphs: ["Every column that you have not described gets a suggestion. Save it, correct it, and open it again as a draft; or run the tool, which suggests the same."],
    downloads: [{ name: "catalogue-draft.json", content_type: "application/json", content: JSON.stringify({ ...given, columns: once }, null, 2) + "\n" }],
  });
  return blocks;
}
