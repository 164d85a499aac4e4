// Asks the engine of a page, as a program in Node.js would: node browser_engine.mjs ENGINE MODEL < request > answers.
// A request is JSON with a task and what it needs; numbers that have to keep their bits are in files of float64.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [engine, path] = process.argv.slice(2);
const { openModel, scoreCsv, jsonText } = await import(pathToFileURL(engine));
const request = JSON.parse(readFileSync(0, "utf8"));

const TASKS = {
  // Probabilities of coded rows, and the milliseconds of CPU that a row takes.
  predict(model, { X, out, rounds = 1 }) {
    const bytes = readFileSync(X);
    const rows = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const n = rows.length / model.width;
    const microseconds = [];
    let found;
    for (let round = 0; round < rounds; round++) {
      const begin = process.cpuUsage();
      found = model.probabilities(rows, n);
      const { user, system } = process.cpuUsage(begin);
      microseconds.push((user + system) / n);
    }
    writeFileSync(out, new Uint8Array(found.buffer));
    return { decided: Array.from(model.decided(found)), microseconds };
  },
  // What becomes of records: an answer, or what is wrong with them.
  answer: (model, { records, parameters }) =>
    records.map((record) => {
      const { row, faults } = model.coded(record);
      if (faults.length) return { faults };
      const answer = model.answer(row, parameters);
      if (answer.explanation) answer.explanation = JSON.parse(jsonText(answer.explanation));
      return answer;
    }),
  // Codes of records as texts of 64 bits each, and faults.
  code: (model, { records }) =>
    records.map((record) => {
      const { row, faults } = model.coded(record);
      const bits = Array.from(new BigUint64Array(row.buffer), (one, j) => (Number.isNaN(row[j]) ? "nan" : one.toString(16)));
      return { bits, faults };
    }),
  // Explanations of coded rows, each with parameters of its own.
  explain: (model, { asked }) =>
    asked.map(({ row, parameters }) =>
      JSON.parse(jsonText(model.explain(Float64Array.from(row, (value) => value ?? NaN), parameters))),
    ),
  async score(model, { input, out, options }) {
    const { parts, ...counts } = await scoreCsv(model, new Blob([readFileSync(input)]), options);
    writeFileSync(out, Buffer.concat(parts));
    return counts;
  },
};

try {
  const model = openModel(new Uint8Array(readFileSync(path)), request.digest);
  console.log(JSON.stringify({ result: await TASKS[request.task](model, request) }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
