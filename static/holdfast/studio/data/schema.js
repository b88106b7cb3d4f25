/* Data schema: fields described once become JSON Schema, Avro, SQL and Parquet; sample rows are checked against them, and
   a new version against the one before. Wholly in the browser: no row leaves it. */
import { bars, number, svgText } from "studio/drawing";

const TYPES = {
  string: "Text", integer: "Whole number", number: "Number, rounded", decimal: "Decimal, exact", boolean: "Yes or no",
  date: "Date", timestamp: "Moment", uuid: "UUID",
};
const FIGURES = ["integer", "number", "decimal"];
const ERRORS_MAX = 1000;
const ROWS_MAX = 100000;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const STYLES = { snake: [/^_?[a-z][a-z0-9]*(_[a-z0-9]+)*$/, "snake_case"], camel: [/^[a-z][a-zA-Z0-9]*$/, "camelCase"] };
/* Words that SQL keeps for itself (PostgreSQL 16, Appendix C: reserved), as far as data is called so. */
const RESERVED = new Set(("all analyse analyze and any array as asc both case cast check collate column constraint create current_date "
  + "current_time current_timestamp current_user default desc distinct do else end except false fetch for foreign from grant group having "
  + "in initially intersect into lateral leading limit localtime localtimestamp not null offset on only or order placing primary "
  + "references returning select session_user some symmetric table then to trailing true union unique user using variadic when where window with").split(" "));

const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const list = (value) => (Array.isArray(value) ? value : []);
const text = (value) => (typeof value === "string" ? value.trim() : "");
const figure = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const file = (name, type, content) => ({ name, content_type: type, content });
const json = (value) => JSON.stringify(value, null, 2) + "\n";
const find = (fields, name) => fields.find((one) => one.name === name);

/* Reading a draft */

function read(inputs) {
  const given = object(inputs);
  const name = text(given.name);
  return {
    name: NAME.test(name) ? name : "record",
    isNamed: !name || NAME.test(name),
    naming: given.naming in STYLES ? given.naming : "any",
    isOpen: given.is_open === true,
    compatibility: ["forward", "full", "none"].includes(given.compatibility) ? given.compatibility : "backward",
    fields: list(given.fields).map(object).map((field, at) => {
      const type = Object.prototype.hasOwnProperty.call(TYPES, field.type) ? field.type : "string";
      const isFigure = FIGURES.includes(type), isText = type === "string";
      const values = text(field.values).split("|").map((one) => one.trim()).filter(Boolean);
      return {
        at,
        name: text(field.name),
        type,
        size: type === "decimal" ? text(field.size).replace(/\s/g, "") || "18,2" : "",
        isRequired: field.is_key === true || field.is_required !== false,
        isKey: field.is_key === true,
        least: isFigure ? figure(field.least) : null,
        most: isFigure ? figure(field.most) : null,
        longest: isText && Number.isInteger(field.length_max) && field.length_max > 0 ? field.length_max : null,
        values: isText ? [...new Set(values)] : [],
        pattern: isText ? text(field.pattern) : "",
        default: text(field.default),
        was: text(field.was),
        note: text(field.note),
        unused: [
          !isFigure && figure(field.least) !== null && "least", !isFigure && figure(field.most) !== null && "most",
          !isText && Number.isInteger(field.length_max) && "length_max", !isText && values.length && "values",
          !isText && text(field.pattern) && "pattern",
        ].filter(Boolean),
      };
    }),
  };
}

function judge(draft) {
  const wrong = {};
  const say = (place, sentence) => { if (!(place in wrong)) wrong[place] = sentence; };
  if (!draft.isNamed) say("name", "Letters, digits and underscores, with a letter first.");
  draft.fields.forEach((field, at) => {
    const place = `fields.${field.at}`;
    const twin = draft.fields.slice(0, at).find((one) => one.name && one.name.toLowerCase() === field.name.toLowerCase());
    if (!field.name) say(`${place}.name`, "Give the field a name.");
    else if (!NAME.test(field.name)) say(`${place}.name`, "Letters, digits and underscores, with a letter first: other names cannot be written in Avro.");
    else if (twin) say(`${place}.name`, `There is a field ${twin.name} already; upper and lower case do not tell them apart everywhere.`);
    if (field.type === "decimal") {
      const [all, behind] = field.size.split(",").map(Number);
      const isRight = /^[0-9]{1,2}(,[0-9]{1,2})?$/.test(field.size) && all >= 1 && all <= 38 && (behind || 0) <= all;
      if (!isRight) say(`${place}.size`, "Write the digits in all, up to 38, and those behind the point: 12,2.");
    }
    if (field.least !== null && field.most !== null && field.least > field.most) say(`${place}.most`, "It is less than “at least”.");
    if (field.pattern && !expression(field.pattern)) say(`${place}.pattern`, "This is no regular expression.");
    if (field.default) {
      const said = check(field, field.default, true);
      if (said) say(`${place}.default`, said);
    }
    for (const name of field.unused) say(`${place}.${name}`, `This does not go with “${TYPES[field.type]}”.`);
  });
  return wrong;
}

