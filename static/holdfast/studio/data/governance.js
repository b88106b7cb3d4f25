/* Data governance, the half in the browser: maturity, checks of the inventory and gaps while people answer, by the same
   rules as tools_registry/studios/data/governance_rules.py. Policies, RACI and roadmap are the server's half. */
import { bars } from "studio/drawing";
import { readTable } from "studio/reading";

/* area: id, title, target, what raises it, its checks */
const AREAS = {
  governance: ["DMBOK2-3", "Data governance", 3, ["compliance", "ai", "special"], ["OWN-1", "OWN-2", "OWN-3"]],
  architecture: ["DMBOK2-4", "Data architecture", 3, ["sharing", "cost"], []],
  modelling: ["DMBOK2-5", "Data modelling and design", 2, ["ai"], []],
  storage: ["DMBOK2-6", "Data storage and operations", 3, [], ["BCK-1"]],
  security: ["DMBOK2-7", "Data security", 3, ["special", "payment", "personal"], ["SEC-1", "SEC-2", "CLS-2"]],
  integration: ["DMBOK2-8", "Data integration and interoperability", 2, ["sharing", "analytics"], []],
  documents: ["DMBOK2-9", "Document and content management", 2, ["compliance"], ["RET-1", "RET-2"]],
  master: ["DMBOK2-10", "Reference and master data", 2, ["quality", "sharing"], []],
  warehousing: ["DMBOK2-11", "Data warehousing and business intelligence", 2, ["analytics"], []],
  metadata: ["DMBOK2-12", "Metadata", 3, ["analytics", "ai"], ["MD-1", "CLS-1"]],
  quality: ["DMBOK2-13", "Data quality", 3, ["quality", "ai", "financial"], ["DQ-1"]],
};
const RANK = { "": -1, public: 0, internal: 1, confidential: 2, restricted: 3 };
const FLAGS = ["is_personal", "is_encrypted", "is_access_reviewed", "is_quality_checked", "is_described", "is_backed_up"];
const rank = (one) => RANK[one.classification];
const isGuarded = (one) => rank(one) >= 2 || one.is_personal;

/* id, severity, title, when it applies, when it holds */
const CHECKS = [
  ["OWN-1", "high", "It has an owner", () => true, (one) => Boolean(one.owner)],
  ["OWN-2", "medium", "It has a steward", () => true, (one) => Boolean(one.steward)],
  ["OWN-3", "low", "Owner and steward are two people", (one) => one.owner && one.steward, (one) => one.owner.toLowerCase() !== one.steward.toLowerCase()],
  ["CLS-1", "high", "It is classified", () => true, (one) => rank(one) >= 0],
  ["CLS-2", "critical", "Personal data is confidential or restricted", (one) => one.is_personal && rank(one) >= 0, (one) => rank(one) >= 2],
  ["SEC-1", "critical", "Confidential and personal data is encrypted", isGuarded, (one) => one.is_encrypted],
  ["SEC-2", "high", "Access to confidential and personal data was reviewed", isGuarded, (one) => one.is_access_reviewed],
  ["RET-1", "high", "A time for keeping is set", (one) => one.classification !== "public", (one) => one.retention_months > 0],
  ["RET-2", "high", "Personal data is not kept longer than the policy allows", (one) => one.is_personal && one.retention_months > 0,
    (one, given) => one.retention_months <= given.most],
  ["DQ-1", "medium", "Its quality is checked", () => true, (one) => one.is_quality_checked],
  ["MD-1", "low", "It is described", () => true, (one) => one.is_described],
  ["BCK-1", "medium", "It is backed up", (one) => one.classification !== "public", (one) => one.is_backed_up],
];

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value.trim() : "");
const tenth = (value) => Math.round(value * 10) / 10;

function assetsOf(given, wrong) {
  const assets = list(given.inventory).map(object).map((row) => ({
    name: text(row.name), owner: text(row.owner), steward: text(row.steward),
    classification: text(row.classification) in RANK ? text(row.classification) : "",
    retention_months: Number.isInteger(row.retention_months) ? row.retention_months : 0,
    ...Object.fromEntries(FLAGS.map((flag) => [flag, row[flag] === true])),
  }));
  if (typeof given.inventory_file !== "string" || !given.inventory_file.trim()) return assets;
  const table = readTable(given.inventory_file);
  const names = table.columns.map((name) => name.trim().toLowerCase().replace(/[ -]/g, "_"));
  if (table.problem) { wrong.inventory_file = table.problem; return assets; }
  if (!names.includes("name")) { wrong.inventory_file = `A column “name” is needed; there are ${table.columns.slice(0, 12).join(", ")}.`; return assets; }
  for (const row of table.rows.slice(0, 1000)) {
    const cell = (name) => text(row[names.indexOf(name)] || "");
    const classification = cell("classification").toLowerCase();
    if (!(classification in RANK)) wrong.inventory_file = "The classification is one of public, internal, confidential, restricted, or empty.";
    assets.push({
      name: cell("name"), owner: cell("owner"), steward: cell("steward"), classification: classification in RANK ? classification : "",
      retention_months: /^\d{1,4}$/.test(cell("retention_months")) ? Number(cell("retention_months")) : 0,
      ...Object.fromEntries(FLAGS.map((flag) => [flag, /^(yes|true|1|y|x)$/i.test(cell(flag) || cell(flag.slice(3)))])),
    });
  }
  return assets;
}

