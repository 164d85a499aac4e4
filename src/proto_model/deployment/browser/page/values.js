// The rule book for values: what is missing, a number, a truth value, a category, a date or a text.
// Held to schemas/cases/values.json, as every other entry point is.
import { floatText, generalText } from "./numbers.js";
import { partsOfDate } from "./expansion.js";

const POINTS = [..."\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000"];
const SPACES = new Set([...POINTS, ...Array.from({ length: 11 }, (_, i) => String.fromCharCode(0x2000 + i))]);
const MARKERS = new Set(
  ["", ..."? NA N/A n/a #N/A #NA <NA> NaN nan -NaN -nan NULL null None".split(" "), "#N/A N/A",
    ..."-1.#IND 1.#IND -1.#QNAN 1.#QNAN".split(" ")],
);
const TRUTH = new Map(["true", "True", "TRUE"].map((text) => [text, 1]));
for (const text of ["false", "False", "FALSE"]) TRUTH.set(text, 0);

const NUMBER = /^(?:[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)$/;
const PLAIN = /^[0-9.eE+-]+$/; // in these signs alone, Number() takes what is a number here
const LARGEST = 3.4028234663852886e38; // forests compare in 32 bits
const ISO =
  /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?(?: ?(?:[Zz]|([+-])(\d{2})(?::?(\d{2}))?))?)?$/;
const WORDS = /[\p{L}\p{N}]+/gu;
const MOST_CHARACTERS = 10_000; // of a text
const SHOWN_CHARACTERS = 40;
const DAY_S = 86_400;
const FIRST_S = -62_135_596_800;
const LAST_S = 253_402_300_799;

export const SECONDS_OF = { date: DAY_S, datetime: 1 };

const [MISSING, TOO_LARGE, NOT_A_NUMBER, NOT_WHOLE, NOT_BOOLEAN, NOT_TEXT, NOT_A_DATE, NOT_A_DAY] = [1, 2, 3, 4, 5, 6, 7, 8];
const WRONG = { string: NOT_TEXT, text: NOT_TEXT, date: NOT_A_DATE, datetime: NOT_A_DATE, boolean: NOT_BOOLEAN };

export function trimmed(text) {
  let start = 0;
  let end = text.length;
  while (start < end && SPACES.has(text[start])) start++;
  while (end > start && SPACES.has(text[end - 1])) end--;
  return text.slice(start, end);
}

export const isNumberText = (text) => NUMBER.test(text);

// A text that spells a number; Number() knows no `inf`.
export const numberOf = (text) => (/[fF]/.test(text) ? (text[0] === "-" ? -Infinity : Infinity) : Number(text));

