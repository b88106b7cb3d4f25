/* Security architecture, the half in the browser: the diagram with its zones, what crosses a boundary in plain text or without
   a name, and the easiest way from the internet to sensitive data. The rules and the scores are the server's half. */
import { diagram } from "studio/drawing";

/* The same tables as tools_registry/studios/cyber/{systems,boundaries}.py */
const TRUST = { internet: 0, partner: 1, edge: 2, internal: 3, restricted: 4 };
const TONES = ["coral", "brass", "brass", "quiet", "sea"];
const SENSITIVE = { personal: "Personal data", payment: "Payment data", credentials: "Passwords, keys, tokens", special: "Health and other special categories" };
const STORES = ["database", "storage", "queue"];
const KINDS = {
  client: "Device of a user", gateway: "Firewall, proxy or gateway", web: "Web front", service: "Service", identity: "Sign-in", admin: "Administration",
  database: "Database", storage: "Files and objects", queue: "Queue", third_party: "System of somebody else",
};
const SHAPES = { client: "pill", third_party: "square", gateway: "square", database: "store", storage: "store", queue: "store" };
const ENTRIES = { page: "Public pages", api: "API", upload: "Upload", mail: "Incoming mail", partner: "Link of a partner", vpn: "VPN", remote: "Remote shell or desktop", admin: "Administration" };
const OUTSIDE = -1;

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value.trim() : "");
const key = (name) => name.split(/\s+/).join(" ").toLowerCase();
const has = (of, name) => Object.prototype.hasOwnProperty.call(of, name);
const oneOf = (of, value, fallback) => (has(of, text(value)) ? text(value) : fallback);

function read(inputs) {
  const given = object(inputs);
  const rows = (name) => list(given[name]).map((row, at) => ({ row: object(row), at }));
  const zones = rows("zones").map(({ row, at }) => ({ at, name: text(row.name), trust: TRUST[oneOf(TRUST, row.trust, "internal")] }));
  const components = rows("components").map(({ row, at }) => ({
    at, name: text(row.name), zone: text(row.zone), kind: oneOf(KINDS, row.kind, "service"), data: text(row.data), controls: list(row.controls),
  }));
  const byName = (of) => { const found = new Map(); for (const one of of) if (one.name && !found.has(key(one.name))) found.set(key(one.name), one); return found; };
  const zoneOf = byName(zones), componentOf = byName(components);
  const find = (name) => componentOf.get(key(text(name))) || null;
  for (const one of components) {
    one.zoneRow = zoneOf.get(key(one.zone)) || null;
    one.isSensitive = STORES.includes(one.kind) && has(SENSITIVE, one.data);
  }
  const connections = rows("connections").map(({ row, at }) => {
    const source = find(row.from), target = find(row.to);
    const zonesOfEnds = [source, target].map((end) => end && end.zoneRow);
    return {
      at, from: text(row.from), to: text(row.to), source, target, protocol: text(row.protocol) || "https", controls: list(row.controls),
      crosses: Boolean(zonesOfEnds[0] && zonesOfEnds[1] && zonesOfEnds[0] !== zonesOfEnds[1]),
    };
  });
  const entries = rows("entry_points").map(({ row, at }) => ({
    at, name: text(row.component), component: find(row.component), kind: oneOf(ENTRIES, row.kind, "page"),
    isPublic: (text(row.open_to) || "internet") === "internet", isKnown: (text(row.authentication) || "none") !== "none",
  }));
  return { zones, components, connections, entries, zoneOf, componentOf };
}

const any = (controls, ...names) => names.some((name) => controls.includes(name));

/* The easiest way from outside to everything: fewest barriers, then fewest steps. The same as on the server. */
function easiest({ components, connections, entries }) {
  const steps = components.filter((one) => one.zoneRow && one.zoneRow.trust === 0).map((one) => [OUTSIDE, one.at, 0]);
  for (const one of entries) {
    if (one.isPublic && one.component) steps.push([OUTSIDE, one.component.at, Number(one.isKnown) + Number(any(one.component.controls, "firewall", "waf"))]);
  }
  for (const one of connections) {
    if (!one.source || !one.target) continue;
    const barriers = ["authentication", "filter", "inspection"].filter((name) => one.controls.includes(name)).length;
    steps.push([one.source.at, one.target.at, barriers + Number(any(one.target.controls, "access_control", "mfa"))]);
  }
  const best = new Map([[OUTSIDE, { barriers: 0, way: [OUTSIDE] }]]);
  const done = new Set();
  for (;;) {
    let here = null;
    for (const [at, one] of best) {
      if (done.has(at)) continue;
      const other = here === null ? null : best.get(here);
      const isLess = other === null || one.barriers < other.barriers ||
        (one.barriers === other.barriers && (one.way.length < other.way.length || (one.way.length === other.way.length && at < here)));
      if (isLess) here = at;
    }
    if (here === null) return best;
    done.add(here);
    const from = best.get(here);
    for (const [source, target, barriers] of steps) {
      if (source !== here) continue;
      const cost = from.barriers + barriers, before = best.get(target);
      if (!before || cost < before.barriers || (cost === before.barriers && from.way.length + 1 < before.way.length)) {
        best.set(target, { barriers: cost, way: [...from.way, target] });
      }
    }
  }
}

