/* Pipelines, the half in the browser: the graph of the steps, drawn and checked while people write; which columns each
   step has, as far as that can be told without running it. Running is the server's half. */
import { diagram } from "studio/drawing";
import { readTable, profile } from "studio/reading";

const TABLES = ["table", "table_2", "table_3"];
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,59}$/;
const TYPES = ["integer", "decimal", "text", "date", "datetime", "boolean"];
const TAKES = { source: [0, 0, "no input"], join: [2, 2, "two inputs"], union: [2, 10, "two inputs or more"] };
const WORDS = new Set(("and or not is null in between like ilike case when then else end true false as cast try_cast interval day month " +
  "year quarter hour minute date timestamp integer bigint int double decimal varchar text boolean distinct from").split(" "));

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value.trim() : "");
const low = (value) => value.toLowerCase();
const parted = (value, by = ",") => text(value).split(by).map((one) => one.trim()).filter(Boolean);

function stepsOf(inputs) {
  const rows = list(inputs.steps).map(object);
  const steps = rows.map((row, at) => {
    const kind = text(row.kind) || "filter";
    let takes = parted(row.inputs);
    if (!takes.length && kind !== "source" && at) takes = [text(rows[at - 1].name)].filter(Boolean);
    return { at, name: text(row.name), kind, takes, columns: text(row.columns), expression: text(row.expression), how: text(row.how) || "inner" };
  });
  const known = new Map(steps.map((step) => [low(step.name), step.name]));
  for (const step of steps) step.takes = step.takes.map((one) => known.get(low(one)) || one);
  return steps;
}

function checkGraph(steps, say) {
  const first = new Map();
  for (const step of steps) {
    if (!NAME.test(step.name)) say(step, "name", "Write a name of letters, digits and underscores that begins with a letter.");
    else if (first.has(low(step.name))) say(step, "name", `Step ${first.get(low(step.name)) + 1} is called ${step.name} already.`);
    else first.set(low(step.name), step.at);
  }
  for (const step of steps) {
    const [least, most, words] = TAKES[step.kind] || [1, 1, "one input"];
    const unknown = step.takes.find((one) => !first.has(low(one)));
    if (unknown !== undefined) say(step, "inputs", `There is no step ${unknown}.`);
    else if (step.takes.length < least || step.takes.length > most) {
      say(step, "inputs", `${step.kind.charAt(0).toUpperCase() + step.kind.slice(1)} takes ${words}; it has ${step.takes.length}.`);
    }
  }
}

/* Steps in the order they can run, and those that wait for each other. */
function order(steps) {
  const done = [], names = new Set();
  let waiting = [...steps];
  for (;;) {
    const ready = waiting.find((step) => step.takes.every((one) => names.has(one)));
    if (!ready) return { done, waiting };
    waiting = waiting.filter((one) => one !== ready);
    done.push(ready);
    names.add(ready.name);
  }
}

function circleOf(waiting) {
  const byName = new Map(waiting.map((step) => [step.name, step]));
  const walked = [];
  let at = waiting[0];
  while (at && !walked.includes(at)) { walked.push(at); at = byName.get(at.takes.find((one) => byName.has(one))); }
  return at ? [...walked.slice(walked.indexOf(at)), at] : null;
}

/* What columns a step has: null where that is not known here (a file that only the server reads). */
function columnsOf(step, before, tables, say) {
  const [one, two] = before;
  const has = (columns, name) => columns.find((each) => low(each) === low(name.replace(/^"|"$/g, "")));
  const need = (name, columns, of) => {
    const found = columns && has(columns, name);
    if (columns && !found) say(step, "columns", `${of} has no column ${name}; it has ${columns.slice(0, 12).join(", ")}.`);
    return found || name;
  };
  const pairs = (written, by) => written.split(by).filter((row) => row.trim()).map((row) => {
    const at = row.indexOf("=");
    if (at < 1 || !row.slice(at + 1).trim()) say(step, by === "," ? "columns" : "expression", `Write a name, “=”, and what it is: ${row.trim().slice(0, 60)}`);
    return at < 1 ? [row.trim(), ""] : [row.slice(0, at).trim(), row.slice(at + 1).trim()];
  });
  const looked = (written) => {
    if (!one) return;
    const plain = written.replace(/'[^']*'/g, " ");
    for (const found of plain.matchAll(/"([^"]+)"|([A-Za-z_][A-Za-z0-9_]*)(\s*\()?/g)) {
      const name = found[1] || found[2];
      if (found[3] || (found[2] && WORDS.has(low(name)))) continue;
      if (!has(one, name)) { say(step, "expression", `There is no column ${name} here.`); return; }
    }
  };
  const from = step.takes[0];
  const needed = () => { if (!parted(step.columns).length) say(step, "columns", "Write the columns, parted by commas."); return parted(step.columns); };
  switch (step.kind) {
    case "source": {
      const table = step.columns || "table";
      if (!TABLES.includes(table)) { say(step, "columns", `There is no table ${table}; there are ${TABLES.join(", ")}.`); return null; }
      return tables[table] ? tables[table].columns : null;
    }
    case "filter":
      if (!step.expression) say(step, "expression", "Write an expression, for example amount > 0.");
      looked(step.expression);
      return one;
    case "select": return needed().map((name) => need(name, one, from));
    case "rename": {
      const renamed = new Map(pairs(step.columns, ",").map(([old, name]) => [low(need(old, one, from)), name]));
      return one && one.map((name) => renamed.get(low(name)) || name);
    }
    case "cast":
      for (const [name, type] of pairs(step.columns, ",")) {
        need(name, one, from);
        if (type && !TYPES.includes(low(type))) say(step, "columns", `${type} is no type; write one of ${TYPES.join(", ")}.`);
      }
      return one;
    case "derive": {
      const made = pairs(step.expression, /[\n;]/);
      if (!made.length) say(step, "expression", "Write a name, “=”, and what it is.");
      for (const [, written] of made) looked(written);
      return one && [...one, ...made.map(([name]) => name).filter((name) => !has(one, name))];
    }
    case "aggregate": {
      const by = parted(step.columns).map((name) => need(name, one, from));
      const made = pairs(step.expression, /[\n;]/);
      if (!made.length) say(step, "expression", "Write a name, “=”, and what it is.");
      for (const [, written] of made) looked(written);
      return [...by, ...made.map(([name]) => name)];
    }
    case "sort":
      for (const name of needed()) need(name.replace(/ desc$/i, "").trim(), one, from);
      return one;
    case "deduplicate":
      for (const name of parted(step.columns)) need(name, one, from);
      return one;
    case "join": {
      const keys = needed().map((each) => each.split("=").map((part) => part.trim()));
      for (const [left, right] of keys) { need(left, one, step.takes[0]); need(right || left, two, step.takes[1]); }
      if (!one || !two) return null;
      const shared = keys.filter(([left, right]) => !right || low(left) === low(right)).map(([left]) => low(left));
      return [...one, ...two.filter((name) => !shared.includes(low(name))).map((name) => (has(one, name) ? `${step.takes[1]}_${name}` : name))];
    }
    case "union": return one && two && [...one, ...two.filter((name) => !has(one, name))];
    default: return one;
  }
}