/** The sentences about a draft by their place in it, beyond what its fields say. */
export function problems(inputs) {
  const wrong = judge(read(inputs));
  const before = readPrevious(object(inputs).previous);
  if (before.said) wrong.previous = before.said;
  const sample = readSample(object(inputs).sample);
  if (sample.said) wrong.sample = sample.said;
  return wrong;
}

/* The draft without what is wrong in it. */
function whatHolds(draft, wrong) {
  const fields = draft.fields.filter((field) => !(`fields.${field.at}.name` in wrong)).map((field) => {
    const isRight = (part) => !(`fields.${field.at}.${part}` in wrong);
    return {
      ...field,
      size: isRight("size") ? field.size : "18,2",
      most: isRight("most") ? field.most : null,
      pattern: isRight("pattern") ? field.pattern : "",
      default: isRight("default") ? field.default : "",
    };
  });
  return { ...draft, fields };
}

function expression(pattern) {
  try { return new RegExp(pattern, "u"); } catch (refused) { return null; }
}

/* Checking a value: the sentence about it, "" where it is right. In a table every value is a text. */

const isDay = (value) => {
  const parts = /^(\d{4})-(\d{2})-(\d{2})$/.exec(value);
  if (!parts) return false;
  const [year, month, day] = parts.slice(1).map(Number);
  const long = [31, (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  return year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= long[month - 1];
};
const isMoment = (value) => {
  const parts = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(\.\d+)?([Zz]|[+-](\d{2}):(\d{2}))$/.exec(value);
  return Boolean(parts) && isDay(parts[1]) && parts[2] < 24 && parts[3] < 60 && parts[4] < 60 && (parts[7] || 0) < 24 && (parts[8] || 0) < 60;
};
const WHOLE_MAX = 2n ** 63n;

function check(field, value, isTable) {
  if (!isTable && typeof value !== wanted(field.type)) return `It must be ${saidType(field.type)}, not ${kindOf(value)}.`;
  const said = String(value);
  switch (field.type) {
    case "integer": {
      const whole = isTable ? /^[+-]?\d{1,19}$/.test(said) : Number.isInteger(value);
      if (!whole) return "It must be a whole number.";
      if (isTable && (BigInt(said) >= WHOLE_MAX || BigInt(said) < -WHOLE_MAX)) return "It does not fit into 64 bits.";
      return bounds(field, Number(value));
    }
    case "number":
      if (isTable && !/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$/.test(said)) return "It must be a number.";
      return bounds(field, Number(value));
    case "decimal": {
      if (isTable && !/^[+-]?(\d+\.?\d*|\.\d+)$/.test(said)) return "It must be a decimal number.";
      const [all, behind] = digitsOf(field);
      const [before, after] = plain(said).split(".");
      if ((after || "").replace(/0+$/, "").length > behind) return `At most ${behind} digits behind the point.`;
      if (before.replace(/^[+-]?0*/, "").length > all - behind) return `At most ${all - behind} digits before the point.`;
      return bounds(field, Number(value));
    }
    case "boolean":
      return isTable && !/^(true|false)$/i.test(said) ? "It must be true or false." : "";
    case "date":
      return isDay(said) ? "" : "It must be a day of the calendar, as 2026-01-31.";
    case "timestamp":
      return isMoment(said) ? "" : "It must be a moment with its zone, as 2026-01-31T09:30:00Z.";
    case "uuid":
      return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(said) ? "" : "It must be a UUID.";
    default: {
      if (field.values.length && !field.values.includes(said)) return `It must be one of ${field.values.join(", ")}.`;
      const long = Array.from(said).length;
      if (field.longest !== null && long > field.longest) return `At most ${field.longest} letters; this has ${long}.`;
      const pattern = field.pattern && expression(field.pattern);
      return pattern && !pattern.test(said) ? `It must match ${field.pattern}.` : "";
    }
  }
}

const wanted = (type) => (type === "boolean" ? "boolean" : FIGURES.includes(type) ? "number" : "string");
const saidType = (type) => ({ boolean: "true or false", number: "a number" }[wanted(type)] || "text");
const kindOf = (value) => (Array.isArray(value) ? "a list" : typeof value === "object" ? "an object" : { string: "text", number: "a number", boolean: "true or false" }[typeof value]);
const digitsOf = (field) => { const [all, behind] = field.size.split(",").map(Number); return [all, behind || 0]; };
/* 1e-7 and the like without an exponent. */
const plain = (said) => (/e/i.test(said) ? Number(said).toFixed(20).replace(/0+$/, "") : said);

function bounds(field, value) {
  if (field.least !== null && value < field.least) return `It must be at least ${field.least}.`;
  if (field.most !== null && value > field.most) return `It must be at most ${field.most}.`;
  return "";
}

/* Sample rows */

function csvRows(source, delimiter) {
  const rows = [];
  let row = [], cell = "", isQuoted = false, line = 1, begin = 1;
  for (let at = 0; at <= source.length; at += 1) {
    const letter = source[at];
    if (isQuoted && letter !== undefined) {
      if (letter === '"' && source[at + 1] === '"') { cell += '"'; at += 1; }
      else if (letter === '"') isQuoted = false;
      else { cell += letter; if (letter === "\n") line += 1; }
    } else if (letter === '"' && cell === "") {
      isQuoted = true;
    } else if (letter === delimiter) {
      row.push(cell);
      cell = "";
    } else if (letter === "\n" || letter === undefined) {
      row.push(cell.replace(/\r$/, ""));
      if (row.length > 1 || row[0] !== "") rows.push({ line: begin, cells: row });
      row = [];
      cell = "";
      line += 1;
      begin = line;
    } else {
      cell += letter;
    }
  }
  return rows;
}

/* The sample as {rows: [{line, values}], columns, isTable}; `said` where it cannot be read. */
let lastGiven = null, lastSample = null;  // a large sample is read once, not at every key
function readSample(given) {
  if (typeof given !== "string" || given !== lastGiven) {
    lastSample = readAfresh(given);
    lastGiven = given;
  }
  return lastSample;
}

function readAfresh(given) {
  const source = typeof given === "string" ? given.replace(/^\uFEFF/, "") : "";
  if (!source.trim()) return { rows: null, said: "" };
  const first = source.trim()[0];
  if (first === "[" || first === "{") return jsonSample(source.trim(), first);
  const heading = source.split(/\r?\n/, 1)[0];
  const delimiter = [",", ";", "\t", "|"].reduce((best, one) => (heading.split(one).length > heading.split(best).length ? one : best));
  const [head, ...body] = csvRows(source, delimiter);
  const columns = head.cells.map((one) => one.trim());
  const twice = columns.find((one, at) => columns.indexOf(one) !== at);
  if (twice !== undefined) return { rows: null, said: `Two columns are called “${twice}”.` };
  const rows = body.slice(0, ROWS_MAX).map(({ line, cells }) => ({
    line, values: new Map(columns.map((name, at) => [name, cells[at] === "" || cells[at] === undefined ? null : cells[at]])),
    said: cells.length === columns.length ? "" : `It has ${cells.length} cells, the heading has ${columns.length}.`,
  }));
  return { rows, columns, isTable: true, said: "", more: body.length - rows.length };
}

function jsonSample(source, first) {
  const rows = [];
  const add = (value, line) => rows.push({ line, values: new Map(Object.entries(object(value))), said: value === null || typeof value !== "object" || Array.isArray(value) ? "It is no object." : "" });
  let found = null;
  try { found = JSON.parse(source); } catch (refused) { /* perhaps lines */ }
  if (found !== null && first === "[") found.slice(0, ROWS_MAX).forEach((one, at) => add(one, at + 1));
  else if (found !== null) add(found, 1);
  else if (first === "[") return { rows: null, said: `This is no JSON: ${reason(source)}` };
  else {
    for (const [at, line] of source.split(/\r?\n/).entries()) {
      if (!line.trim() || rows.length >= ROWS_MAX) continue;
      try { add(JSON.parse(line), at + 1); } catch (refused) { return { rows: null, said: `Line ${at + 1} is no JSON.` }; }
    }
  }
  const columns = [...new Set(rows.flatMap((row) => [...row.values.keys()]))];
  return { rows, columns, isTable: false, said: "", more: 0 };
}

function reason(source) {
  try { JSON.parse(source); } catch (refused) { return refused.message; }
  return "";
}

/* Every error of the sample: {line, field, value, said}, at most ERRORS_MAX; and how many there are in all. */
function checkRows(schema, sample) {
  const errors = [];
  const byField = new Map(), wrongRows = new Set();
  let count = 0;
  const tell = (row, field, value, said) => {
    count += 1;
    wrongRows.add(row);
    byField.set(field, (byField.get(field) || 0) + 1);
    if (errors.length < ERRORS_MAX) errors.push({ line: row.line, field, value: value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value), said });
  };
  const keys = schema.fields.filter((field) => field.isKey);
  const seen = new Map();
  const known = new Set(schema.fields.map((field) => field.name));
  for (const row of sample.rows) {
    if (row.said) tell(row, "(row)", "", row.said);
    for (const field of schema.fields) {
      const value = row.values.get(field.name);
      if (value === null || value === undefined) {
        if (field.isRequired) tell(row, field.name, "", value === null && !sample.isTable ? "It is null and must have a value." : "It has no value and must have one.");
        continue;
      }
      const said = check(field, value, sample.isTable);
      if (said) tell(row, field.name, value, said);
    }
    if (!schema.isOpen && !sample.isTable) {
      for (const name of row.values.keys()) if (!known.has(name)) tell(row, name, row.values.get(name), "There is no such field.");
    }
    if (keys.length) {
      const values = keys.map((field) => row.values.get(field.name));
      if (values.every((value, at) => value !== null && value !== undefined && !check(keys[at], value, sample.isTable))) {
        const key = JSON.stringify(values.map(String));
        if (seen.has(key)) tell(row, keys.map((field) => field.name).join(", "), values.join(", "), `The same is in line ${seen.get(key)}.`);
        else seen.set(key, row.line);
      }
    }
  }
  return { errors, count, byField, wrongRows: wrongRows.size };
}

/* The schema in its languages */

function typedDefault(field) {
  if (!field.default) return undefined;
  if (FIGURES.includes(field.type)) return Number(field.default);
  return field.type === "boolean" ? /^true$/i.test(field.default) : field.default;
}

function jsonSchema(schema) {
  const properties = {};
  for (const field of schema.fields) {
    const one = { type: { integer: "integer", number: "number", decimal: "number", boolean: "boolean" }[field.type] || "string" };
    if (field.type === "date") one.format = "date";
    if (field.type === "timestamp") one.format = "date-time";
    if (field.type === "uuid") one.format = "uuid";
    if (field.least !== null) one.minimum = field.least;
    if (field.most !== null) one.maximum = field.most;
    if (field.longest !== null) one.maxLength = field.longest;
    if (field.pattern) one.pattern = field.pattern;
    if (field.values.length) one.enum = field.values.slice();
    if (!field.isRequired) {
      one.type = [one.type, "null"];
      if (one.enum) one.enum.push(null);
    }
    if (field.default) one.default = typedDefault(field);
    const words = [field.note, field.type === "decimal" ? `Decimal of ${digitsOf(field)[0]} digits, ${digitsOf(field)[1]} behind the point.` : ""].filter(Boolean).join(" ");
    if (words) one.description = words;
    properties[field.name] = one;
  }
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema", title: schema.name, type: "object", properties,
    required: schema.fields.filter((field) => field.isRequired).map((field) => field.name), additionalProperties: schema.isOpen,
  };
}

