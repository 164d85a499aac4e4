// CSV in, CSV out, row by row: the columns of the output, and what is said of bad rows, are those of file jobs.
import { MESSAGES } from "./texts.js";
import { jsonText } from "./model.js";

const [LF, CR, QUOTE, COMMA] = [10, 13, 34, 44];
const MOST_REASONS = 3; // that are given of a row
const MOST_LISTED = 20;
const LARGE = 1e15; // from here on, a number has an exponent
const OUTPUT_CHARACTERS = 1 << 20;

// Finds where records end, in bytes that come in parts. A quote opens a value only at its beginning.
class Records {
  constructor() {
    this.isQuoted = false;
    this.isStart = true;
    this.lines = 0; // ends of lines so far
    this.quoteLine = 0;
  }

  // Place after the last record that ends in the bytes, or 0.
  lastEnd(bytes, from) {
    let end = 0;
    for (let i = from; i < bytes.length; i++) {
      const byte = bytes[i];
      if (byte === LF) this.lines++;
      if (this.isQuoted) {
        if (byte === QUOTE) this.isQuoted = false;
      } else if (byte === QUOTE && (this.isStart || this.wasQuoted)) {
        if (this.isStart) this.quoteLine = this.lines;
        this.isQuoted = true;
      } else if (byte === LF) end = i + 1;
      this.wasQuoted = byte === QUOTE && !this.isQuoted;
      this.isStart = !this.isQuoted && (byte === COMMA || byte === LF || byte === CR);
    }
    return end;
  }
}

// Blocks of whole records as bytes; the last one may lack the end of its line.
async function* blocksOf(stream) {
  const records = new Records();
  let rest = new Uint8Array(0);
  for await (const chunk of partsOfStream(stream)) {
    const bytes = new Uint8Array(rest.length + chunk.length);
    bytes.set(rest);
    bytes.set(chunk, rest.length);
    const end = records.lastEnd(bytes, rest.length);
    if (end) yield bytes.subarray(0, end);
    rest = bytes.slice(end);
  }
  if (records.isQuoted) throw new Error(MESSAGES.openQuote(records.quoteLine + 1));
  if (rest.length) yield rest;
}

