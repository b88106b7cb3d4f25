/* Policy generator, the half in the browser: what the answers decide, what stands against them, and what is due when.
   The same checks as tools_registry/studios/cyber/policy_generator.py; the full text of the clauses is the server's half. */

const TITLES = {
  access_control: "Access control", acceptable_use: "Acceptable use", authentication: "Passwords and authentication", incident_response: "Incident response",
  backup: "Backup and recovery", data_classification: "Data classification", vendor: "Suppliers", secure_development: "Secure development",
  remote_work: "Remote work", change_management: "Change management",
};
const PURPOSES = {
  access_control: "who may reach what, and how that ends", acceptable_use: "how people use devices, accounts and information",
  authentication: "how people prove who they are", incident_response: "what happens when something goes wrong",
  backup: "what is copied, how often, and how it comes back", data_classification: "how sensitive information is, and how it is treated",
  vendor: "what is asked of those who work for us or hold our information", secure_development: "how software is built so that it withstands attack",
  remote_work: "how work away from the office is kept safe", change_management: "how systems are changed without surprise",
};
const MFA = { all: "Everybody", privileged: "Administrators and those outside", none: "Nobody yet" };
const EXTENT = { none: 1, some: 1, all: 1 };
const SECTORS = { general: 1, software: 1, retail: 1, finance: 1, health: 1, public: 1, education: 1 };
const NEEDED = { organisation: "Organisation", owner: "Who leads security", approver: "Who approves policies", contact: "Where to report", effective: "In force from" };
const USUAL = ["access_control", "acceptable_use", "authentication", "incident_response", "backup"];

const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const has = (of, name) => typeof name === "string" && Object.prototype.hasOwnProperty.call(of, name);
const text = (value) => (typeof value === "string" ? value.trim() : "");
const whole = (value, least, most, usual) => (Number.isInteger(value) && value >= least && value <= most ? value : usual);
const chosen = (value, usual) => (Array.isArray(value) ? value.filter((one) => typeof one === "string") : usual);
const meets = (some, others) => some.some((one) => others.includes(one));

function read(inputs) {
  const given = object(inputs);
  return {
    policies: Object.keys(TITLES).filter((key) => chosen(given.policies, USUAL).includes(key)), data: chosen(given.data, ["personal"]), laws: chosen(given.regulations, []),
    sector: has(SECTORS, given.sector) ? given.sector : "general", cloud: has(EXTENT, given.cloud) ? given.cloud : "some", remote: has(EXTENT, given.remote) ? given.remote : "some",
    develops: given.develops === true, mfa: has(MFA, given.mfa) ? given.mfa : "all", length: whole(given.password_length, 8, 64, 12), rotation: whole(given.rotation_days, 0, 365, 0),
    rpo: whole(given.rpo_hours, 1, 168, 24), rto: whole(given.rto_hours, 1, 720, 24), restore: whole(given.restore_hours, 0, 720, 0), report: whole(given.report_hours, 1, 168, 4),
    review: whole(given.review_months, 1, 36, 12), owner: text(given.owner), approver: text(given.approver), privacy: text(given.privacy), effective: text(given.effective), given,
  };
}

function contradictions(one) {
  const wrong = {};
  if (meets(["gdpr", "uk_gdpr", "ccpa"], one.laws) && !meets(["personal", "special", "children"], one.data)) wrong.data = "GDPR, UK GDPR and CCPA are about personal data; choose it, or take them out.";
  if (one.laws.includes("pci_dss") && !one.data.includes("payment")) wrong.data = "PCI DSS is about payment cards; choose them, or take it out.";
  if (one.laws.includes("hipaa") && !one.data.includes("special")) wrong.data = "HIPAA is about health information; choose it, or take it out.";
  if (one.laws.includes("pci_dss") && one.length < 12) wrong.password_length = "PCI DSS 4.0.1 (8.3.6) asks for at least 12 characters.";
  if (one.laws.includes("pci_dss") && one.mfa === "none") wrong.mfa = "PCI DSS 4.0.1 (8.4) asks for a second factor.";
  if (one.policies.includes("remote_work") && one.remote === "none") wrong.policies = "Nobody works remotely, so there is no policy to write for it.";
  if (one.policies.includes("secure_development") && !one.develops) wrong.policies = "You develop no software, so there is no policy to write for it.";
  if (one.rto * 10 < one.restore) wrong.rto_hours = "A restore that takes ten times as long cannot keep this promise.";
  return wrong;
}

