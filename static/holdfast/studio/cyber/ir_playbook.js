/* Incident playbook, the half in the browser: who must be told by when, who is missing, in which order systems come back.
   Steps, decisions, drafts and the exercise are the server's half. */
import { timeline } from "studio/drawing";

/* The same as tools_registry/studios/cyber/notification_law.py: law, article, to, hours from becoming aware, the deadline in
   words, whose duty it is (own data, data of others, both), and for how many people (s: under 500, l: from 500, a: above). */
const DUTIES = [
  ["gdpr", "Art. 33(1)", "The supervisory authority of your main establishment", 72, "72 hours after becoming aware; later with the reasons", "own", "any"],
  ["gdpr", "Art. 34(1)", "The people whose data it is", null, "without undue delay", "own", "any"],
  ["gdpr", "Art. 33(2)", "The controllers you work for", null, "without undue delay after becoming aware", "others", "any"],
  ["gdpr", "Art. 33(5)", "Your own record", null, "always, notified or not", "own", "any"],
  ["uk_gdpr", "Art. 33(1)", "The Information Commissioner (ICO)", 72, "72 hours after becoming aware; later with the reasons", "own", "any"],
  ["uk_gdpr", "Art. 34(1)", "The people whose data it is", null, "without undue delay", "own", "any"],
  ["uk_gdpr", "Art. 33(2)", "The controllers you work for", null, "without undue delay after becoming aware", "others", "any"],
  ["uk_gdpr", "Art. 33(5)", "Your own record", null, "always, notified or not", "own", "any"],
  ["nis2", "Art. 23(4)(a)", "The CSIRT or the competent authority", 24, "24 hours after becoming aware", "both", "any"],
  ["nis2", "Art. 23(4)(b)", "The CSIRT or the competent authority", 72, "72 hours after becoming aware", "both", "any"],
  ["nis2", "Art. 23(1)", "The recipients of your services", null, "without undue delay", "both", "any"],
  ["nis2", "Art. 23(4)(d)", "The CSIRT or the competent authority", null, "one month after the incident notification", "both", "any"],
  ["dora", "Art. 19(4)(a); (EU) 2025/301 Art. 5", "The competent authority", 24, "4 hours after classifying it as major, at most 24 hours after becoming aware", "both", "any"],
  ["dora", "Art. 19(4)(b); (EU) 2025/301 Art. 5", "The competent authority", null, "72 hours after the initial notification", "both", "any"],
  ["dora", "Art. 19(4)(c); (EU) 2025/301 Art. 5", "The competent authority", null, "one month after the intermediate report or its latest update", "both", "any"],
  ["dora", "Art. 19(3)", "Your clients", null, "without undue delay", "both", "any"],
  ["hipaa", "45 CFR § 164.404(b)", "Each person whose health information it is", 1440, "without unreasonable delay, at most 60 calendar days after discovery", "own", "any"],
  ["hipaa", "45 CFR § 164.408(b)", "The Secretary of Health and Human Services", 1440, "together with the notice to the people, at most 60 calendar days after discovery", "own", "large"],
  ["hipaa", "45 CFR § 164.406", "Prominent media of the State", 1440, "without unreasonable delay, at most 60 calendar days after discovery", "own", "above"],
  ["hipaa", "45 CFR § 164.408(c)", "The Secretary of Health and Human Services", null, "60 days after the end of the calendar year of discovery", "own", "small"],
  ["hipaa", "45 CFR § 164.410(b)", "The covered entities you work for", 1440, "without unreasonable delay, at most 60 calendar days after discovery", "others", "any"],
  ["california", "Cal. Civ. Code § 1798.82(a)", "Each resident of California concerned", 720, "30 calendar days after discovery; law enforcement or finding the scope may delay it", "own", "any"],
  ["california", "Cal. Civ. Code § 1798.82(f)", "The Attorney General of California", null, "15 calendar days after the notice to the residents", "own", "above"],
  ["california", "Cal. Civ. Code § 1798.82(b)", "The owner or licensee of the data", null, "immediately after discovery", "others", "any"],
  ["ftc", "16 CFR § 314.4(j)", "The Federal Trade Commission", 720, "as soon as possible, at most 30 days after discovery", "both", "large"],
  ["sec", "Form 8-K, Item 1.05", "The Securities and Exchange Commission, in public", null, "four business days after deciding that it is material; decide without unreasonable delay", "both", "any"],
  ["pci", "PCI DSS v4.0.1, 12.10.1", "Your acquirer and the payment brands", null, "as your acquirer’s contract and the brands’ procedures say, which is mostly at once", "both", "any"],
];
const LAWS = {
  gdpr: "GDPR (EU)", uk_gdpr: "UK GDPR", nis2: "NIS2 (EU)", dora: "DORA (EU, finance)", hipaa: "HIPAA (US, health)", california: "California Civil Code § 1798.82",
  ftc: "FTC Safeguards Rule (US, finance)", sec: "SEC Form 8-K (US, listed)", pci: "PCI DSS (payment cards)",
};
const ROLES = { lead: "Incident lead", technical: "Technical lead", management: "Management", communications: "Communications", legal: "Law and data protection", scribe: "Keeper of the log", people: "Human resources" };
const SMALL = 20, LARGE = 250, WEEK = 168, HOUR = 3600000;

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value.trim() : "");
const whole = (value, fallback) => (Number.isInteger(value) && value > 0 ? value : fallback);
const has = (of, name) => Object.prototype.hasOwnProperty.call(of, name);
const low = (said) => said.charAt(0).toLowerCase() + said.slice(1);