async function* partsOfStream(stream) {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

// Records of a block: each a list of values, null where its bytes are no UTF-8.
function recordsOf(bytes) {
  try {
    return recordsIn(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  const records = new Records();
  const found = [];
  let start = 0;
  for (let i = 0; i < bytes.length; i++) {
    const isEnd = records.lastEnd(bytes.subarray(i, i + 1), 0) === 1 || i === bytes.length - 1;
    if (!isEnd) continue;
    const own = bytes.subarray(start, i + 1);
    start = i + 1;
    try {
      found.push(...recordsIn(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(own)));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      found.push(null);
    }
  }
  return found;
}

// Blank lines are no records.
function recordsIn(text) {
  if (text.includes('"') || /\r(?!\n)/.test(text)) return quotedRecords(text);
  const found = [];
  for (const line of text.split("\n")) {
    const own = line.endsWith("\r") ? line.slice(0, -1) : line;
    if (own !== "") found.push(own.split(","));
  }
  return found;
}

function quotedRecords(text) {
  const found = [];
  let record = [];
  let at = 0;
  let wasQuoted = false;
  const end = () => {
    if (record.length > 1 || record[0] !== "" || wasQuoted) found.push(record);
    [record, wasQuoted] = [[], false];
  };
  while (at < text.length) {
    let value = "";
    if (text[at] === '"') {
      wasQuoted = true;
      for (at++; ; at++) {
        const close = text.indexOf('"', at);
        value += text.slice(at, close < 0 ? text.length : close);
        at = close < 0 ? text.length : close + 1;
        if (text[at] !== '"') break;
        value += '"';
      }
    }
    const from = at;
    while (at < text.length && text[at] !== "," && text[at] !== "\n" && text[at] !== "\r") at++;
    record.push(value + text.slice(from, at));
    if (text[at] === ",") {
      at++;
      if (at < text.length && text[at] !== "\n" && text[at] !== "\r") continue;
      record.push("");
    }
    end();
    if (text[at] === "\r" && text[at + 1] === "\n") at++;
    at++;
  }
  return found;
}

// repr() of a Python string, as messages name columns.
export function quotedName(name) {
  const mark = name.includes("'") && !name.includes('"') ? '"' : "'";
  const escapes = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", [mark]: `\\${mark}` };
  const hex = (sign) => `\\x${sign.charCodeAt(0).toString(16).padStart(2, "0")}`;
  const inner = name.replace(/[\u0000-\u001f\u007f-\u00a0\u00ad\\'"]/g, (sign) =>
    sign === "'" || sign === '"' ? (sign === mark ? escapes[mark] : sign) : (escapes[sign] ?? hex(sign)),
  );
  return mark + inner + mark;
}

function listedNames(names) {
  const rest = names.length - MOST_LISTED;
  return names.slice(0, MOST_LISTED).map(quotedName).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

// Where each feature and each copied column stands in the file; an error says which are missing, or there twice.
function planOf(header, model, copied) {
  const names = header.map((name) => name.trim());
  const features = model.rules.map(({ feature }) => feature);
  const twice = [...features.map(({ name }) => name), ...copied].filter((name) => names.indexOf(name) !== names.lastIndexOf(name));
  if (twice.length) throw new Error(MESSAGES.twice(listedNames([...new Set(twice)])));
  const isThere = ({ name }) => names.includes(name);
  let missing = features.filter((feature) => !isThere(feature) && !feature.nullable).map(({ name }) => name);
  missing.push(...copied.filter((name) => !names.includes(name) && !missing.includes(name)));
  if (missing.length || !features.some(isThere)) {
    if (!missing.length) missing = features.map(({ name }) => name);
    const other = names.length === 1 && /[;\t|]/.exec(names[0]);
    throw new Error(MESSAGES.missing(listedNames(missing), listedNames(names)) + (other ? MESSAGES.commas(other[0]) : ""));
  }
  return { places: features.map(({ name }) => names.indexOf(name)), copied: copied.map((name) => names.indexOf(name)) };
}

const quotedCell = (text) => `"${text.replaceAll('"', '""')}"`;
const headerCell = (name) => (/[",\r\n]/.test(name) ? quotedCell(name) : name);

// A number as file jobs write it.
function numberCell(x) {
  if (Math.abs(x) < LARGE || !Number.isFinite(x)) return String(x);
  return x.toExponential();
}

function labelCell(label, type) {
  return type === "string" ? quotedCell(label) : type === "double" ? numberCell(label) : String(label);
}

// Score a CSV file. `source` is a Blob or has a stream() and a size; `progress` is told how many rows and bytes are
// done. The result has the parts of the output as texts, and the number of rows, and of rejected ones.
export async function scoreCsv(model, source, { parameters = {}, copyAll = false, copied = [], progress = () => {} } = {}) {
  const blocks = blocksOf(source.stream());
  let { header, records } = await firstRecords(blocks);
  const names = header.map((name) => name.trim());
  const kept = copyAll ? names : copied;
  const plan = planOf(header, model, kept);
  const fields = outputFields(model, parameters);
  const taken = kept.filter((name) => fields.includes(name));
  if (taken.length) throw new Error(MESSAGES.taken(listedNames(taken)));
  const output = new Output([...kept, ...fields].map(headerCell).join(",") + "\n");
  const done = { rows: 0, rejected: 0 };
  let bytes = 0;
  while (records !== null) {
    scoreRecords(model, records, { plan, parameters, width: header.length }, output, done);
    const next = await blocks.next();
    bytes += next.done ? 0 : next.value.length;
    records = next.done ? null : recordsOf(next.value);
    progress({ ...done, share: Math.min(1, bytes / Math.max(1, source.size)) });
  }
  return { ...done, parts: output.end() };
}

async function firstRecords(blocks) {
  for (;;) {
    const { done, value } = await blocks.next();
    if (done) throw new Error(MESSAGES.empty);
    const isMarked = value[0] === 0xef && value[1] === 0xbb && value[2] === 0xbf;
    const bytes = isMarked ? value.subarray(3) : value;
    if (bytes.includes(CR) && !bytes.includes(LF)) throw new Error(MESSAGES.onlyCr);
    const [header, ...records] = recordsOf(bytes);
    if (header === null) throw new Error(MESSAGES.headerBytes);
    if (header !== undefined) return { header, records };
  }
}

const outputFields = (model, { coverage, explain }) => [
  "prediction", "probability", ...model.probabilityNames,
  ...(coverage ? ["prediction_set"] : []), ...(explain ? ["explanation"] : []), "error",
];

class Output {
  constructor(first) {
    this.parts = [];
    this.lines = [first];
    this.size = 0;
  }

  add(line) {
    this.lines.push(line);
    this.size += line.length;
    if (this.size > OUTPUT_CHARACTERS) this.end();
  }

  end() {
    this.parts.push(new TextEncoder().encode(this.lines.join("")));
    [this.lines, this.size] = [[], 0];
    return this.parts;
  }
}

function scoreRecords(model, records, { plan, parameters, width }, output, done) {
  const n = records.length;
  const X = new Float64Array(n * model.width);
  const errors = records.map((record, i) => codeRecord(model, record, plan.places, width, X, i * model.width));
  errors.forEach((error, i) => error && X.fill(0, i * model.width, (i + 1) * model.width));
  const probabilities = model.probabilities(X, n);
  const decided = model.decided(probabilities);
  const { nClasses } = model;
  const labels = model.classes.map((label) => labelCell(label, model.schema.target.type));
  const nEmpty = outputFields(model, parameters).length - 1;
  for (let i = 0; i < n; i++) {
    const record = records[i];
    const cells = plan.copied.map((place) => (record?.length === width ? quotedCell(record[place]) : ""));
    if (errors[i]) cells.push(...Array(nEmpty).fill(""), quotedCell(errors[i]));
    else {
      const best = decided[i];
      const own = probabilities.subarray(i * nClasses, (i + 1) * nClasses);
      cells.push(labels[best], numberCell(own[best]));
      for (let k = 0; k < nClasses; k++) cells.push(numberCell(own[k]));
      if (parameters.coverage) {
        const members = model.decision.members(own, best, parameters.coverage).map((k) => model.classes[k]);
        cells.push(quotedCell(JSON.stringify(members)));
      }
      if (parameters.explain) {
        const row = X.slice(i * model.width, (i + 1) * model.width);
        cells.push(quotedCell(jsonText(model.explain(row, parameters))));
      }
      cells.push("");
    }
    output.add(`${cells.join(",")}\n`);
    done.rejected += Number(Boolean(errors[i]));
  }
  done.rows += n;
}

// Codes of a record into X; what is wrong with it, or null.
function codeRecord(model, record, places, width, X, at) {
  if (record === null) return MESSAGES.rowBytes;
  if (record.length !== width) return MESSAGES.ragged(record.length, width);
  let reasons = null;
  for (let j = 0; j < places.length; j++) {
    const rule = model.rules[j];
    const value = places[j] < 0 ? null : record[places[j]];
    const [code, fault] = rule.read(value);
    X[at + j] = code;
    if (fault) (reasons ??= []).push(`column ${quotedName(rule.feature.name)}: ${model.fault(j, value, fault)}`);
  }
  return reasons === null ? null : reasons.slice(0, MOST_REASONS).join("; ");
}