function avro(schema) {
  const fields = schema.fields.map((field) => {
    const [all, behind] = field.type === "decimal" ? digitsOf(field) : [0, 0];
    let type = {
      integer: "long", number: "double", boolean: "boolean",
      decimal: { type: "bytes", logicalType: "decimal", precision: all, scale: behind },
      date: { type: "int", logicalType: "date" }, timestamp: { type: "long", logicalType: "timestamp-micros" },
      uuid: { type: "string", logicalType: "uuid" },
    }[field.type] || "string";
    const isEnum = field.values.length && field.values.every((one) => NAME.test(one));
    if (isEnum) type = { type: "enum", name: `${schema.name}_${field.name}`, symbols: field.values };
    const value = typedDefault(field);
    const canDefault = value !== undefined && !["decimal", "date", "timestamp"].includes(field.type);
    const made = { name: field.name, type };
    if (!field.isRequired) {
      made.type = canDefault ? [type, "null"] : ["null", type];
      made.default = canDefault ? value : null;
    } else if (canDefault) {
      made.default = value;
    }
    if (field.was && field.was !== field.name && NAME.test(field.was)) made.aliases = [field.was];
    if (field.note) made.doc = field.note;
    return made;
  });
  return { type: "record", name: schema.name, fields };
}

const quoted = (name) => `"${name.replace(/"/g, '""')}"`;
const literal = (value) => `'${value.replace(/'/g, "''")}'`;

