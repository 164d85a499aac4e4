// NumPy's random numbers: the generator SFC64, seeded as NumPy does it, and its draws.

const MASK_64 = (1n << 64n) - 1n;
const SIGMA = [
  "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
  "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
].map((order) => Array.from(order, (digit) => parseInt(digit, 16)));
const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const MIXED = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];

// BLAKE2b with a digest of 16 bytes, as four words of 32 bits.
export function blake2b(message) {
  const h = IV.slice();
  h[0] ^= 0x01010000n ^ 16n;
  const nBlocks = Math.max(1, Math.ceil(message.length / 128));
  const padded = new Uint8Array(nBlocks * 128);
  padded.set(message);
  const view = new DataView(padded.buffer);
  for (let block = 0; block < nBlocks; block++) {
    const isLast = block === nBlocks - 1;
    const m = Array.from({ length: 16 }, (_, i) => view.getBigUint64(block * 128 + 8 * i, true));
    const v = [...h, ...IV];
    v[12] ^= BigInt(isLast ? message.length : (block + 1) * 128);
    if (isLast) v[14] ^= MASK_64;
    for (let round = 0; round < 12; round++) {
      const order = SIGMA[round % 10];
      MIXED.forEach((places, i) => mixFour(v, places, m[order[2 * i]], m[order[2 * i + 1]]));
    }
    for (let i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
  }
  return [h[0] & 0xffffffffn, h[0] >> 32n, h[1] & 0xffffffffn, h[1] >> 32n].map(Number);
}

const turned = (x, n) => (x >> n) | ((x << (64n - n)) & MASK_64);

function mixFour(v, [a, b, c, d], x, y) {
  v[a] = (v[a] + v[b] + x) & MASK_64;
  v[d] = turned(v[d] ^ v[a], 32n);
  v[c] = (v[c] + v[d]) & MASK_64;
  v[b] = turned(v[b] ^ v[c], 24n);
  v[a] = (v[a] + v[b] + y) & MASK_64;
  v[d] = turned(v[d] ^ v[a], 16n);
  v[c] = (v[c] + v[d]) & MASK_64;
  v[b] = turned(v[b] ^ v[c], 63n);
}

// NumPy's SeedSequence: so many words of 32 bits from the words of an entropy.
function seedWords(entropy, count) {
  let constant = 0x43b0d7e5;
  const hashed = (given) => {
    let value = given ^ constant;
    constant = Math.imul(constant, 0x931e8875);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  const mixed = (x, y) => {
    const value = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) | 0;
    return value ^ (value >>> 16);
  };
  const pool = [0, 1, 2, 3].map((i) => hashed(entropy[i] ?? 0));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mixed(pool[to], hashed(pool[from]));
  }
  for (const word of entropy.slice(4)) for (let to = 0; to < 4; to++) pool[to] = mixed(pool[to], hashed(word));
  constant = 0x8b51f9dd;
  return Array.from({ length: count }, (_, i) => {
    let value = pool[i % 4] ^ constant;
    constant = Math.imul(constant, 0x58f38ded);
    value = Math.imul(value, constant);
    return (value ^ (value >>> 16)) >>> 0;
  });
}

// np.random.Generator(np.random.SFC64(seed)), for the draws that explanations make. `entropy` is the seed in words
// of 32 bits, the lowest first; a number of 64 bits is kept as two of these.
export class Generator {
  constructor(entropy, normal) {
    const words = seedWords(entropy, 6).map((word) => word | 0);
    [this.aLow, this.aHigh, this.bLow, this.bHigh, this.cLow, this.cHigh] = words;
    this.count = 1; // far fewer than 2 ** 53 numbers are drawn
    this.kept = null; // the high half of a number of which the low one was used
    this.normal = normal;
    for (let i = 0; i < 12; i++) this.next();
  }

  // Sets `low` and `high` to the halves of the next 64 bits.
  next() {
    const { aLow, aHigh, bLow, bHigh, cLow, cHigh, count } = this;
    let low = (aLow >>> 0) + (bLow >>> 0) + (count >>> 0);
    const high = (aHigh + bHigh + Math.floor(count / 4294967296) + Math.floor(low / 4294967296)) | 0;
    low |= 0;
    this.count = count + 1;
    this.aLow = bLow ^ ((bLow >>> 11) | (bHigh << 21));
    this.aHigh = bHigh ^ (bHigh >>> 11);
    const shiftedLow = cLow << 3;
    const sum = (cLow >>> 0) + (shiftedLow >>> 0);
    this.bLow = sum | 0;
    this.bHigh = (cHigh + ((cHigh << 3) | (cLow >>> 29)) + (sum > 4294967295 ? 1 : 0)) | 0;
    const turnedLow = (cLow << 24) | (cHigh >>> 8);
    const turnedHigh = (cHigh << 24) | (cLow >>> 8);
    const added = (turnedLow >>> 0) + (low >>> 0);
    this.cLow = added | 0;
    this.cHigh = (turnedHigh + high + (added > 4294967295 ? 1 : 0)) | 0;
    this.low = low >>> 0;
    this.high = high >>> 0;
  }

