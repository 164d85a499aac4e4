// Units and meanings of the schema's data dictionary. Its texts are not trusted: they are shown as text only.

import { TEXTS } from "/page/texts.js";

const own = (object, key) => (object && Object.hasOwn(object, key) ? object[key] : undefined);

const MOST = 4; // meanings that are listed beside a field
const LONGEST = 160; // characters of a description beside a field

export const shortened = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);

export function value(given) {
  if (given === null) return TEXTS.empty;
  if (typeof given === "boolean") return given ? TEXTS.yes : TEXTS.no; // as in the form
  return typeof given === "number" ? String(Number(given.toPrecision(6))) : String(given);
}

export function wording(schema) {
  const entryOf = (column) => own(schema.dictionary, column) ?? {};
  // What a stored value means; the value is added where two mean the same.
  const meaning = (column, given) => {
    const { decode } = entryOf(column);
    const stored = String(given);
    const said = given === null ? undefined : own(decode, stored);
    if (said === undefined) return undefined;
    const isAlone = Object.values(decode).filter((other) => other === said).length === 1;
    return isAlone && (said === stored || !Object.hasOwn(decode, said)) ? said : `${said} (${stored})`;
  };
  const target = schema.target?.name;
  return {
    entryOf,
    meaning,
    name: (column) => (entryOf(column).unit ? `${column} (${entryOf(column).unit})` : column),
    word: (column, given) => meaning(column, given) ?? value(given),
    // A class with what it means: clients get the class itself.
    label: (given) => {
      const said = own(entryOf(target).decode, String(given));
      return said === undefined || said === String(given) ? String(given) : `${given} (${said})`;
    },
    // The meanings of the numbers in an interval, if they are few.
    between: (column, above = -Infinity, atMost = Infinity) => {
      if (typeof above === "string" || typeof atMost === "string") return ""; // dates
      const stored = Object.keys(entryOf(column).decode ?? {});
      const inside = stored.filter((one) => one.trim() && Number(one) > above && Number(one) <= atMost);
      return inside.length && inside.length <= 5 ? ` (${inside.map((one) => meaning(column, one)).join(TEXTS.or)})` : "";
    },
    meanings: (column) => {
      const pairs = Object.entries(entryOf(column).decode ?? {});
      const listed = pairs.slice(0, MOST).map(([stored, said]) => `${stored}: ${said}`);
      return [...listed, ...(pairs.length > MOST ? ["…"] : [])].join(", ");
    },
  };
}
