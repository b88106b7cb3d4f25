/* CI/CD, the half in the browser: the jobs drawn in their order and the answers checked while people write; of a workflow
   that was pasted what its lines tell on their own. The YAML, GitHub's schema and the whole check are the server's half. */
import { diagram } from "studio/drawing";

const MANAGERS = { python: ["pip", "uv", "poetry"], node: ["npm", "pnpm", "yarn"], go: ["go"], rust: ["cargo"], java: ["maven", "gradle"] };
const TITLES = { python: "Python", node: "Node", go: "Go", rust: "Rust", java: "Java" };
const VERSIONS = { python: ["3.11", "3.12", "3.13"], node: ["20", "22", "24"], go: ["1.24", "1.25"], rust: ["stable"], java: ["21", "25"] };
const SYSTEMS = { ubuntu: "ubuntu-24.04", windows: "windows-2025", macos: "macos-15" };
const JOBS = ["lint", "test", "build", "scan", "container", "deploy"];
const AFTER = { build: ["lint", "test"], container: ["lint", "test", "build", "scan"], deploy: ["lint", "test", "build", "scan", "container"] };
const TRIGGERS = { push: "a push", pull_request: "a pull request", tag: "a tag", schedule: "every Monday", manual: "a click" };
const UNTRUSTED = /\$\{\{[^}]*?(github\.head_ref|github\.event\.(?:issue|pull_request|discussion|comment|review|review_comment)\.(?:title|body)|github\.event\.pull_request\.head\.(?:ref|label))[^}]*\}\}/;
const GONE = /\b(ubuntu-(?:16|18|20)\.04|windows-201[69]|macos-1[0-3])\b/;
const RANKS = ["critical", "high", "medium", "low", "info"];

const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value.trim() : "");
const chosen = (value, of, usual) => (Array.isArray(value) ? of.filter((one) => value.includes(one)) : usual);
const lines = (value) => (Array.isArray(value) ? value.map(text).filter(Boolean) : []);

function read(inputs) {
  const given = object(inputs);
  const language = TITLES[given.language] ? given.language : "python";
  const named = lines(given.versions);
  return {
    isCheck: given.action === "check", pasted: typeof given.workflow === "string" ? given.workflow : "", language,
    manager: text(given.manager) || "auto", versions: named.length ? named : VERSIONS[language], named,
    jobs: chosen(given.jobs, JOBS, ["lint", "test"]), systems: chosen(given.systems, Object.keys(SYSTEMS), ["ubuntu"]),
    triggers: chosen(given.triggers, Object.keys(TRIGGERS), ["push", "pull_request"]),
    branch: "branch" in given ? text(given.branch) || "main" : "main", image: text(given.image),
    environment: text(given.environment) || "production", deploy: text(given.deploy_command),
    commands: ["install", "lint", "test", "build", "deploy"].map((one) => [one, text(given[`${one}_command`])]),
    secrets: lines(given.secrets), minutes: Number.isInteger(given.minutes) ? given.minutes : 15,
    isCached: given.cache !== false, isApproved: given.approval !== false, name: text(given.name) || "Pipeline",
  };
}

export function problems(inputs) {
  const draft = read(inputs);
  const wrong = {};
  // A file that was chosen is not read here; the server says when there is none.
  if (draft.isCheck) return wrong;
  if (draft.manager !== "auto" && !MANAGERS[draft.language].includes(draft.manager)) {
    wrong.manager = `${TITLES[draft.language]} has ${MANAGERS[draft.language].join(", ")}; or choose auto.`;
  }
  draft.named.forEach((one, at) => { if (!/^[0-9a-z][0-9A-Za-z.x-]*$/.test(one)) wrong[`versions.${at}`] = "Write a version such as 3.12."; });
  if (new Set(draft.named).size !== draft.named.length) wrong.versions = "Write each version once.";
  draft.secrets.forEach((one, at) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(one) || /^github_/i.test(one)) {
      wrong[`secrets.${at}`] = "Use letters, digits and underscores; not GITHUB_ at the beginning.";
    }
  });
  if (new Set(draft.secrets.map((one) => one.toUpperCase())).size !== draft.secrets.length) {
    wrong.secrets = "Name each secret once; capital and small letters are the same.";
  }
  if (!/^[A-Za-z0-9_][A-Za-z0-9._/-]*$/.test(draft.branch) || /\.\.|\/\/|(\/|\.|\.lock)$/.test(draft.branch)) {
    wrong.branch = "Write the name of one branch, for example main.";
  }
  if (draft.image && !/^[a-z0-9]+([.-][a-z0-9]+)*(:\d+)?(\/[a-z0-9]+([._-]+[a-z0-9]+)*)+$/.test(draft.image)) {
    wrong.image = "Write a registry and a name in small letters, for example ghcr.io/harbour/office, without a tag.";
  }
  if (draft.jobs.includes("deploy")) {
    if (!draft.deploy) wrong.deploy_command = "Write the command that deploys.";
    if (!draft.triggers.some((one) => ["push", "tag", "manual"].includes(one))) {
      wrong.triggers = "It deploys on a push, a tag or by hand; choose one of them.";
    }
  } else if (draft.secrets.length) wrong.secrets = "Only the deployment has secrets; add it to the jobs, or leave them out.";
  return wrong;
}