function sql(schema) {
  const lines = schema.fields.map((field) => {
    const name = quoted(field.name);
    const type = {
      integer: "bigint", number: "double precision", decimal: `numeric(${digitsOf(field).join(", ")})`, timestamp: "timestamptz",
    }[field.type] || (field.type === "string" ? (field.longest !== null ? `varchar(${field.longest})` : "text") : field.type);
    const parts = [name, type];
    if (field.isRequired) parts.push("NOT NULL");
    if (field.default) parts.push(`DEFAULT ${FIGURES.includes(field.type) || field.type === "boolean" ? String(typedDefault(field)) : literal(field.default)}`);
    if (field.values.length) parts.push(`CHECK (${name} IN (${field.values.map(literal).join(", ")}))`);
    if (field.least !== null) parts.push(`CHECK (${name} >= ${exact(field.least)})`);
    if (field.most !== null) parts.push(`CHECK (${name} <= ${exact(field.most)})`);
    if (field.pattern) parts.push(`CHECK (${name} ~ ${literal(field.pattern)})`);
    return parts.join(" ");
  });
  const keys = schema.fields.filter((field) => field.isKey).map((field) => quoted(field.name));
  if (keys.length) lines.push(`PRIMARY KEY (${keys.join(", ")})`);
  const notes = schema.fields.filter((field) => field.note)
    .map((field) => `COMMENT ON COLUMN ${quoted(schema.name)}.${quoted(field.name)} IS ${literal(field.note.replace(/\s+/g, " "))};\n`);
  return `CREATE TABLE ${quoted(schema.name)} (\n    ${lines.join(",\n    ")}\n);\n${notes.join("")}`;
}
const exact = (value) => (Number.isInteger(value) ? BigInt(value).toString() : String(value));

