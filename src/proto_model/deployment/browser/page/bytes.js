// model.bin: its digest, its head and its arrays.

const MAGIC = "PROTOMT1";
const HEAD_AT = 44;
const KINDS = { f8: Float64Array, f4: Float32Array, i4: Int32Array, u1: Uint8Array };

const firstBits = (root) => (n) => Math.floor((root(n) % 1) * 2 ** 32) | 0;

function primes(count) {
  const found = [];
  for (let n = 2; found.length < count; n++) if (found.every((p) => n % p)) found.push(n);
  return found;
}

// SHA-256 in hexadecimal. The browser's own is not there on plain HTTP.
export function sha256(bytes) {
  const rounds = Int32Array.from(primes(64), firstBits(Math.cbrt));
  const state = Int32Array.from(primes(8), firstBits(Math.sqrt));
  const end = (((bytes.length + 8) >> 6) << 6) + 64;
  const last = new Uint8Array(end - ((bytes.length >> 6) << 6));
  last.set(bytes.subarray((bytes.length >> 6) << 6));
  last[bytes.length & 63] = 128;
  const view = new DataView(last.buffer);
  view.setUint32(last.length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(last.length - 4, (bytes.length << 3) >>> 0);
  const words = new Int32Array(64);
  const whole = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < end; at += 64) {
    const isWhole = at + 64 <= bytes.length;
    const from = isWhole ? whole : view;
    const start = isWhole ? at : at - ((bytes.length >> 6) << 6);
    for (let i = 0; i < 16; i++) words[i] = from.getInt32(start + 4 * i);
    mixWords(words, rounds, state);
  }
  return Array.from(state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

function mixWords(words, rounds, state) {
  for (let i = 16; i < 64; i++) {
    const x = words[i - 15];
    const y = words[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    words[i] = (words[i - 16] + s0 + words[i - 7] + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + rounds[i] + words[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] += word));
}

// Head and arrays of a model; an error says what is wrong with it. `digest` is what the page expects.
export function unpacked(given, digest = "") {
  const bytes = given.byteOffset % 8 ? given.slice() : given;
  const text = new TextDecoder();
  if (bytes.length < HEAD_AT || text.decode(bytes.subarray(0, 8)) !== MAGIC) {
    throw new Error("This is not a model.bin that this page reads. Export the version again.");
  }
  const hex = Array.from(bytes.subarray(8, 40), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (sha256(bytes.subarray(40)) !== hex || (digest && sha256(bytes) !== digest)) {
    throw new Error("The model is damaged: its SHA-256 does not fit. Export the version again.");
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(40, true);
  const { arrays: listed, ...head } = JSON.parse(text.decode(bytes.subarray(HEAD_AT, HEAD_AT + length)));
  const arrays = {};
  const start = bytes.byteOffset + HEAD_AT + length;
  for (const [name, { type, shape, at }] of Object.entries(listed)) {
    arrays[name] = new KINDS[type](bytes.buffer, start + at, shape.reduce((n, size) => n * size, 1));
  }
  return { head, arrays };
}

// Parts of an array, such as the cut points of each feature.
export const partsOf = (array, starts) =>
  Array.from({ length: starts.length - 1 }, (_, j) => array.subarray(starts[j], starts[j + 1]));