/* What is allowed but unwise. */
function advice(draft) {
  const has = (one) => draft.jobs.includes(one);
  const said = [];
  const say = (severity, title, words) => said.push({ severity, title, text: words });
  if (!has("test")) say(has("deploy") ? "high" : "medium", "Nothing is tested", "What breaks is found by whoever uses it.");
  if (has("deploy") && !draft.isApproved) say("medium", "Nobody approves a deployment", "Each push to the branch is in use minutes later.");
  if ((has("deploy") || has("container")) && !has("scan")) say("medium", "Known weaknesses are not looked for", "Add the scan of dependencies.");
  if (!draft.triggers.includes("pull_request")) say("low", "Changes are checked only after they are in", "Start on pull requests too.");
  if (has("scan") && !draft.triggers.includes("schedule")) say("info", "Weaknesses become known between changes", "Start every Monday too.");
  if (!draft.isCached) say("info", "Everything is downloaded each time", "");
  if (has("test") && draft.versions.length * draft.systems.length > 12) {
    say("low", `Tests run ${draft.versions.length * draft.systems.length} times for each change`, "Fewer versions or systems cost less.");
  }
  for (const [name, command] of draft.commands) {
    const found = UNTRUSTED.exec(command);
    if (found) say("critical", `What a stranger writes is run: ${found[1]}`, `In the command that does “${name}”.`);
    if (/\$\{\{[^}]*secrets\./.test(command)) say("low", "A secret is put into the script", `In the command that does “${name}”: use its name as a variable.`);
  }
  return said.sort((one, two) => RANKS.indexOf(one.severity) - RANKS.indexOf(two.severity));
}

function stageOf(jobs) {
  const stages = new Map();
  for (const job of JOBS.filter((one) => jobs.includes(one))) {
    stages.set(job, 1 + Math.max(0, ...(AFTER[job] || []).filter((one) => stages.has(one)).map((one) => stages.get(one))));
  }
  return stages;
}

/* What a job waits for, but for what the others wait for already. */
function nearest(job, jobs) {
  const near = (AFTER[job] || []).filter((one) => jobs.includes(one));
  return near.filter((one) => !near.some((other) => (AFTER[other] || []).includes(one)));
}

function drawn(draft) {
  const times = draft.versions.length * draft.systems.length;
  return diagram("Jobs in their order", draft.jobs.map((job) => ({
    id: job, label: job, tone: job === "deploy" ? "brass" : "sea", kind: job === "deploy" && draft.isApproved ? "with approval" : "",
    lines: job === "test" && times > 1 ? [`${times} times`] : job === "deploy" ? [`to ${draft.environment}`] : ["ubuntu-24.04"],
  })), draft.jobs.flatMap((job) => nearest(job, draft.jobs).map((one) => ({ source: one, target: job }))),
  [], { direction: "down" });
}

function building(draft, wrong) {
  const stages = stageOf(draft.jobs);
  const times = draft.jobs.includes("test") ? draft.versions.length * draft.systems.length : 0;
  const runs = draft.jobs.length - (times ? 1 : 0) + times;
  const places = Object.entries(wrong);
  const order = draft.jobs.map((one) => `${one} in stage ${stages.get(one)}`).join(", ") || "No job is chosen yet";
  return [
    { kind: "facts", title: "So far", pairs: [
      ["Jobs", draft.jobs.length], ["Stages", Math.max(0, ...stages.values())], ["Machines for each change", runs],
      ["Most minutes in all", runs * draft.minutes], ["Starts by", draft.triggers.map((one) => TRIGGERS[one]).join(", ") || "nothing yet"],
      ["To correct", places.length],
    ] },
    { kind: "findings", title: "To correct", none: "Nothing. The server writes the workflow and checks it.",
      rows: places.map(([place, sentence]) => ({ severity: "high", title: sentence, where: place })) },
    { kind: "picture", title: "Stages", described: `${order}.`, svg: drawn(draft) },
    { kind: "findings", title: "Worth a thought", none: "Nothing stands out.", rows: advice(draft) },
    { kind: "table", title: "Jobs", columns: ["Job", "Stage", "Waits for", "Times"],
      rows: draft.jobs.map((job) => [job, stages.get(job), (AFTER[job] || []).filter((one) => draft.jobs.includes(one)).join(", ") || "–",
        job === "test" ? Math.max(1, times) : 1]) },
  ];
}

/* What single lines of a workflow tell. */
function scan(pasted) {
  const found = [];
  const rows = pasted.split(/\r?\n/).slice(0, 5000);
  const isForeign = rows.some((row) => /\bpull_request_target\b/.test(row.replace(/#.*$/, "")));
  let script = -1;
  rows.forEach((row, at) => {
    const say = (severity, title, fix = "") => found.push({ severity, title, where: `line ${at + 1}`, ...(fix ? { fix } : {}) });
    const indent = row.search(/\S/);
    if (script >= 0 && indent >= 0 && indent <= script) script = -1;
    const starts = /^\s*(?:-\s+)?(?:run|script):/.exec(row);
    const untrusted = starts || script >= 0 ? UNTRUSTED.exec(row) : null;
    if (starts && /[|>][+-]?\s*$/.test(row)) script = row.search(/(run|script):/);
    if (untrusted) say("critical", `What a stranger writes is run: ${untrusted[1]}`, "Put it into env: of the step, and use \"$NAME\" in the script.");
    const uses = /^\s*(?:-\s+)?uses:\s*["']?([^\s"'#]+)/.exec(row);
    if (uses && !uses[1].startsWith("./") && !uses[1].startsWith("docker://")) {
      const [name, ref = ""] = uses[1].split("@");
      if (!ref) say("high", `No version is named: ${name}`, "Add @ and a version.");
      else if (!/^[0-9a-f]{40}$/.test(ref) && !/^v?\d+(\.\d+){0,2}([-+.][\w.]+)?$/.test(ref)) {
        say("high", `${name} is used as its branch ${ref} is today`, "Name a version, or best the whole commit hash.");
      }
    }
    const gone = GONE.exec(row.replace(/#.*$/, ""));
    if (gone) say("high", `There is no runner ${gone[1]} any more`, "Choose a newer one, for example ubuntu-24.04.");
    if (/^\s*permissions:\s*["']?write-all\b/.test(row)) say("high", "The token may write everything", "Name what is needed, for example contents: read.");
    if (isForeign && /^\s*ref:.*pull_request\.head/.test(row)) say("critical", "The code of a fork is checked out beside secrets");
    if (/\b(AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,})\b/.test(row)) say("critical", "A secret is written into the workflow");
    if (/\t/.test(row.slice(0, Math.max(0, indent)))) say("high", "A tab cannot indent YAML", "Use spaces.");
  });
  if (pasted.trim() && !rows.some((row) => /^\s*permissions:/.test(row))) {
    found.push({ severity: "medium", title: "The token’s permissions are not said", where: "the workflow", fix: "Add “permissions: contents: read” at the top." });
  }
  return found.sort((one, two) => RANKS.indexOf(one.severity) - RANKS.indexOf(two.severity));
}

/* The names below “jobs:”, and what they wait for, as far as lines alone tell it. */
function jobsOf(pasted) {
  const jobs = [];
  let inside = false, step = 0, listing = false;
  for (const row of pasted.split(/\r?\n/).slice(0, 5000)) {
    if (!row.trim() || /^\s*#/.test(row)) continue;
    const indent = row.search(/\S/);
    if (indent === 0) { inside = /^jobs:\s*(#.*)?$/.test(row); step = 0; continue; }
    if (!inside) continue;
    step = step || indent;
    const name = /^\s*["']?([A-Za-z_][\w-]*)["']?:\s*(#.*)?$/.exec(row);
    if (indent === step) { if (name) jobs.push({ name: name[1], needs: [] }); listing = false; continue; }
    const job = jobs[jobs.length - 1];
    const needs = /^\s*needs:\s*(.*)$/.exec(row);
    if (job && needs) {
      const said = needs[1].replace(/#.*$/, "").replace(/[[\]"']/g, "").split(",").map((one) => one.trim()).filter(Boolean);
      job.needs.push(...said);
      listing = !said.length;
    } else if (job && listing) {
      const one = /^\s*-\s*["']?([\w-]+)["']?\s*$/.exec(row);
      if (one) job.needs.push(one[1]); else listing = false;
    }
  }
  return jobs;
}

function checking(draft) {
  const found = scan(draft.pasted);
  const jobs = jobsOf(draft.pasted);
  const names = new Set(jobs.map((one) => one.name));
  for (const job of jobs) {
    for (const need of job.needs) {
      if (!names.has(need)) found.unshift({ severity: "high", title: `There is no job ${need}`, where: `jobs.${job.name}.needs` });
    }
  }
  const isEmpty = !draft.pasted.trim();
  return [
    { kind: "facts", title: "So far", pairs: [["Lines", isEmpty ? 0 : draft.pasted.split("\n").length], ["Jobs", jobs.length], ["Found by line", found.length]] },
    { kind: "findings", title: "What its lines tell", rows: found,
      none: isEmpty ? "Paste a workflow to see what its lines tell. A file that you send is read by the server." : "Nothing, line by line. The server reads it whole, against GitHub’s schema." },
    { kind: "picture", title: "Jobs", described: jobs.map((one) => `${one.name}${one.needs.length ? ` after ${one.needs.join(" and ")}` : ""}`).join("; ") || "No jobs yet.",
      svg: diagram("Jobs in their order", jobs.map((one) => ({ id: one.name, label: one.name, tone: "sea" })),
        jobs.flatMap((one) => one.needs.map((need) => ({ source: need, target: one.name }))), [], { direction: "down" }) },
  ];
}

export function view(inputs) {
  const draft = read(inputs);
  return draft.isCheck ? checking(draft) : building(draft, problems(inputs));
}