function parquet(schema) {
  const lines = schema.fields.map((field) => {
    const [all, behind] = field.type === "decimal" ? digitsOf(field) : [0, 0];
    const [physical, logical] = {
      integer: ["int64", "INTEGER(64,true)"], number: ["double", ""], boolean: ["boolean", ""], date: ["int32", "DATE"],
      timestamp: ["int64", "TIMESTAMP(MICROS,true)"], uuid: ["fixed_len_byte_array(16)", "UUID"],
      decimal: [all <= 9 ? "int32" : all <= 18 ? "int64" : "fixed_len_byte_array(16)", `DECIMAL(${all},${behind})`],
    }[field.type] || ["binary", field.values.length ? "ENUM" : "STRING"];
    return `  ${field.isRequired ? "required" : "optional"} ${physical} ${field.name}${logical ? ` (${logical})` : ""};`;
  });
  return `message ${schema.name} {\n${lines.join("\n")}\n}\n`;
}

/* Comparing versions */

function readPrevious(given) {
  if (!text(given)) return { schema: null, said: "" };
  let draft;
  try { draft = JSON.parse(given); } catch (refused) { return { schema: null, said: "This is no JSON. Use the schema-draft.json that this tool made." }; }
  if (!Array.isArray(object(draft).fields)) return { schema: null, said: "There are no fields in it. Use the schema-draft.json that this tool made." };
  const earlier = read(draft);
  return { schema: whatHolds(earlier, judge(earlier)), said: "" };
}

/* Whether every value of the one type is one of the other. */
function isWithin(inner, outer) {
  if (inner.type === outer.type) {
    if (inner.type !== "decimal") return true;
    const [all, behind] = digitsOf(inner), [more, most] = digitsOf(outer);
    return behind <= most && all - behind <= more - most;
  }
  if (inner.type === "integer" && outer.type === "number") return true;
  if (inner.type === "integer" && outer.type === "decimal") return digitsOf(outer)[0] - digitsOf(outer)[1] >= 19;
  return false;
}

