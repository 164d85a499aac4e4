// Everything that the page says, in English.

// What is wrong with a file or a parameter, in the words of file jobs.
export const MESSAGES = {
  openQuote: (line) =>
    `line ${line}: the file ends before the quote that closes a value. Was it cut, or is a quote too many?`,
  empty: "The CSV file is empty. Its first line must name the columns.",
  onlyCr: "The lines of the CSV file end in CR alone. Use LF or CR LF.",
  headerBytes: "The header of the CSV file is not UTF-8 text. Save it as UTF-8.",
  rowBytes: "bytes given that are not UTF-8 text",
  ragged: (given, wanted) => `${given} values in the row, ${wanted} expected`,
  twice: (names) => `Columns that appear more than once in the file: ${names}.`,
  missing: (names, there) => `Columns missing in the file: ${names}. It has ${there}.`,
  commas: (sign) => ` Its first line has no comma: are its columns separated by ${sign === "\t" ? "tabs" : `"${sign}"`}? Save it with commas.`,
  taken: (names) => `passthrough names [${names}], which the output already has. Rename them in the file.`,
  noSets:
    "Parameters: coverage given, but this version has no calibration for prediction sets. Train it again, or leave " +
    "out coverage.",
};

export const TEXTS = {
  about: (title) => `${title}. Everything is worked out in this browser: no value leaves it, and it works offline.`,
  loading: "Opening the model …",
  ready: "The model is ready.",
  broken: "The model cannot be opened",
  refused: (n, first) => `${n === 1 ? "One value is" : `${n} values are`} not accepted. ${first}`,
  working: "Working …",
  explaining: "Explaining …",
  predicted: (target, label, share) => `${target}: ${label}, ${share}.`,
  explained: (target, label, n) =>
    `${target}: ${label}. The explanation has a rule and ${n === 1 ? "one counterfactual" : `${n} counterfactuals`}.`,
  empty: "(empty)",
  yes: "yes",
  no: "no",
  canBeEmpty: ", can be empty",
  range: (low, high) => `${low} to ${high}`,
  categories: (n) => (n === 1 ? "1 category" : `${n} categories`),
  anyText: "any text; words that count: ",
  shown: (n, all) => `${n} of ${all} features`,
  setSure: (set) => `Prediction set: ${set} (at the coverage asked for, no other class fits)`,
  setOpen: (set) => `Prediction set: ${set} (it may be any of them)`,
  why: "Why",
  where: "Rows like this one, where",
  are: (label) => `are ${label}.`,
  change: "What would change the prediction",
  instead: (label, share) => `gives ${label} (${share})`,
  exception: (label) => ` (an exception: on average, this leads away from ${label})`,
  none: (label) => `No change was found that gives anything but ${label}.`,
  held: (names) => `Held fixed, as sensitive: ${names}.`,
  mattered: "What mattered",
  measures: (rule, explanation, percent) => {
    const named = { precision: rule.precision, coverage: rule.coverage, fidelity: explanation.fidelity };
    if (explanation.class_fidelity !== explanation.fidelity) named["class fidelity"] = explanation.class_fidelity;
    const known = Object.entries(named).filter(([, share]) => share !== null);
    return known.map(([name, share]) => `${name} ${percent(share)}`).join(" · ");
  },
  more: (n) => `and ${n} more`,
  milliseconds: (n) => `${n.toFixed(0)} ms in this browser`,
  scoring: (name) => `Scoring ${name} …`,
  progress: (rows) => `${rows.toLocaleString("en-US")} rows`,
  scored: (name, rows, bad) =>
    `${name}: ${rows.toLocaleString("en-US")} ${rows === 1 ? "row" : "rows"} scored` +
    (bad ? `, ${bad.toLocaleString("en-US")} of them rejected: the column error says why.` : "."),
  save: (name) => `Save ${name}`,
  stopped: "Stopped. Nothing was saved.",
  failed: "This file cannot be scored",
  wrong: "Something went wrong",
  parameter: (name, given, wanted) => `${name}: ${given} given, ${wanted} expected`,
  bothWays: (name) => `'${name}' is in increase_only and in decrease_only; use immutable_features`,
};
