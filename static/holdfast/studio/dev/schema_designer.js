/* Schema designer: a draft of tables becomes a diagram, the SQL of three databases, and the migration from an earlier
   version. Wholly in the browser. A draft is never wrong as a whole: what cannot be used yet is named and left out. */
import { diagram, svgText } from "studio/drawing";

const TITLES = { postgresql: "PostgreSQL", mysql: "MySQL", sqlite: "SQLite" };
const DATABASES = Object.keys(TITLES);
const WHOLE = ["smallint", "integer", "bigint"];
const TYPES = [...WHOLE, "decimal", "float", "boolean", "varchar", "text", "date", "time", "timestamp", "timestamptz",
  "uuid", "json", "bytes"];
const NAME_MAX = 63;
const SIZE_OF = { varchar: "255", decimal: "12,2" };
const DELETIONS = { restrict: "RESTRICT", cascade: "CASCADE", set_null: "SET NULL" };

/* Reading a draft */

const text = (value) => (typeof value === "string" ? value.replace(/\u0000/g, "").trim() : "");
const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const same = (one, other) => one.toLowerCase() === other.toLowerCase();

function read(draft) {
  const tables = list(object(draft).tables).map(object).map((table, at) => ({
    at,
    name: text(table.name),
    was: text(table.was),
    columns: list(table.columns).map(object).map((column, place) => {
      const type = TYPES.includes(column.type) ? column.type : "varchar";
      const [refTable, refColumn, ...more] = text(column.references).split(".").map((part) => part.trim());
      return {
        at: place,
        name: text(column.name),
        type,
        size: type in SIZE_OF ? text(column.size).replace(/\s/g, "") || SIZE_OF[type] : "",
        isKey: column.is_key === true,
        isRequired: column.is_key === true || column.is_required !== false,
        isUnique: column.is_unique === true,
        isNumbered: column.is_numbered === true,
        default: text(column.default),
        references: text(column.references),
        refTable: refTable || "",
        refColumn: more.length ? "" : refColumn || "",
        onDelete: column.on_delete in DELETIONS ? column.on_delete : "restrict",
        was: text(column.was),
      };
    }),
  }));
  const indexes = list(object(draft).indexes).map(object).map((index, at) => ({
    at,
    table: text(index.table),
    columns: text(index.columns).split(",").map((one) => one.trim()).filter(Boolean),
    isUnique: index.is_unique === true,
  }));
  return { tables, indexes };
}

const find = (rows, name) => rows.find((row) => row.name && same(row.name, name));

/* Judging it: sentences by the place in the draft. */

function judge(schema) {
  const wrong = {};
  const say = (place, sentence) => { if (!(place in wrong)) wrong[place] = sentence; };
  const judgeName = (place, name, noun, others) => {
    if (!name) say(place, `Give the ${noun} a name.`);
    else if (name.length > NAME_MAX) say(place, `At most ${NAME_MAX} characters.`);
    else if (/^sqlite_/i.test(name)) say(place, "SQLite keeps names that begin with sqlite_ for itself.");
    else if (find(others, name)) say(place, `There is a ${noun} ${name} already; upper and lower case do not tell them apart.`);
  };
  schema.tables.forEach((table, at) => {
    const place = `tables.${table.at}`;
    judgeName(`${place}.name`, table.name, "table", schema.tables.slice(0, at));
    table.columns.forEach((column, number) => {
      const here = `${place}.columns.${column.at}`;
      judgeName(`${here}.name`, column.name, "column", table.columns.slice(0, number));
      judgeColumn(schema, table, column, here, say);
    });
    if (!table.columns.length) say(`${place}.columns`, "A table needs at least one column.");
  });
  schema.indexes.forEach((index) => {
    const place = `indexes.${index.at}`;
    const table = find(schema.tables, index.table);
    if (!index.table) return say(`${place}.table`, "Name the table.");
    if (!table) return say(`${place}.table`, `There is no table ${index.table}.`);
    if (!index.columns.length) return say(`${place}.columns`, "Name at least one column.");
    const gone = index.columns.find((name) => !find(table.columns, name));
    if (gone) return say(`${place}.columns`, `${table.name} has no column ${gone}.`);
    const twice = index.columns.find((name, one) => index.columns.some((other, two) => two < one && same(name, other)));
    if (twice) return say(`${place}.columns`, `${twice} stands there twice.`);
    const json = index.columns.find((name) => find(table.columns, name).type === "json");
    if (json) return say(`${place}.columns`, `${json} is JSON, which this kind of index cannot order.`);
  });
  return wrong;
}

function judgeColumn(schema, table, column, here, say) {
  if (column.type === "varchar" && !(/^[0-9]{1,5}$/.test(column.size) && column.size >= 1 && column.size <= 10000)) {
    say(`${here}.size`, "Write how many letters fit, from 1 to 10000.");
  }
  if (column.type === "decimal") {
    const [all, behind] = column.size.split(",");
    const isRight = /^[0-9]{1,2}(,[0-9]{1,2})?$/.test(column.size) && all >= 1 && all <= 38 && (behind || 0) <= 30;
    if (!isRight || Number(behind || 0) > Number(all)) {
      say(`${here}.size`, "Write the digits in all, up to 38, and those behind the point: 12,2.");
    }
  }
  if (column.type === "json" && (column.isKey || column.isUnique)) {
    say(`${here}.type`, "JSON can be no key, and cannot be kept from being there twice.");
  }
  if (column.isNumbered) {
    const keys = table.columns.filter((one) => one.isKey);
    if (!WHOLE.includes(column.type)) say(`${here}.is_numbered`, "Only a whole number can number itself.");
    else if (!column.isKey || keys.length !== 1) say(`${here}.is_numbered`, "Only the one key of a table can number itself.");
    else if (column.default) say(`${here}.default`, "It numbers itself, so it needs no value.");
    else if (column.references) say(`${here}.references`, "What numbers itself cannot point to something.");
  }
  if (column.default && valueOf("postgresql", column) === null) say(`${here}.default`, wrongDefault(column));
  if (column.references) {
    const target = find(schema.tables, column.refTable);
    const pointed = target && find(target.columns, column.refColumn);
    if (!column.refTable || !column.refColumn) say(`${here}.references`, "Write it as table.column.");
    else if (!target) say(`${here}.references`, `There is no table ${column.refTable}.`);
    else if (!pointed) say(`${here}.references`, `${target.name} has no column ${column.refColumn}.`);
    else if (!isAlone(target, pointed)) {
      say(`${here}.references`, `${target.name}.${pointed.name} may be there twice, so nothing can point to it: make it the only key, or “never twice”.`);
    } else if (pointed.type !== column.type || (column.type === "decimal" && pointed.size !== column.size)) {
      say(`${here}.references`, `${target.name}.${pointed.name} is ${kindOf(pointed)}, this is ${kindOf(column)}; both must be the same.`);
    }
    if (column.onDelete === "set_null" && column.isRequired) {
      say(`${here}.on_delete`, "It is always filled, so it cannot be emptied.");
    }
  }
}

