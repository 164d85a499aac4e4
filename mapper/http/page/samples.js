// Rows to begin with: synthetic ones that came with the model, nobody's own.
import { part } from "/page/dom.js";
import { readers } from "/page/fields.js";
import { TEXTS } from "/page/texts.js";

const TYPICAL = ""; // the values that the form begins with

// `changed` is told when the form has other values.
export function offerSamples({ features, samples = [] }, changed) {
  const select = part("sample");
  part("samples").hidden = !samples.length;
  select.append(new Option(TEXTS.typicalRow, TYPICAL));
  samples.forEach((_, place) => select.append(new Option(TEXTS.sample(place + 1), place)));
  select.addEventListener("change", () => {
    const row = samples[select.value];
    features.forEach(({ name }, place) => {
      const reader = readers.get(name);
      reader.set(row ? row[place] : reader.typical);
    });
    changed();
  });
}
