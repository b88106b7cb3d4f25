/* Infrastructure cost: lines of use become cost by month and year, on demand and reserved, and what moves it.
   Wholly in the browser. Every line of every month is rounded to the cent, as bills are; all sums are of those. */
import { bars, donut, lines as drawLines, number, svgText } from "studio/drawing";

/* Amazon's list prices for US East (N. Virginia), on demand, before tax. Keys and prices as in cost.py. */
export const RATES = {
  date: "2025-10-01",
  source: "aws.amazon.com/pricing: the list prices of each service for US East (N. Virginia), on demand, before tax",
  rows: {
    "t3.small": ["EC2 t3.small", "hour", 0.0208],
    "t3.medium": ["EC2 t3.medium", "hour", 0.0416],
    "t3.large": ["EC2 t3.large", "hour", 0.0832],
    "m6i.large": ["EC2 m6i.large", "hour", 0.096],
    "m6i.xlarge": ["EC2 m6i.xlarge", "hour", 0.192],
    "c5.large": ["EC2 c5.large", "hour", 0.085],
    "r5.large": ["EC2 r5.large", "hour", 0.126],
    "aurora.acu": ["Aurora Serverless v2, capacity unit", "hour", 0.12],
    "alb": ["Application Load Balancer", "hour", 0.0225],
    "nat": ["NAT gateway", "hour", 0.045],
    "gp3": ["EBS gp3", "gb", 0.08],
    "s3": ["S3 Standard", "gb", 0.023],
    "aurora.storage": ["Aurora storage", "gb", 0.1],
    "transfer": ["Transfer out to the internet", "gb", 0.09],
    "nat.data": ["NAT gateway, per GB", "gb", 0.045],
    "logs": ["CloudWatch logs", "gb", 0.5],
    "lambda": ["Lambda requests", "million", 0.2],
    "s3.get": ["S3 GET", "million", 0.4],
  },
};
const KINDS = { compute: "Computing", storage: "Storage", transfer: "Transfer", requests: "Requests", support: "Support", other: "Other" };
const UNITS = { hour: "an hour, each", month: "a month, each", gb: "a GB", million: "a million", percent: "% of the rest" };
const MONTH_HOURS = 730;
const SWING = 0.2;

const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const list = (value) => (Array.isArray(value) ? value : []);
const text = (value) => (typeof value === "string" ? value.trim() : "");
const sum = (values) => values.reduce((total, value) => total + value, 0);
const within = (value, least, most, otherwise) =>
  (typeof value === "number" && Number.isFinite(value) ? Math.min(Math.max(value, least), most) : otherwise);
/* In cents; a hair is added so that what is half a cent in decimals is not less in binary. */
const cents = (amount) => Math.round(amount * 100 + 1e-7);

/* Reading a draft */

function read(inputs) {
  const given = object(inputs);
  const dollar = within(given.dollar, 0.0001, 10000, 1);
  const lines = list(given.lines).map(object).map((line, at) => {
    const rate = Object.prototype.hasOwnProperty.call(RATES.rows, line.rate) ? RATES.rows[line.rate] : null;
    const unit = rate ? rate[1] : line.unit in UNITS ? line.unit : "month";
    return {
      at,
      name: text(line.name) || `Line ${at + 1}`,
      isNamed: Boolean(text(line.name)),
      kind: line.kind in KINDS ? line.kind : "other",
      rate: rate ? line.rate : "",
      unit,
      price: rate ? rate[2] * dollar : within(line.price, 0, 1e7, null),
      count: within(line.count, 0, 1e9, null),
      hours: within(line.hours, 0, 744, MONTH_HOURS),
      free: within(line.free, 0, 1e9, 0),
      least: within(line.least, 0, 1e7, 0),
      reserved: unit === "hour" ? within(line.reserved, 0, 100, 0) : 0,
      grows: line.grows !== false,
    };
  });
  return {
    lines,
    currency: ["$", "£", "€"].includes(given.currency) ? given.currency : "$",
    growth: within(given.growth, -50, 100, 0),
    months: Math.round(within(given.months, 1, 60, 12)),
    discount: within(given.discount, 0, 95, 30),
    term: given.term === "36" ? 36 : 12,
    upfront: within(given.upfront, 0, 100, 0),
    budget: within(given.budget, 0, 1e9, null),
  };
}