function derived(one) {
  const isStrict = meets(["special", "payment", "children"], one.data) || ["finance", "health", "public"].includes(one.sector);
  return {
    isStrict, access: isStrict ? 3 : 6, leaver: isStrict ? 4 : 24, exercise: one.laws.includes("nis2") || one.sector === "finance" ? 6 : 12,
    restore: one.rpo <= 4 || isStrict ? 3 : 6, supplier: 12, told: meets(["gdpr", "uk_gdpr", "nis2"], one.laws) ? 24 : 72, critical: isStrict ? 7 : 14,
  };
}

function decisions(one) {
  const found = derived(one), why = found.isStrict ? "sensitive data or sector" : "no especially sensitive data";
  const told = [
    ["Access is reviewed every", `${found.access} months`, why], ["Access ends after leaving within", `${found.leaver} hours`, why],
    ["Critical weaknesses are mended within", `${found.critical} days`, why], ["Passwords have at least", `${one.length} characters`, "your answer"],
    ["A second factor has", MFA[one.mfa].toLowerCase(), "your answer"], ["Restores are tested every", `${found.restore} months`, `at most ${one.rpo} hours lost`],
    ["Incidents are exercised every", `${found.exercise} months`, "sector and law"], ["Suppliers tell us of a breach within", `${found.told} hours`, "so that our own time is kept"],
  ];
  for (const [law, what, time, article] of [
    ["gdpr", "The authority is told within", "72 hours", "GDPR Article 33"], ["uk_gdpr", "The ICO is told within", "72 hours", "UK GDPR Article 33"],
    ["nis2", "The CSIRT is warned within", "24 hours", "NIS 2 Article 23"], ["hipaa", "People are told within", "60 days", "45 CFR 164.404"],
  ]) if (one.laws.includes(law)) told.push([what, time, article]);
  return told;
}

/* {year, month, day}, null for what is no day. */
function dayOf(written) {
  const found = /^(\d{4})-(\d{2})-(\d{2})$/.exec(written);
  if (!found) return null;
  const [year, month, day] = found.slice(1).map(Number);
  if (year < 1990 || year > 2100 || month < 1 || month > 12 || day < 1 || day > new Date(Date.UTC(year, month, 0)).getUTCDate()) return null;
  return { year, month, day };
}

function addMonths({ year, month, day }, months) {
  const whole = year * 12 + month - 1 + months, there = Math.floor(whole / 12), then = whole % 12;
  const last = new Date(Date.UTC(there, then + 1, 0)).getUTCDate(), pad = (value) => String(value).padStart(2, "0");
  return `${there}-${pad(then + 1)}-${pad(Math.min(day, last))}`;
}

function dates(one, effective) {
  const found = derived(one), rounds = [[one.review, "Review the policies", one.approver]];
  for (const [policy, months, what] of [
    ["access_control", found.access, "Review access"], ["incident_response", found.exercise, "Exercise an incident"], ["backup", found.restore, "Restore something whole"],
    ["vendor", found.supplier, "Look at critical suppliers"], ["acceptable_use", 12, "Train everybody"],
  ]) if (one.policies.includes(policy)) rounds.push([months, what, one.owner]);
  const told = [];
  for (const [months, what, who] of rounds) for (let times = 1; times <= Math.max(1, Math.floor(12 / months)); times += 1) told.push([addMonths(effective, months * times), what, who]);
  return told.sort((left, right) => { const [a, b] = [left.join("\u0001"), right.join("\u0001")]; return a < b ? -1 : a > b ? 1 : 0; });
}