const kindOf = (column) => column.type + (column.size ? `(${column.size})` : "");
/* Whether each of a column's values is there once. */
function isAlone(table, column) {
  const keys = table.columns.filter((one) => one.isKey);
  return column.isUnique || (column.isKey && keys.length === 1);
}

/* The draft without what is wrong in it. */
function whatHolds(schema, wrong) {
  const isRight = (place) => !(place in wrong);
  const tables = schema.tables
    .filter((table) => isRight(`tables.${table.at}.name`))
    .map((table) => ({
      ...table,
      columns: table.columns
        .filter((column) => isRight(`tables.${table.at}.columns.${column.at}.name`))
        .map((column) => {
          const here = `tables.${table.at}.columns.${column.at}`;
          const kept = { ...column };
          if (!isRight(`${here}.size`)) kept.size = SIZE_OF[column.type];
          if (!isRight(`${here}.type`)) Object.assign(kept, { isKey: false, isUnique: false });
          if (!isRight(`${here}.is_numbered`)) kept.isNumbered = false;
          if (!isRight(`${here}.default`)) kept.default = "";
          if (!isRight(`${here}.references`)) Object.assign(kept, { references: "", refTable: "", refColumn: "" });
          if (!isRight(`${here}.on_delete`)) kept.onDelete = "restrict";
          return kept;
        }),
    }))
    .filter((table) => table.columns.length);
  for (const table of tables) {
    for (const column of table.columns) {
      if (!column.refTable) continue;
      const target = find(tables, column.refTable);
      const pointed = target && find(target.columns, column.refColumn);
      if (pointed) Object.assign(column, { refTable: target.name, refColumn: pointed.name });
      else Object.assign(column, { references: "", refTable: "", refColumn: "" });
    }
  }
  const indexes = schema.indexes
    .filter((index) => isRight(`indexes.${index.at}.table`) && isRight(`indexes.${index.at}.columns`))
    .map((index) => {
      const table = find(tables, index.table);
      const columns = table ? index.columns.map((name) => find(table.columns, name)) : [];
      return table && columns.every(Boolean)
        ? { ...index, table: table.name, columns: columns.map((column) => column.name) } : null;
    })
    .filter(Boolean);
  return { tables, indexes };
}

/* What helps, and is nothing wrong. */
function advise(schema) {
  const found = [];
  for (const table of schema.tables) {
    if (!table.columns.some((column) => column.isKey)) {
      found.push({ severity: "medium", title: "No key", where: table.name, text: "Rows of this table cannot be told apart.", fix: "Mark the column, or the columns, that identify a row as key." });
    }
    for (const column of table.columns) {
      const where = `${table.name}.${column.name}`;
      const isFirst = schema.indexes.some((index) => same(index.table, table.name) && same(index.columns[0], column.name))
        || column.isUnique || (column.isKey && table.columns.find((one) => one.isKey) === column);
      if (column.refTable && !isFirst) {
        found.push({ severity: "low", title: "Points without an index", where, text: `Every time a row of ${column.refTable} is deleted, this whole table is searched. MySQL adds the index by itself.`, fix: `Add an index on ${column.name}.` });
      }
      if (column.refTable && ["text", "bytes"].includes(column.type)) {
        found.push({ severity: "medium", title: "MySQL cannot point with it", where, text: "Texts without a limit can be no foreign key there; the SQL for MySQL leaves it out.", fix: "Use text with a limit, on both sides." });
      }
      if (column.type === "float" && /price|amount|cost|total|balance|salary|fee/i.test(column.name)) {
        found.push({ severity: "medium", title: "Money as a rounded number", where, text: "Sums of rounded decimals do not add up.", fix: "Use an exact decimal, for example 12,2." });
      }
      if (column.type === "timestamp") {
        found.push({ severity: "info", title: "A time without a zone", where, text: "Nobody can tell afterwards whose clock it was.", fix: "Use a moment with zone for things that happen." });
      }
      if (["text", "bytes"].includes(column.type) && (column.isKey || column.isUnique || schema.indexes.some((index) => same(index.table, table.name) && index.columns.some((name) => same(name, column.name))))) {
        found.push({ severity: "low", title: "MySQL orders only the beginning", where, text: "MySQL indexes the first 191 letters of a text without a limit, and holds only those against “never twice”.", fix: "Use text with a limit." });
      }
    }
    for (const name of [table.name, ...table.columns.map((column) => column.name)]) {
      if (!/^[a-z_][a-z0-9_]*$/.test(name)) {
        found.push({ severity: "info", title: "A name that always needs quotes", where: name === table.name ? name : `${table.name}.${name}`, text: "Only small letters, digits and underscores can be written without quotes everywhere." });
      }
    }
  }
  return found;
}

/* Words of SQL */

function quote(database, name) {
  return database === "mysql" ? `\`${name.replace(/`/g, "``")}\`` : `"${name.replace(/"/g, '""')}"`;
}
const quoteAll = (database, names) => names.map((name) => quote(database, name)).join(", ");

