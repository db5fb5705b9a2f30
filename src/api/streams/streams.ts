/**
 * Attempts as they happen, as server-sent events. All streams of an organization share one read a
 * second. A read looks back 10 s and leaves out what was sent, because log rows commit in another
 * order than that of their ids.
 */
import type { ServerResponse } from 'node:http';
import { type RecentAttempt, readRecent } from '../../operations/history/attempts.ts';
import { toProblem } from '../problem.ts';
import type { Again } from '../route.ts';

const READ_EVERY_MS = 1_000;
/** A revoked token ends its streams within this time. */
const CHECK_EVERY_MS = 5_000;
const HEARTBEAT_EVERY_MS = 15_000;
/** Events that a stream sends in a second. It tells how many more there were. */
const EVENTS_A_SECOND = 50;
/** A client that does not read is disconnected. */
const UNSENT_BYTES_MAX = 1_048_576;
export const OF_ORGANIZATION_MAX = 20;
export const OF_PROCESS_MAX = 1_000;

interface Stream {
  response: ServerResponse;
  again: Again;
  checkedAt: number;
  wroteAt: number;
  /** Only attempts above this id are sent. */
  after: bigint;
  /** True until its first read. */
  isNew: boolean;
}

class OrganizationStreams {
  readonly streams = new Set<Stream>();
  /** Ids of the last read. */
  seen = new Set<string>();
  timer: NodeJS.Timeout | undefined;
}

export class Streams {
  readonly #organizations = new Map<string, OrganizationStreams>();
  /** Streams that are open or begin, by organization. */
  readonly #counts = new Map<string, number>();
  #count = 0;

  /** Takes room for a stream. Returns what gives it back, or undefined if there is none. */
  enter(organization: string): (() => void) | undefined {
    const own = this.#counts.get(organization) ?? 0;
    if (this.#count >= OF_PROCESS_MAX || own >= OF_ORGANIZATION_MAX) return undefined;
    this.#count += 1;
    this.#counts.set(organization, own + 1);
    return () => {
      this.#count -= 1;
      const left = (this.#counts.get(organization) as number) - 1;
      if (left === 0) this.#counts.delete(organization);
      else this.#counts.set(organization, left);
    };
  }

  /** Resolves when the stream has ended. `after`: the id of the last event that the client has. */
  add(organization: string, response: ServerResponse, again: Again, after: bigint): Promise<void> {
    // The client went away meanwhile: nothing would end the stream.
    if (response.destroyed) return Promise.resolve();
    const own = this.#organizations.get(organization) ?? new OrganizationStreams();
    this.#organizations.set(organization, own);
    const now = performance.now();
    const stream: Stream = { response, again, checkedAt: now, wroteAt: now, after, isNew: true };
    own.streams.add(stream);
    response.write(': rowhook\n\n');
    own.timer ??= setInterval(() => void this.#tick(organization, own), READ_EVERY_MS);
    return new Promise((ended) => {
      response.once('close', () => {
        own.streams.delete(stream);
        if (own.streams.size === 0) {
          clearInterval(own.timer);
          this.#organizations.delete(organization);
        }
        ended();
      });
    });
  }

  /** Ends all streams. Their clients come back, to another process. */
  end(): void {
    for (const { streams } of this.#organizations.values()) for (const { response } of streams) response.end();
  }

  #isReading = new WeakSet<OrganizationStreams>();

  async #tick(organization: string, own: OrganizationStreams): Promise<void> {
    if (this.#isReading.has(own)) return;
    this.#isReading.add(own);
    try {
      await Promise.all([...own.streams].map((stream) => check(stream)));
      const [any] = own.streams;
      if (any === undefined) return;
      const rows = await any.again((tx) => readRecent(tx, organization));
      const before = own.seen;
      own.seen = new Set(rows.map(({ id }) => id));
      const fresh = rows.filter(({ id }) => !before.has(id));
      for (const stream of own.streams) send(stream, stream.isNew ? rows : fresh);
    } catch {
      // The database is away. The next read sends what was logged meanwhile, as far as it looks back.
    } finally {
      this.#isReading.delete(own);
    }
  }
}

async function check(stream: Stream): Promise<void> {
  const now = performance.now();
  if (now - stream.checkedAt < CHECK_EVERY_MS) return;
  stream.checkedAt = now;
  await stream
    .again(async () => {})
    .catch((error: unknown) => {
      if (toProblem(error).status < 500) stream.response.end();
    });
}

function send(stream: Stream, rows: readonly RecentAttempt[]): void {
  const { response } = stream;
  stream.isNew = false;
  if (response.writableLength > UNSENT_BYTES_MAX) return void response.destroy();
  const now = performance.now();
  const news = rows.filter(({ id }) => BigInt(id) > stream.after);
  if (news.length === 0) {
    if (now - stream.wroteAt < HEARTBEAT_EVERY_MS) return;
    stream.wroteAt = now;
    return void response.write(': \n\n');
  }
  stream.wroteAt = now;
  const events = news
    .slice(-EVENTS_A_SECOND)
    .map((row) => `id: ${row.id}\nevent: attempt\ndata: ${JSON.stringify(row)}\n\n`);
  const skipped = news.length - events.length;
  if (skipped > 0) events.unshift(`event: skipped\ndata: {"skipped":${skipped}}\n\n`);
  response.write(events.join(''));
}