function advice(one) {
  const found = [], say = (severity, title, fix) => found.push({ severity, title, fix });
  if (one.mfa === "none") {
    say("high", "Nobody has a second factor", "Begin with administrators, mail and remote access.");
    if (one.length < 15) say("high", "Passwords alone, and short", "NIST SP 800-63B asks for 15 where they are the only factor.");
  }
  if (one.rotation && !one.laws.includes("pci_dss")) say("low", "Passwords change by the calendar", "NIST SP 800-63B advises against it; people then choose weaker ones.");
  if (one.owner && one.owner.toLowerCase() === one.approver.toLowerCase()) say("medium", "Who leads security also approves", "Let somebody else approve, at best from the management.");
  if (!one.privacy && meets(["gdpr", "uk_gdpr", "ccpa"], one.laws)) say("medium", "Nobody is named for privacy", "Name who decides about personal data; it is now who leads security.");
  if (one.laws.includes("gdpr") && one.report > 24) say("medium", "Reporting takes long", "Of the 72 hours that the law gives, too few are left.");
  if (one.data.includes("special") && !meets(["gdpr", "uk_gdpr", "hipaa"], one.laws)) say("medium", "Special categories without a law", "Somewhere a law covers them; find out which.");
  if (one.remote !== "none" && !one.policies.includes("remote_work")) say("medium", "People work remotely, without a policy for it", "Choose the policy.");
  if (one.develops && !one.policies.includes("secure_development")) say("medium", "Software is developed, without a policy for it", "Choose the policy.");
  if (one.cloud !== "none" && !one.policies.includes("vendor")) say("medium", "Cloud services, without a policy for suppliers", "Choose the policy.");
  for (const key of ["incident_response", "backup", "access_control"]) if (!one.policies.includes(key)) say("medium", `No policy: ${TITLES[key].toLowerCase()}`, "Every organisation needs it; choose the policy.");
  if (one.restore > one.rto) say("high", "A restore takes longer than promised", "Make restores faster, or promise less.");
  if (one.review > 24) say("low", "Policies are reviewed rarely", "Once a year is usual.");
  const order = ["high", "medium", "low"];
  return order.flatMap((severity) => found.filter((row) => row.severity === severity));
}

export function problems(inputs) {
  const one = read(inputs), wrong = contradictions(one);
  if (one.effective && !dayOf(one.effective)) wrong.effective = /^\d{4}-\d{2}-\d{2}$/.test(one.effective) ? "This day does not exist, or is not from 1990 to 2100." : "This is no day. Write YYYY-MM-DD.";
  return wrong;
}

export function view(inputs) {
  const one = read(inputs), wrong = contradictions(one), day = dayOf(one.effective);
  const missing = Object.entries(NEEDED).filter(([name]) => !text(one.given[name])).map(([, title]) => title);
  const stands = Object.entries(wrong).map(([field, title]) => ({ severity: "critical", title, where: field }));
  const open = missing.length ? [{ severity: "info", title: `Still open: ${missing.join(", ")}` }] : [];
  const blocks = [
    { kind: "facts", title: "So far", pairs: [
      ["Policies", one.policies.length], ["Laws and standards", one.laws.length], ["Contradictions", stands.length], ["Still open", missing.length],
      ["Next review", day ? addMonths(day, one.review) : "–"],
    ] },
    { kind: "findings", title: "Before you sign", rows: [...stands, ...open, ...advice(one)], none: "Nothing in your answers stands against it." },
    { kind: "table", title: "What your answers decide", columns: ["What", "Value", "Because of"], rows: decisions(one) },
    { kind: "table", title: "What will be written", columns: ["Policy", "It sets out"], rows: one.policies.map((key) => [TITLES[key], PURPOSES[key]]), note: "Run it for the clauses, each with the controls that it meets, as Markdown, HTML and a matrix." },
  ];
  if (day) {
    const due = dates(one, day);
    blocks.push({ kind: "table", title: "Due in the first year", columns: ["Day", "What", "Who"], rows: due });
  }
  return blocks;
}
