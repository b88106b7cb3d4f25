/* Dashboards, the half in the browser: the same figures as tools_registry/studios/data/dashboards.py, drawn from the
   pasted rows while people choose. */
import { bars, columns, donut, heatMap, lines, number, scatter, stacked } from "studio/drawing";
import { kindOf, numberOf, profile, readTable, waysOf } from "studio/reading";

const AGGREGATES = { count: "how many rows", sum: "sum", mean: "mean", median: "median", min: "least", max: "most", distinct: "how many different" };
const GROUPED = ["lines", "stacked", "heat_map", "table"];
const KINDS = ["figure", "bars", "columns", "lines", "stacked", "donut", "scatter", "histogram", "heat_map", "table"];
const SERIES_MAX = 8, POINTS_MAX = 1000, CLASSES = 10, EMPTY = "(empty)";

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value.trim() : "");
const big = (value) => value.charAt(0).toUpperCase() + value.slice(1);
const plain = (value) => (Number.isFinite(value) ? Number(value.toPrecision(12)) : null);
const order = (one, two) => (one < two ? -1 : one > two ? 1 : 0);

function dayOf(value, isDayFirst = true) {
  let found = /^(\d{4})[-/](\d{1,2})[-/](\d{1,2})/.exec(value), parts = found && found.slice(1, 4);
  if (!parts) {
    found = /^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})/.exec(value);
    if (!found) return "";
    const year = found[3].length > 2 ? found[3] : String(Number(found[3]) + (Number(found[3]) >= 30 ? 1900 : 2000));
    parts = isDayFirst ? [year, found[2], found[1]] : [year, found[1], found[2]];
  }
  const [year, month, day] = parts.map(Number);
  const made = new Date(Date.UTC(year, month - 1, day));
  return made.getUTCMonth() === month - 1 && made.getUTCDate() === day ? made.toISOString().slice(0, 10) : "";
}

class Sheet {
  constructor(table) {
    this.table = table;
    this.profiles = profile(table);
    this.done = new Map();
  }

  has(name) { return this.table.columns.includes(name); }

  column(name) {
    if (!this.has(name)) return null;
    if (!this.done.has(name)) {
      const at = this.table.columns.indexOf(name), { kind } = this.profiles[at];
      const texts = this.table.rows.map((row) => (row[at] === null ? "" : row[at].trim()));
      const isDate = kind === "date" || kind === "datetime";
      let dayFirst = 0, monthFirst = 0;
      if (isDate) {
        for (const value of texts) {
          const found = /^(\d{1,2})[-/.](\d{1,2})[-/.]/.exec(value);
          if (found) { dayFirst += found[1] > 12; monthFirst += found[2] > 12; }
        }
      }
      const ways = waysOf(texts);
      this.done.set(name, {
        kind, texts, isDate,
        numbers: texts.map((value) => (value ? numberOf(value, ways.get(value)) : null)),
        days: texts.map((value) => (isDate ? dayOf(value, dayFirst >= monthFirst) : "")),
      });
    }
    return this.done.get(name);
  }
}

function filtered(sheet, filters, say) {
  let kept = sheet.table.rows.map((_, at) => at);
  list(filters).map(object).forEach((one, at) => {
    const name = text(one.column), test = text(one.test) || "is", value = text(one.value);
    const column = sheet.column(name);
    if (!column) { if (name) say(`filters.${at}.column`, `There is no column ${name}.`); return; }
    const { texts, numbers, days } = column;
    if (test === "is_empty") { kept = kept.filter((row) => !texts[row]); return; }
    if (test === "is_not_empty") { kept = kept.filter((row) => texts[row]); return; }
    if (!value) { say(`filters.${at}.value`, "Write what to compare with."); return; }
    const low = value.toLowerCase();
    if (test === "at_least" || test === "at_most") {
      const cells = column.isDate ? days : numbers, edge = column.isDate ? dayOf(value) : numberOf(value);
      if (edge === null || edge === "") { say(`filters.${at}.value`, column.isDate ? "Write a date as YYYY-MM-DD." : "Write a number."); return; }
      kept = kept.filter((row) => cells[row] !== null && cells[row] !== "" && (test === "at_least" ? cells[row] >= edge : cells[row] <= edge));
    } else if (test === "contains") kept = kept.filter((row) => texts[row].toLowerCase().includes(low));
    else {
      const wanted = new Set(test === "is_one_of" ? value.split("|").map((each) => each.trim().toLowerCase()) : [low]);
      kept = kept.filter((row) => wanted.has(texts[row].toLowerCase()) === (test !== "is_not"));
    }
  });
  return kept;
}

function aggregate(name, column, rows, chart) {
  if (name === "count" || !column) return rows.length;
  if (name === "distinct") return new Set(rows.map((row) => column.texts[row]).filter(Boolean)).size;
  const numbers = rows.map((row) => column.numbers[row]).filter((value) => value !== null);
  chart.leftOut += rows.length - numbers.length;
  if (!numbers.length) return name === "sum" ? 0 : null;
  const total = () => numbers.reduce((sum, value) => sum + value, 0);
  if (name === "sum") return plain(total());
  if (name === "mean") return plain(total() / numbers.length);
  numbers.sort((one, two) => one - two);
  if (name === "min") return plain(numbers[0]);
  if (name === "max") return plain(numbers[numbers.length - 1]);
  const middle = numbers.length >> 1;
  return plain(numbers.length % 2 ? numbers[middle] : (numbers[middle - 1] + numbers[middle]) / 2);
}

