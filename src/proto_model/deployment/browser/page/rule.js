// A rule: one interval or one set per feature, and the class it stands for; and how sentences call columns and values.
import { floatText } from "./numbers.js";
import { SECONDS_OF, isNumberText, numberOf, trimmed } from "./values.js";

export const READABLE = 5; // values that are named in a sentence

export function shownText(value) {
  if (value === null) return "missing";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? value.toFixed(0).replace(/^-0$/, "-0") : floatText(value);
}

// Words of the data dictionary for the columns of a schema.
export class Wording {
  constructor(schema, isTold = true) {
    this.target = schema.target.name;
    this.entries = isTold ? (schema.dictionary ?? {}) : {};
  }

  entry(column) {
    return Object.hasOwn(this.entries, column) ? this.entries[column] : {};
  }

  name(column) {
    const { unit } = this.entry(column);
    return unit ? `${column} (${unit})` : column;
  }

  // What stored values mean; the value is added where two mean the same.
  words(column) {
    const pairs = Object.entries(this.entry(column).decode ?? {});
    const isAlone = (meaning) => pairs.filter(([, other]) => other === meaning).length === 1;
    const stored = new Set(pairs.map(([value]) => value));
    return new Map(
      pairs.map(([value, meaning]) => [
        value,
        isAlone(meaning) && (meaning === value || !stored.has(meaning)) ? meaning : `${meaning} (${value})`,
      ]),
    );
  }

  value(column, value) {
    const text = shownText(value);
    return value === null ? text : (this.words(column).get(text) ?? text);
  }

  label(label) {
    return this.value(this.target, label);
  }

  // What the numbers in an interval mean, if they are few.
  between(column, above, atMost) {
    const inside = [...this.words(column)].filter(([stored]) => {
      const text = trimmed(stored);
      return isNumberText(text) && numberOf(text) > above && numberOf(text) <= atMost;
    });
    return inside.length && inside.length <= READABLE ? ` (${inside.map(([, meaning]) => meaning).join(" or ")})` : "";
  }
}

// Condition on one feature: above < value <= atMost, or its code in `codes`, which are increasing.
export class Premise {
  constructor(feature, { above = -Infinity, atMost = Infinity, codes = null, orMissing = false } = {}) {
    Object.assign(this, { feature, above, atMost, codes, orMissing });
  }

  covers(value) {
    if (Number.isNaN(value)) return this.orMissing;
    return this.codes === null ? value > this.above && value <= this.atMost : this.codes.includes(value);
  }

  // JSON object; of many categories, the others if `lists` is "shorter", or the count.
  toJson(background, lists = "all") {
    const j = this.feature;
    const item = { feature: background.names[j] };
    const missing = this.orMissing ? { or_missing: true } : {};
    if (this.codes !== null) {
      const [names, others] = this.sides(background);
      if (names.length <= READABLE) return { ...item, in: names, ...missing };
      if (lists === "all" || (lists === "shorter" && names.length <= others.length)) item.in = names;
      if (others.length <= READABLE || (lists === "shorter" && others.length < names.length)) item.not_in = others;
      return { ...item, count: names.length, of: names.length + others.length, ...missing };
    }
    if (this.above > -Infinity) item.above = background.jsonBound(j, this.above);
    if (this.atMost < Infinity) item.at_most = background.jsonBound(j, this.atMost);
    return { ...item, ...missing };
  }

  // Categories that satisfy it, and the others.
  sides(background) {
    const sides = [[], []];
    for (let code = 0; code < background.nCodes[this.feature]; code++) {
      sides[this.codes.includes(code) ? 0 : 1].push(background.jsonValue(this.feature, code));
    }
    return sides;
  }

  text(background, wording) {
    const column = background.names[this.feature];
    const name = wording.name(column);
    const missing = this.orMissing ? " or missing" : "";
    if (this.codes !== null) {
      const [names, others] = this.sides(background);
      const said = (values, between) => values.map((one) => wording.value(column, one)).join(between);
      if (!names.length) return `${name} is missing`;
      if (names.length <= READABLE) return `${name} is ${said(names, " or ")}${missing}`;
      if (!others.length) return `${name} is known${missing}`;
      if (others.length <= READABLE) return `${name} is not ${said(others, " nor ")}${missing}`;
      return `${name} is one of ${names.length} of ${names.length + others.length} values${missing}`;
    }
    const { above, atMost } = this;
    const isDate = background.features[this.feature].type in SECONDS_OF;
    const bound = (value) => (isDate && Number.isFinite(value) ? background.jsonBound(this.feature, value) : shownText(value));
    const meant = wording.between(column, above, atMost);
    if (above > -Infinity && atMost < Infinity) return `${bound(above)} < ${name} <= ${bound(atMost)}${meant}${missing}`;
    if (atMost < Infinity) return `${name} <= ${bound(atMost)}${meant}${missing}`;
    if (above > -Infinity) return `${name} > ${bound(above)}${meant}${missing}`;
    return `${name} is known`;
  }
}

// Premises that all have to hold, and the place of the class that then follows.
export class ClassRule {
  constructor(premises, consequence) {
    Object.assign(this, { premises, consequence });
  }

  covers(X, at) {
    return this.premises.every((premise) => premise.covers(X[at + premise.feature]));
  }

  equals(other) {
    return JSON.stringify(this.essence()) === JSON.stringify(other.essence());
  }

  essence() {
    return this.premises.map((one) => [one.feature, String(one.above), String(one.atMost), one.codes, one.orMissing]);
  }

  toJson(background) {
    const premises = this.premises.map((premise) => premise.toJson(background));
    return { premises, consequence: background.schema.classes[this.consequence] };
  }

  text(background, wording) {
    const label = wording.label(background.schema.classes[this.consequence]);
    if (!this.premises.length) return `ALWAYS ${label}`;
    return `IF ${this.premises.map((premise) => premise.text(background, wording)).join(" AND ")} THEN ${label}`;
  }
}
