/* Threat model, the half in the browser: the data-flow diagram, which categories of STRIDE apply to what, where data goes in
   plain text across a boundary, and what the description still lacks. The threats themselves are the server's half. */
import { diagram } from "studio/drawing";

/* The same tables as tools_registry/studios/cyber/{systems,stride}.py */
const TRUST = { internet: 0, partner: 1, edge: 2, internal: 3, restricted: 4 };
const TONES = ["coral", "brass", "brass", "quiet", "sea"];
const CATEGORIES = [["S", "Spoofing"], ["T", "Tampering"], ["R", "Repudiation"], ["I", "Information disclosure"], ["D", "Denial of service"], ["E", "Elevation of privilege"]];
const APPLIES = { actor: "SR", external: "SR", process: "STRIDE", store: "TID", flow: "TID" };
const KINDS = { actor: ["Person", "pill"], external: ["System of somebody else", "square"], process: ["Program", "box"], store: ["Store", "store"] };
const PLAIN = ["http", "ftp", "telnet", "smtp", "mqtt"], SEALED = ["https", "ssh"];
const SENSITIVE = ["personal", "payment", "credentials", "special"];

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value.trim() : "");
const key = (name) => name.split(/\s+/).join(" ").toLowerCase();
const has = (of, name) => Object.prototype.hasOwnProperty.call(of, name);

function read(inputs) {
  const given = object(inputs);
  const rows = (name) => list(given[name]).map((row, at) => ({ row: object(row), at }));
  const zones = rows("zones").map(({ row, at }) => ({ at, name: text(row.name), trust: has(TRUST, text(row.trust)) ? TRUST[text(row.trust)] : 3 }));
  const elements = rows("elements").map(({ row, at }) => ({
    at, name: text(row.name), kind: has(KINDS, text(row.kind)) ? text(row.kind) : "process", zone: text(row.zone),
    data: text(row.data), keepsLogs: row.keeps_logs === true, safeguards: list(row.safeguards).length,
  }));
  const flows = rows("flows").map(({ row, at }) => ({
    at, from: text(row.from), to: text(row.to), carries: text(row.carries) || text(row.data) || "internal", data: text(row.data),
    protocol: text(row.protocol) || "https", isKnown: row.is_authenticated === true, isSealed: row.is_encrypted === true,
  }));
  const byName = (of) => { const found = new Map(); for (const one of of) if (one.name && !found.has(key(one.name))) found.set(key(one.name), one); return found; };
  const zoneOf = byName(zones), elementOf = byName(elements);
  for (const one of elements) one.zoneRow = zoneOf.get(key(one.zone)) || null;
  for (const one of flows) {
    one.source = elementOf.get(key(one.from)) || null;
    one.target = elementOf.get(key(one.to)) || null;
    const ends = [one.source, one.target].map((end) => end && end.zoneRow);
    one.crosses = Boolean(ends[0] && ends[1] && ends[0] !== ends[1]);
  }
  return { zones, elements, flows, zoneOf, elementOf };
}

const letters = (element) => APPLIES[element.kind] + (element.kind === "store" && element.keepsLogs ? "R" : "");

export function problems(inputs) {
  const wrong = {};
  const { zones, elements, flows, zoneOf, elementOf } = read(inputs);
  const unknown = (noun, name, there) => `There is no ${noun} called ${name}. There ${there.length === 1 ? "is" : "are"}: ${there.slice(0, 12).map((one) => one.name).join(", ") || "none"}.`;
  for (const [field, noun, rows, known] of [["zones", "zone", zones, zoneOf], ["elements", "element", elements, elementOf]]) {
    for (const one of rows) {
      const first = one.name && known.get(key(one.name));
      if (first && first !== one) wrong[`${field}.${one.at}.name`] = `${noun.charAt(0).toUpperCase() + noun.slice(1)} ${first.at + 1} is called ${one.name} already.`;
    }
  }
  for (const one of elements) if (one.zone && !one.zoneRow) wrong[`elements.${one.at}.zone`] = unknown("zone", one.zone, zones);
  for (const one of flows) {
    if (one.from && !one.source) wrong[`flows.${one.at}.from`] = unknown("element", one.from, elements);
    if (one.to && !one.target) wrong[`flows.${one.at}.to`] = unknown("element", one.to, elements);
  }
  return wrong;
}

