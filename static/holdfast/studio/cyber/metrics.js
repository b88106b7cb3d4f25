/* Security metrics, the half in the browser: the same figures as tools_registry/studios/cyber/metrics.py, worked out and
   charted while people paste; the report, the CSV and files that are no pasted text are the server's half. */
import { bars, columns, lines, number } from "studio/drawing";
import { readTable } from "studio/reading";

const HOUR = 3600, DAY = 86400, MONTHS_MAX = 60;
const SEVERITIES = ["critical", "high", "medium", "low"];
const STATUSES = { green: "On target", amber: "Watch", red: "Act", none: "No records" };
const KINDS = {
  incidents: {
    detected: ["detected", "detected_at", "detection", "opened"], occurred: ["occurred", "occurred_at", "started", "began"],
    contained: ["contained", "contained_at", "mitigated"], resolved: ["resolved", "resolved_at", "closed", "recovered"], severity: ["severity", "priority"],
  },
  vulnerabilities: {
    found: ["found", "found_at", "discovered", "first_seen", "opened"], fixed: ["fixed", "fixed_at", "remediated", "closed", "resolved"], severity: ["severity", "risk", "rating"],
  },
  phishing: { date: ["date", "sent_on", "campaign_date"], sent: ["sent", "recipients", "targets"], clicked: ["clicked", "clicks", "failed"], reported: ["reported", "reports"] },
  patches: { released: ["released", "released_at", "published"], installed: ["installed", "installed_at", "applied"], severity: ["severity", "rating"] },
  reviews: { due: ["due", "due_on", "deadline"], done: ["done", "done_on", "completed"] },
};
const NEEDED = { incidents: ["detected"], vulnerabilities: ["found", "severity"], phishing: ["date", "sent", "clicked"], patches: ["released"], reviews: ["due"] };
const COUNTS = ["sent", "clicked", "reported"];
const ORDERS = [
  ["incidents", "occurred", "detected"], ["incidents", "detected", "contained"], ["incidents", "detected", "resolved"],
  ["vulnerabilities", "found", "fixed"], ["patches", "released", "installed"],
];
const WORDS = new Map([["moderate", "medium"], ["severe", "critical"], ["urgent", "critical"], ["informational", "low"], ["info", "low"]]);
/* measure: name, unit, whether less is better, green, red */
const MEASURES = [
  ["mttd_hours", "Mean time to detect", "h", true, 24, 72], ["mttc_hours", "Mean time to contain", "h", true, 24, 72],
  ["mttr_hours", "Mean time to resolve", "h", true, 72, 168], ["incidents_open", "Incidents open", "", true, 0, 3],
  ["fixed_in_target_percent", "Weaknesses fixed in time", "%", false, 90, 75], ["overdue_open", "Weaknesses overdue", "", true, 0, 5],
  ["backlog_age_days", "Mean age of the backlog", "d", true, 30, 90], ["phish_click_percent", "Phishing: clicked", "%", true, 5, 15],
  ["phish_report_percent", "Phishing: reported", "%", false, 50, 20], ["patched_in_target_percent", "Patches installed in time", "%", false, 95, 80],
  ["reviews_on_time_percent", "Access reviews on time", "%", false, 95, 80],
];
const DAYS = { critical_days: 15, high_days: 30, medium_days: 90, low_days: 180, patch_days: 30 };

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value.trim() : "");
const tenth = (value) => Math.floor(value * 10 + 0.5) / 10;
const sum = (values) => values.reduce((total, one) => total + one, 0);
const mean = (values) => (values.length ? tenth(sum(values) / values.length) : null);
const percent = (part, whole) => (whole ? tenth(100 * part / whole) : null);
const said = (value, unit) => (value === null ? "–" : number(value, unit));

function percentile(values, share) {
  if (!values.length) return null;
  const ordered = [...values].sort((one, two) => one - two);
  const place = (ordered.length - 1) * share, below = Math.floor(place), above = Math.min(below + 1, ordered.length - 1);
  return tenth(ordered[below] + (ordered[above] - ordered[below]) * (place - below));
}