  uint32() {
    if (this.kept !== null) {
      const high = this.kept;
      this.kept = null;
      return high;
    }
    this.next();
    this.kept = this.high;
    return this.low;
  }

  // From 0 to 1, of 53 bits.
  double() {
    this.next();
    return ((this.high >>> 5) * 67108864 + (this.low >>> 6)) / 9007199254740992;
  }

  doubles(n) {
    return Float64Array.from({ length: n }, () => this.double());
  }

  // A whole number below `end`, at most 2 ** 32 - 1 (D. Lemire, "Fast Random Integer Generation in an Interval", 2019).
  below(end) {
    if (end === 1) return 0;
    for (;;) {
      const product = BigInt(this.uint32()) * BigInt(end);
      const left = product & 0xffffffffn;
      if (left >= BigInt(end) || left >= BigInt((4294967296 - end) % end)) return Number(product >> 32n);
    }
  }

  belows(n, end) {
    if (end > 0x200000) return Int32Array.from({ length: n }, () => this.below(end));
    const made = new Int32Array(n);
    if (end === 1) return made;
    const least = (4294967296 - end) % end;
    for (let i = 0; i < n; i++) {
      for (;;) {
        const product = this.uint32() * end; // below 2 ** 53
        const left = product % 4294967296;
        if (left >= end || left >= least) {
          made[i] = Math.floor(product / 4294967296);
          break;
        }
      }
    }
    return made;
  }

  // The same from parts of 8 or 16 bits of each 32, which NumPy takes for small types; what is left over is dropped.
  parts(n, end, size) {
    const made = new Int32Array(n);
    if (end === 1) return made;
    const span = 2 ** size;
    const least = (span - end) % end;
    let word = 0;
    let left = 0;
    for (let i = 0; i < n; i++) {
      for (;;) {
        if (left === 0) {
          word = this.uint32();
          left = 32 / size - 1;
        } else {
          word >>>= size;
          left--;
        }
        const product = (word & (span - 1)) * end;
        if ((product & (span - 1)) >= least) {
          made[i] = product >>> size;
          break;
        }
      }
    }
    return made;
  }

  // So many different whole numbers below `end`, in ascending order, as Generator.choice: a shuffled end of all of
  // them, or by Floyd's algorithm.
  choice(end, n) {
    if (end > 10_000 && n > Math.floor(end / 50)) {
      const all = Array.from({ length: end }, (_, i) => i);
      for (let i = end - 1; i >= Math.max(end - n, 1); i--) {
        const other = this.below(i + 1);
        [all[i], all[other]] = [all[other], all[i]];
      }
      return all.slice(end - n).sort((a, b) => a - b);
    }
    const chosen = new Set();
    for (let last = end - n; last < end; last++) {
      const drawn = this.below(last + 1);
      chosen.add(chosen.has(drawn) ? last : drawn);
    }
    return [...chosen].sort((a, b) => a - b);
  }

  // A normal number, by the tables that NumPy has.
  standardNormal() {
    const { wi, ki } = this.normal;
    for (;;) {
      this.next();
      const strip = this.low & 255;
      const isNegative = (this.low >>> 8) & 1;
      const place = (this.high & 0x1fffffff) * 8388608 + (this.low >>> 9);
      const size = place * wi[strip];
      const x = isNegative ? -size : size;
      if (place < ki[strip]) return x;
      const end = wi[255] * 4503599627370496; // where the tail begins
      if (strip === 0) {
        for (;;) {
          const far = -Math.log1p(-this.double()) / end;
          const high = -Math.log1p(-this.double());
          if (high + high > far * far) return (Math.floor(place / 256) & 1) === 1 ? -(end + far) : end + far;
        }
      }
      const height = (of) => (of === 0 ? 1 : Math.exp(-0.5 * (wi[of] * 4503599627370496) ** 2));
      if ((height(strip - 1) - height(strip)) * this.double() + height(strip) < Math.exp(-0.5 * x * x)) return x;
    }
  }
}