function odd({ zones, elements, flows }) {
  const found = [];
  const say = (severity, title, fix) => found.push({ severity, title, fix });
  for (const one of flows.filter((each) => each.source && each.target)) {
    const pair = `${one.source.name} → ${one.target.name}`;
    if (one.crosses && !one.isSealed) {
      say(SENSITIVE.includes(one.data) ? "high" : "medium", `${pair} crosses a boundary in plain text`, "Encrypt it, or move both ends into one zone.");
    }
    if (one.isSealed && PLAIN.includes(one.protocol)) say("high", `${pair} is said to be encrypted, over a protocol that does not encrypt`, "Choose the sealed protocol, or take the tick away.");
    if (!one.isSealed && SEALED.includes(one.protocol)) say("medium", `${pair} is said to be plain text, over a protocol that encrypts`, "Set the tick, or choose what is really used.");
    if (one.source !== one.target && one.source.kind !== "process" && one.target.kind !== "process") say("medium", `No program is between ${one.source.name} and ${one.target.name}`, "Name the program that reads and writes.");
  }
  for (const one of elements.filter((each) => each.name)) {
    if (!flows.some((flow) => flow.source === one || flow.target === one)) say("medium", `${one.name} has no flows`, "Draw what it gets and gives, or leave it out.");
    if (["process", "store"].includes(one.kind) && !one.safeguards) say("info", `No safeguard is named for ${one.name}`, "Tick what it has already, or each of its threats counts as open.");
  }
  for (const zone of zones.filter((each) => each.name)) if (!elements.some((one) => one.zoneRow === zone)) say("info", `Nothing is in ${zone.name}`, "Leave it out, or say what is there.");
  return found;
}

export function view(inputs) {
  const system = read(inputs);
  const { zones, elements, flows } = system;
  const named = elements.filter((one) => one.name);
  if (!named.length) {
    return [{ kind: "text", title: "Preview", paragraphs: ["Name a zone of trust and the first element in it. The diagram is drawn as you write."] }];
  }
  const whole = flows.filter((one) => one.source && one.target);
  const crossing = whole.filter((one) => one.crosses);
  const rows = [...named.map((one) => [one.name, KINDS[one.kind][0], letters(one)]), ...whole.map((one) => [`${one.source.name} → ${one.target.name}`, "Flow", APPLIES.flow])];
  const count = (letter) => rows.filter((row) => row[2].includes(letter)).length;
  return [
    {
      kind: "facts", title: "So far", pairs: [
        ["Elements", named.length], ["Flows", whole.length], ["Across a boundary", crossing.length],
        ["Of these in plain text", crossing.filter((one) => !one.isSealed).length],
        ["Not authenticated", whole.filter((one) => !one.isKnown).length],
        ["Threats to look at", CATEGORIES.reduce((sum, [letter]) => sum + count(letter), 0)],
      ],
    },
    {
      kind: "picture", title: "Data flows",
      described: whole.map((one) => `${one.source.name} to ${one.target.name}: ${one.carries}, ${one.isSealed ? "encrypted" : "plain text"}`).join("; ") || "No flows yet.",
      svg: diagram("Data flows", named.map((one) => ({
        id: `e${one.at}`, label: one.name, kind: one.zoneRow || !one.zone ? KINDS[one.kind][0] : `${KINDS[one.kind][0]}, no such zone`,
        shape: KINDS[one.kind][1], tone: one.zoneRow ? "plain" : "coral", zone: one.zoneRow ? `z${one.zoneRow.at}` : "",
      })), whole.map((one) => ({
        source: `e${one.source.at}`, target: `e${one.target.at}`, label: `${one.isSealed ? "" : "plain text: "}${one.carries}`,
        tone: one.isSealed ? "plain" : one.crosses ? "coral" : "brass", isDashed: !one.isSealed,
      })), zones.filter((zone) => zone.name).map((zone) => ({ id: `z${zone.at}`, label: `${zone.name} · ${zone.trust}/4`, tone: TONES[zone.trust] })), { direction: "down" }),
    },
    { kind: "findings", title: "What to look at", rows: odd(system), none: "The description is whole, as far as can be told here." },
    {
      kind: "table", title: "Which threats apply (STRIDE per element)", columns: ["Where", "Kind", ...CATEGORIES.map(([, name]) => name)],
      rows: rows.map(([where, kind, applies]) => [where, kind, ...CATEGORIES.map(([letter]) => (applies.includes(letter) ? "yes" : "–"))]),
      note: "What each threat is, how likely and how bad, and what answers it: run the tool.",
    },
  ];
}