/* Why values of the one field may not be values of the other; empty where all are. */
function narrower(inner, outer) {
  const said = [];
  const name = (field) => (field.type === "decimal" ? `decimal(${field.size})` : field.type);
  if (!isWithin(inner, outer)) said.push(`${name(inner)} is not always ${name(outer)}`);
  if (outer.isRequired && !inner.isRequired) said.push("it may be missing");
  if (outer.least !== null && (inner.least === null || inner.least < outer.least)) said.push(`values below ${outer.least}`);
  if (outer.most !== null && (inner.most === null || inner.most > outer.most)) said.push(`values above ${outer.most}`);
  if (outer.longest !== null && (inner.longest === null || inner.longest > outer.longest) && !inner.values.length) said.push(`texts longer than ${outer.longest}`);
  if (outer.values.length) {
    const more = inner.values.length ? inner.values.filter((one) => !outer.values.includes(one)) : ["any other text"];
    if (more.length) said.push(`values that are not in its list: ${more.join(", ")}`);
  }
  if (outer.pattern && outer.pattern !== inner.pattern) said.push("texts that do not match its pattern");
  return said;
}

/* Every change: {field, change, backward, forward}, the last two empty or why not.
   Backward: the new version reads what was written by the old one. Forward: the old one reads what the new one writes. */
function compare(before, after) {
  const found = [];
  const paired = new Map();
  for (const field of after.fields) if (find(before.fields, field.name)) paired.set(field, find(before.fields, field.name));
  for (const field of after.fields) {
    const old = field.was && !paired.has(field) && find(before.fields, field.was);
    if (old && ![...paired.values()].includes(old)) paired.set(field, old);
  }
  for (const old of before.fields) {
    if ([...paired.values()].includes(old)) continue;
    const fresh = after.fields.find((field) => !paired.has(field) && field.type === old.type);
    const hint = fresh ? ` If ${fresh.name} is this field under a new name, say that it was called ${old.name}.` : "";
    found.push({
      field: old.name, change: `is gone.${hint}`,
      backward: after.isOpen || before.isOpen ? "" : "what was written has a field that is not known any more; readers that refuse unknown fields stop",
      forward: old.isRequired && !old.default ? "the old version needs it" : "", isSoft: true,
    });
  }
  for (const field of after.fields) {
    const old = paired.get(field);
    if (!old) {
      found.push({
        field: field.name, change: "is new",
        backward: field.isRequired && !field.default ? "what was written has no value for it, and there is none for “if missing”" : "",
        forward: before.isOpen ? "" : "the old version may refuse a field that it does not know", isSoft: !before.isOpen,
      });
      continue;
    }
    const back = narrower(old, field).filter((said) => !(said === "it may be missing" && field.default));
    const forth = narrower(field, old).filter((said) => !(said === "it may be missing" && old.default));
    if (old.name !== field.name) {
      found.push({ field: field.name, change: `was called ${old.name}`, backward: "", forward: "the old version looks for the old name", isSoft: false });
    }
    if (back.length || forth.length || old.type !== field.type) {
      found.push({
        field: field.name, change: describe(old, field),
        backward: back.length ? `what was written may have: ${back.join("; ")}` : "",
        forward: forth.length ? `what is written now may have: ${forth.join("; ")}` : "", isSoft: false,
      });
    }
  }
  return found;
}

function describe(old, field) {
  const said = [];
  const name = (one) => (one.type === "decimal" ? `decimal(${one.size})` : one.type);
  if (name(old) !== name(field)) said.push(`${name(old)} became ${name(field)}`);
  if (old.isRequired !== field.isRequired) said.push(field.isRequired ? "is always filled now" : "may be missing now");
  if (old.least !== field.least || old.most !== field.most) said.push("has other bounds");
  if (old.longest !== field.longest) said.push("has another greatest length");
  if (old.values.join("|") !== field.values.join("|")) said.push("has another list of values");
  if (old.pattern !== field.pattern) said.push("has another pattern");
  return said.join(", ") || "changed";
}

/* A field that is gone is ignored by readers as Avro's and most others do; only strict ones stop. */
const isBreak = (row, way) => Boolean(row[way]) && !(row.isSoft && ((way === "backward" && row.change.startsWith("is gone")) || (way === "forward" && row.change === "is new")));

