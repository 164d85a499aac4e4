// Another model that takes the same records, such as the challenger: its prediction beside the first.
import { authorization } from "/page/access.js";
import { element, part } from "/page/dom.js";
import { TEXTS } from "/page/texts.js";
import { value } from "/page/words.js";

const NOBODY = "";
let here = "";
let root = "";
let known = new Map(); // of the others, by name

const named = ({ name, version }) => TEXTS.other(name, version);

// What the caller may see: more once there is a token. `changed` is told when another one is chosen.
export async function offerOthers(base, changed) {
  root = base.replace(/\/models\/[^/]+$/, "");
  const response = await fetch(`${base}/v1/models`, { headers: authorization() });
  if (!response.ok) return;
  const { model, models } = await response.json();
  const own = models.find(({ name }) => name === model);
  here = named(own);
  known = new Map(models.filter((one) => one !== own && one.record_digest === own.record_digest).map((one) => [one.name, one]));
  const select = part("other");
  const chosen = select.value;
  select.replaceChildren(new Option(TEXTS.noOther, NOBODY), ...[...known.values()].map((one) => new Option(named(one), one.name)));
  select.value = known.has(chosen) ? chosen : NOBODY;
  select.onchange = changed;
  part("others").hidden = !known.size;
}

// What the other model answers; null if nobody compares.
export async function askOther(body, signal) {
  const other = known.get(part("other").value);
  if (!other) return null;
  const headers = { "Content-Type": "application/json", ...authorization() };
  const response = await fetch(`${root}${other.path}/v1/predict`, { method: "POST", headers, body: JSON.stringify(body), signal });
  const answer = await response.json();
  return { name: named({ name: other.name, version: answer.model?.version ?? other.version }), isOk: response.ok, answer };
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

// Both side by side; what is predicted and how they differ is said in words.
export function comparison(first, { name, isOk, answer }, words) {
  const box = element("div", { class: "compared" });
  const second = answer.predictions?.[0];
  if (!isOk || !second) {
    box.append(element("p", { class: "note", text: TEXTS.noOtherAnswer(name, answer.detail ?? answer.title ?? "") }));
    return { box, said: "" };
  }
  const isUsual = first.probabilities && second.probabilities;
  const [label, other] = [first, second].map(({ prediction }) => words.label(prediction));
  const said = isUsual ? (label === other ? TEXTS.both(label) : TEXTS.differ(here, label, name, other)) : "";
  const table = element("table");
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": TEXTS.compared });
  scroll.append(table);
  const top = table.createTHead().insertRow();
  top.append(...[isUsual ? TEXTS.class : TEXTS.field, here, name, TEXTS.difference].map((text) => element("th", { scope: "col", text })));
  const body = table.createTBody();
  if (isUsual) addShares(body, first, second, words);
  else addFields(body, first, second);
  if (said) box.append(element("p", { text: said }));
  box.append(scroll);
  return { box, said };
}

function addShares(body, first, second, words) {
  const classes = [...new Set([...Object.keys(first.probabilities), ...Object.keys(second.probabilities)])];
  for (const one of classes.sort((a, b) => (first.probabilities[b] ?? 0) - (first.probabilities[a] ?? 0)).slice(0, 12)) {
    const row = body.insertRow();
    row.append(element("th", { scope: "row", text: words.label(one) }));
    const shares = [first, second].map(({ probabilities }) => probabilities[one] ?? 0);
    [first, second].forEach(({ prediction }, place) => {
      const share = percent(shares[place]);
      row.append(element("td", { text: String(prediction) === one ? TEXTS.predicted(share) : share }));
    });
    row.append(element("td", { text: TEXTS.points(Math.round(1000 * (shares[1] - shares[0])) / 10) }));
  }
}

// Of answers in an application's own words.
function addFields(body, first, second) {
  for (const [name, given] of Object.entries(first).filter(([, one]) => typeof one !== "object")) {
    const row = body.insertRow();
    row.append(element("th", { scope: "row", text: name }));
    const isSame = given === second[name];
    row.append(...[value(given), value(second[name] ?? null), isSame ? TEXTS.none : TEXTS.another].map((text) => element("td", { text })));
  }
}