function judge(inputs) {
  const given = object(inputs);
  const wrong = {};
  const levels = new Map();
  list(given.levels).map(object).forEach((row, at) => {
    if (!(row.area in AREAS)) return;
    if (levels.has(row.area)) wrong[`levels.${at}.area`] = `${AREAS[row.area][1]} stands there already.`;
    else levels.set(row.area, Number.isInteger(row.level) ? Math.min(5, Math.max(0, row.level)) : 1);
  });
  const assets = assetsOf(given, wrong);
  const settings = { most: Number.isInteger(given.personal_months_max) ? given.personal_months_max : 72 };
  const checks = CHECKS.map(([id, severity, title, applies, holds]) => {
    const looked = assets.filter((one) => applies(one));
    const failed = looked.filter((one) => !holds(one, settings));
    return { id, severity, title, checked: looked.length, failed: failed.length, names: failed.map((one) => one.name || "(no name)") };
  });
  const asked = new Set([...list(given.goals), ...list(given.data)]);
  const maturity = Object.entries(AREAS).map(([area, [id, title, base, raised, own]]) => {
    const looked = checks.filter((one) => own.includes(one.id) && one.checked);
    const total = looked.reduce((sum, one) => sum + one.checked, 0), failed = looked.reduce((sum, one) => sum + one.failed, 0);
    const evidence = total ? tenth(1 + 4 * (1 - failed / total)) : null;
    const answered = levels.get(area) || 0;
    const current = evidence === null ? answered : Math.min(answered, evidence);
    const target = Math.min(5, base + Math.ceil(raised.filter((one) => asked.has(one)).length / 2));
    return { id, title, answered, evidence, current, target, gap: tenth(Math.max(0, target - current)) };
  });
  return { wrong, assets, checks, maturity };
}

export function problems(inputs) { return judge(inputs).wrong; }

export function view(inputs) {
  const { assets, checks, maturity } = judge(inputs);
  const mean = (name) => tenth(maturity.reduce((sum, one) => sum + one[name], 0) / maturity.length);
  const checked = checks.reduce((sum, one) => sum + one.checked, 0), failed = checks.reduce((sum, one) => sum + one.failed, 0);
  const order = ["critical", "high", "medium", "low"];
  const open = checks.filter((one) => one.failed).sort((one, two) => order.indexOf(one.severity) - order.indexOf(two.severity));
  return [
    {
      kind: "facts", title: "So far", pairs: [
        ["Maturity", `${mean("current")} of 5; ${mean("target")} is needed`], ["Areas below their target", maturity.filter((one) => one.gap >= 1).length],
        ["Sets of data", assets.length], ["Checks that hold", checked ? `${checked - failed} of ${checked}` : "no inventory yet"],
      ],
    },
    {
      kind: "findings", title: "What the inventory shows", none: assets.length ? "Every check holds." : "Add sets of data, or a file of them.",
      rows: open.map((one) => ({
        severity: one.severity, title: `${one.failed} of ${one.checked} sets of data fail “${one.title}”`, where: one.id,
        text: one.names.slice(0, 8).join(", ") + (one.names.length > 8 ? ` and ${one.names.length - 8} more` : ""),
      })),
    },
    {
      kind: "picture", title: "Maturity by area", described: maturity.map((one) => `${one.title} ${one.current} of ${one.target}`).join("; "),
      svg: bars("Maturity by area, 0 to 5", maturity.map((one) => ({
        label: one.title, value: one.current, tone: one.gap >= 2 ? "coral" : one.gap >= 1 ? "brass" : "sea", note: `target ${one.target}`,
      }))),
    },
    {
      kind: "table", title: "Maturity", columns: ["Area", "Id", "Answered", "Inventory shows", "Counts", "Target", "Gap"],
      rows: maturity.map((one) => [one.title, one.id, one.answered, one.evidence, one.current, one.target, one.gap]),
      note: "Counts: what was answered, at most 1 + 4 × the share of the area’s checks that hold.",
    },
  ];
}