/* Seconds since 1970; null for what is no time. */
function moment(written) {
  const found = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.\d{1,9})?)?\s?(Z|[+-]\d{2}:?\d{2})?)?$/.exec(written);
  if (!found) return null;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((one) => Number(one || 0));
  const at = new Date(0);
  at.setUTCFullYear(year, month - 1, day);
  if (year <= 1970 || year > 2100 || at.getUTCMonth() !== month - 1 || at.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) return null;
  const seconds = at.getTime() / 1000 + hour * HOUR + minute * 60 + second, zone = found[7];
  if (!zone || zone === "Z") return seconds;
  const digits = zone.slice(1).replace(":", "");
  return seconds - (zone[0] === "+" ? 1 : -1) * (Number(digits.slice(0, 2)) * HOUR + Number(digits.slice(2)) * 60);
}

const iso = (at) => { const day = new Date(at * 1000); return Number.isNaN(day.getTime()) ? "" : day.toISOString().slice(0, 10); };
const monthOf = (at) => iso(at).slice(0, 7);
const first = (row) => ["detected", "found", "date", "released", "due"].map((field) => row[field]).find((at) => at !== null && at !== undefined) || 0;

/* {rows, wrong}: the records that can be read, and sentences about the others. */
function records(kind, written) {
  const table = readTable(written);
  if (table.problem) return { rows: [], wrong: [table.problem] };
  const names = new Map(table.columns.map((name, at) => [name.trim().toLowerCase().replace(/[\s\-.]+/g, "_"), at]));
  const places = Object.entries(KINDS[kind]).map(([field, known]) => [field, known.find((name) => names.has(name))]).map(([field, name]) => [field, name === undefined ? -1 : names.get(name)]);
  const missing = NEEDED[kind].filter((field) => places.find(([name]) => name === field)[1] < 0);
  if (missing.length) return { rows: [], wrong: [`A column ${missing.join(" and one ")} is needed; there are: ${table.columns.slice(0, 12).join(", ")}.`] };
  const rows = [], wrong = [];
  table.rows.forEach((cells, index) => {
    const row = {};
    let odd = "";
    for (const [field, at] of places) {
      const cell = at < 0 || cells[at] === null ? "" : cells[at].trim();
      row[field] = null;
      if (!cell) { if (NEEDED[kind].includes(field)) odd = odd || `${field}: This is needed.`; continue; }
      if (field === "severity") row[field] = WORDS.get(cell.toLowerCase()) || cell.toLowerCase();
      else if (COUNTS.includes(field)) { if (/^\d{1,9}$/.test(cell)) row[field] = Number(cell); else odd = odd || `${field}: “${cell.slice(0, 40)}” is no whole number.`; }
      else { row[field] = moment(cell); if (row[field] === null) odd = odd || `${field}: “${cell.slice(0, 40)}” is no time. Write 2026-03-01 or 2026-03-01 14:30.`; }
    }
    for (const [of, before, after] of ORDERS) if (of === kind && row[before] !== null && row[after] !== null && row[after] < row[before]) odd = odd || `${after} is before ${before}.`;
    if (kind === "vulnerabilities" && !odd && !SEVERITIES.includes(row.severity)) odd = `severity: “${String(row.severity).slice(0, 40)}” is none of ${SEVERITIES.join(", ")}.`;
    if (kind === "phishing" && !odd) for (const field of ["clicked", "reported"]) if (row[field] !== null && row[field] > row.sent) odd = odd || `${field} is more than sent.`;
    if (odd) wrong.push(`Row ${index + 1}: ${odd}`); else rows.push(row);
  });
  return { rows, wrong };
}

const gaps = (rows, start, end, unit, at = Infinity) => rows.filter((row) => row[start] !== null && row[end] !== null && row[end] <= at).map((row) => (row[end] - row[start]) / unit);
const open = (rows, end, at) => rows.filter((row) => row[end] === null || row[end] > at);

