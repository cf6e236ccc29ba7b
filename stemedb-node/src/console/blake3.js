// BLAKE3, plain and keyed, as its paper says it (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020).
// Browsers bring no BLAKE3 of their own, and a proof that the server checked would prove nothing.

const IV = Uint32Array.of(
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
);
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];

const CHUNK_START = 1;
const CHUNK_END = 2;
const PARENT = 4;
const ROOT = 8;
const KEYED = 16;

const BLOCK_LEN = 64;
const CHUNK_LEN = 1024;

const rotate = (word, bits) => (word >>> bits) | (word << (32 - bits));

function mix(state, a, b, c, d, x, y) {
  state[a] = state[a] + state[b] + x;
  state[d] = rotate(state[d] ^ state[a], 16);
  state[c] = state[c] + state[d];
  state[b] = rotate(state[b] ^ state[c], 12);
  state[a] = state[a] + state[b] + y;
  state[d] = rotate(state[d] ^ state[a], 8);
  state[c] = state[c] + state[d];
  state[b] = rotate(state[b] ^ state[c], 7);
}

function compress(chaining, block, counter, len, flags) {
  const state = new Uint32Array(16);
  state.set(chaining);
  state.set(IV.subarray(0, 4), 8);
  state[12] = counter >>> 0;
  state[13] = Math.floor(counter / 2 ** 32);
  state[14] = len;
  state[15] = flags;
  let words = block;
  for (let round = 0; round < 7; round += 1) {
    mix(state, 0, 4, 8, 12, words[0], words[1]);
    mix(state, 1, 5, 9, 13, words[2], words[3]);
    mix(state, 2, 6, 10, 14, words[4], words[5]);
    mix(state, 3, 7, 11, 15, words[6], words[7]);
    mix(state, 0, 5, 10, 15, words[8], words[9]);
    mix(state, 1, 6, 11, 12, words[10], words[11]);
    mix(state, 2, 7, 8, 13, words[12], words[13]);
    mix(state, 3, 4, 9, 14, words[14], words[15]);
    const before = words;
    words = Uint32Array.from(PERMUTATION, (place) => before[place]);
  }
  return Uint32Array.from({ length: 8 }, (_, at) => state[at] ^ state[at + 8]);
}

function wordsOf(bytes) {
  const padded = new Uint8Array(BLOCK_LEN);
  padded.set(bytes);
  const view = new DataView(padded.buffer);
  return Uint32Array.from({ length: 16 }, (_, at) => view.getUint32(4 * at, true));
}

// One chunk of at most 1,024 bytes.
function chunk(key, bytes, counter, flags) {
  let chaining = key;
  let at = 0;
  let start = CHUNK_START;
  while (bytes.length - at > BLOCK_LEN) {
    const block = wordsOf(bytes.subarray(at, at + BLOCK_LEN));
    chaining = compress(chaining, block, counter, BLOCK_LEN, (flags & ~ROOT) | start);
    start = 0;
    at += BLOCK_LEN;
  }
  const last = bytes.subarray(at);
  return compress(chaining, wordsOf(last), counter, last.length, flags | start | CHUNK_END);
}

// The largest power of two of chunks that leaves something for the right side.
function leftLen(len) {
  let chunks = 1;
  while (2 * chunks * CHUNK_LEN < len) chunks *= 2;
  return chunks * CHUNK_LEN;
}

function tree(key, bytes, counter, flags) {
  if (bytes.length <= CHUNK_LEN) return chunk(key, bytes, counter, flags);
  const left = leftLen(bytes.length);
  const below = flags & ~ROOT;
  const block = new Uint32Array(16);
  block.set(tree(key, bytes.subarray(0, left), counter, below));
  block.set(tree(key, bytes.subarray(left), counter + left / CHUNK_LEN, below), 8);
  return compress(key, block, 0, BLOCK_LEN, flags | PARENT);
}

function bytesOf(words) {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  words.forEach((word, at) => view.setUint32(4 * at, word, true));
  return bytes;
}

/** The hash of bytes: 32 bytes. */
export function hash(bytes) {
  return bytesOf(tree(IV, bytes, 0, ROOT));
}

/** The hash of bytes under a key of 32 bytes. */
export function keyedHash(key, bytes) {
  return bytesOf(tree(wordsOf(key).subarray(0, 8), bytes, 0, ROOT | KEYED));
}
