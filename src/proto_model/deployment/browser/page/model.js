// A version: rows in, answers out.
import { unpacked } from "./bytes.js";
import { Decision } from "./decision.js";
import { Explainer } from "./explain.js";
import { Forest } from "./forest.js";
import { argmax, roundTo } from "./numbers.js";
import { MESSAGES } from "./texts.js";
import { TextExplainer } from "./unfolded.js";
import { Rule, faultText, withCodes } from "./values.js";

// The version in the bytes of a model.bin; `digest` is the SHA-256 that they have to have, if it is known.
export function openModel(bytes, digest = "") {
  return new Model(unpacked(bytes, digest));
}

class Model {
  constructor(content) {
    const { head, arrays } = content;
    this.about = head.about;
    this.schema = head.schema;
    this.parameters = head.parameters;
    this.classes = head.schema.classes;
    this.nClasses = this.classes.length;
    this.rules = head.schema.features.map((feature) => new Rule(withCodes(feature)));
    this.width = this.rules.length;
    this.forest = new Forest(content);
    this.decision = new Decision(head.decision, this.nClasses);
    this.plain = head.plain;
    this.arrays = arrays;
    this.probabilityNames = head.probability_columns;
  }

  // Coded row of a record, and what is wrong with it by feature.
  coded(record) {
    const row = new Float64Array(this.width);
    const faults = [];
    this.rules.forEach((rule, j) => {
      const { name } = rule.feature;
      const value = Object.hasOwn(record, name) ? record[name] : null;
      const [code, fault] = rule.read(value);
      row[j] = code;
      if (fault) faults.push({ feature: name, message: this.fault(j, value, fault) });
    });
    return { row, faults };
  }

  // What is wrong with a value of a feature.
  fault(j, value, fault) {
    return faultText(value, this.rules[j].feature, fault);
  }

  // Probability of each class, row by row, of n coded rows.
  probabilities(X, n) {
    return this.decision.calibrated(this.forest.predict(X, n));
  }

  // Place of the predicted class of each row.
  decided(probabilities) {
    const scores = this.decision.scores(probabilities);
    return Int32Array.from({ length: scores.length / this.nClasses }, (_, i) => argmax(scores, i * this.nClasses, this.nClasses));
  }

  // The answer to one coded row.
  answer(row, parameters = {}) {
    const probabilities = this.probabilities(row, 1);
    const [best] = this.decided(probabilities);
    const answer = { prediction: this.classes[best], probability: probabilities[best] };
    this.probabilityNames.forEach((name, k) => (answer[name] = probabilities[k]));
    const coverage = parameters.coverage ?? 0;
    if (coverage) {
      if (this.decision.sets === null) {
        throw new Error(MESSAGES.noSets);
      }
      answer.prediction_set = this.decision.members(probabilities, best, coverage).map((k) => this.classes[k]);
    }
    if (parameters.explain) answer.explanation = this.explain(row, parameters);
    return answer;
  }

  // What parameters are where nothing is given.
  defaults() {
    return Object.fromEntries(this.parameters.map((one) => [one.name, one.default]));
  }

  // Why a coded row gets its class; as the server says it, but importances are pairs.
  explain(row, parameters = {}) {
    const hasCosts = this.decision.costs !== null;
    if (this.explainer === undefined) {
      const model = (X, n) => {
        const probabilities = this.probabilities(X, n);
        return hasCosts ? this.decision.scores(probabilities) : probabilities;
      };
      const isSynthetic = this.about.background === "synthetic";
      this.explainer = this.plain
        ? new TextExplainer(this.schema, this.plain, this.arrays, isSynthetic, model)
        : new Explainer(this.schema, this.arrays, isSynthetic, model);
    }
    const found = this.explainer.explain(row, { ...this.defaults(), ...parameters });
    return hasCosts ? this.truthful(found, row) : found;
  }

  // An explanation of decisions by costs, with the probabilities of the classes that it names.
  truthful(found, row) {
    const withShare = (content, own) => {
      const place = this.classes.indexOf(content.prediction);
      return { ...content, probability: roundTo(this.probabilities(own, 1)[place], 6) };
    };
    const flips = found.counterfactuals.map((flip) => {
      const own = Float64Array.from(row);
      for (const { feature, to } of flip.changes) {
        const place = this.rules.findIndex((rule) => rule.feature.name === feature);
        [own[place]] = this.rules[place].read(to);
      }
      return withShare(flip, own);
    });
    return { ...withShare(found, row), counterfactuals: flips };
  }
}

// An explanation as JSON, in which importances are an object whose keys keep their order.
export function jsonText(explanation) {
  const { feature_importances: shares } = explanation;
  const inner = shares.map(([name, share]) => `${JSON.stringify(name)}:${share}`).join(",");
  const text = JSON.stringify({ ...explanation, feature_importances: 0 });
  return text.replace('"feature_importances":0', () => `"feature_importances":{${inner}}`);
}