function read(inputs) {
  const given = object(inputs), rows = {}, wrong = {};
  for (const kind of Object.keys(KINDS)) {
    if (!text(given[kind])) continue;
    const found = records(kind, given[kind]);
    rows[kind] = found.rows;
    if (found.wrong.length) wrong[kind] = found.wrong;
  }
  const asked = text(given.as_of), day = asked ? moment(asked) : null;
  if (asked && day === null) wrong.as_of = [`“${asked.slice(0, 40)}” is no time. Write 2026-03-01 or 2026-03-01 14:30.`];
  const all = Object.values(rows).flat();
  let latest = -Infinity;
  for (const row of all) for (const [field, at] of Object.entries(row)) if (typeof at === "number" && !COUNTS.includes(field) && field !== "due" && at > latest) latest = at;
  if (latest === -Infinity) for (const row of all) if (typeof row.due === "number" && row.due > latest) latest = row.due;
  const from = day !== null ? day : latest === -Infinity ? 0 : latest;
  const at = Math.floor(from / DAY) * DAY + DAY - 1;
  for (const kind of Object.keys(rows)) rows[kind] = rows[kind].filter((row) => first(row) <= at);
  const days = Object.fromEntries(Object.entries(DAYS).map(([name, usual]) => [name.replace("_days", ""), Number.isInteger(given[name]) ? given[name] : usual]));
  return { rows, wrong, at, days, given };
}

function valuesOf({ rows, at, days }) {
  const values = {}, incidents = rows.incidents || [], weak = rows.vulnerabilities || [], sent = rows.phishing || [], patches = rows.patches || [], reviews = rows.reviews || [];
  for (const [key, start, end] of [["mttd_hours", "occurred", "detected"], ["mttc_hours", "detected", "contained"], ["mttr_hours", "detected", "resolved"]]) {
    const found = gaps(incidents, start, end, HOUR, at);
    values[key] = [mean(found), found.length];
  }
  values.incidents_open = incidents.length ? [open(incidents, "resolved", at).length, incidents.length] : [null, 0];
  const openOnes = open(weak, "fixed", at), ages = openOnes.map((row) => (at - row.found) / DAY);
  const overdue = openOnes.filter((row, index) => ages[index] > days[row.severity]).length;
  const fixed = weak.filter((row) => row.fixed !== null && row.fixed <= at);
  const inTime = fixed.filter((row) => (row.fixed - row.found) / DAY <= days[row.severity]).length;
  values.fixed_in_target_percent = [percent(inTime, fixed.length + overdue), fixed.length + overdue];
  values.overdue_open = weak.length ? [overdue, openOnes.length] : [null, 0];
  values.backlog_age_days = [mean(ages), ages.length];
  values.phish_click_percent = [percent(sum(sent.map((row) => row.clicked)), sum(sent.map((row) => row.sent))), sent.length];
  const told = sent.filter((row) => row.reported !== null);
  values.phish_report_percent = [percent(sum(told.map((row) => row.reported)), sum(told.map((row) => row.sent))), told.length];
  const installed = patches.filter((row) => row.installed !== null && row.installed <= at);
  const prompt = installed.filter((row) => (row.installed - row.released) / DAY <= days.patch).length;
  const missing = open(patches, "installed", at).filter((row) => (at - row.released) / DAY > days.patch).length;
  values.patched_in_target_percent = [percent(prompt, installed.length + missing), installed.length + missing];
  const kept = reviews.filter((row) => row.done !== null && row.done < Math.floor(row.due / DAY) * DAY + DAY).length;
  values.reviews_on_time_percent = [percent(kept, reviews.length), reviews.length];
  return values;
}

function status(value, green, red, isLess) {
  if (value === null) return "none";
  if (isLess) return value <= green ? "green" : value > red ? "red" : "amber";
  return value >= green ? "green" : value < red ? "red" : "amber";
}