function literal(database, value) {
  const safe = value.replace(/[\r\n\t]+/g, " ").replace(/'/g, "''");
  return `'${database === "mysql" ? safe.replace(/\\/g, "\\\\") : safe}'`;
}

function typeOf(database, column) {
  const { type, size } = column;
  const digits = size.replace(",", ", ");
  if (database === "postgresql") {
    return {
      decimal: `numeric(${digits})`, float: "double precision", varchar: `varchar(${size})`, time: "time",
      timestamptz: "timestamptz", json: "jsonb", bytes: "bytea",
    }[type] || type;
  }
  if (database === "mysql") {
    return {
      integer: "INT", decimal: `DECIMAL(${digits})`, float: "DOUBLE", varchar: `VARCHAR(${size})`, text: "LONGTEXT",
      time: "TIME(6)", timestamp: "DATETIME(6)", timestamptz: "TIMESTAMP(6)", uuid: "CHAR(36)", bytes: "LONGBLOB",
    }[type] || type.toUpperCase();
  }
  return {
    smallint: "INTEGER", bigint: "INTEGER", decimal: `DECIMAL(${digits})`, float: "REAL", varchar: `VARCHAR(${size})`,
    timestamptz: "TIMESTAMP", uuid: "CHAR(36)", json: "TEXT", bytes: "BLOB",
  }[type] || type.toUpperCase();
}

/* The SQL of a column's default: "" for none, null for one that does not fit its type. */
function valueOf(database, column) {
  const given = column.default;
  if (!given || column.isNumbered) return "";
  const isNow = given.toLowerCase() === "now";
  switch (column.type) {
    case "smallint": case "integer": case "bigint":
      return /^-?[0-9]{1,19}$/.test(given) ? given : null;
    case "decimal": case "float":
      return /^-?[0-9]{1,30}(\.[0-9]{1,30})?$/.test(given) ? given : null;
    case "boolean": {
      const value = { true: true, yes: true, 1: true, false: false, no: false, 0: false }[given.toLowerCase()];
      if (value === undefined) return null;
      return database === "sqlite" ? String(Number(value)) : String(value).toUpperCase();
    }
    case "date":
      if (isNow) return database === "mysql" ? "(CURRENT_DATE)" : "CURRENT_DATE";
      return /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(given) ? literal(database, given) : null;
    case "time":
      if (isNow) return { postgresql: "LOCALTIME", mysql: "(CURRENT_TIME(6))", sqlite: "CURRENT_TIME" }[database];
      return /^[0-9]{2}:[0-9]{2}(:[0-9]{2})?$/.test(given) ? literal(database, given) : null;
    case "timestamp": case "timestamptz":
      if (isNow) return database === "mysql" ? "CURRENT_TIMESTAMP(6)" : "CURRENT_TIMESTAMP";
      return /^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?$/.test(given) ? literal(database, given) : null;
    case "uuid":
      if (given.toLowerCase() === "random") {
        return {
          postgresql: "gen_random_uuid()",
          mysql: "(UUID())",
          sqlite: "(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' "
            + "|| substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))",
        }[database];
      }
      return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(given) ? literal(database, given) : null;
    case "json":
      try { JSON.parse(given); } catch (refused) { return null; }
      return database === "mysql" ? `(${literal(database, given)})` : literal(database, given);
    case "bytes":
      if (!/^([0-9a-f]{2})*$/i.test(given)) return null;
      return database === "postgresql" ? `'\\x${given}'` : database === "mysql" ? `(X'${given}')` : `X'${given}'`;
    case "varchar":
      return given.length <= Number(column.size) ? literal(database, given) : null;
    default:
      return database === "mysql" ? `(${literal(database, given)})` : literal(database, given);
  }
}

function wrongDefault(column) {
  return {
    decimal: "Write a number with a point, for example 0.50.", float: "Write a number with a point, for example 0.5.",
    boolean: "Write true or false.", date: "Write “now” or a day as 2026-01-31.", time: "Write “now” or a time as 09:30.",
    timestamp: "Write “now” or a time as 2026-01-31 09:30.", timestamptz: "Write “now” or a time as 2026-01-31 09:30.",
    uuid: "Write “random” or a UUID.", json: "Write JSON, for example {}.", bytes: "Write pairs of hexadecimal digits.",
    varchar: "It is longer than the text may be.",
  }[column.type] || "Write a whole number.";
}

/* Names of keys and indexes: the same for the same columns, and never too long. */
function named(...parts) {
  const name = parts.join("_");
  if (name.length <= 60) return name;
  let sum = 0x811c9dc5;
  for (let at = 0; at < name.length; at += 1) sum = Math.imul(sum ^ name.charCodeAt(at), 0x01000193) >>> 0;
  return `${name.slice(0, 48)}_${sum.toString(16).padStart(8, "0")}`;
}

/* The schema as a database keeps it. MySQL has no foreign keys on texts without a limit. */
function model(schema, database) {
  const canPoint = (column) => column.refTable && !(database === "mysql" && ["text", "bytes"].includes(column.type));
  const made = schema.tables.map((table) => {
    const keys = table.columns.filter((column) => column.isKey).map((column) => column.name);
    return {
      name: table.name,
      was: table.was,
      columns: table.columns,
      key: keys.length ? { name: named(table.name, "pkey"), columns: keys } : null,
      uniques: table.columns.filter((column) => column.isUnique && !(keys.length === 1 && column.isKey))
        .map((column) => ({ name: named(table.name, column.name, "key"), columns: [column.name], isUnique: true })),
      points: table.columns.filter(canPoint).map((column) => ({
        name: named(table.name, column.name, "fkey"), column: column.name, refTable: column.refTable,
        refColumn: column.refColumn, onDelete: column.onDelete,
      })),
      indexes: [],
    };
  });
  for (const index of schema.indexes) {
    const table = find(made, index.table);
    const name = named(table.name, ...index.columns, index.isUnique ? "unique_idx" : "idx");
    if (!find(table.indexes, name)) table.indexes.push({ name, columns: index.columns, isUnique: index.isUnique });
  }
  return made;
}

function columnSql(database, table, column) {
  const q = (name) => quote(database, name);
  const parts = [q(column.name), typeOf(database, column)];
  if (column.isNumbered && database === "sqlite") return `${parts.join(" ")} NOT NULL PRIMARY KEY AUTOINCREMENT`;
  if (column.isNumbered && database === "postgresql") parts.push("GENERATED BY DEFAULT AS IDENTITY");
  if (database === "mysql" && column.type === "timestamptz" && !column.isRequired) parts.push("NULL");
  if (column.isRequired) parts.push("NOT NULL");
  const value = valueOf(database, column);
  if (value) parts.push(`DEFAULT ${value}`);
  if (column.isNumbered && database === "mysql") parts.push("AUTO_INCREMENT");
  return parts.join(" ");
}

/* Names of columns inside a key; MySQL needs a length for those without a limit. */
function keyParts(database, table, names) {
  return names.map((name) => {
    const { type } = find(table.columns, name);
    return quote(database, name) + (database === "mysql" && ["text", "bytes"].includes(type) ? "(191)" : "");
  }).join(", ");
}

function pointSql(database, point) {
  const q = (name) => quote(database, name);
  return `CONSTRAINT ${q(point.name)} FOREIGN KEY (${q(point.column)}) REFERENCES ${q(point.refTable)} (${q(point.refColumn)}) `
    + `ON DELETE ${DELETIONS[point.onDelete]}`;
}

function tableSql(database, table, points, called = table.name) {
  const q = (name) => quote(database, name);
  const lines = table.columns.map((column) => columnSql(database, table, column));
  const isInline = database === "sqlite" && table.columns.some((column) => column.isNumbered);
  if (table.key && !isInline) {
    const name = database === "mysql" ? "" : `CONSTRAINT ${q(table.key.name)} `;
    lines.push(`${name}PRIMARY KEY (${keyParts(database, table, table.key.columns)})`);
  }
  for (const unique of table.uniques) {
    lines.push(`CONSTRAINT ${q(unique.name)} UNIQUE (${keyParts(database, table, unique.columns)})`);
  }
  for (const point of points) lines.push(pointSql(database, point));
  const end = database === "mysql" ? ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4" : ")";
  return `CREATE TABLE ${q(called)} (\n    ${lines.join(",\n    ")}\n${end};`;
}