/** The sentences about a draft by their place in it, beyond what its fields say. */
export function problems(inputs) {
  const wrong = {};
  const given = list(object(inputs).lines).map(object);
  read(inputs).lines.forEach((line) => {
    const place = `lines.${line.at}`;
    if (line.price === null) wrong[`${place}.price`] = "Write your own price, or choose one of the examples.";
    else if (line.unit === "percent" && line.price > 100) wrong[`${place}.price`] = "At most 100 per cent.";
    if (line.unit !== "hour" && within(given[line.at].reserved, 0, 100, 0) > 0) {
      wrong[`${place}.reserved`] = "Only what is paid by the hour can be reserved here.";
    }
  });
  return wrong;
}

/* Reckoning */

/* How many servers are reserved: whole ones of those that run at the beginning, for as long as the plan goes. */
const reservedCount = (line) => (line.reserved ? Math.floor(line.count * line.reserved / 100 + 1e-9) : 0);

/* One month of one line, in cents; servers come whole. */
function ofMonth(line, plan, month, isReserved) {
  const growth = line.grows ? (1 + plan.growth / 100) ** month : 1;
  let amount;
  if (line.unit === "hour") {
    const servers = Math.ceil(line.count * growth - 1e-9);
    const kept = isReserved ? reservedCount(line) : 0;
    const onDemand = Math.max(servers - kept, 0) * line.hours;
    const reserved = kept * MONTH_HOURS * line.price * (1 - plan.discount / 100);
    amount = Math.max(onDemand - line.free, 0) * line.price + reserved;
  } else {
    amount = Math.max(line.count * growth - line.free, 0) * line.price;
  }
  return Math.max(cents(amount), cents(line.least));
}

/* Every line by month, in cents: [line][month]. Percentages are of all the other lines. */
function byMonth(plan, isReserved) {
  const months = Array.from({ length: plan.months }, (_, month) => month);
  const plain = plan.lines.map((line) =>
    (line.unit === "percent" ? null : months.map((month) => ofMonth(line, plan, month, isReserved))));
  const base = months.map((month) => sum(plain.filter(Boolean).map((row) => row[month])));
  return plan.lines.map((line, at) => plain[at]
    || base.map((total) => Math.max(cents(total / 100 * line.price / 100 * line.count), cents(line.least))));
}

const totals = (grid, months) => Array.from({ length: months }, (_, month) => sum(grid.map((row) => row[month])));

/* What is paid when: the reserved part of a term in advance, as far as it is paid at its beginning. */
function paid(plan, monthly) {
  const kept = sum(plan.lines.filter((line) => line.unit === "hour").map((line) =>
    reservedCount(line) * MONTH_HOURS * line.price * (1 - plan.discount / 100)));
  const ahead = cents(kept * plan.upfront / 100);
  return monthly.map((total, month) => total - ahead + (month % plan.term === 0 ? ahead * plan.term : 0));
}

function running(values) {
  let total = 0;
  return values.map((value) => (total += value));
}

/* The first month from which on what was paid in all stays at or below the other way; 0 for none. */
function breakEven(one, other) {
  for (let month = one.length; month >= 1; month -= 1) {
    if (one[month - 1] > other[month - 1]) return month === one.length ? 0 : month + 1;
  }
  return 1;
}