function measured(all) {
  const values = valuesOf(all), own = new Map();
  for (const row of list(all.given.thresholds).map(object)) if (Number.isFinite(row.green) && Number.isFinite(row.red)) own.set(row.measure, [row.green, row.red]);
  return MEASURES.map(([key, name, unit, isLess, usualGreen, usualRed]) => {
    const [green, red] = own.get(key) || [usualGreen, usualRed], [value, count] = values[key];
    const target = `${isLess ? "≤" : "≥"} ${said(green, unit)}, act at ${isLess ? ">" : "<"} ${said(red, unit)}`;
    return { key, name, unit, value, count, target, status: status(value, green, red, isLess) };
  });
}

function bySeverity({ rows, at, days }) {
  return SEVERITIES.map((severity) => {
    const of = (rows.vulnerabilities || []).filter((row) => row.severity === severity), found = gaps(of, "found", "fixed", DAY, at);
    const ages = open(of, "fixed", at).map((row) => (at - row.found) / DAY);
    return [severity, days[severity], found.length, mean(found), percentile(found, 0.5), percentile(found, 0.9),
      percent(found.filter((gap) => gap <= days[severity]).length, found.length), ages.length, ages.filter((age) => age > days[severity]).length,
      ages.length ? tenth(ages.reduce((most, age) => Math.max(most, age), 0)) : null];
  });
}

function grouped(rows, field) {
  const found = new Map();
  for (const row of rows) {
    const name = monthOf(row[field]);
    if (found.has(name)) found.get(name).push(row); else found.set(name, [row]);
  }
  return found;
}

function byMonth({ rows, at }) {
  const firsts = Object.values(rows).flat().map(first);
  if (!firsts.length) return [];
  let [year, month] = monthOf(firsts.reduce((least, one) => Math.min(least, one), Infinity)).split("-").map(Number);
  const names = [], last = monthOf(at), pad = (value, wide) => String(value).padStart(wide, "0");
  for (let name = `${pad(year, 4)}-${pad(month, 2)}`; name <= last; name = `${pad(year, 4)}-${pad(month, 2)}`) {
    names.push(name);
    if (month === 12) { year += 1; month = 1; } else month += 1;
  }
  const weak = rows.vulnerabilities || [], detectedIn = grouped(rows.incidents || [], "detected"), sentIn = grouped(rows.phishing || [], "date");
  const fixedIn = grouped(weak.filter((row) => row.fixed !== null && row.fixed <= at), "fixed");
  return names.slice(-MONTHS_MAX).map((name) => {
    const [y, m] = name.split("-").map(Number), turn = new Date(0);
    turn.setUTCFullYear(m === 12 ? y + 1 : y, m === 12 ? 0 : m, 1);
    const end = Math.min(turn.getTime() / 1000 - 1, at), incidents = detectedIn.get(name) || [], fixed = fixedIn.get(name) || [], sent = sentIn.get(name) || [];
    return [name, incidents.length, mean(gaps(incidents, "occurred", "detected", HOUR, at)), mean(gaps(incidents, "detected", "resolved", HOUR, at)),
      fixed.length, mean(gaps(fixed, "found", "fixed", DAY)), weak.filter((row) => row.found <= end && (row.fixed === null || row.fixed > end)).length,
      percent(sum(sent.map((row) => row.clicked)), sum(sent.map((row) => row.sent)))];
  });
}

export function problems(inputs) {
  const all = read(inputs), wrong = {}, seen = new Set();
  for (const [name, sentences] of Object.entries(all.wrong)) wrong[name] = sentences[0];
  list(all.given.thresholds).map(object).forEach((row, at) => {
    const of = MEASURES.find(([key]) => key === row.measure);
    if (!of) return;
    if (seen.has(row.measure)) wrong[`thresholds.${at}.measure`] = `${of[1]} stands there twice.`;
    else if (Number.isFinite(row.green) && Number.isFinite(row.red) && (of[3] ? row.green > row.red : row.green < row.red)) {
      wrong[`thresholds.${at}.red`] = `Here ${of[3] ? "less" : "more"} is better, so green ${row.green} and red ${row.red} cross.`;
    }
    seen.add(row.measure);
  });
  return wrong;
}