function indexSql(database, table, index) {
  const q = (name) => quote(database, name);
  return `CREATE ${index.isUnique ? "UNIQUE " : ""}INDEX ${q(index.name)} ON ${q(table.name)} (${keyParts(database, table, index.columns)});`;
}

const addPoint = (database, table, point) => `ALTER TABLE ${quote(database, table.name)} ADD ${pointSql(database, point)};`;

/* Tables behind those they point to, as far as they make no circle. */
function inOrder(tables) {
  const ordered = [], seen = new Set();
  const visit = (table) => {
    if (seen.has(table)) return;
    seen.add(table);
    for (const point of table.points) visit(find(tables, point.refTable));
    ordered.push(table);
  };
  tables.forEach(visit);
  return ordered;
}

/* The whole schema, made afresh. */
function createSql(database, tables) {
  const made = [], later = [], there = new Set();
  for (const table of inOrder(tables)) {
    there.add(table.name);
    const now = table.points.filter((point) => database === "sqlite" || there.has(point.refTable));
    made.push(tableSql(database, table, now));
    later.push(...table.points.filter((point) => !now.includes(point)).map((point) => addPoint(database, table, point)));
  }
  const indexes = tables.flatMap((table) => table.indexes.map((index) => indexSql(database, table, index)));
  return [...made, ...later, ...indexes];
}

/* Migrating: what became of each table and column. */

function pairs(before, after) {
  const tables = new Map(), columns = new Map();
  const isTaken = (name) => [...tables.values()].some((table) => same(table.name, name));
  for (const table of after) {
    const known = find(before, table.name);
    if (known) tables.set(table, known);
  }
  for (const table of after) {
    if (tables.has(table) || !table.was) continue;
    const known = find(before, table.was);
    if (known && !isTaken(known.name)) tables.set(table, known);
  }
  for (const [table, old] of tables) {
    const found = new Map();
    for (const column of table.columns) {
      const known = find(old.columns, column.name);
      if (known) found.set(column, known);
    }
    for (const column of table.columns) {
      if (found.has(column) || !column.was) continue;
      const known = find(old.columns, column.was);
      if (known && ![...found.values()].includes(known)) found.set(column, known);
    }
    columns.set(table, found);
  }
  return { tables, columns };
}

/* What a change of type does to what is there: safe, fails (where a value does not fit), loses. */
function conversion(old, now) {
  const from = old.type, to = now.type;
  const digits = (column) => column.size.split(",").map(Number).concat(0);
  if (from === to && old.size === now.size) return "same";
  if (WHOLE.includes(from) && WHOLE.includes(to)) return WHOLE.indexOf(to) > WHOLE.indexOf(from) ? "safe" : "fails";
  if (WHOLE.includes(from) && to === "decimal") {
    return digits(now)[0] - digits(now)[1] >= [5, 10, 19][WHOLE.indexOf(from)] ? "safe" : "fails";
  }
  if (WHOLE.includes(from) && to === "float") return from === "bigint" ? "loses" : "safe";
  if (from === "decimal" && to === "decimal") {
    if (digits(now)[1] < digits(old)[1]) return "loses";
    return digits(now)[0] - digits(now)[1] >= digits(old)[0] - digits(old)[1] ? "safe" : "fails";
  }
  if (["decimal", "float"].includes(from) && ["decimal", "float", ...WHOLE].includes(to)) return "loses";
  if (to === "text") return from === "bytes" ? "fails" : "safe";
  if (to === "varchar") {
    const long = {
      smallint: 6, integer: 11, bigint: 20, boolean: 5, date: 10, time: 15, timestamp: 26, timestamptz: 32, uuid: 36,
      decimal: digits(old)[0] + 2, varchar: Number(old.size), float: 24,
    }[from];
    return long && long <= Number(now.size) ? "safe" : "fails";
  }
  if (from === "date" && (to === "timestamp" || to === "timestamptz")) return "safe";
  if (["timestamp", "timestamptz"].includes(from) && ["date", "time"].includes(to)) return "loses";
  if (["timestamp", "timestamptz"].includes(from) && ["timestamp", "timestamptz"].includes(to)) return "zone";
  if (from === "boolean" && WHOLE.includes(to)) return "safe";
  return "fails";
}