// Seconds since 1970 of a trimmed text that spells a date, null of any other.
export function secondsIn(text) {
  const found = ISO.exec(text);
  if (found === null) return null;
  const [year, month, day, hour, minute, second, , hours, minutes] = found.slice(1).map((part) => Number(part ?? 0));
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (year < 1 || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null;
  if (hour > 23 || minute > 59 || second > 59 || hours > 23 || minutes > 59) return null;
  const away = (hours * 3600 + minutes * 60) * (found[7] === "-" ? -1 : 1);
  const at = date.getTime() / 1000 + hour * 3600 + minute * 60 + second - away;
  return at >= FIRST_S && at <= LAST_S ? at : null;
}

// A coded date as text; what lies beyond the last date is the last date.
export function dateText(code, type) {
  let at = Math.floor(code * SECONDS_OF[type]);
  if (at > LAST_S) at = LAST_S;
  if (at < FIRST_S) at = FIRST_S;
  const [year, month, day] = partsOfDate(at).map((part) => String(part).padStart(2, "0"));
  const date = `${year.padStart(4, "0")}-${month}-${day}`;
  const clock = [3600, 60, 1].map((by) => String(Math.floor((at - Math.floor(at / DAY_S) * DAY_S) / by) % (by === 3600 ? 24 : 60)));
  return type === "date" ? date : `${date}T${clock.map((part) => part.padStart(2, "0")).join(":")}Z`;
}

// Sum of the bits of the terms that a text has.
export function maskOf(text, bits) {
  const cut = text.length > MOST_CHARACTERS ? Array.from(text).slice(0, MOST_CHARACTERS).join("") : text;
  let mask = 0;
  const seen = new Set();
  for (const [word] of cut.normalize("NFKC").toLowerCase().matchAll(WORDS)) {
    const bit = bits.get(word);
    if (bit !== undefined && !seen.has(bit)) mask += bit;
    seen.add(bit);
  }
  return mask;
}

export const takesNumbers = ({ type }) => type === "double" || type === "long" || type === "boolean";

// A feature with its range as codes: dates stand in schema.json as texts.
export function withCodes(feature) {
  const unit = SECONDS_OF[feature.type];
  if (unit === undefined) return feature;
  const coded = Object.entries(feature).map(([key, given]) =>
    ["minimum", "maximum", "median"].includes(key) ? [key, Math.floor(secondsIn(given) / unit)] : [key, given],
  );
  return Object.fromEntries(coded);
}

// What one feature makes of a value: `[code, fault]`, where the fault of an accepted one is 0.
export class Rule {
  constructor(feature) {
    this.feature = feature;
    this.unit = SECONDS_OF[feature.type] ?? 0;
    this.isNumber = feature.type === "double" || feature.type === "long";
    this.bits = new Map((feature.terms ?? []).map((term, bit) => [term, 2 ** bit]));
    this.codes = feature.type === "boolean" ? TRUTH : new Map((feature.categories ?? []).map((text, code) => [text, code]));
    this.missing = [NaN, feature.nullable ? 0 : MISSING];
    this.wrong = [NaN, WRONG[feature.type] ?? NOT_A_NUMBER];
  }

  read(value) {
    if (typeof value === "string") return this.readText(value);
    if (value === null || value === undefined) return this.missing;
    if (typeof value === "boolean") return this.feature.type === "boolean" ? [Number(value), 0] : this.wrong;
    if (typeof value !== "number") return this.wrong;
    if (value !== value) return this.missing;
    return takesNumbers(this.feature) ? this.readNumber(value) : this.wrong;
  }

  readText(given) {
    if (this.isNumber && PLAIN.test(given)) {
      const number = Number(given);
      return number === number ? this.readNumber(number) : this.wrong;
    }
    let code = this.codes.get(given);
    if (code !== undefined) return [code, 0];
    const text = trimmed(given);
    code = this.codes.get(text);
    if (code !== undefined) return [code, 0];
    if (MARKERS.has(text)) return this.missing;
    if (this.feature.categories) return [NaN, 0]; // a category that training never saw
    if (this.unit) return this.readSeconds(secondsIn(text));
    if (this.feature.type === "text") return [maskOf(text, this.bits), 0];
    return isNumberText(text) ? this.readNumber(numberOf(text)) : this.wrong;
  }

  readNumber(number) {
    if (this.feature.type === "boolean") return number === 0 || number === 1 ? [number, 0] : this.wrong;
    if (Math.abs(number) > LARGEST) return [number, TOO_LARGE];
    return [number, this.feature.type === "double" || Number.isInteger(number) ? 0 : NOT_WHOLE];
  }

  readSeconds(seconds) {
    if (seconds === null) return this.wrong;
    return seconds % this.unit ? [NaN, NOT_A_DAY] : [seconds / this.unit, 0];
  }
}

// What a feature accepts, in words.
function expected(feature, fault) {
  const such = (example) => (example ? ` expected, such as ${example}` : " expected");
  const { type, median } = feature;
  const known = median !== undefined && median !== null;
  if (feature.categories) return `a string${such(feature.most_frequent === undefined ? "null" : JSON.stringify(feature.most_frequent))}`;
  if (type === "text") return "a string expected";
  if (type in SECONDS_OF) {
    const what = type === "date" ? "a date without a time" : "a date and time";
    return what + such(known && JSON.stringify(dateText(median, type)));
  }
  if (type === "boolean") return "true or false expected";
  if (fault === TOO_LARGE) return "a number between -3.4e+38 and 3.4e+38 expected";
  if (type === "long") return `a whole number${such(known && String(Math.floor(median)))}`;
  return `a number${such(known && generalText(median))}`;
}

function cut(text) {
  const characters = Array.from(text);
  return characters.length <= SHOWN_CHARACTERS ? text : `${characters.slice(0, SHOWN_CHARACTERS - 1).join("")}…`;
}

function givenText(value, fault) {
  if (fault === MISSING) {
    const marker = typeof value === "string" ? trimmed(value) : "";
    return marker ? `no value (${JSON.stringify(marker)}) given` : "no value given";
  }
  if (typeof value === "boolean") return `the boolean ${value} given`;
  let number = value;
  if (typeof value === "string") {
    const text = trimmed(value);
    if (!isNumberText(text)) return `the string ${cut(JSON.stringify(value))} given`;
    number = numberOf(text);
  }
  return `${floatText(number).replace(/\.0$/, "")} given`;
}

// What was given and what is expected, in the words of every error about a value.
export const faultText = (value, feature, fault) => `${givenText(value, fault)}, ${expected(feature, fault)}`;