export function problems(inputs) {
  const wrong = {};
  const { zones, components, connections, entries, zoneOf, componentOf } = read(inputs);
  const unknown = (noun, name, there) => `There is no ${noun} called ${name}. There ${there.length === 1 ? "is" : "are"}: ${there.slice(0, 12).map((one) => one.name).join(", ") || "none"}.`;
  for (const [field, noun, rows, known] of [["zones", "zone", zones, zoneOf], ["components", "component", components, componentOf]]) {
    for (const one of rows) {
      const first = one.name && known.get(key(one.name));
      if (first && first !== one) wrong[`${field}.${one.at}.name`] = `${noun.charAt(0).toUpperCase() + noun.slice(1)} ${first.at + 1} is called ${one.name} already.`;
    }
  }
  for (const one of components) if (one.zone && !one.zoneRow) wrong[`components.${one.at}.zone`] = unknown("zone", one.zone, zones);
  for (const one of connections) {
    if (one.from && !one.source) wrong[`connections.${one.at}.from`] = unknown("component", one.from, components);
    if (one.to && !one.target) wrong[`connections.${one.at}.to`] = unknown("component", one.to, components);
  }
  for (const one of entries) if (one.name && !one.component) wrong[`entry_points.${one.at}.component`] = unknown("component", one.name, components);
  return wrong;
}

function odd({ zones, components, connections, entries }) {
  const found = [];
  for (const one of connections.filter((each) => each.source && each.target)) {
    const pair = `${one.source.name} → ${one.target.name}`;
    if (one.crosses && !one.controls.includes("encryption")) found.push({ severity: "high", title: `${pair}: it crosses a boundary in plain text`, fix: "Encrypt it." });
    const isUp = one.crosses && one.target.zoneRow.trust > one.source.zoneRow.trust;
    if (isUp && !["web", "gateway"].includes(one.target.kind) && !one.controls.includes("authentication")) {
      found.push({ severity: "high", title: `${pair}: a less trusted zone calls it without saying who calls`, fix: "Let the receiver check who calls." });
    }
  }
  for (const one of components.filter((each) => each.name)) {
    const isAlone = !connections.some((link) => link.source === one || link.target === one);
    if (isAlone) found.push({ severity: "low", title: `${one.name} is connected to nothing`, fix: "Draw who calls it, or leave it out." });
  }
  for (const zone of zones.filter((each) => each.name)) if (!components.some((one) => one.zoneRow === zone)) found.push({ severity: "info", title: `Nothing is in ${zone.name}`, fix: "Leave it out, or say what is there." });
  if (!entries.some((one) => one.component)) found.push({ severity: "info", title: "No entry point is named", fix: "Say where people and partners come in: the attack surface is scored by them." });
  return found;
}

export function view(inputs) {
  const system = read(inputs);
  const { zones, components, connections, entries } = system;
  const named = components.filter((one) => one.name);
  if (!named.length) return [{ kind: "text", title: "Preview", paragraphs: ["Name a zone of trust and the first component in it. The diagram is drawn as you write."] }];
  const whole = connections.filter((one) => one.source && one.target);
  const crossing = whole.filter((one) => one.crosses);
  const reached = easiest(system);
  const stores = named.filter((one) => one.isSensitive);
  const ways = stores.filter((one) => reached.has(one.at)).map((one) => {
    const { barriers, way } = reached.get(one.at);
    return [one.name, SENSITIVE[one.data], ["Internet", ...way.slice(1).map((at) => components[at].name)].join(" → "), way.length - 1, barriers];
  }).sort((one, two) => one[4] - two[4] || one[3] - two[3] || (one[0] < two[0] ? -1 : 1));
  const safe = stores.filter((one) => !reached.has(one.at)).map((one) => one.name);
  return [
    {
      kind: "facts", title: "So far", pairs: [
        ["Components", named.length], ["Connections across a boundary", `${crossing.length} of ${whole.length}`],
        ["Of these in plain text", crossing.filter((one) => !one.controls.includes("encryption")).length],
        ["Entry points", entries.filter((one) => one.component).length], ["Stores of sensitive data", stores.length],
        ["Fewest barriers to sensitive data", ways.length ? ways[0][4] : "no way there"],
      ],
    },
    {
      kind: "picture", title: "Security architecture",
      described: whole.map((one) => `${one.source.name} to ${one.target.name}`).join("; ") || "No connections yet.",
      svg: diagram("Security architecture", named.map((one) => ({
        id: `c${one.at}`, label: one.name, kind: one.zoneRow || !one.zone ? KINDS[one.kind] : `${KINDS[one.kind]}, no such zone`, shape: has(SHAPES, one.kind) ? SHAPES[one.kind] : "box",
        tone: one.zoneRow ? "plain" : "coral", zone: one.zoneRow ? `z${one.zoneRow.at}` : "",
        lines: entries.filter((door) => door.component === one).map((door) => `▸ ${ENTRIES[door.kind]}`),
      })), whole.map((one) => {
        const isPlain = !one.controls.includes("encryption");
        return { source: `c${one.source.at}`, target: `c${one.target.at}`, label: `${isPlain ? "plain text: " : ""}${one.protocol}`, tone: isPlain && one.crosses ? "coral" : isPlain ? "brass" : "plain", isDashed: isPlain };
      }), zones.filter((zone) => zone.name).map((zone) => ({ id: `z${zone.at}`, label: `${zone.name} · ${zone.trust}/4`, tone: TONES[zone.trust] })), { direction: "down" }),
    },
    { kind: "findings", title: "What to look at", rows: odd(system), none: "Nothing stands out here. The server judges by all of its rules." },
    {
      kind: "table", title: "Ways from the internet to sensitive data", columns: ["Store", "Keeps", "Easiest way", "Steps", "Barriers"], rows: ways,
      note: safe.length ? `Out of reach: ${safe.join(", ")}.` : "",
    },
  ];
}