/* What the whole comes to when one thing is a fifth more or less. */
function sensitivity(plan) {
  const whole = (changed) => sum(totals(byMonth(changed, true), changed.months));
  const now = whole(plan);
  const swing = (name, change) => {
    const more = whole(change(1 + SWING)) - now, less = whole(change(1 - SWING)) - now;
    return { name, more, less };
  };
  const found = plan.lines.filter((line) => line.unit !== "percent").flatMap((line) => {
    const change = (field) => (times) =>
      ({ ...plan, lines: plan.lines.map((one) => (one === line ? { ...one, [field]: one[field] * times } : one)) });
    return [swing(`${line.name}: how many`, change("count")), swing(`${line.name}: price`, change("price"))];
  });
  if (plan.growth) found.push(swing("Growth a month", (times) => ({ ...plan, growth: plan.growth * times })));
  if (plan.lines.some(reservedCount)) {
    found.push(swing("Discount for reserving", (times) => ({ ...plan, discount: Math.min(plan.discount * times, 95) })));
  }
  return found.filter((one) => one.more || one.less)
    .sort((a, b) => Math.abs(b.more) - Math.abs(a.more) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/* Files */

/* A cell for a spreadsheet: never a formula. */
function cell(value) {
  let said = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(said)) said = `'${said}`;
  return /[",\r\n]/.test(said) ? `"${said.replace(/"/g, '""')}"` : said;
}
const csv = (rows) => rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
const file = (name, type, content) => ({ name, content_type: type, content });
const plainCents = (value) => (value / 100).toFixed(2);

export function view(inputs) {
  const draft = read(inputs);
  const plan = { ...draft, lines: draft.lines.filter((line) => line.price !== null && line.count !== null) };
  const left = draft.lines.length - plan.lines.length;
  if (!plan.lines.length) {
    return [{ kind: "text", title: "Nothing yet", paragraphs: [
      left ? "Give a line its price and how many of it, and the sums appear here." : "Add a line, or load the example: the sums appear here.",
    ] }];
  }
  const money = (value) => {
    const said = Math.abs(value / 100).toLocaleString("en-GB", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    return `${value < 0 ? "−" : ""}${plan.currency}${said}`;
  };
  const demand = byMonth(plan, false), grid = byMonth(plan, true);
  const demandByMonth = totals(demand, plan.months), plannedByMonth = totals(grid, plan.months);
  const isReserved = plan.lines.some((line) => reservedCount(line) > 0);
  const whole = sum(plannedByMonth), wholeDemand = sum(demandByMonth);
  const demandPaid = running(demandByMonth), plannedPaid = running(paid(plan, plannedByMonth));
  const even = isReserved ? breakEven(plannedPaid, demandPaid) : 0;
  const over = plan.budget === null ? -1 : plannedByMonth.findIndex((total) => total > cents(plan.budget));
  const labels = plannedByMonth.map((_, month) => `Month ${month + 1}`);

  const pairs = [
    ["First month", money(plannedByMonth[0])],
    [plan.months === 12 ? "The year" : `All ${plan.months} months`, money(whole)],
    [`Month ${plan.months}`, money(plannedByMonth[plan.months - 1])],
    ["A month on average", money(Math.round(whole / plan.months))],
  ];
  if (plan.months > 12) pairs.splice(1, 0, ["The first year", money(sum(plannedByMonth.slice(0, 12)))]);
  if (isReserved) {
    pairs.push(["Reserving saves", money(wholeDemand - whole)]);
    pairs.push(["Has paid off by", even ? `Month ${even}` : `Not within ${plan.months} months`]);
  }
  if (plan.budget !== null) pairs.push(["Budget a month", over < 0 ? `${money(cents(plan.budget))}, kept` : `${money(cents(plan.budget))}, passed in month ${over + 1}`]);
  if (left) pairs.push(["Lines left out", left]);

  const kinds = Object.entries(KINDS)
    .map(([kind, title]) => ({ kind, title, rows: grid.filter((_, at) => plan.lines[at].kind === kind) }))
    .filter((one) => one.rows.length);
  const lineRows = plan.lines.map((line, at) => [
    line.name, KINDS[line.kind], `${line.unit === "percent" ? number(line.price) + " " : plan.currency + priced(line.price) + " "}${UNITS[line.unit]}`,
    line.count, money(grid[at][0]), money(sum(grid[at])), `${number(whole ? Math.round(sum(grid[at]) / whole * 1000) / 10 : 0)}%`,
  ]);
  const linesCsv = csv([
    ["Line", "Kind", "Price", "Unit", "Price from", "How many", "Hours a month", "Free a month", "At least a month", "Reserved", "First month", "All months"],
    ...plan.lines.map((line, at) => [
      line.name, KINDS[line.kind], line.price, UNITS[line.unit], line.rate ? `${RATES.rows[line.rate][0]}, ${RATES.date}` : "own price",
      line.count, line.unit === "hour" ? line.hours : "", line.free, line.least, reservedCount(line),
      plainCents(grid[at][0]), plainCents(sum(grid[at])),
    ]),
  ]);
  const monthsCsv = csv([
    ["Month", ...plan.lines.map((line) => line.name), "Total", "On demand", "Paid so far", "On demand so far"],
    ...plannedByMonth.map((total, month) => [
      month + 1, ...grid.map((row) => plainCents(row[month])), plainCents(total), plainCents(demandByMonth[month]),
      plainCents(plannedPaid[month]), plainCents(demandPaid[month]),
    ]),
  ]);

  const shares = donut("First month by kind", kinds.map((one) => ({ label: one.title, value: sum(one.rows.map((row) => row[0])) / 100 })), { unit: plan.currency });
  const series = [{ label: isReserved ? "With reservations" : "Cost", values: plannedByMonth.map((value) => value / 100) }];
  if (isReserved) series.unshift({ label: "All on demand", values: demandByMonth.map((value) => value / 100) });
  const course = drawLines("Cost by month", labels, series, { unit: plan.currency, limit: plan.budget, limitLabel: "Budget" });
  const blocks = [
    {
      kind: "facts", title: "At a glance", pairs,
      downloads: [file("cost-lines.csv", "text/csv", linesCsv), file("cost-months.csv", "text/csv", monthsCsv)],
    },
    {
      kind: "picture", title: "Cost by month", svg: course,
      described: `From ${money(plannedByMonth[0])} in the first month to ${money(plannedByMonth[plan.months - 1])} in month ${plan.months}.`,
      downloads: [file("cost-by-month.svg", "image/svg+xml", svgText(course))],
    },
    {
      kind: "picture", title: "The first month by kind", svg: shares,
      described: kinds.map((one) => `${one.title} ${money(sum(one.rows.map((row) => row[0])))}`).join(", ") + ".",
      downloads: [file("cost-by-kind.svg", "image/svg+xml", svgText(shares))],
    },
    {
      kind: "table", title: "By line",
      columns: ["Line", "Kind", "Price", "How many", "First month", plan.months === 12 ? "The year" : "All months", "Share"],
      rows: [...lineRows, ["Total", "", "", "", money(plannedByMonth[0]), money(whole), ""]],
      note: "Every line of every month is rounded to the cent. Servers come whole: what grows beyond one is the next.",
    },
  ];
  if (isReserved) blocks.push(...reservedBlocks(plan, { money, demandPaid, plannedPaid, even, labels, wholeDemand, whole }));
  const moves = sensitivity(plan).slice(0, 10);
  if (moves.length) {
    const drawn = bars("What moves the sum", moves.map((one) => ({
      label: one.name, value: one.more / 100, tone: one.more >= 0 ? "brass" : "sea",
    })), { unit: plan.currency });
    blocks.push({
      kind: "picture", title: "What moves the sum", svg: drawn,
      described: `What all ${plan.months} months cost more if one thing is a fifth more. Most: ${moves[0].name}, ${money(moves[0].more)}.`,
      downloads: [file("cost-sensitivity.svg", "image/svg+xml", svgText(drawn))],
    });
    blocks.push({
      kind: "table", title: "What moves the sum, in figures", columns: ["A fifth more or less of", "A fifth more", "A fifth less"],
      rows: moves.map((one) => [one.name, signed(one.more, money), signed(one.less, money)]), note: "",
    });
  }
  if (plan.months > 12) {
    const years = Array.from({ length: Math.ceil(plan.months / 12) }, (_, year) => year);
    blocks.push({
      kind: "table", title: "By year", columns: ["Year", "Months", "Cost", "All on demand"],
      rows: years.map((year) => {
        const part = (values) => values.slice(year * 12, year * 12 + 12);
        return [`Year ${year + 1}`, part(plannedByMonth).length, money(sum(part(plannedByMonth))), money(sum(part(demandByMonth)))];
      }),
      note: "",
    });
  }
  blocks.push({
    kind: "table", title: "By month", columns: ["Month", ...kinds.map((one) => one.title), "Total", "All on demand", "Paid so far"],
    rows: plannedByMonth.map((total, month) => [
      `Month ${month + 1}`, ...kinds.map((one) => money(sum(one.rows.map((row) => row[month])))), money(total),
      money(demandByMonth[month]), money(plannedPaid[month]),
    ]),
    note: "",
  });
  const used = [...new Set(plan.lines.map((line) => line.rate).filter(Boolean))];
  blocks.push({
    kind: "text", title: "Where the prices are from",
    paragraphs: [
      used.length
        ? `${used.map((rate) => `${RATES.rows[rate][0]} $${priced(RATES.rows[rate][2])} ${UNITS[RATES.rows[rate][1]]}`).join("; ")}.`
        : "All prices are your own.",
      ...(used.length ? [`Source: ${RATES.source}. As they were on ${RATES.date}; they change, so look before you decide. Discounts for reserving are not in them: that figure is yours.`] : []),
    ],
  });
  return blocks;
}

const signed = (value, money) => (value > 0 ? `+${money(value)}` : money(value));
/* A price: two decimals, or as many as it has. */
const priced = (value) => {
  const said = String(Number(value.toPrecision(6)));
  return /\.\d$/.test(said) ? `${said}0` : said;
};

function reservedBlocks(plan, { money, demandPaid, plannedPaid, even, labels, wholeDemand, whole }) {
  const drawn = drawLines("Paid so far", labels, [
    { label: "All on demand", values: demandPaid.map((value) => value / 100) },
    { label: "With reservations", values: plannedPaid.map((value) => value / 100) },
  ], { unit: plan.currency });
  const worth = MONTH_HOURS * (1 - plan.discount / 100);
  const rows = plan.lines.filter((line) => line.unit === "hour").map((line) => {
    const kept = reservedCount(line);
    const one = cents(line.hours * line.price), other = cents(MONTH_HOURS * line.price * (1 - plan.discount / 100));
    const advice = line.hours > worth ? "reserve what always runs" : "stay on demand";
    return [line.name, kept, line.hours, money(one), money(other), advice];
  });
  return [
    {
      kind: "picture", title: "On demand or reserved", svg: drawn,
      described: `Paid in all after ${plan.months} months: ${money(demandPaid[plan.months - 1])} on demand, ${money(plannedPaid[plan.months - 1])} with reservations. `
        + (even ? `Reserving has paid off from month ${even} on.` : `Reserving does not pay off within ${plan.months} months.`),
      downloads: [file("cost-reserved.svg", "image/svg+xml", svgText(drawn))],
    },
    {
      kind: "table", title: "Is it worth reserving?",
      columns: ["Line", "Reserved", "Hours a month", "One on demand", "One reserved", "Advice"],
      rows,
      note: `A reserved server is paid for all ${MONTH_HOURS} hours, whether it runs or not: at ${number(plan.discount)}% off it is cheaper from ${number(worth)} hours a month on. `
        + `Over ${plan.months} months reserving ${whole <= wholeDemand ? "saves" : "costs"} ${money(Math.abs(wholeDemand - whole))}. A term that ends within them is reserved again.`,
    },
  ];
}
