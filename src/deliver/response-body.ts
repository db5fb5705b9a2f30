/**
 * What is kept of a response's body. The bytes are copied: a slice would keep the whole buffer that it was read into, and many
 * small chunks would be as many slices of some 200 bytes each.
 */

/** Bytes that are read; of a longer body the rest is not waited for, and its connection is closed. */
const BYTES_MAX = 64 * 1024;
/** Pieces that they may come in. 65,536 of one byte each took 10 ms of CPU, as much as a hundred attempts. */
const CHUNKS_MAX = 4_096;
/** Characters that are kept for webhook_logs. */
const CHARACTERS_MAX = 5_000;
/** No character of UTF-8 is longer. */
const KEPT_BYTES_MAX = CHARACTERS_MAX * 4;

/** Keeps no state between two texts; to make one takes as long as to decode a short text. */
const UTF8 = new TextDecoder();
const EMPTY = Buffer.alloc(0);

export class ResponseBody {
  #bytes = 0;
  #chunks = 0;
  #kept: Buffer = EMPTY;

  /** Returns false when there is no use in reading on. */
  add(chunk: Buffer): boolean {
    const from = this.#bytes;
    this.#bytes += chunk.length;
    this.#chunks += 1;
    if (from < KEPT_BYTES_MAX) {
      const until = Math.min(this.#bytes, KEPT_BYTES_MAX);
      this.#grow(until);
      chunk.copy(this.#kept, from, 0, until - from);
    }
    return this.#bytes <= BYTES_MAX && this.#chunks <= CHUNKS_MAX;
  }

  /** As text that PostgreSQL can store, cut between characters. */
  text(): string {
    const bytes = this.#kept.subarray(0, Math.min(this.#bytes, KEPT_BYTES_MAX));
    const text = UTF8.decode(bytes).replaceAll('\0', '\ufffd');
    if (text.length <= CHARACTERS_MAX && this.#bytes <= KEPT_BYTES_MAX) return text;
    return `${text.slice(0, CHARACTERS_MAX - 1).replace(/[\ud800-\udbff]$/, '')}…`;
  }

  #grow(bytes: number): void {
    if (bytes <= this.#kept.length) return;
    const larger = Buffer.alloc(Math.min(Math.max(bytes, this.#kept.length * 2), KEPT_BYTES_MAX));
    this.#kept.copy(larger);
    this.#kept = larger;
  }
}
