// From coded rows to what the forest has learned from: filled, scaled, looked up, parts of dates, terms of texts.

const [IDENTITY, FILL, IS_MISSING, LOOKUP, YEAR, , , , , AGE, TERM, SHIFTED, SCALED] = Array(13).keys();
const DAY = 86_400;
const MARCH = 719_468; // days from 1 March of the year 0 to the beginning of 1970

// A function from rows to the forest's inputs; null if these are the same.
export function expanded(head, arrays) {
  if (arrays.expansion_source === undefined) return null;
  const [source, op, value, unit, start, table] = ["source", "op", "value", "unit", "start", "table"].map(
    (name) => arrays[`expansion_${name}`],
  );
  const nColumns = source.length;
  const width = head.schema.features.length;
  const steps = Array.from(op, (kind, k) =>
    stepOf(kind, value[k], unit[k], Array.from(table.subarray(start[k], start[k + 1]))),
  );
  return (X, n) => {
    const made = new Float64Array(n * nColumns);
    for (let k = 0; k < nColumns; k++) {
      const step = steps[k];
      for (let i = 0; i < n; i++) made[i * nColumns + k] = step(X[i * width + source[k]]);
    }
    return made;
  };
}

function stepOf(op, value, unit, table) {
  const isMissing = (x) => x !== x;
  const last = table.length - 1;
  const scaled = (compute) => (x) => (isMissing(x) ? (table.length === 3 ? table[2] : x) : compute(x));
  if (op === IDENTITY) return (x) => x;
  if (op === FILL) return (x) => (isMissing(x) ? value : x);
  if (op === IS_MISSING) return (x) => (isMissing(x) ? 1 : 0);
  if (op === LOOKUP) return (x) => table[isMissing(x) ? last : Math.min(Math.max(Math.trunc(x), 0), last)];
  if (op === AGE) return (x) => ((value - x) * unit) / DAY;
  if (op === TERM) return (x) => (isMissing(x) ? x : Math.floor(x / 2 ** value) % 2);
  if (op === SHIFTED) return scaled((x) => (x - table[0]) / table[1]);
  if (op === SCALED) return scaled((x) => x * table[0] + table[1]);
  return (x) => (Number.isFinite(x) ? partsOfDate(x * unit)[op - YEAR] : NaN);
}

// Year, month, day, weekday and hour (H. Hinnant, "chrono-compatible low-level date algorithms").
export function partsOfDate(seconds) {
  const days = Math.floor(seconds / DAY);
  const era = Math.floor((days + MARCH) / 146_097);
  const ofEra = days + MARCH - era * 146_097;
  const cut = (n, by) => Math.floor(n / by);
  const yearOfEra = cut(ofEra - cut(ofEra, 1460) + cut(ofEra, 36_524) - cut(ofEra, 146_096), 365);
  const ofYear = ofEra - (365 * yearOfEra + cut(yearOfEra, 4) - cut(yearOfEra, 100));
  const shifted = cut(5 * ofYear + 2, 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const day = ofYear - cut(153 * shifted + 2, 5) + 1;
  return [year, month, day, (((days + 3) % 7) + 7) % 7, Math.floor((seconds - days * DAY) / 3600)];
}
