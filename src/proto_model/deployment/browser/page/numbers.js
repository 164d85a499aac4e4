// Arithmetic as NumPy and Python do it: the same order of adding, the same rounding, the same spelling.

const pairs = new Float64Array(1);
const bits = new BigInt64Array(pairs.buffer);
const LAST_BITS = 2 ** 30;

// Sum of n numbers from `at` on, `step` apart, in NumPy's order: blocks of 128 by eight sums, halves above.
export function pairwise(a, at = 0, n = a.length, step = 1) {
  if (n < 8) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += a[at + i * step];
    return sum;
  }
  if (n > 128) {
    const half = (n >> 1) - ((n >> 1) % 8);
    return pairwise(a, at, half, step) + pairwise(a, at + half * step, n - half, step);
  }
  const r = [];
  for (let k = 0; k < 8; k++) r.push(a[at + k * step]);
  const whole = n - (n % 8);
  for (let i = 8; i < whole; i += 8) for (let k = 0; k < 8; k++) r[k] += a[at + (i + k) * step];
  let sum = r[0] + r[1] + (r[2] + r[3]) + (r[4] + r[5] + (r[6] + r[7]));
  for (let i = whole; i < n; i++) sum += a[at + i * step];
  return sum;
}

export const meanOf = (a) => pairwise(a) / a.length;

// Round half to even, as np.round does.
export function rint(x) {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

// The last bits of logarithms and powers differ between machines.
export const settled = (x) => rint(x * LAST_BITS) / LAST_BITS;

// The next float64 in a direction, which is plus or minus infinity, or a number beyond it.
export function nextAfter(x, towards) {
  if (x === towards || Number.isNaN(x)) return x;
  if (x === 0) return towards > 0 ? 5e-324 : -5e-324;
  pairs[0] = x;
  bits[0] += towards > x === x > 0 ? 1n : -1n;
  return pairs[0];
}

// round(x, places) of Python: exact, ties to even.
export function roundTo(x, places) {
  if (places < 0) {
    const power = 10n ** BigInt(-places);
    const whole = BigInt(Math.trunc(x));
    const rest = whole % power;
    const twice = 2n * (rest < 0n ? -rest : rest);
    const sign = x < 0 ? -1n : 1n;
    const isExact = Number(whole) === x;
    let cut = (whole - rest) / power;
    if (twice > power || (twice === power && (!isExact || cut % 2n !== 0n))) cut += sign;
    return Number(cut * power);
  }
  if (places > 80 || Math.abs(x) >= 1e21) return x;
  return Number(fixed(x, places));
}

// f"{x:.{places}f}" of Python; toFixed takes the larger of two equally near.
export function fixed(x, places) {
  const plain = x.toFixed(places);
  const exact = Math.abs(x).toFixed(Math.min(100, places + 20));
  const tail = exact.slice(exact.indexOf(".") + 1 + places);
  if (!/^50*$/.test(tail)) return plain;
  const cut = exact.slice(0, exact.length - tail.length).replace(/\.$/, "");
  if ("02468".includes(cut.at(-1))) return x < 0 ? `-${cut}` : cut;
  return plain;
}

export const percentText = (share, places) => `${fixed(share * 100, places)}%`;

// repr() of a Python float.
export function floatText(x) {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [digits, power] = x.toExponential().split("e");
    return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }
  const text = String(x);
  return /[.e]/.test(text) ? text : `${Object.is(x, -0) ? "-0" : text}.0`;
}

// f"{x:g}" of Python.
export function generalText(x) {
  if (!Number.isFinite(x)) return floatText(x);
  const [digits, power] = x.toExponential(5).split("e");
  if (Number(power) < -4 || Number(power) >= 6) {
    const short = digits.replace(/\.?0+$/, "");
    return `${short}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }
  return x.toFixed(5 - Number(power)).replace(/(\.[0-9]*?)0+$/, "$1").replace(/\.$/, "");
}

// floor(log10(x)), exact where x is a power of ten.
export function decade(x) {
  const log = Math.log10(x);
  const near = Math.round(log);
  return Number(`1e${near}`) === x ? near : Math.floor(log);
}

// Places of values in ascending order; equal ones keep their order, missing ones stand last.
export function argsort(values) {
  const order = Array.from(values, (_, i) => i);
  return order.sort((i, k) => byNumber(values[i], values[k]));
}

export function byNumber(a, b) {
  if (a < b) return -1;
  if (a > b) return 1;
  if (a === b) return 0;
  return Number.isNaN(a) - Number.isNaN(b);
}

// How many of the increasing values are below x, or not above it.
export function below(values, x, first = 0, end = values.length) {
  let low = first;
  let high = end;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low - first;
}

export function notAbove(values, x) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function argmax(values, at = 0, n = values.length) {
  let best = 0;
  for (let k = 1; k < n; k++) if (values[at + k] > values[at + best]) best = k;
  return best;
}

export const differ = (a, b) => a !== b && !(Number.isNaN(a) && Number.isNaN(b));

// np.linspace
export function spaced(start, stop, n) {
  const step = (stop - start) / (n - 1);
  const made = Float64Array.from({ length: n }, (_, i) => i * step + start);
  if (n > 1) made[n - 1] = stop;
  return made;
}