function chartOf(sheet, given, kept, place, say) {
  const row = object(given);
  const kind = KINDS.includes(row.kind) ? row.kind : "bars";
  const how = row.aggregate in AGGREGATES ? row.aggregate : "count";
  const [x, y, group, period] = [text(row.x), text(row.y), text(row.group), text(row.period) || "as_is"];
  const named = AGGREGATES[how] + (y && how !== "count" ? ` of ${y}` : "");
  let title = big(named) + (x && kind !== "figure" ? ` by ${period === "as_is" ? x : period}` : "");
  if (kind === "scatter") title = `${y} by ${x}`;
  if (kind === "histogram") title = `How often: ${x}`;
  const chart = { title: text(row.title) || title, kind, labels: [], series: [], points: [], leftOut: 0, more: 0, x, y: y || named };
  const refuse = (part, sentence) => { say(`${place}.${part}`, sentence); return null; };
  const need = (part, name) => sheet.column(name) || refuse(part, `There is no column ${name}.`);
  if (group && !GROUPED.includes(kind)) return refuse("group", `Only these have groups: ${GROUPED.join(", ")}.`);
  if ((kind === "stacked" || kind === "heat_map") && !group) return refuse("group", "Choose a column to group by.");
  if (kind !== "figure" && !x) return refuse("x", "Choose a column.");
  const across = x && kind !== "figure" ? need("x", x) : null;
  if (x && kind !== "figure" && !across) return null;
  const isNumeric = (column) => column.numbers.some((value) => value !== null);
  if (kind === "scatter") {
    if (!y) return refuse("y", "Choose the second number.");
    const up = need("y", y);
    if (!up) return null;
    if (!isNumeric(across)) return refuse("x", `${x} holds no numbers.`);
    if (!isNumeric(up)) return refuse("y", `${y} holds no numbers.`);
    for (const at of kept) {
      if (across.numbers[at] === null || up.numbers[at] === null) chart.leftOut += 1;
      else if (chart.points.length < POINTS_MAX) chart.points.push({ x: across.numbers[at], y: up.numbers[at] });
      else chart.more += 1;
    }
    return chart;
  }
  if (kind === "histogram") {
    if (!isNumeric(across)) return refuse("x", `${x} holds no numbers.`);
    const numbers = kept.map((at) => across.numbers[at]).filter((value) => value !== null);
    chart.leftOut = kept.length - numbers.length;
    if (!numbers.length) return chart;
    const low = numbers.reduce((a, b) => Math.min(a, b)), high = numbers.reduce((a, b) => Math.max(a, b));
    const width = (high - low) / CLASSES || 1, counts = new Array(high > low ? CLASSES : 1).fill(0);
    for (const value of numbers) counts[Math.min(counts.length - 1, Math.floor((value - low) / width))] += 1;
    chart.labels = counts.map((_, at) => String(Number((low + at * width).toPrecision(6))));
    chart.series = [{ label: "count", values: counts }];
    return chart;
  }
  const value = y ? need("y", y) : null;
  if (y && !value) return null;
  if (how !== "count" && !value) return refuse("y", "Choose the column that is counted up.");
  if (value && !["count", "distinct"].includes(how) && !isNumeric(value)) return refuse("y", `${y} holds no numbers.`);
  if (kind === "figure") {
    chart.labels = ["All"];
    chart.series = [{ label: named, values: [aggregate(how, value, kept, chart)] }];
    return chart;
  }
  const by = group ? need("group", group) : null;
  if (group && !by) return null;
  if (period !== "as_is" && !across.isDate) return refuse("period", "The column holds no dates.");
  const label = (at) => {
    const day = across.days[at];
    if (period === "as_is") return across.texts[at];
    if (!day) return "";
    return period === "quarter" ? `${day.slice(0, 4)} Q${Math.floor((Number(day.slice(5, 7)) + 2) / 3)}` : day.slice(0, { day: 10, month: 7, year: 4 }[period]);
  };
  const cells = new Map(), sizes = new Map();
  for (const at of kept) {
    const name = by ? by.texts[at] || EMPTY : how, of = label(at) || EMPTY;
    if (!cells.has(of)) cells.set(of, new Map());
    if (!cells.get(of).has(name)) cells.get(of).set(name, []);
    cells.get(of).get(name).push(at);
    sizes.set(name, (sizes.get(name) || 0) + 1);
  }
  const names = [...sizes].sort((one, two) => two[1] - one[1] || order(one[0], two[0])).slice(0, SERIES_MAX).map(([name]) => name);
  const made = new Map([...cells].map(([of, parts]) => [of, new Map([...parts].filter(([name]) => names.includes(name))
    .map(([name, rows]) => [name, aggregate(how, value, rows, chart)]))]));
  const isOrdered = ["date", "datetime", "integer", "decimal"].includes(across.kind) || kind === "lines";
  const byLabel = row.sort === "label" || (row.sort !== "value" && isOrdered);
  const key = (of) => {
    const kindHere = kindOf(of);
    if (!byLabel) return [0, -[...made.get(of).values()].reduce((sum, each) => sum + (each || 0), 0), of];
    if (kindHere === "integer" || kindHere === "decimal") return [0, numberOf(of), of];
    if (kindHere === "date" || kindHere === "datetime") return [1, dayOf(of) ? Date.parse(dayOf(of)) : 0, of];
    return [2, 0, of];
  };
  const labels = [...made.keys()].map((of) => [of, key(of)])
    .sort((one, two) => one[1][0] - two[1][0] || one[1][1] - two[1][1] || order(one[1][2], two[1][2])).map(([of]) => of);
  const limit = Number.isInteger(row.limit) && row.limit > 0 ? Math.min(row.limit, 60) : 20;
  chart.more = Math.max(0, labels.length - limit);
  chart.labels = labels.slice(0, limit);
  chart.series = names.map((name) => ({ label: name, values: chart.labels.map((of) => (made.get(of).has(name) ? made.get(of).get(name) : null)) }));
  return chart;
}