/* How PostgreSQL reads the old value as the new type; "" where it does so by itself. */
function using(old, now) {
  const c = quote("postgresql", now.name), type = typeOf("postgresql", now);
  const numbers = [...WHOLE, "decimal", "float"], times = ["date", "timestamp", "timestamptz"];
  if (old.type === "bytes") return now.type === "text" || now.type === "varchar" ? `convert_from(${c}, 'UTF8')` : `convert_from(${c}, 'UTF8')::${type}`;
  if (old.type === "json") return now.type === "bytes" ? `convert_to(${c} #>> '{}', 'UTF8')` : `(${c} #>> '{}')::${type}`;
  if (now.type === "bytes") return `convert_to(${c}::text, 'UTF8')`;
  if (now.type === "json") return ["text", "varchar"].includes(old.type) ? `${c}::jsonb` : `to_jsonb(${c})`;
  if (["text", "varchar"].includes(now.type)) return "";
  if (numbers.includes(old.type) && numbers.includes(now.type)) return "";
  if (times.includes(old.type) && [...times, "time"].includes(now.type) && !(old.type === "date" && now.type === "time")) return "";
  if (["text", "varchar"].includes(old.type)) return `${c}::${type}`;
  if (old.type === "boolean" && numbers.includes(now.type)) return `${c}::integer::${type}`;
  if (WHOLE.includes(old.type) && now.type === "boolean") return `${c}::integer::boolean`;
  return `${c}::text::${type}`;
}

function warnings(before, after, paired) {
  const found = [];
  const say = (severity, title, where, said, fix) => found.push({ severity, title, where, text: said, fix });
  for (const old of before) {
    if (![...paired.tables.values()].includes(old)) {
      const fresh = after.find((table) => !paired.tables.has(table));
      say("high", "The table is dropped with all its rows", old.name, "What is in it is gone once the migration has run.",
        fresh ? `If ${fresh.name} is this table under a new name, write ${old.name} as what it was called.` : "Keep a copy first if anybody needs it.");
    }
  }
  for (const table of after) {
    const old = paired.tables.get(table);
    if (!old) continue;
    const columns = paired.columns.get(table);
    const fresh = table.columns.filter((column) => !columns.has(column));
    for (const column of old.columns) {
      if ([...columns.values()].includes(column)) continue;
      const like = fresh.find((one) => one.type === column.type);
      say("high", "The column is dropped with its values", `${old.name}.${column.name}`, "What is in it is gone once the migration has run.",
        like ? `If ${like.name} is this column under a new name, write ${column.name} as what it was called.` : "Keep a copy first if anybody needs it.");
    }
    for (const column of fresh) {
      if (column.isRequired && !column.default && !column.isNumbered) {
        say("medium", "A new column that is always filled has no value for the rows that are there", `${table.name}.${column.name}`,
          "If the table has rows, the migration stops here and changes nothing. (MySQL fills in an empty value instead.)",
          "Give it a value for “if nothing is given”, or let it be empty first.");
      }
    }
    for (const [column, was] of columns) {
      const where = `${table.name}.${column.name}`;
      const change = conversion(was, column);
      const kinds = `${kindOf(was)} becomes ${kindOf(column)}. `;
      if (change === "loses") say("high", "Values are rounded or cut", where, kinds + "What does not fit the new type is lost.", "Keep the old column beside the new one until you have compared them.");
      if (change === "fails") say("medium", "Values may not fit the new type", where, kinds + "The migration stops at a value that does not fit. (SQLite keeps it as it is.)", "Look for such values first.");
      if (change === "zone") say("medium", "The zone is guessed", where, kinds + "The database takes its session’s zone for all values.", "Set the session’s zone to the one that is meant before you run it.");
      if (column.isRequired && !was.isRequired) {
        say("medium", "Empty values stop the migration", where, "It was allowed to be empty and is now always filled.",
          column.default ? "Rows without a value are given the default." : "Fill the empty ones first, or give a value for “if nothing is given”.");
      }
      if (column.isUnique && !was.isUnique && !(was.isKey && isAlone(old, was))) {
        say("medium", "Values that are there twice stop the migration", where, "It is now kept from being there twice.", "Look for such values first.");
      }
      if (column.refTable && !was.refTable) {
        say("medium", "Rows that point to nothing stop the migration", where, `Every value must now be in ${column.refTable}.${column.refColumn}.`, "Look for such values first.");
      }
      if (column.isNumbered && !was.isNumbered) {
        say("medium", "It begins to number itself", where, "The numbers begin at 1, or behind the largest, as the database has it.", "In PostgreSQL set the sequence behind the largest number afterwards.");
      }
    }
    const keyNow = table.key ? table.key.columns : [], keyWas = old.key ? old.key.columns : [];
    const moved = keyWas.map((name) => nameNow(columns, find(old.columns, name)));
    if (keyNow.join("\n") !== moved.join("\n")) {
      say("medium", "Another key", table.name, `The key was ${keyWas.join(", ") || "none"} and is ${keyNow.join(", ") || "none"}. Rows that are alike in it stop the migration.`, "Look for such rows first.");
    }
  }
  return found;
}

function nameNow(columns, old) {
  for (const [column, was] of columns) if (was === old) return column.name;
  return null;
}

