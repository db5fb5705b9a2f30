/**
 * Stores the start of a response's body. The bytes are copied. A slice would keep its whole read
 * buffer in memory, and many small chunks would need many slices of about 200 bytes each.
 */

/** Limit on bytes read. At this limit rowhook stops reading and closes the connection. */
const BYTES_MAX = 64 * 1024;
/**
 * Limit on the chunks of a body. 65,536 chunks of one byte took 10 ms of CPU, as much as a hundred
 * attempts.
 */
const CHUNKS_MAX = 4_096;
/** Limit on characters stored in webhook_logs. */
const CHARACTERS_MAX = 5_000;
/** A character of UTF-8 has at most four bytes. */
const KEPT_BYTES_MAX = CHARACTERS_MAX * 4;

/**
 * Reused, because it has no state between two calls. Creating a decoder takes as long as decoding a
 * short text.
 */
const UTF8 = new TextDecoder();
const EMPTY = Buffer.alloc(0);

export class ResponseBody {
  #bytes = 0;
  #chunks = 0;
  #kept: Buffer = EMPTY;

  /** Returns false when reading can stop. */
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

  /** The stored text, cut between characters. PostgreSQL cannot store NUL, so it is replaced. */
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