/* The moment in milliseconds, null for none, NaN for what is no moment. */
function timeOf(written) {
  if (!written) return null;
  const found = /^(2\d{3}-\d\d-\d\d)[T ](\d\d:\d\d)$/.exec(written);
  if (!found) return NaN;
  const at = Date.parse(`${found[1]}T${found[2]}:00Z`);
  return Number.isNaN(at) || new Date(at).toISOString().slice(0, 16) !== `${found[1]}T${found[2]}` ? NaN : at;
}

function duties(given) {
  const laws = list(given.regulations), people = whole(given.people, null), isForOthers = given.is_processor === true;
  const detected = timeOf(text(given.detected_at));
  const fits = { any: () => true, small: (n) => n < 500, large: (n) => n >= 500, above: (n) => n > 500 };
  return DUTIES.filter(([law, , , , , whose, size]) => laws.includes(law) && (whose === "both" || (whose === "others") === isForOthers) && (people === null || fits[size](people)))
    .map(([law, article, to, hours, by], place) => ({
      law: LAWS[law], article, to, hours, by, place,
      at: hours !== null && detected !== null && Number.isFinite(detected) ? new Date(detected + hours * HOUR).toISOString().slice(0, 16) : null,
    }))
    .sort((one, two) => (one.hours === null) - (two.hours === null) || (one.hours || 0) - (two.hours || 0) || one.place - two.place);
}

export function problems(inputs) {
  const given = object(inputs), wrong = {};
  const written = text(given.detected_at);
  if (Number.isNaN(timeOf(written))) wrong.detected_at = `Write day and time as 2026-11-21T08:30; ${written} is none.`;
  const first = new Map();
  list(given.systems).map(object).forEach((row, at) => {
    const name = text(row.name).split(/\s+/).join(" ").toLowerCase();
    if (!name) return;
    if (first.has(name)) wrong[`systems.${at}.name`] = `System ${first.get(name) + 1} is called ${text(row.name)} already.`;
    else first.set(name, at);
  });
  return wrong;
}

export function view(inputs) {
  const given = object(inputs);
  const size = whole(given.size, 50);
  const contacts = list(given.contacts).map(object).filter((one) => text(one.name) && has(ROLES, text(one.role) || "lead"));
  const roleOf = (one) => text(one.role) || "lead";
  const needed = ["lead", "technical", "management", ...(size >= SMALL ? ["communications", "legal"] : []), ...(size >= LARGE ? ["scribe"] : []), ...(given.incident === "insider" ? ["people"] : [])];
  const missing = needed.filter((role) => !contacts.some((one) => roleOf(one) === role));
  const due = duties(given);
  const timed = due.filter((one) => one.hours !== null);
  const systems = list(given.systems).map(object).filter((one) => text(one.name)).map((one) => ({ name: text(one.name), hours: whole(one.restore_hours, 48) }))
    .sort((one, two) => one.hours - two.hours || (one.name < two.name ? -1 : one.name > two.name ? 1 : 0));
  const gaps = missing.map((role) => ({ severity: "high", title: `Nobody is named as ${low(ROLES[role])}`, fix: "Name one, with a number that works at night." }));
  for (const one of contacts) if (!text(one.reach)) gaps.push({ severity: "medium", title: `${text(one.name)} (${low(ROLES[roleOf(one)])}) has no number`, fix: "Write down how to reach them." });
  if (!systems.length) gaps.push({ severity: "high", title: "No system is named", fix: "Name those without which work stops: containment and recovery follow." });
  if ((text(given.backups) || "none") !== "offline") gaps.push({ severity: given.incident === "ransomware" || !given.incident ? "critical" : "high", title: "No backup is out of reach of who breaks in", fix: "Keep one offline or unchangeable, and restore it." });
  if (!list(given.regulations).length) gaps.push({ severity: "medium", title: "No law is named", fix: "Ask counsel which ones hold for you; deadlines can be 24 hours short." });
  const order = ["critical", "high", "medium", "low"];
  gaps.sort((one, two) => order.indexOf(one.severity) - order.indexOf(two.severity));
  const spans = [
    ...timed.filter((one) => one.hours <= WEEK).map((one) => ({ label: `${one.article} ${one.law}`, start: 0, end: one.hours, tone: "coral", note: `${one.hours} h` })),
    ...systems.filter((one) => one.hours <= WEEK).map((one) => ({ label: `${one.name} is back`, start: 0, end: one.hours, tone: "sea", note: `${one.hours} h` })),
  ];
  return [
    {
      kind: "facts", title: "So far", pairs: [
        ["Notices that can be due", due.length], ["First deadline", timed.length ? `${timed[0].hours} hours (${timed[0].article})` : "none in hours"],
        ["Roles without a name", missing.length], ["Systems", systems.length],
        ["First system back within", systems.length ? `${systems[0].hours} hours (${systems[0].name})` : "no system named"],
      ],
    },
    { kind: "findings", title: "What is missing", rows: gaps, none: "Roles, numbers, systems, backups and laws are named." },
    {
      kind: "table", title: "Who must be told", columns: ["Law", "Article", "To", "By", "At"],
      rows: due.map((one) => [one.law, one.article, one.to, one.by, (one.at || "–").replace("T", " ")]),
      note: "As the texts stood at the start of 2026; what each hangs on is in the playbook. No legal advice.",
    },
    {
      kind: "picture", title: "The first days", described: spans.map((one) => `${one.label}: ${one.note}`).join("; ") || "Nothing has a time yet.",
      svg: timeline("The first days, in hours after the detection", spans, { unit: "h" }),
    },
    { kind: "table", title: "Order of recovery", columns: ["Place", "System", "Back within, hours"], rows: systems.map((one, at) => [at + 1, one.name, one.hours]) },
  ];
}
