// The page: it asks the worker, and shows what it answers.
import { answerParts, element, percent, problemBox, Words } from "./view.js";
import { featureForm, parameterForm } from "./form.js";
import { TEXTS } from "./texts.js";

const byId = (id) => document.getElementById(id);
const buttons = () => document.querySelectorAll("button[type=submit]");
const result = byId("result");
let worker;
let open; // what the worker said of the model: about, schema, parameters
let words;
let features;
let options;
let waiting = null; // the task at hand

// One sentence at a time, for everybody.
const say = (text) => (byId("status").textContent = text);

function startWorker() {
  const texts = ["shared", "worker"].map((id) => byId(id).textContent);
  const source = new Blob(texts, { type: "text/javascript" });
  const address = URL.createObjectURL(source);
  worker = new Worker(address);
  worker.onmessage = ({ data }) => {
    if (data.progress) return showProgress(data.progress);
    const { resolve, reject } = waiting;
    waiting = null;
    if (data.error === undefined) resolve(data.result);
    else reject(new Error(data.error));
  };
  worker.onerror = ({ message }) => waiting?.reject(new Error(message || TEXTS.wrong));
  return ask("open", { text: byId("model").textContent, digest: byId("model").dataset.digest });
}

function ask(task, given) {
  for (const button of buttons()) button.disabled = true;
  const answer = new Promise((resolve, reject) => (waiting = { resolve, reject }));
  worker.postMessage({ task, given });
  return answer.finally(() => {
    for (const button of buttons()) button.disabled = false;
  });
}

async function begin() {
  say(TEXTS.loading);
  try {
    open = await startWorker();
  } catch (error) {
    for (const button of buttons()) button.disabled = true;
    result.replaceChildren(problemBox(TEXTS.broken, error.message));
    return say(error.message);
  }
  const { about, schema, parameters } = open;
  words = new Words(schema);
  byId("about").textContent = TEXTS.about(about.title);
  const filter = { box: byId("filter-box"), input: byId("filter"), told: say };
  features = featureForm(schema, words, byId("fields"), filter);
  options = parameterForm(parameters, schema, byId("options"));
  document.documentElement.dataset.ready = "true";
  return say(TEXTS.ready);
}

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const explain = event.submitter?.value === "explain";
  const wrong = options.faults();
  if (wrong.length) return say(TEXTS.refused(wrong.length, wrong[0]));
  say(explain ? TEXTS.explaining : TEXTS.working);
  try {
    const found = await ask("answer", { record: features.record(), parameters: { ...options.values(), explain } });
    return showAnswer(found);
  } catch (error) {
    result.replaceChildren(problemBox(TEXTS.wrong, error.message));
    return say(error.message);
  }
});

function showAnswer({ faults, answer, milliseconds }) {
  features.show(faults ?? []);
  if (faults) {
    const [{ feature, message }] = faults;
    return say(TEXTS.refused(faults.length, `${words.name(feature)}: ${message}.`));
  }
  const { schema } = open;
  result.replaceChildren(...answerParts(answer, schema, words, milliseconds));
  const [target, label] = [words.name(schema.target.name), words.label(answer.prediction)];
  const { explanation } = answer;
  return say(
    explanation
      ? TEXTS.explained(target, label, explanation.counterfactuals.length)
      : TEXTS.predicted(target, label, percent(answer.probability)),
  );
}

byId("form").addEventListener("reset", () => features?.show([]));

// Files: chosen or dropped, scored in the worker, saved from a link.
const files = byId("files");
const input = byId("file");

byId("score").addEventListener("submit", (event) => {
  event.preventDefault();
  if (input.files.length) score(input.files[0]);
  else input.focus();
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    files.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && waiting === null && event.dataTransfer.files.length) score(event.dataTransfer.files[0]);
  });
}

async function score(file) {
  const wrong = options.faults();
  if (wrong.length) return say(TEXTS.refused(wrong.length, wrong[0]));
  say(TEXTS.scoring(file.name));
  byId("done").replaceChildren(element("progress", { max: 1, value: 0, "aria-label": TEXTS.scoring(file.name) }), element("p", { class: "quiet" }));
  byId("stop").hidden = false;
  try {
    const parameters = { ...options.values(), explain: byId("why").checked };
    const { output, rows, rejected } = await ask("score", { file, parameters, copyAll: byId("copy").checked });
    const name = `${file.name.replace(/\.[^.]*$/, "")}.scored.csv`;
    const text = TEXTS.scored(file.name, rows, rejected);
    const link = element("a", { href: URL.createObjectURL(output), download: name, class: "save", text: TEXTS.save(name) });
    byId("done").replaceChildren(element("p", { text }), link);
    return say(text);
  } catch (error) {
    byId("done").replaceChildren(problemBox(TEXTS.failed, error.message));
    return say(error.message);
  } finally {
    byId("stop").hidden = true;
  }
}

function showProgress({ rows, share }) {
  const [bar, text] = byId("done").children;
  if (bar?.tagName !== "PROGRESS") return;
  bar.value = share;
  text.textContent = TEXTS.progress(rows);
}

// A worker that computes hears nothing, so it is ended and a new one is started.
byId("stop").addEventListener("click", () => {
  worker.terminate();
  const { reject } = waiting;
  const again = startWorker();
  reject(new Error(TEXTS.stopped));
  again.then(() => say(TEXTS.stopped), () => {});
});

begin();
