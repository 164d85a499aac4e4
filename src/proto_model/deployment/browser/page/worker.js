// The worker: it holds the model, so that the page stays at hand while it computes.
import { scoreCsv } from "./csv.js";
import { openModel } from "./model.js";

let model;

// The model is in the page as gzip in base64.
async function opened({ text, digest }) {
  const packed = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  model = openModel(new Uint8Array(await new Response(stream).arrayBuffer()), digest);
  const { about, schema, parameters, decision } = model;
  return { about, schema, parameters: parameters.filter(({ name }) => name !== "coverage" || decision.sets !== null) };
}

function answered({ record, parameters }) {
  const { row, faults } = model.coded(record);
  if (faults.length) return { faults };
  const begin = performance.now();
  const answer = model.answer(row, parameters);
  const milliseconds = performance.now() - begin;
  const shares = model.classes.map((label, k) => [label, answer[model.probabilityNames[k]]]);
  return { answer: { ...answer, shares }, milliseconds };
}

async function scored({ file, parameters, copyAll }) {
  const progress = (done) => postMessage({ progress: done });
  const { parts, rows, rejected } = await scoreCsv(model, file, { parameters, copyAll, progress });
  return { output: new Blob(parts, { type: "text/csv" }), rows, rejected };
}

const TASKS = { open: opened, answer: answered, score: scored };

onmessage = async ({ data: { task, given } }) => {
  try {
    postMessage({ task, result: await TASKS[task](given) });
  } catch (error) {
    postMessage({ task, error: String(error?.message ?? error) });
  }
};
