// Many rows: a pasted or dropped CSV, answered as a table.
import { element, part, say } from "/page/dom.js";
import { TEXTS } from "/page/texts.js";

export const MOST_ROWS = 1000;
const MOST_FAULTS = 3; // that are told of a row
const TRIES = 20; // a problem lists some of the faults only
let found = { names: [], rows: [] };
let order = ["row", 1];

// Rows of a CSV in which fields may be quoted; the separator is what the first line has most of.
export function parsed(text) {
  const first = text.split("\n", 1)[0];
  const [separator] = [",", ";", "\t"].sort((a, b) => first.split(b).length - first.split(a).length);
  const rows = [[""]];
  let isQuoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const sign = text[i];
    const row = rows[rows.length - 1];
    if (isQuoted && sign === '"' && text[i + 1] === '"') row[row.length - 1] += text[(i += 1)];
    else if (sign === '"' && (isQuoted || row[row.length - 1] === "")) isQuoted = !isQuoted;
    else if (isQuoted) row[row.length - 1] += sign;
    else if (sign === separator) row.push("");
    else if (sign === "\n") rows.push([""]);
    else if (sign !== "\r") row[row.length - 1] += sign;
  }
  return rows.filter((row) => row.length > 1 || row[0] !== "");
}

const quoted = (cell) => (/[",\n\r]/.test(String(cell)) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell));

function cellsOf({ record, answer, problem, row }) {
  const share = answer?.probability ?? answer?.certainty;
  const said = answer && (answer.prediction ?? JSON.stringify(answer));
  return { row, prediction: said ?? "", probability: typeof share === "number" ? share : "", problem: problem ?? "", record };
}

function download() {
  const { names, rows } = found;
  const lines = [[...names, "prediction", "probability", "problem"]];
  for (const one of rows) {
    const { record, prediction, probability, problem } = cellsOf(one);
    lines.push([...names.map((name) => record[name] ?? ""), prediction, probability, problem]);
  }
  const blob = new Blob([lines.map((line) => line.map(quoted).join(",")).join("\r\n")], { type: "text/csv" });
  const link = element("a", { href: URL.createObjectURL(blob), download: "predictions.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
}

function head(column, explain) {
  const cell = element("th", { scope: "col" });
  const [by, way] = order;
  cell.setAttribute("aria-sort", by === column ? (way > 0 ? "ascending" : "descending") : "none");
  const button = element("button", { type: "button", class: "plain", text: TEXTS.columns[column] });
  button.addEventListener("click", () => {
    order = [column, by === column ? -way : 1];
    show(explain);
    part("table").querySelector(`[data-column="${column}"]`).focus();
  });
  button.dataset.column = column;
  cell.append(button);
  return cell;
}

function show(explain) {
  const table = element("table");
  const top = element("tr");
  // The longest comes last: on a telephone, the others can be seen without scrolling.
  const why = element("th", { scope: "col", text: TEXTS.columns.why });
  top.append(...["row", "prediction", "probability"].map((column) => head(column, explain)), why, head("problem", explain));
  table.createTHead().append(top);
  const [by, way] = order;
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sorted = found.rows.map(cellsOf).sort((a, b) => way * compare(a[by], b[by]));
  const body = table.createTBody();
  for (const { row, prediction, probability, problem, record } of sorted) {
    const line = body.insertRow();
    const share = probability === "" ? "" : `${(100 * probability).toFixed(1)} %`;
    line.append(...[row, prediction, share].map((text) => element("td", { text: String(text) })));
    line.classList.toggle("bad", problem !== "");
    const button = element("button", { type: "button", class: "second", text: TEXTS.explain, "aria-label": TEXTS.explainRow(row) });
    button.addEventListener("click", () => explain(record));
    const cell = element("td");
    if (!problem) cell.append(button);
    line.append(cell, element("td", { text: problem }));
  }
  const save = element("button", { type: "button", class: "second", text: TEXTS.download });
  save.addEventListener("click", download);
  const box = element("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "many-title" });
  box.append(table);
  part("table").replaceChildren(save, box);
  part("many-rows").open = true;
}

function told(faults) {
  const more = faults.length - MOST_FAULTS;
  return [...faults.slice(0, MOST_FAULTS), ...(more > 0 ? [TEXTS.more(more)] : [])].join("; ");
}

// Asks for the rows that are left, without those that the last problem named.
async function answered(records, ask) {
  const rows = records.map((record, i) => ({ record, row: i + 1 }));
  for (let i = 0; i < TRIES; i += 1) {
    const good = rows.filter(({ problem }) => !problem);
    if (!good.length) break;
    const { isOk, answer } = await ask(good.map(({ record }) => record));
    if (isOk) {
      good.forEach((one, place) => { one.answer = answer.predictions[place]; });
      return rows;
    }
    const faults = (answer.errors ?? []).filter(({ row }) => row !== undefined);
    if (!faults.length) throw new Error(answer.detail ?? answer.title);
    for (const { row, field, message } of faults) {
      const said = field ? `${field}: ${message}` : message;
      (good[row].faults ??= []).push(said);
    }
    for (const one of good) if (one.faults) one.problem = told(one.faults);
  }
  for (const one of rows) if (!one.answer && !one.problem) one.problem = TEXTS.noAnswer;
  return rows;
}

async function predict(text, features, ask, explain) {
  const [names = [], ...lines] = parsed(text.replace(/^\ufeff/, ""));
  const notes = [];
  if (!lines.length) {
    part("many-note").textContent = TEXTS.noRows;
    return;
  }
  if (lines.length > MOST_ROWS) notes.push(TEXTS.tooManyRows(lines.length, MOST_ROWS));
  const unknown = names.filter((name) => !features.has(name.trim()));
  if (unknown.length) notes.push(TEXTS.leftOut(unknown.join(", ")));
  const recordOf = (line) => Object.fromEntries(names.map((name, i) => [name.trim(), features.get(name.trim())?.(line[i] ?? "")]).filter(([name]) => features.has(name)));
  try {
    const rows = await answered(lines.slice(0, MOST_ROWS).map(recordOf), ask);
    found = { names: names.map((name) => name.trim()).filter((name) => features.has(name)), rows };
    order = ["row", 1];
    show(explain);
    const bad = rows.filter(({ problem }) => problem).length;
    notes.unshift(TEXTS.batchDone(rows.length - bad, bad));
  } catch (error) {
    notes.unshift(error.message);
  }
  part("many-note").textContent = notes.join(" ");
  say(notes[0]);
}

// `features` reads a text as a value, by name; `ask` sends records, `explain` shows one of them in the form.
export function offerMany(features, ask, explain) {
  const area = part("csv");
  const run = () => predict(area.value, features, ask, explain);
  const take = async (file) => {
    if (!file) return;
    area.value = await file.slice(0, 2_000_000).text();
    await run();
  };
  part("many-form").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  part("file").addEventListener("change", (event) => take(event.target.files[0]));
  part("many").addEventListener("dragover", (event) => event.preventDefault());
  part("many").addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
}
