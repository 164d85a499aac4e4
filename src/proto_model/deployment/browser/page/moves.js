// Changes of a row worth trying: of single features, then of several at once.
import { argsort, below, decade, differ, notAbove, rint } from "./numbers.js";

const MOST_MOVES = 400;
const MOST_COMBINED = [[2, 32, 50], [3, 18, 40]]; // at a time, changes that are put together, rows per slack
const SLACK = [0.35, 0.15, 0, -0.3]; // of the way to another class that combinations may be foretold to lack
const MOST_STEPS = 10;

// Between each two of increasing numbers, the one with the fewest digits near the middle, where there is one.
function withBetween(values, isWhole) {
  const found = new Set(values);
  for (let i = 0; i + 1 < values.length; i++) {
    const [low, high] = [values[i], values[i + 1]];
    const middle = low + (high - low) / 2;
    const first = -decade(Math.max(high - low, 1e-300));
    for (let more = -1; more < 2; more++) {
      const places = Math.min(Math.max(first + more, -300), isWhole ? 0 : 300);
      const power = Number(`1e${Math.abs(places)}`);
      const short = places > 0 ? rint(middle * power) / power : rint(middle / power) * power;
      if (low < short && short < high) {
        found.add(short);
        break;
      }
    }
  }
  return Float64Array.from(found).sort();
}

// Values a quarter, half and three quarters (by rank) of the way from a to b, without either.
export function valuesBetween(background, j, a, b) {
  let values = background.known[j];
  const [low, high] = a < b ? [a, b] : [b, a];
  let first = notAbove(values, low);
  let n = below(values, high) - first;
  const isInRange = values.length > 0 && values[0] <= low && high <= values[values.length - 1];
  if (n <= 0 && background.numeric[j] && isInRange && high - low > background.gap[j]) {
    values = withBetween([low, high], background.whole[j]);
    [first, n] = [1, values.length - 2];
  }
  if (n <= 0) return [];
  const ranks = [...new Set([n, 2 * n, 3 * n].map((part) => Math.floor(part / 4)))].sort((x, y) => x - y);
  return (a < b ? ranks : ranks.reverse()).map((rank) => values[first + rank]);
}

// Known value nearest to a target on `own`'s side of it, or `own` where there is none between.
export function valueTowards(background, j, own, target, isUp) {
  const values = background.known[j];
  const at = isUp ? Math.max(notAbove(values, target) - 1, 0) : Math.min(below(values, target), values.length - 1);
  const found = values[at];
  const isBetween = isUp ? found > own && found <= target : found < own && found >= target;
  return isBetween ? found : own;
}

// Single changes to tried values that are allowed; a random share of them when there are too many.
export function movesOf(x, background, freedom, rng) {
  const moves = [];
  background.tried.forEach((values, j) => {
    for (const value of values) if (value !== x[j] && freedom.allows(j, x[j], value)) moves.push({ j, value });
  });
  return moves.length > MOST_MOVES ? rng.choice(moves.length, MOST_MOVES).map((at) => moves[at]) : moves;
}

export function changed(x, moves) {
  const row = Float64Array.from(x);
  for (const { j, value } of moves) row[j] = value;
  return row;
}

// Rows one after the other.
export function stacked(rows, m) {
  const X = new Float64Array(rows.length * m);
  rows.forEach((row, i) => X.set(row, i * m));
  return X;
}

// By how much a class is ahead of all others.
export function marginOf(probabilities, at, n, label) {
  let other = 0;
  for (let k = 0; k < n; k++) if (k !== label) other = Math.max(other, probabilities[at + k]);
  return probabilities[at + label] - other;
}

// Rows with two or three of the changes, those that are foretold to flip, the nearest first.
export function combinedRows(x, background, moves, gains, needed, prices, limits) {
  const costs = moves.map((move, i) => background.distance(x, changed(x, [move]), 0) + prices[i]);
  const worth = worthTrying(moves, gains, costs);
  const order = argsort(worth.map((i) => -gains[i] / costs[i])).map((place) => worth[place]);
  const rows = [];
  for (const [size, most, perSlack] of MOST_COMBINED) {
    const among = order.slice(0, most);
    const picked = combinationsOf(among.length, size).map((places) => places.map((place) => among[place]));
    const totals = picked.map((some) => some.reduce((sum, i) => sum + costs[i], 0));
    const lacking = picked.map((some) => needed - some.reduce((sum, i) => sum + gains[i], 0));
    const isUseful = picked.map((some, place) => {
      const features = new Set(some.map((i) => moves[i].j));
      return features.size === size && totals[place] < Math.min(...[...features].map((j) => limits[j]));
    });
    const byCost = argsort(totals).filter((place) => isUseful[place]);
    const chosen = new Set();
    for (const slack of SLACK) {
      const sets = new Set(); // the cheapest change of each set of features
      for (const place of byCost) {
        if (sets.size === perSlack) break;
        if (!(lacking[place] <= slack * needed)) continue;
        const key = picked[place].map((i) => moves[i].j).sort((a, b) => a - b).join();
        if (!sets.has(key)) chosen.add(place);
        sets.add(key);
      }
    }
    for (const place of [...chosen].sort((a, b) => a - b)) rows.push(changed(x, picked[place].map((i) => moves[i])));
  }
  return rows;
}

// Changes that take the model further than any cheaper change of the same feature does.
function worthTrying(moves, gains, costs) {
  const order = [...moves.keys()].sort(
    (a, b) => moves[a].j - moves[b].j || costs[a] - costs[b] || gains[b] - gains[a] || a - b,
  );
  const worth = [];
  let best = -Infinity;
  for (const i of order) {
    if (!(gains[i] > 0)) continue;
    const level = gains[i] + 4 * moves[i].j; // gains are at most 2, so that features stay apart
    if (level > best) worth.push(i);
    best = Math.max(best, level);
  }
  return worth;
}

function combinationsOf(n, size) {
  const found = [];
  const extend = (chosen, first) => {
    if (chosen.length === size) found.push(chosen);
    else for (let next = first; next < n; next++) extend([...chosen, next], next + 1);
  };
  extend([], 0);
  return found;
}

// Near rows of another class, and the first two, three, ... of their changes alone, weightiest first.
export function partsOfNear(x, freedom, moves, gains, near) {
  const tried = new Map();
  moves.forEach((move, i) => tried.set(move.j, [...(tried.get(move.j) ?? []), i]));
  const withGain = new Set(moves.filter((_, i) => gains[i] > 0).map(({ j }) => j));
  const wanted = near.map((row) => row.map((value, j) => (freedom.allows(j, x[j], value) ? value : x[j])));
  const rows = wanted.filter((row) => row.some((value, j) => differ(value, x[j])));
  for (const row of wanted) {
    // A change is taken to do what the nearest change of the same feature that was tried does.
    const effect = Array.from(row, (value, j) => {
      if (!withGain.has(j)) return 0;
      const some = tried.get(j);
      if (Number.isNaN(value)) return gains[some[0]];
      return gains[some[argsort(some.map((i) => Math.abs(moves[i].value - value)))[0]]];
    });
    const isChanged = Array.from(row, (value, j) => differ(value, x[j]));
    const order = argsort(effect.map((one, j) => (isChanged[j] ? -one : Infinity)));
    const steps = order.slice(0, Math.min(isChanged.filter(Boolean).length, MOST_STEPS));
    for (let n = 2; n <= steps.length; n++) {
      rows.push(changed(x, steps.slice(0, n).map((j) => ({ j, value: row[j] }))));
    }
  }
  return rows;
}
