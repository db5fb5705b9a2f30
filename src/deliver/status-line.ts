/**
 * Checks the status line of a response in the raw bytes. undici reports the status, but not the
 * protocol version. Pure.
 */

/** undici also accepts RTSP/1.1, ICE/1.0, HTTP/0.9 and HTTP/2.0. */
const STATUS_LINES = ['HTTP/1.1 ', 'HTTP/1.0 '];
const [HTTP, ONE_ONE] = [0x48545450, 0x2f312e31];
const STATUS_MAX = 599;

export function textOf(read: Buffer | string): string {
  return typeof read === 'string' ? read : read.toString('latin1');
}

/**
 * True for a final response in one chunk that begins with "HTTP/1.1 ". Nearly every response is
 * like this, and converting each to a string took 2 µs.
 */
export function isUsual(read: Buffer | string, status: number): boolean {
  if (status < 200 || status > STATUS_MAX) return false;
  if (typeof read === 'string' || read.length < 9) return false;
  return read.readUInt32BE(0) === HTTP && read.readUInt32BE(4) === ONE_ONE && read[8] === 0x20;
}

/** Why a response with this head is refused, or undefined. */
export function statusProblem(head: string, status: number): string | undefined {
  if (!STATUS_LINES.some((start) => head.startsWith(start)))
    return `a status line of ${JSON.stringify(head.slice(0, head.search(/\s/)))}`;
  return status < 100 || status > STATUS_MAX ? `status ${status}, which HTTP does not have` : undefined;
}

/** The status of a 2xx response whose status line is complete. Its headers may be incomplete. */
export function successIn(read: Buffer | string): number | undefined {
  const [, status] = /^[\r\n]*HTTP\/1\.[01] (2\d\d)( [^\r\n]*)?\r\n/.exec(textOf(read)) ?? [];
  return status === undefined ? undefined : Number(status);
}