export function view(inputs) {
  const all = read(inputs), kinds = Object.keys(all.rows), blocks = [];
  if (!kinds.length) {
    return [{ kind: "text", title: "So far", paragraphs: ["Paste at least one kind of record, as CSV with a heading, to see its figures here. The example shows which columns there can be."] }];
  }
  const found = measured(all), count = (word) => found.filter((one) => one.status === word).length;
  const worst = found.filter((one) => one.status !== "none").sort((one, two) => ["red", "amber", "green"].indexOf(one.status) - ["red", "amber", "green"].indexOf(two.status)).slice(0, 4);
  blocks.push({ kind: "facts", title: "At a glance", pairs: [
    ["On target", count("green")], ["Watch", count("amber")], ["Act", count("red")], ...worst.map((one) => [one.name, said(one.value, one.unit)]), ["As of", iso(all.at)],
  ] });
  const odd = Object.entries(all.wrong).flatMap(([kind, sentences]) => sentences.slice(0, 5).map((one) => ({ severity: "medium", title: one, where: kind })));
  if (odd.length) blocks.push({ kind: "findings", title: "Cannot be read yet", rows: odd });
  blocks.push({ kind: "table", title: "Measures", columns: ["Measure", "Value", "Status", "Target", "Records"], rows: found.map((one) => [one.name, said(one.value, one.unit), STATUSES[one.status], one.target, one.count]) });
  const months = byMonth(all), labels = months.map((one) => one[0]), series = (at) => months.map((one) => one[at]);
  const ends = (name, at, unit) => {
    const known = months.filter((one) => one[at] !== null);
    return known.length ? `${name}: ${said(known[0][at], unit)} in ${known[0][0]}, ${said(known[known.length - 1][at], unit)} in ${known[known.length - 1][0]}.` : `${name}: no month has a figure.`;
  };
  const picture = (title, described, svg) => blocks.push({ kind: "picture", title, described, svg });
  if (kinds.includes("incidents")) {
    const title = "Time to detect and to resolve, by month", words = `${ends("Detect", 2, "h")} ${ends("Resolve", 3, "h")}`;
    picture(title, words, lines(title, labels, [{ label: "Detect", values: series(2) }, { label: "Resolve", values: series(3) }], { unit: "h", described: words }));
  }
  if (kinds.includes("vulnerabilities")) {
    const table = bySeverity(all), title = "Days to fix, by severity";
    const words = table.map((one) => `${one[0]}: ${said(one[3], "d")} on average, ${one[1]} allowed`).join("; ");
    const rows = table.map((one) => ({ label: one[0], value: one[3], tone: one[3] === null ? "quiet" : one[3] > one[1] ? "coral" : "sea", note: `of ${one[1]}` }));
    picture(title, words, bars(title, rows, { unit: "d", described: words }));
    const ending = "Open weaknesses at each month’s end", told = ends("Backlog", 6, "");
    picture(ending, told, columns(ending, months.map((one) => ({ label: one[0], value: one[6] })), { described: told }));
    blocks.push({ kind: "table", title: "Weaknesses by severity, in days", columns: ["Severity", "Allowed", "Fixed", "Mean", "Median", "90 in 100", "In time, %", "Open", "Late", "Oldest"], rows: table });
  }
  if (kinds.includes("phishing")) {
    const title = "Phishing tests: who clicked, by month", words = ends("Clicked", 7, "%");
    picture(title, words, lines(title, labels, [{ label: "Clicked", values: series(7) }], { unit: "%", described: words }));
  }
  blocks.push({ kind: "table", title: "By month", columns: ["Month", "Incidents", "Detect, h", "Resolve, h", "Fixed", "Fix, days", "Backlog", "Phishing clicks, %"], rows: months });
  return blocks;
}
