/* Risk register, the half in the browser: scores, heat maps, ranking and checks while people write. The same counting as
   tools_registry/studios/cyber/risk_register.py; the register as CSV, Markdown and JSON is the server's half. */
import { heatMap } from "studio/drawing";

const LIKELIHOODS = ["Rare", "Unlikely", "Possible", "Likely", "Almost certain"];
const IMPACTS = ["Negligible", "Minor", "Moderate", "Major", "Severe"];
const TREATMENTS = { mitigate: "Mitigate (modification)", accept: "Accept (retention)", transfer: "Transfer (sharing)", avoid: "Avoid (avoidance)" };
const STATUSES = { open: "Not begun", doing: "In work", done: "Done" };
const LEVELS = [[17, "critical"], [10, "high"], [5, "medium"], [0, "low"]];

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value.trim().split(/\s+/).join(" ") : "");
const has = (of, name) => Object.prototype.hasOwnProperty.call(of, name);
const oneOf = (of, value, fallback) => (typeof value === "string" && has(of, value) ? value : fallback);
const whole = (value, least, most, fallback) => (Number.isInteger(value) && value >= least && value <= most ? value : fallback);
const rounded = (value) => Math.floor(value * 10 + 0.5) / 10;
const level = (score) => LEVELS.find(([least]) => score >= least)[1];

/* The day as a count of days, null for none, NaN for what is no day. */
function dayOf(written) {
  if (!written) return null;
  if (!/^\d{4}-\d{2}-\d{2}$/.test(written)) return NaN;
  const at = Date.parse(written + "T00:00:00Z");
  return Number.isNaN(at) || new Date(at).toISOString().slice(0, 10) !== written ? NaN : at / 86400000;
}

function left(likelihood, impact, effectiveness, lowers) {
  const rest = 1 - effectiveness / 100;
  if (lowers === "likelihood") return [Math.max(1, likelihood * rest), impact];
  if (lowers === "impact") return [likelihood, Math.max(1, impact * rest)];
  return [Math.max(1, likelihood * Math.sqrt(rest)), Math.max(1, impact * Math.sqrt(rest))];
}

function read(inputs) {
  const given = object(inputs);
  const day = dayOf(text(given.day));
  const risks = list(given.risks).map(object).map((row, number) => {
    const likelihood = whole(row.likelihood, 1, 5, 3), impact = whole(row.impact, 1, 5, 3), effectiveness = whole(row.effectiveness, 0, 100, 0);
    const rest = left(likelihood, impact, effectiveness, oneOf({ likelihood: 1, impact: 1, both: 1 }, row.lowers, "both"));
    const due = dayOf(text(row.due)), status = oneOf(STATUSES, row.status, "open");
    const late = Number.isFinite(day) && Number.isFinite(due) && day !== null && due !== null && status !== "done" ? day - due : 0;
    return {
      id: `R${String(number + 1).padStart(2, "0")}`, number, title: text(row.title) || "Not named yet", treatment: oneOf(TREATMENTS, row.treatment, "mitigate"),
      plan: text(row.plan), owner: text(row.owner), due: text(row.due), status, effectiveness, likelihood, impact, inherent: likelihood * impact,
      restLikelihood: rounded(rest[0]), restImpact: rounded(rest[1]), residual: rounded(rest[0] * rest[1]), late: Math.max(0, late),
    };
  });
  return { title: text(given.title), day, appetite: whole(given.appetite, 1, 25, 6), risks };
}

const CHECKS = [
  ["high", (one, appetite) => one.treatment === "accept" && one.residual > appetite, "accepted, above what may be accepted", "Treat it, or let whoever set the appetite accept it by name."],
  ["high", (one) => !one.owner, "nobody owns it", "Name one person who may decide about it and answers for it."],
  ["high", (one) => one.treatment !== "accept" && !one.plan, "it is to be treated, but nothing says how", "Write down what is done, by whom, with what."],
  ["high", (one) => one.late > 0, "the plan is overdue", "Finish it, or set a new day with a reason."],
  ["medium", (one, appetite) => one.treatment !== "accept" && one.residual > appetite, "above the appetite, even with the controls that there are", "The plan has to lower it further; until then it is known and watched."],
  ["medium", (one) => one.treatment !== "accept" && one.status !== "done" && !one.due, "the plan has no day by which it is done", "Set one."],
  ["medium", (one) => one.status === "done" && one.treatment !== "accept" && one.effectiveness === 0, "said to be done, but it lowers nothing", "Say how far the controls lower it, or that they do not."],
  ["low", (one) => one.effectiveness === 100, "controls of 100 % are rare", "Say what a test of them showed."],
  ["low", (one) => one.treatment === "accept" && !one.plan, "accepted without a reason", "Write down why, and until when."],
];