function drawn(chart) {
  const first = (chart.series[0] || { values: [] }).values;
  const rows = chart.labels.map((label, at) => ({ label, value: first[at] === undefined ? null : first[at] }));
  switch (chart.kind) {
    case "bars": return bars(chart.title, rows);
    case "columns": case "histogram": return columns(chart.title, rows);
    case "donut": return donut(chart.title, rows);
    case "lines": return lines(chart.title, chart.labels, chart.series);
    case "stacked": return stacked(chart.title, chart.series.map((one) => one.label),
      chart.labels.map((label, at) => ({ label, values: chart.series.map((one) => one.values[at] || 0) })));
    case "heat_map": return heatMap(chart.title, chart.series.map((one) => one.label), chart.labels,
      chart.labels.map((_, at) => chart.series.map((one) => one.values[at])));
    case "scatter": return scatter(chart.title, chart.points, { xTitle: chart.x, yTitle: chart.y });
    default: return null;
  }
}

function judge(inputs) {
  const given = object(inputs);
  const wrong = {};
  const say = (place, sentence) => { if (!wrong[place]) wrong[place] = sentence; };
  const table = readTable(given.table, { hasHeading: given.has_heading !== false });
  if (!table.columns.length) {
    if (typeof given.table === "string" && given.table.trim()) say("table", table.problem);
    return { wrong, table, charts: [], kept: [], sheet: null };
  }
  const sheet = new Sheet(table);
  const kept = filtered(sheet, given.filters, say);
  const charts = list(given.charts).map((row, at) => chartOf(sheet, row, kept, `charts.${at}`, say));
  return { wrong, table, charts, kept, sheet };
}

export function problems(inputs) { return judge(inputs).wrong; }

export function view(inputs) {
  const { wrong, table, charts, kept, sheet } = judge(inputs);
  if (!sheet) return [{ kind: "text", title: "Preview", paragraphs: [table.problem + " A Parquet file is read on the server."] }];
  const ready = charts.filter(Boolean);
  const figures = ready.filter((one) => one.kind === "figure").map((one) => [one.title, one.series[0].values[0]]);
  const blocks = [{
    kind: "facts", title: text(object(inputs).title) || "Dashboard",
    pairs: [...figures, ["Rows", `${kept.length} of ${table.rows.length}${table.isCut ? ", the first ones" : ""}`], ["Charts", ready.length]],
  }];
  const open = Object.entries(wrong);
  if (open.length) blocks.push({ kind: "findings", title: "To correct", rows: open.map(([place, sentence]) => ({ severity: "medium", title: sentence, where: place })) });
  for (const chart of ready) {
    const svg = drawn(chart);
    const rows = chart.labels.map((label, at) => [label, ...chart.series.map((one) => one.values[at])]);
    if (svg) {
      blocks.push({ kind: "picture", title: chart.title, svg,
        described: rows.slice(0, 20).map(([label, ...values]) => `${label}: ${values.map((value) => number(value)).join(", ")}`).join("; ") || `${chart.points.length} dots.` });
    }
    if (chart.kind === "table" || (svg && rows.length)) {
      const note = [chart.leftOut ? `${chart.leftOut} rows have no number here.` : "", chart.more ? `${chart.more} more are not shown.` : ""].filter(Boolean).join(" ");
      blocks.push({ kind: "table", title: svg ? `${chart.title}: the figures` : chart.title, columns: [chart.x, ...chart.series.map((one) => one.label)], rows, note });
    }
  }
  if (!ready.length) {
    blocks.push({ kind: "table", title: "Columns to choose from", columns: ["Column", "Type", "Different"],
      rows: sheet.profiles.map((column) => [column.name, column.kind, column.distinct]), note: table.told });
  }
  return blocks;
}