/* The migration as statements, for PostgreSQL and MySQL. */
function alterSql(database, before, after, paired) {
  const q = (name) => quote(database, name);
  const isMysql = database === "mysql";
  const steps = { points: [], drops: [], renames: [], changes: [], makes: [], adds: [], joins: [] };
  const tableNow = (old) => { for (const [table, was] of paired.tables) if (was === old) return table; return null; };
  const columnNow = (old, name) => {
    const table = tableNow(old);
    const column = table && nameNow(paired.columns.get(table), find(old.columns, name));
    return column || null;
  };
  const typeChanged = (table, name) => {
    const column = find(table.columns, name), was = paired.columns.get(table).get(column);
    return !was || typeOf(database, was) !== typeOf(database, column);
  };
  /* A unique key or index as it would be called now; the same object where it is kept. */
  const keptUniques = new Map();
  for (const old of before) {
    const table = tableNow(old);
    for (const unique of [...old.uniques, ...old.indexes]) {
      const columns = unique.columns.map((name) => columnNow(old, name));
      const now = table && [...table.uniques, ...table.indexes].find((one) => one.name === unique.name);
      const isKept = now && now.isUnique === unique.isUnique && now.columns.join("\n") === columns.join("\n")
        && !(isMysql && now.columns.some((name) => typeChanged(table, name)));
      if (isKept) keptUniques.set(now, unique);
    }
  }
  const keyIsKept = (table) => {
    const old = paired.tables.get(table);
    if (!old) return false;
    const columns = old.key ? old.key.columns.map((name) => columnNow(old, name)) : [];
    return columns.join("\n") === (table.key ? table.key.columns : []).join("\n");
  };
  const targetIsKept = (point) => {
    const table = find(after, point.refTable);
    if (!paired.tables.has(table) || typeChanged(table, point.refColumn)) return false;
    const unique = table.uniques.find((one) => one.columns[0] === point.refColumn);
    return unique ? keptUniques.has(unique) : keyIsKept(table);
  };
  /* MySQL wants an index that begins with the column of a foreign key: it makes one of the key's name where there is
     none, leaves it there when the key goes, and lets none go that a key still needs. */
  const leads = (table, name) => [table.key, ...table.uniques, ...table.indexes].filter((one) => one && one.columns[0] === name);
  const leadIsKept = (old, table, name) => {
    const found = leads(old, name);
    return !isMysql || !found.length
      || found.some((one) => (one === old.key ? keyIsKept(table) : [...keptUniques.values()].includes(one)));
  };
  const keptPoints = new Set();
  for (const old of before) {
    const table = tableNow(old);
    for (const point of old.points) {
      const target = tableNow(find(before, point.refTable));
      const now = table && table.points.find((one) => one.name === point.name);
      const isKept = now && target && now.column === columnNow(old, point.column) && now.refTable === target.name
        && now.refColumn === columnNow(find(before, point.refTable), point.refColumn) && now.onDelete === point.onDelete
        && !typeChanged(table, now.column) && targetIsKept(now) && leadIsKept(old, table, point.column);
      if (isKept) {
        keptPoints.add(now);
        continue;
      }
      steps.points.push(`ALTER TABLE ${q(old.name)} DROP ${isMysql ? "FOREIGN KEY" : "CONSTRAINT"} ${q(point.name)};`);
      if (isMysql && table && !leads(old, point.column).length) steps.points.push(`ALTER TABLE ${q(old.name)} DROP INDEX ${q(point.name)};`);
    }
  }
  const clauses = new Map(after.map((table) => [table, []]));
  for (const old of before) {
    const table = tableNow(old);
    if (!table) {
      steps.drops.push(`DROP TABLE ${q(old.name)};`);
      continue;
    }
    for (const unique of old.uniques) {
      if ([...keptUniques.values()].includes(unique)) continue;
      if (isMysql) clauses.get(table).push(`DROP INDEX ${q(unique.name)}`);
      else steps.drops.push(`ALTER TABLE ${q(old.name)} DROP CONSTRAINT ${q(unique.name)};`);
    }
    for (const index of old.indexes) {
      if ([...keptUniques.values()].includes(index)) continue;
      if (isMysql) clauses.get(table).push(`DROP INDEX ${q(index.name)}`);
      else steps.drops.push(`DROP INDEX ${q(index.name)};`);
    }
    if (old.key && !keyIsKept(table)) {
      if (isMysql) clauses.get(table).push("DROP PRIMARY KEY");
      else steps.drops.push(`ALTER TABLE ${q(old.name)} DROP CONSTRAINT ${q(old.key.name)};`);
    }
    if (old.name !== table.name) {
      steps.renames.push(isMysql ? `RENAME TABLE ${q(old.name)} TO ${q(table.name)};` : `ALTER TABLE ${q(old.name)} RENAME TO ${q(table.name)};`);
      if (!isMysql && old.key && table.key && keyIsKept(table) && old.key.name !== table.key.name) {
        steps.renames.push(`ALTER TABLE ${q(table.name)} RENAME CONSTRAINT ${q(old.key.name)} TO ${q(table.key.name)};`);
      }
    }
  }
  for (const table of after) {
    const old = paired.tables.get(table);
    if (!old) {
      steps.makes.push(tableSql(database, table, []));
      steps.adds.push(...table.indexes.map((index) => indexSql(database, table, index)));
      steps.joins.push(...table.points.map((point) => addPoint(database, table, point)));
      continue;
    }
    const columns = paired.columns.get(table), own = clauses.get(table);
    for (const column of old.columns) if (nameNow(columns, column) === null) own.push(`DROP COLUMN ${q(column.name)}`);
    const changes = [];
    table.columns.forEach((column, at) => {
      const was = columns.get(column);
      if (!was) {
        const place = at ? ` AFTER ${q(table.columns[at - 1].name)}` : " FIRST";
        own.push(`ADD COLUMN ${columnSql(database, table, column)}${isMysql ? place : ""}`);
      } else if (isMysql) {
        const isOther = columnSql(database, table, column) !== columnSql(database, old, { ...was, name: column.name });
        if (column.isRequired && !was.isRequired && valueOf(database, column)) {
          changes.push(`UPDATE ${q(table.name)} SET ${q(was.name)} = ${valueOf(database, column)} WHERE ${q(was.name)} IS NULL;`);
        }
        if (was.name !== column.name) own.push(`CHANGE COLUMN ${q(was.name)} ${columnSql(database, table, column)}`);
        else if (isOther) own.push(`MODIFY COLUMN ${columnSql(database, table, column)}`);
      } else {
        if (was.name !== column.name) steps.renames.push(`ALTER TABLE ${q(table.name)} RENAME COLUMN ${q(was.name)} TO ${q(column.name)};`);
        changes.push(...changeColumn(table, was, column));
      }
    });
    const adds = [];
    if (table.key && !keyIsKept(table)) {
      adds.push(`ADD ${isMysql ? "" : `CONSTRAINT ${q(table.key.name)} `}PRIMARY KEY (${keyParts(database, table, table.key.columns)})`);
    }
    for (const unique of table.uniques) {
      if (!keptUniques.has(unique)) adds.push(`ADD CONSTRAINT ${q(unique.name)} UNIQUE (${keyParts(database, table, unique.columns)})`);
    }
    if (isMysql) {
      steps.changes.push(...changes);
      if (own.length + adds.length) steps.changes.push(`ALTER TABLE ${q(table.name)}\n    ${[...own, ...adds].join(",\n    ")};`);
    } else {
      steps.changes.push(...own.map((clause) => `ALTER TABLE ${q(table.name)} ${clause};`), ...changes);
      steps.adds.push(...adds.map((clause) => `ALTER TABLE ${q(table.name)} ${clause};`));
    }
    steps.adds.push(...table.indexes.filter((index) => !keptUniques.has(index)).map((index) => indexSql(database, table, index)));
    steps.joins.push(...table.points.filter((point) => !keptPoints.has(point)).map((point) => addPoint(database, table, point)));
  }
  const all = [...steps.points, ...steps.drops, ...steps.renames, ...steps.changes, ...steps.makes, ...steps.adds, ...steps.joins];
  if (!all.length || isMysql) return all;
  return ["BEGIN;", ...all, "COMMIT;"];
}

