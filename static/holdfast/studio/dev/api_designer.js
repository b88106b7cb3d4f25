/* API designer, the half in the browser: the document that tools_registry/studios/dev/openapi_design.py makes, drawn
   live; and for a pasted one, whether it has the parts that every OpenAPI file has. */
import { diagram } from "studio/drawing";

const list = (value) => (Array.isArray(value) ? value : []);
const text = (value) => (typeof value === "string" ? value.trim() : "");
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export const KINDS = {
  string: { type: "string", maxLength: 255 }, text: { type: "string" }, integer: { type: "integer" },
  number: { type: "number" }, boolean: { type: "boolean" }, date: { type: "string", format: "date" },
  datetime: { type: "string", format: "date-time" }, uuid: { type: "string", format: "uuid" },
  email: { type: "string", format: "email" }, url: { type: "string", format: "uri" },
};
const EXAMPLES = {
  string: "text", text: "text", integer: 1, number: 1.5, boolean: true, date: "2026-03-02",
  datetime: "2026-03-02T09:00:00Z", uuid: "0b2f5c1e-7a53-4a8e-9d5b-0a6f3f1c2d3e", email: "ada@example.com",
  url: "https://example.com",
};
const FIELD = /^([A-Za-z_][A-Za-z0-9_]{0,59})\s*:\s*([A-Za-z]\w{0,59}|enum\(([^()]{1,400})\))(\[\])?((?:\s+(?:required|read-only))*)(?:\s*#\s*(.{0,300}))?$/;
const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;
const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
const OPERATIONS = ["list", "create", "read", "replace", "update", "delete"];
const USUAL = ["list", "create", "read", "update", "delete"];
const STATUS = {
  400: "The request cannot be understood", 401: "It is not known who asks", 403: "Whoever asks may not do this",
  404: "There is no such thing", 422: "Some fields need another value",
};
const upper = (word) => word.slice(0, 1).toUpperCase() + word.slice(1);

export function pascal(name) {
  const words = name.split(/[-_]/);
  let last = words.pop();
  if (last.endsWith("ies") && last.length > 4) last = last.slice(0, -3) + "y";
  else if (/(sses|xes|ches|shes)$/.test(last)) last = last.slice(0, -2);
  else if (last.endsWith("s") && !/(ss|us|is)$/.test(last)) last = last.slice(0, -1);
  return [...words, last].map(upper).join("");
}
const plural = (name) => name.split(/[-_]/).map(upper).join("");

/* The fields of a resource, and what is wrong with its first wrong line. */
function fieldsOf(written, known) {
  const found = [];
  const lines = typeof written === "string" ? written.split("\n") : [];
  for (const [index, raw] of lines.entries()) {
    const line = raw.trim();
    if (!line) continue;
    const match = FIELD.exec(line);
    const stop = (said) => ({ found, wrong: `Line ${index + 1}: ${said}` });
    if (!match) return stop(`write “name: type”, then required or read-only: ${line.slice(0, 60)}`);
    const [, name, kind, values, isList, marks, description] = match;
    if (found.some((one) => one.name === name)) return stop(`${name} is there already.`);
    const choices = [...new Set((values || "").split(",").map((one) => one.trim()).filter(Boolean))];
    if (values !== undefined && !choices.length) return stop("name at least one value.");
    if (values === undefined && !Object.hasOwn(KINDS, kind) && !known.includes(kind)) {
      return stop(`${kind} is no type. Use ${Object.keys(KINDS).join(", ")}, enum(a, b) or a resource: Order.`);
    }
    found.push({
      name, kind: values !== undefined ? "enum" : kind, values: choices, isList: isList !== undefined,
      isRequired: marks.includes("required"), isReadOnly: marks.includes("read-only"), description: (description || "").trim(),
    });
  }
  return { found, wrong: "" };
}

function property(of) {
  let made = of.kind === "enum" ? { type: "string", enum: of.values }
    : Object.hasOwn(KINDS, of.kind) ? { ...KINDS[of.kind] } : { $ref: `#/components/schemas/${of.kind}` };
  if (of.isList) made = { type: "array", items: made };
  if (of.isReadOnly) made.readOnly = true;
  if (of.description) made.description = of.description;
  return made;
}

function exampleOf(fields) {
  const made = {};
  for (const of of fields) {
    if (!Object.hasOwn(KINDS, of.kind) && of.kind !== "enum") continue;
    const one = of.kind === "enum" ? of.values[0] : EXAMPLES[of.kind];
    made[of.name] = of.isList ? [one] : one;
  }
  return made;
}

/* The draft with its defaults, and every resource that has a name; what is not there yet is left out. */
function drafted(inputs) {
  const given = isObject(inputs) ? inputs : {};
  const one = (name, choices, usual) => (choices.includes(given[name]) ? given[name] : usual);
  const rows = list(given.resources).map((row, at) => ({ row: isObject(row) ? row : {}, at }));
  const named = rows.filter(({ row }) => NAME.test(text(row.name)));
  const known = [...new Set(named.map(({ row }) => pascal(text(row.name))))];
  const wrong = {};
  const seen = new Set(["Error"]);
  const resources = [];
  for (const { row, at } of rows) {
    const name = text(row.name);
    if (!name) continue;
    if (!NAME.test(name)) {
      wrong[`resources.${at}.name`] = "Small letters, digits and dashes, in the plural: order-lines.";
      continue;
    }
    if (seen.has(pascal(name))) {
      wrong[`resources.${at}.name`] = "Another resource has this name, or one too like it.";
      continue;
    }
    seen.add(pascal(name));
    const operations = Array.isArray(row.operations) ? OPERATIONS.filter((each) => row.operations.includes(each)) : USUAL;
    if (!operations.length) wrong[`resources.${at}.operations`] = "Choose at least one.";
    const read = fieldsOf(row.fields, known);
    if (read.wrong) wrong[`resources.${at}.fields`] = read.wrong;
    const fields = read.found;
    if (!fields.some((each) => each.name === "id")) {
      fields.unshift({ name: "id", kind: "uuid", values: [], isList: false, isRequired: true, isReadOnly: true, description: "" });
    }
    const pagination = ["cursor", "page", "none"].includes(row.pagination) ? row.pagination : "cursor";
    resources.push({ name, description: text(row.description), operations, pagination, isPublic: row.is_public === true, fields });
  }
  return {
    wrong, resources, title: text(given.title) || "My API", version: text(given.version) || "1.0.0",
    description: text(given.description), server: text(given.server),
    auth: one("auth", ["bearer", "api_key", "oauth2", "none"], "bearer"), errors: one("errors", ["problem", "simple"], "problem"),
  };
}

export function design(draft) {
  const info = { title: draft.title, version: draft.version };
  if (draft.description) info.description = draft.description;
  const made = { openapi: "3.1.0", info };
  if (draft.server) made.servers = [{ url: draft.server }];
  made.tags = draft.resources.map((row) => (row.description ? { name: row.name, description: row.description } : { name: row.name }));
  if (draft.auth !== "none") made.security = [{ [draft.auth]: draft.auth === "oauth2" ? ["read", "write"] : [] }];
  made.paths = {};
  const schemas = {};
  const used = new Set();
  for (const row of draft.resources) {
    Object.assign(made.paths, paths(draft, row, used));
    schemas[pascal(row.name)] = schema(row);
    if (row.pagination !== "none" && row.operations.includes("list")) schemas[`${pascal(row.name)}Page`] = page(row);
  }
  schemas.Error = errorSchema(draft.errors);
  const kind = draft.errors === "problem" ? "application/problem+json" : "application/json";
  const responses = {};
  for (const code of [...used].sort()) {
    responses[`Error${code}`] = { description: STATUS[code], content: { [kind]: { schema: { $ref: "#/components/schemas/Error" } } } };
  }
  made.components = { schemas, responses };
  if (draft.auth !== "none") made.components.securitySchemes = { [draft.auth]: scheme(draft.auth) };
  return made;
}

function schema(row) {
  const made = { type: "object" };
  if (row.description) made.description = row.description;
  made.properties = Object.fromEntries(row.fields.map((of) => [of.name, property(of)]));
  const required = row.fields.filter((of) => of.isRequired || of.name === "id").map((of) => of.name);
  if (required.length) made.required = required;
  return made;
}

/* What a merge patch may send: any of what can be written; null takes away what need not be there. */
function changes(fields) {
  const properties = {};
  for (const of of fields) {
    if (of.isReadOnly || of.name === "id") continue;
    let made = property(of);
    if (!of.isRequired && "$ref" in made) {
      const { $ref, ...more } = made;
      made = { anyOf: [{ $ref }, { type: "null" }], ...more };
    } else if (!of.isRequired && "type" in made) {
      made = { ...made, type: [made.type, "null"], ...("enum" in made ? { enum: [...made.enum, null] } : {}) };
    }
    properties[of.name] = made;
  }
  return Object.keys(properties).length ? { type: "object", minProperties: 1, properties } : { type: "object" };
}

function page(row) {
  const items = { type: "array", items: { $ref: `#/components/schemas/${pascal(row.name)}` } };
  if (row.pagination === "cursor") {
    const next = { type: ["string", "null"], description: "Send it as cursor to get what follows." };
    return { type: "object", properties: { items, next }, required: ["items", "next"] };
  }
  const count = { type: "integer", minimum: 0 };
  return {
    type: "object", properties: { items, page: { type: "integer", minimum: 1 }, pages: count, total: count },
    required: ["items", "page", "pages", "total"],
  };
}

function errorSchema(kind) {
  if (kind === "simple") {
    return { type: "object", properties: { code: { type: "string" }, message: { type: "string" } }, required: ["code", "message"] };
  }
  const reference = { type: "string", format: "uri-reference" };
  return {
    type: "object", description: "Problem details, RFC 9457.",
    properties: { type: reference, title: { type: "string" }, status: { type: "integer" }, detail: { type: "string" }, instance: reference },
    required: ["title", "status"],
  };
}

function scheme(auth) {
  if (auth === "bearer") return { type: "http", scheme: "bearer" };
  if (auth === "api_key") return { type: "apiKey", in: "header", name: "X-API-Key" };
  return { type: "oauth2", flows: { clientCredentials: { tokenUrl: "/oauth/token", scopes: { read: "Read", write: "Change" } } } };
}

function paths(draft, row, used) {
  const one = pascal(row.name);
  const reference = { $ref: `#/components/schemas/${one}` };
  const isOpen = row.isPublic || draft.auth === "none";
  const errors = (...codes) => Object.fromEntries(codes.filter((code) => !(isOpen && (code === 401 || code === 403))).map((code) => {
    used.add(String(code));
    return [String(code), { $ref: `#/components/responses/Error${code}` }];
  }));
  const operation = (verb, what, summary, scope, responses, more = {}) => {
    const made = { operationId: verb + what, summary, tags: [row.name], ...more };
    if (row.isPublic && draft.auth !== "none") made.security = [];
    else if (draft.auth === "oauth2") made.security = [{ oauth2: [scope] }];
    made.responses = responses;
    return made;
  };
  const whole = exampleOf(row.fields);
  const media = Object.keys(whole).length === row.fields.length ? { schema: reference, example: whole } : { schema: reference };
  const content = { "application/json": media };
  const body = { required: true, content: { "application/json": { schema: reference } } };
  const words = row.name.replace(/[-_]/g, " ");
  const singular = one.replace(/([a-z])(?=[A-Z])/g, "$1 ").toLowerCase();
  const has = (name) => row.operations.includes(name);
  const many = {};
  const single = {};
  if (has("list")) {
    const isPaged = row.pagination !== "none";
    const listed = isPaged ? { $ref: `#/components/schemas/${one}Page` } : { type: "array", items: reference };
    const answer = { 200: { description: `The ${words}`, content: { "application/json": { schema: listed } } }, ...errors(400, 401, 403) };
    many.get = operation("list", plural(row.name), `List ${words}`, "read", answer, isPaged ? { parameters: parameters(row.pagination) } : {});
  }
  if (has("create")) {
    const answer = { 201: { description: "What was created", content }, ...errors(400, 401, 403, 422) };
    many.post = operation("create", one, `Create one of the ${words}`, "write", answer, { requestBody: body });
  }
  if (has("read")) {
    single.get = operation("get", one, `Read one of the ${words}`, "read", { 200: { description: `The ${singular}`, content }, ...errors(401, 403, 404) });
  }
  for (const [key, method, summary] of [["replace", "put", "Replace"], ["update", "patch", "Change"]]) {
    if (!has(key)) continue;
    const given = method === "put" ? body : { required: true, content: { "application/merge-patch+json": { schema: changes(row.fields) } } };
    const answer = { 200: { description: `The ${singular} as it is now`, content }, ...errors(400, 401, 403, 404, 422) };
    single[method] = operation(key, one, `${summary} one of the ${words}`, "write", answer, { requestBody: given });
  }
  if (has("delete")) {
    single.delete = operation("delete", one, `Delete one of the ${words}`, "write", { 204: { description: "It is gone" }, ...errors(401, 403, 404) });
  }
  const made = {};
  if (Object.keys(many).length) made[`/${row.name}`] = many;
  if (Object.keys(single).length) {
    const { readOnly: _, description: __, ...own } = property(row.fields.find((of) => of.name === "id"));
    made[`/${row.name}/{id}`] = { parameters: [{ name: "id", in: "path", required: true, schema: own }], ...single };
  }
  return made;
}

function parameters(pagination) {
  const limit = { name: "limit", in: "query", schema: { type: "integer", minimum: 1, maximum: 100, default: 20 } };
  if (pagination === "cursor") return [{ name: "cursor", in: "query", schema: { type: "string" } }, limit];
  return [{ name: "page", in: "query", schema: { type: "integer", minimum: 1, default: 1 } }, limit];
}

/* Of a pasted file: its parts, as far as its first columns show them, and what is missing. */
function looked(written) {
  const start = written.trimStart();
  if (start.startsWith("{")) {
    try {
      const value = JSON.parse(written);
      const paths_ = isObject(value.paths) ? value.paths : {};
      const operations = Object.entries(paths_).flatMap(([path, item]) =>
        (isObject(item) ? METHODS.filter((method) => isObject(item[method])).map((method) => [method.toUpperCase(), path]) : []));
      return { keys: Object.keys(value), version: text(value.openapi), operations, wrong: "" };
    } catch (error) {
      return { keys: [], version: "", operations: [], wrong: `It is no JSON yet: ${String(error.message).slice(0, 120)}` };
    }
  }
  const lines = written.split(/\r?\n/);
  const keys = [];
  const operations = [];
  let version = "";
  let isInPaths = false;
  let path = null;
  let pathIndent = -1;
  let wrong = "";
  lines.forEach((line, at) => {
    if (/^\s*\t/.test(line) && !wrong) wrong = `Line ${at + 1} is indented with a tab; YAML wants spaces.`;
    const top = /^["']?([\w.-]+)["']?\s*:(?:\s|$)(.*)$/.exec(line);
    if (top) {
      keys.push(top[1]);
      isInPaths = top[1] === "paths";
      path = null;
      pathIndent = -1;
      if (top[1] === "openapi") version = top[2].trim().replace(/^["']|["']$/g, "").split(/\s+#/)[0];
      return;
    }
    const inner = /^(\s+)["']?([^"'#\s][^"']*?)["']?\s*:(?:\s|$)/.exec(line);
    if (!isInPaths || !inner) return;
    if (inner[2].startsWith("/") && (pathIndent < 0 || inner[1].length <= pathIndent)) {
      path = inner[2];
      pathIndent = inner[1].length;
    } else if (path && inner[1].length > pathIndent && METHODS.includes(inner[2])) operations.push([inner[2].toUpperCase(), path]);
  });
  return { keys, version, operations, wrong };
}

function told(written) {
  const found = looked(written);
  const missing = [];
  if (found.wrong) missing.push(found.wrong);
  else {
    if (!/^3\.[01]\.\d/.test(found.version)) missing.push(found.version ? `openapi is ${found.version.slice(0, 20)}; 3.0 and 3.1 are read.` : "openapi: 3.1.0 is missing.");
    for (const key of ["info", "paths"]) if (!found.keys.includes(key)) missing.push(`${key} is missing.`);
  }
  return { ...found, missing };
}

export function problems(inputs) {
  const given = isObject(inputs) ? inputs : {};
  if (given.task === "check") {
    const said = {};
    for (const name of ["spec", "older"]) {
      if (typeof given[name] !== "string" || !given[name].trim()) continue;
      const { missing } = told(given[name]);
      if (missing.length) said[name] = missing.join(" ");
    }
    return said;
  }
  return drafted(given).wrong;
}

const rowsOf = (document_) => Object.entries(document_.paths).flatMap(([path, item]) =>
  METHODS.filter((method) => item[method]).map((method) => [method.toUpperCase(), path, item[method].operationId, item[method].summary]));

export function view(inputs) {
  const given = isObject(inputs) ? inputs : {};
  if (given.task === "check") return checked(given);
  const draft = drafted(given);
  if (!draft.resources.length) {
    return [{ kind: "text", title: "Preview", paragraphs: ["Name a resource, in the plural: orders. Its paths and schemas appear here as you write."] }];
  }
  const made = design(draft);
  const rows = rowsOf(made);
  const wrong = Object.entries(draft.wrong);
  const known = new Set(draft.resources.map((row) => pascal(row.name)));
  const blocks = [
    {
      kind: "facts", title: "So far", pairs: [
        ["API", `${draft.title} ${draft.version}`.slice(0, 120)], ["Resources", draft.resources.length],
        ["Paths", Object.keys(made.paths).length], ["Operations", rows.length], ["To correct", wrong.length],
      ],
    },
    { kind: "table", title: "Operations", columns: ["Method", "Path", "operationId", "Summary"], rows },
    {
      kind: "picture", title: "Schemas", described: draft.resources.map((row) => `${pascal(row.name)} has ${row.fields.length} fields`).join("; "),
      svg: diagram("Schemas", draft.resources.map((row) => ({
        id: pascal(row.name), label: pascal(row.name), shape: "table", tone: row.isPublic ? "brass" : "sea", kind: row.isPublic ? "open to everybody" : "",
        lines: row.fields.slice(0, 14).map((of) => `${of.name} · ${of.kind}${of.isList ? "[]" : ""}${of.isRequired ? " · needed" : ""}`),
      })), draft.resources.flatMap((row) => row.fields.filter((of) => known.has(of.kind)).map((of) => ({
        source: pascal(row.name), target: of.kind, label: of.name,
      })))),
    },
  ];
  if (wrong.length) {
    blocks.splice(1, 0, { kind: "findings", title: "To correct", rows: wrong.map(([where, said]) => ({ severity: "medium", title: said, where })) });
  }
  const content = JSON.stringify(made, null, 2) + "\n";
  blocks.push({
    kind: "code", title: "openapi.json", language: "json", source: content.length > 20000 ? content.slice(0, 20000) + "…\n" : content,
    downloads: [{ name: "openapi.json", content_type: "application/json", content }],
  });
  return blocks;
}

function checked(given) {
  const written = typeof given.spec === "string" ? given.spec : "";
  if (!written.trim()) {
    return [{ kind: "text", title: "Preview", paragraphs: ["Paste the OpenAPI file that is to be checked. Its operations appear here; the run looks into everything."] }];
  }
  const found = told(written);
  return [
    {
      kind: "facts", title: "So far", pairs: [
        ["OpenAPI", found.version.slice(0, 20) || "not found"], ["Paths", new Set(found.operations.map(([, path]) => path)).size],
        ["Operations", found.operations.length], ["Parts", found.keys.slice(0, 12).join(", ") || "none"],
      ],
    },
    {
      kind: "findings", title: "What every file has", none: "openapi, info and paths are there.",
      rows: found.missing.map((said) => ({ severity: "high", title: said })),
    },
    { kind: "table", title: "Operations", columns: ["Method", "Path"], rows: found.operations.slice(0, 500) },
  ];
}