function cell(value) {
  let said = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(said)) said = `'${said}`;
  return /[",\r\n]/.test(said) ? `"${said.replace(/"/g, '""')}"` : said;
}
const csv = (rows) => rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

export function view(inputs) {
  const draft = read(inputs);
  const wrong = judge(draft);
  const schema = whatHolds(draft, wrong);
  if (!schema.fields.length) {
    return [{ kind: "text", title: "Nothing yet", paragraphs: ["Add a field with a name, or load the example: the schemas and the checks appear here."] }];
  }
  const sample = readSample(object(inputs).sample);
  const previous = readPrevious(object(inputs).previous);
  const checked = sample.rows ? checkRows(schema, sample) : null;
  const changes = previous.schema ? compare(previous.schema, schema) : null;
  const ways = { backward: ["backward"], forward: ["forward"], full: ["backward", "forward"], none: [] }[schema.compatibility];
  const breaks = changes ? changes.filter((row) => ways.some((way) => isBreak(row, way))) : [];
  const kept = {
    name: schema.name, naming: schema.naming, is_open: schema.isOpen, compatibility: schema.compatibility,
    fields: schema.fields.map((field) => ({
      name: field.name, type: field.type, is_required: field.isRequired, is_key: field.isKey,
      ...(field.least !== null && { least: field.least }), ...(field.most !== null && { most: field.most }),
      ...(field.longest !== null && { length_max: field.longest }), size: field.size, values: field.values.join(" | "),
      pattern: field.pattern, default: field.default, was: "", note: field.note,
    })),
  };
  const pairs = [
    ["Fields", schema.fields.length],
    ["Always filled", schema.fields.filter((field) => field.isRequired).length],
    ["To correct in the draft", Object.keys(wrong).length],
  ];
  if (checked) pairs.push(["Rows checked", sample.rows.length], ["Rows without error", sample.rows.length - checked.wrongRows], ["Errors", checked.count]);
  if (changes) pairs.push(["Against the earlier version", ways.length === 0 ? `${changes.length} changes` : breaks.length ? `Breaks ${breaks.length === 1 ? "in one place" : `in ${breaks.length} places`}` : "Compatible"]);
  const blocks = [{ kind: "facts", title: "At a glance", pairs, downloads: [file("schema-draft.json", "application/json", json(kept))] }];
  blocks.push({ kind: "findings", title: "Fields and names", rows: [
    ...Object.entries(wrong).map(([place, said]) => ({ severity: "high", title: said, where: whereOf(draft, place), text: "Left out until it is corrected." })),
    ...advise(schema),
  ], none: "Nothing to correct, and every name is as agreed." });
  if (sample.said) blocks.push({ kind: "findings", title: "Sample rows", rows: [{ severity: "high", title: sample.said, where: "Sample rows" }], none: "" });
  if (checked) blocks.push(...sampleBlocks(schema, sample, checked));
  if (previous.said) blocks.push({ kind: "findings", title: "Compatibility", rows: [{ severity: "high", title: previous.said, where: "The earlier version" }], none: "" });
  if (changes) blocks.push(...changeBlocks(changes, ways));
  blocks.push(
    { kind: "code", title: "JSON Schema", source: json(jsonSchema(schema)), language: "JSON", downloads: [file("schema.json", "application/json", json(jsonSchema(schema)))] },
    { kind: "code", title: "Avro", source: json(avro(schema)), language: "JSON", downloads: [file("schema.avsc", "application/json", json(avro(schema)))] },
    { kind: "code", title: "SQL (PostgreSQL)", source: sql(schema), language: "SQL", downloads: [file("schema.sql", "text/plain", sql(schema))] },
    { kind: "code", title: "Parquet", source: parquet(schema), language: "Parquet", downloads: [file("schema-parquet.txt", "text/plain", parquet(schema))] },
    {
      kind: "table", title: "Fields", columns: ["Field", "Type", "Always filled", "Rules", "What it means"],
      rows: schema.fields.map((field) => [field.name, TYPES[field.type], field.isRequired ? "Yes" : "No", rules(field), field.note]), note: "",
    },
  );
  return blocks;
}

function rules(field) {
  return [
    field.isKey ? "identifies the row" : "", field.size ? `${field.size} digits` : "", field.least !== null ? `at least ${field.least}` : "",
    field.most !== null ? `at most ${field.most}` : "", field.longest !== null ? `at most ${field.longest} letters` : "",
    field.values.length ? `one of ${field.values.join(", ")}` : "", field.pattern ? `matches ${field.pattern}` : "",
    field.default ? `else ${field.default}` : "",
  ].filter(Boolean).join("; ");
}

function advise(schema) {
  const found = [];
  const style = STYLES[schema.naming];
  for (const field of schema.fields) {
    if (style && !style[0].test(field.name)) found.push({ severity: "medium", title: `Not ${style[1]}`, where: field.name, text: "Names of one kind are found and remembered.", fix: `Call it ${restyled(field.name, schema.naming)}.` });
    if (RESERVED.has(field.name.toLowerCase())) found.push({ severity: "low", title: "A word of SQL", where: field.name, text: "In SQL it must stand in quotes everywhere.", fix: "Choose a longer name." });
    if (field.type === "number" && /price|amount|cost|total|balance|salary|fee/i.test(field.name)) found.push({ severity: "medium", title: "Money as a rounded number", where: field.name, text: "Sums of rounded numbers do not add up.", fix: "Use an exact decimal, for example 12,2." });
    if (field.values.some((one) => !NAME.test(one))) found.push({ severity: "info", title: "Not a list in Avro", where: field.name, text: "Avro’s lists take letters, digits and underscores alone, so there it is plain text." });
  }
  if (!schema.fields.some((field) => field.isKey)) found.push({ severity: "info", title: "Nothing identifies a row", where: schema.name, text: "Rows that are there twice cannot be found.", fix: "Mark the field, or the fields, that identify a row." });
  return found;
}

function restyled(name, naming) {
  const words = name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/([A-Z]+)([A-Z][a-z])/g, "$1 $2").split(/[_\s]+/).filter(Boolean).map((one) => one.toLowerCase());
  return naming === "snake" ? words.join("_") : words.map((one, at) => (at ? one[0].toUpperCase() + one.slice(1) : one)).join("");
}

function sampleBlocks(schema, sample, checked) {
  const missing = sample.isTable ? schema.fields.filter((field) => !sample.columns.includes(field.name)).map((field) => field.name) : [];
  const extra = sample.isTable ? sample.columns.filter((name) => !find(schema.fields, name)) : [];
  const rows = [
    ...missing.map((name) => ({ severity: find(schema.fields, name).isRequired ? "high" : "low", title: "The sample has no such column", where: name })),
    ...extra.map((name) => ({ severity: schema.isOpen ? "info" : "medium", title: "The schema has no such field", where: name || "(no name)", text: schema.isOpen ? "" : "Its values were not checked." })),
    ...checked.errors.slice(0, 200).map((one) => ({ severity: "medium", title: one.said, where: `line ${one.line}, ${one.field}`, text: one.value === "" ? "" : `It is: ${one.value.length > 120 ? `${one.value.slice(0, 120)}…` : one.value}` })),
  ];
  const blocks = [{
    kind: "findings", title: "Sample rows", rows, none: "Every row fits.",
    downloads: [file("errors.csv", "text/csv", csv([["Line", "Field", "Value", "Error"], ...checked.errors.map((one) => [one.line, one.field, one.value, one.said])]))],
  }];
  const notes = [];
  if (checked.count > checked.errors.length) notes.push(`The first ${number(checked.errors.length)} of ${number(checked.count)} errors are kept.`);
  if (sample.more > 0) notes.push(`The first ${number(ROWS_MAX)} rows were checked; ${number(sample.more)} more were not.`);
  if (notes.length) blocks.push({ kind: "text", title: "Not everything", paragraphs: notes });
  if (checked.byField.size) {
    const counts = [...checked.byField].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 20);
    const drawn = bars("Errors by field", counts.map(([label, value]) => ({ label, value, tone: "coral" })));
    blocks.push({
      kind: "picture", title: "Errors by field", svg: drawn, described: counts.map(([label, value]) => `${label} ${value}`).join(", ") + ".",
      downloads: [file("errors-by-field.svg", "image/svg+xml", svgText(drawn))],
    });
  }
  return blocks;
}

function changeBlocks(changes, ways) {
  const breaks = (row) => ways.some((way) => isBreak(row, way));
  const rows = changes.map((row) => ({
    severity: breaks(row) ? "high" : row.backward || row.forward ? "low" : "good",
    title: `${row.field} ${row.change}`,
    where: "",
    text: [row.backward && `Reading what was written before: ${row.backward}.`, row.forward && `Reading with the earlier version: ${row.forward}.`].filter(Boolean).join(" ")
      || "Both versions read what the other writes.",
    fix: !breaks(row) ? "" : row.change === "is new" ? "Give it a value for “if missing”, or let it be missing." : "Keep the field as it was and add a new one beside it, or make this another data set.",
  }));
  return [
    { kind: "findings", title: "Compatibility", rows, none: "Nothing changed." },
    {
      kind: "table", title: "What changed", columns: ["Field", "Change", "Reads what was before", "Can be read by the earlier"],
      rows: changes.map((row) => [row.field, row.change, verdict(row, "backward"), verdict(row, "forward")]), note: "",
    },
  ];
}
const verdict = (row, way) => (isBreak(row, way) ? "No" : row[way] ? "Yes, if unknown fields are ignored" : "Yes");

function whereOf(draft, place) {
  const [, at] = place.split(".");
  const field = draft.fields[Number(at)];
  return (field && field.name) || (at === undefined ? place : `field ${Number(at) + 1}`);
}