/* What PostgreSQL does to one column that was there, in an order that always holds. */
function changeColumn(table, was, column) {
  const q = (name) => quote("postgresql", name);
  const head = `ALTER TABLE ${q(table.name)} ALTER COLUMN ${q(column.name)}`;
  const said = [];
  const valueWas = valueOf("postgresql", was), value = valueOf("postgresql", column);
  const isOther = typeOf("postgresql", was) !== typeOf("postgresql", column);
  if (was.isNumbered && !column.isNumbered) said.push(`${head} DROP IDENTITY;`);
  if (valueWas && (isOther || !value)) said.push(`${head} DROP DEFAULT;`);
  if (isOther) {
    const read = using(was, column);
    said.push(`${head} TYPE ${typeOf("postgresql", column)}${read ? ` USING ${read}` : ""};`);
  }
  if (value && (isOther || value !== valueWas)) said.push(`${head} SET DEFAULT ${value};`);
  if (column.isRequired && !was.isRequired) {
    if (value) said.push(`UPDATE ${q(table.name)} SET ${q(column.name)} = DEFAULT WHERE ${q(column.name)} IS NULL;`);
    said.push(`${head} SET NOT NULL;`);
  }
  if (!column.isRequired && was.isRequired) said.push(`${head} DROP NOT NULL;`);
  if (column.isNumbered && !was.isNumbered) said.push(`${head} ADD GENERATED BY DEFAULT AS IDENTITY;`);
  return said;
}

/* The migration for SQLite, which cannot change a table much: it is made again and its rows carried over, as SQLite's
   own documentation of ALTER TABLE lays out. */
function rebuildSql(before, after, paired) {
  const q = (name) => quote("sqlite", name);
  const carried = [], dropped = [], made = [], indexes = [], gone = [];
  const isKept = (table) => {
    const old = paired.tables.get(table);
    return old && tableSql("sqlite", table, table.points) === tableSql("sqlite", old, old.points);
  };
  for (const old of before) {
    const table = after.find((one) => paired.tables.get(one) === old);
    if (!table || !isKept(table)) {
      dropped.push(`DROP TABLE ${q(old.name)};`);
    } else {
      const now = table.indexes.map((index) => indexSql("sqlite", table, index));
      gone.push(...old.indexes.filter((index) => !now.includes(indexSql("sqlite", old, index))).map((index) => `DROP INDEX ${q(index.name)};`));
    }
  }
  for (const table of inOrder(after)) {
    const old = paired.tables.get(table);
    if (!old) {
      made.push(tableSql("sqlite", table, table.points));
    } else if (!isKept(table)) {
      let called = `new_${table.name}`;
      while (find(before, called) || find(after, called)) called = `new_${called}`;
      const columns = table.columns.filter((column) => paired.columns.get(table).has(column));
      carried.push(tableSql("sqlite", table, table.points, called));
      if (columns.length) {
        const read = columns.map((column) => {
          const was = paired.columns.get(table).get(column), value = valueOf("sqlite", column);
          return column.isRequired && !was.isRequired && value ? `coalesce(${q(was.name)}, ${value})` : q(was.name);
        });
        carried.push(`INSERT INTO ${q(called)} (${quoteAll("sqlite", columns.map((column) => column.name))})\n    SELECT ${read.join(", ")} FROM ${q(old.name)};`);
      }
      made.push(`ALTER TABLE ${q(called)} RENAME TO ${q(table.name)};`);
    }
  }
  for (const table of after) {
    const old = paired.tables.get(table);
    const there = old && isKept(table) ? old.indexes.map((index) => indexSql("sqlite", old, index)) : [];
    indexes.push(...table.indexes.map((index) => indexSql("sqlite", table, index)).filter((sql) => !there.includes(sql)));
  }
  const all = [...gone, ...carried, ...dropped, ...made, ...indexes];
  return all.length ? ["PRAGMA foreign_keys = OFF;", "BEGIN;", ...all, "PRAGMA foreign_key_check;", "COMMIT;", "PRAGMA foreign_keys = ON;"] : [];
}

function readPrevious(given) {
  if (!text(given)) return { schema: null, said: "" };
  let draft;
  try {
    draft = JSON.parse(given);
  } catch (refused) {
    return { schema: null, said: "This is no JSON. Use the schema.json that this tool made." };
  }
  if (!Array.isArray(object(draft).tables)) return { schema: null, said: "There are no tables in it. Use the schema.json that this tool made." };
  const schema = read(draft);
  return { schema: whatHolds(schema, judge(schema)), said: "" };
}

/* The picture: beside each other where they fit into a column of the page, else below each other. */

const WIDTH_MAX = 640;
const widthOf = (picture) => Number(picture.getAttribute("width"));