function judge(inputs) {
  const given = object(inputs);
  const steps = stepsOf(given);
  const wrong = {};
  const say = (step, part, sentence) => { const place = `steps.${step.at}.${part}`; if (!wrong[place]) wrong[place] = sentence; };
  const tables = {};
  for (const name of TABLES) {
    if (typeof given[name] !== "string" || !given[name].trim()) continue;
    const table = readTable(given[name]);
    if (table.problem) wrong[name] = table.problem; else tables[name] = table;
  }
  checkGraph(steps, say);
  const { done, waiting } = order(steps);
  const circle = waiting.length && !Object.keys(wrong).some((place) => place.endsWith(".inputs")) ? circleOf(waiting) : null;
  if (circle) say(circle[0], "inputs", `These steps wait for each other: ${circle.map((step) => step.name).join(" → ")}.`);
  const columns = new Map();
  for (const step of done) columns.set(step.name, columnsOf(step, step.takes.map((one) => columns.get(one) || null), tables, say));
  if (steps.length && !steps.some((step) => step.kind === "source")) wrong.steps = "Begin with a source.";
  else if (steps.length && !steps.some((step) => step.kind === "sink")) wrong.steps = "End with a sink: nothing comes out yet.";
  return { steps, wrong, columns, tables, waiting };
}

export function problems(inputs) { return judge(inputs).wrong; }

export function view(inputs) {
  const { steps, wrong, columns, tables } = judge(inputs);
  const named = steps.filter((step) => step.name);
  const places = Object.entries(wrong);
  const blocks = [{
    kind: "facts", title: "So far", pairs: [
      ["Steps", steps.length], ["Sources", steps.filter((step) => step.kind === "source").length],
      ["Outputs", steps.filter((step) => step.kind === "sink").map((step) => step.name).join(", ") || "none yet"],
      ["To correct", places.length],
    ],
  }];
  blocks.push({
    kind: "findings", title: "To correct", none: steps.length ? "The graph is whole. Run it on the sample rows." : "Add a source, some steps and a sink.",
    rows: places.map(([place, sentence]) => {
      const found = /^steps\.(\d+)/.exec(place);
      const step = found ? steps[Number(found[1])] : null;
      return { severity: "high", title: sentence, where: step ? `Step ${step.at + 1}${step.name ? ` (${step.name})` : ""}` : place };
    }),
  });
  const isWrong = new Set(places.map(([place]) => Number((/^steps\.(\d+)/.exec(place) || [])[1])));
  blocks.push({
    kind: "picture", title: "The pipeline",
    described: named.map((step) => `${step.name} (${step.kind}) takes ${step.takes.join(" and ") || "a table"}`).join("; ") || "No steps yet.",
    svg: diagram("The pipeline", named.map((step) => ({
      id: step.name, label: step.name, kind: isWrong.has(step.at) ? `${step.kind}, to correct` : step.kind,
      shape: step.kind === "source" || step.kind === "sink" ? "store" : "box",
      tone: isWrong.has(step.at) ? "coral" : step.kind === "source" ? "sea" : step.kind === "sink" ? "brass" : "plain",
      lines: columns.get(step.name) ? [`${columns.get(step.name).length} columns`] : [],
    })), named.flatMap((step) => step.takes.map((one) => ({ source: one, target: step.name }))), [], { direction: "down" }),
  });
  blocks.push({
    kind: "table", title: "Columns of each step", columns: ["Step", "Kind", "Takes", "Columns"],
    rows: steps.map((step) => [step.name || `Step ${step.at + 1}`, step.kind, step.takes.join(", ") || "–",
      columns.get(step.name) ? columns.get(step.name).slice(0, 30).join(", ") : "told when it runs"]),
  });
  for (const [name, table] of Object.entries(tables)) {
    blocks.push({
      kind: "table", title: `Sample rows: ${name}`, columns: profile(table).map((column) => `${column.name} (${column.kind})`),
      rows: table.rows.slice(0, 5), note: `${table.rows.length} rows. ${table.told}`,
    });
  }
  return blocks;
}