function checks({ risks, appetite }) {
  const found = CHECKS.flatMap(([severity, judge, title, fix]) => risks.filter((one) => judge(one, appetite)).map((one) => ({ severity, title: `${one.id} ${one.title}: ${title}`, fix })));
  const first = new Map();
  for (const one of risks) {
    const before = first.get(one.title.toLowerCase());
    if (before) found.push({ severity: "low", title: `${one.id} ${one.title}: ${before.id} has the same title`, fix: "Join them, or say what differs." });
    else first.set(one.title.toLowerCase(), one);
  }
  return found;
}

export function problems(inputs) {
  const wrong = {};
  const given = object(inputs);
  const judge = (place, written) => { if (Number.isNaN(dayOf(written))) wrong[place] = `Write a day as 2026-11-30; ${written} is none.`; };
  judge("day", text(given.day));
  list(given.risks).map(object).forEach((row, number) => judge(`risks.${number}.due`, text(row.due)));
  return wrong;
}

function map(title, risks, likelihood, impact) {
  const ids = new Map();
  for (const one of risks) {
    const place = `${Math.floor(one[likelihood] + 0.5)} ${Math.floor(one[impact] + 0.5)}`;
    ids.set(place, [...(ids.get(place) || []), one.id]);
  }
  const down = [5, 4, 3, 2, 1], across = [1, 2, 3, 4, 5];
  const said = (there) => (there.length < 4 ? there.join(" ") : `${there.slice(0, 2).join(" ")} +${there.length - 2}`);
  const described = [...ids].map(([place, there]) => `likelihood ${place.split(" ")[0]}, impact ${place.split(" ")[1]}: ${there.join(", ")}`).join("; ");
  return {
    kind: "picture", title, described,
    svg: heatMap(title, IMPACTS.map((name, at) => `${at + 1} ${name}`), down.map((row) => `${row} ${LIKELIHOODS[row - 1]}`), down.map((row) => across.map((column) => row * column)), {
      words: down.map((row) => across.map((column) => said(ids.get(`${row} ${column}`) || []))), scale: "risk", least: 1, most: 25, xTitle: "Impact", yTitle: "Likelihood", described,
    }),
  };
}

export function view(inputs) {
  const register = read(inputs);
  const { risks, appetite, day } = register;
  if (!risks.length) return [{ kind: "text", title: "Preview", paragraphs: ["Write down the first risk. Scores and heat maps are drawn as you write."] }];
  const inherent = risks.reduce((sum, one) => sum + one.inherent, 0);
  const residual = rounded(risks.reduce((sum, one) => sum + one.residual, 0));
  const ranked = [...risks].sort((one, two) => two.residual - one.residual || two.inherent - one.inherent || one.number - two.number);
  return [
    {
      kind: "facts", title: "So far", pairs: [
        ["Risks", risks.length], ["Inherent score, in all", inherent], ["Residual score, in all", residual],
        ["Lowered by controls", `${rounded(100 * (1 - residual / inherent))} %`],
        [`Above the appetite of ${appetite}`, risks.filter((one) => one.residual > appetite).length],
        ["Overdue", Number.isFinite(day) && day !== null ? risks.filter((one) => one.late > 0).length : "no day given"],
        ["Without an owner", risks.filter((one) => !one.owner).length],
      ],
    },
    map("Before controls", risks, "likelihood", "impact"),
    map("With controls", risks, "restLikelihood", "restImpact"),
    {
      kind: "table", title: "Ranking", columns: ["Rank", "Id", "Risk", "Inherent", "Residual", "Level", "Treatment", "Owner", "Due", "Status"],
      rows: ranked.map((one, at) => [at + 1, one.id, one.title, one.inherent, one.residual, level(one.residual), TREATMENTS[one.treatment], one.owner, one.due, STATUSES[one.status]]),
      note: "A likelihood or impact that is not written yet counts as 3.",
    },
    { kind: "findings", title: "Checks", rows: checks(register), none: "Everything fits together." },
  ];
}