function drawn(schema) {
  const nodes = schema.tables.map((table) => ({
    id: table.name,
    label: table.name,
    shape: "table",
    lines: table.columns.map((column) => {
      const mark = column.isKey ? "◆ " : column.refTable ? "→ " : "";
      return `${mark}${column.name} ${kindOf(column)}${column.isRequired ? "" : " ?"}`;
    }),
  }));
  const edges = schema.tables.flatMap((table) => table.columns.filter((column) => column.refTable)
    .map((column) => ({ source: table.name, target: column.refTable, label: column.name, isDashed: !column.isRequired })));
  const across = diagram("Schema", nodes, edges, []);
  if (widthOf(across) <= WIDTH_MAX) return across;
  const down = diagram("Schema", nodes, edges, [], { direction: "down" });
  return widthOf(down) < widthOf(across) ? down : across;
}

const file = (name, type, content) => ({ name, content_type: type, content });
const script = (statements) => (statements.length ? statements.join("\n\n") + "\n" : "");

/** The sentences about a draft by their place in it, beyond what its fields say. */
export function problems(inputs) {
  const wrong = judge(read(inputs));
  const { said } = readPrevious(object(inputs).previous);
  return said ? { ...wrong, previous: said } : wrong;
}

export function view(inputs) {
  const draft = read(inputs);
  const wrong = judge(draft);
  const schema = whatHolds(draft, wrong);
  const database = DATABASES.includes(object(inputs).database) ? inputs.database : "postgresql";
  const tables = model(schema, "");
  const title = TITLES[database];
  if (!tables.length) {
    return [{ kind: "text", title: "Nothing yet", paragraphs: ["Add a table with a column, or load the example: the diagram and the SQL appear here."] }];
  }
  const columns = tables.flatMap((table) => table.columns);
  const points = tables.flatMap((table) => table.points);
  const kept = {
    database,
    tables: schema.tables.map((table) => ({
      name: table.name,
      was: "",
      columns: table.columns.map((column) => ({
        name: column.name, type: column.type, size: column.size, is_key: column.isKey, is_required: column.isRequired,
        is_unique: column.isUnique, is_numbered: column.isNumbered, default: column.default,
        references: column.refTable ? `${column.refTable}.${column.refColumn}` : "", on_delete: column.onDelete, was: "",
      })),
    })),
    indexes: schema.indexes.map((index) => ({ table: index.table, columns: index.columns.join(", "), is_unique: index.isUnique })),
  };
  const picture = drawn(schema);
  const sql = Object.fromEntries(DATABASES.map((one) => [one, script(createSql(one, model(schema, one)))]));
  const blocks = [
    {
      kind: "facts",
      title: "At a glance",
      pairs: [
        ["Tables", tables.length],
        ["Columns", columns.length],
        ["Relations", points.length],
        ["Indexes beyond keys", tables.reduce((total, table) => total + table.indexes.length, 0)],
        ["To correct", Object.keys(wrong).length],
      ],
      downloads: [file("schema.json", "application/json", JSON.stringify(kept, null, 2) + "\n")],
    },
  ];
  const found = Object.entries(wrong).map(([place, sentence]) => ({ severity: "high", title: sentence, where: whereOf(draft, place), text: "Left out of the SQL until it is corrected." }));
  blocks.push({ kind: "findings", title: "Design", rows: [...found, ...advise(schema)], none: "Nothing to correct, and nothing to advise." });
  blocks.push({
    kind: "picture",
    title: "Diagram",
    svg: picture,
    described: `${tables.length} tables and ${points.length} relations. ◆ key, → points to another table, ? may be empty; a dashed arrow may be empty too.`,
    downloads: [file("schema.svg", "image/svg+xml", svgText(picture))],
  });
  blocks.push(...migrationBlocks(object(inputs).previous, schema, database));
  blocks.push({
    kind: "code",
    title: `Made afresh: ${title}`,
    source: sql[database],
    language: "SQL",
    downloads: DATABASES.map((one) => file(`schema-${one}.sql`, "text/plain", sql[one])),
  });
  blocks.push({
    kind: "table",
    title: "Columns",
    columns: ["Table", "Column", title, "Key", "Always filled", "If nothing is given", "Points to"],
    rows: tables.flatMap((table) => table.columns.map((column) => [
      table.name, column.name, typeOf(database, column), column.isKey ? "Key" : column.isUnique ? "Never twice" : "",
      column.isRequired ? "Yes" : "No", column.isNumbered ? "the next number" : column.default,
      column.refTable ? `${column.refTable}.${column.refColumn}` : "",
    ])),
    note: "",
  });
  return blocks;
}

function migrationBlocks(given, schema, database) {
  const { schema: earlier, said } = readPrevious(given);
  if (said) return [{ kind: "findings", title: "Migration", rows: [{ severity: "high", title: said, where: "The earlier version" }], none: "" }];
  if (!earlier) return [];
  const migrations = Object.fromEntries(DATABASES.map((one) => {
    const before = model(earlier, one), after = model(schema, one), paired = pairs(before, after);
    return [one, one === "sqlite" ? rebuildSql(before, after, paired) : alterSql(one, before, after, paired)];
  }));
  if (DATABASES.every((one) => !migrations[one].length)) {
    return [{ kind: "findings", title: "Migration", rows: [], none: "Both versions are the same; there is nothing to migrate." }];
  }
  const title = TITLES[database];
  const before = model(earlier, ""), after = model(schema, "");
  const found = warnings(before, after, pairs(before, after));
  return [
    { kind: "findings", title: "Before you migrate", rows: found, none: "Nothing that is there is lost, and nothing in it can stop the migration." },
    {
      kind: "code",
      title: `Migration: ${title}`,
      source: script(migrations[database]) || `-- Nothing changes for ${title}.\n`,
      language: "SQL",
      downloads: DATABASES.map((one) => file(`migration-${one}.sql`, "text/plain", script(migrations[one]))),
    },
  ];
}

/* A place in the draft as people say it. */
function whereOf(schema, place) {
  const [rows, at, inner, number] = place.split(".");
  if (rows === "indexes") return `index ${Number(at) + 1}`;
  const table = schema.tables[Number(at)];
  const name = (table && table.name) || `table ${Number(at) + 1}`;
  if (inner !== "columns" || number === undefined) return name;
  const column = table.columns[Number(number)];
  return `${name}.${(column && column.name) || `column ${Number(number) + 1}`}`;
}
