// A receiver that costs little: HTTP/1.1 with keep-alive over bare sockets, counting content-lengths. It answers a request
// for a tenth of what node:http takes, so that it is not what is measured; what it takes is measured too (cpuMs).

import { createServer, type Socket } from 'node:net';
import { answer } from './child.ts';

/** Between these many requests the clock is read. */
interface Reset {
  every: number;
  /** Share of requests that it refuses, at random; 0 by default. */
  refuse?: number;
  /** Notes when each numbered request came ("title":"#17"). */
  numbered?: boolean;
  /** Milliseconds until it answers; 0 by default. */
  answerAfterMs?: number;
}

export interface Marks {
  requests: number;
  every: number;
  /** Milliseconds of the machine's monotonic clock at the first request; 0: none came. */
  firstAt: number;
  /** And at each `every` requests. */
  times: number[];
  cpuMs: number;
  sample: string;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = Buffer.from('content-length: ');
const NUMBER = Buffer.from('"title":"#');
const OK = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok';
const NO = 'HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nbusy';

let settings: Reset = { every: 1000 };
let requests = 0;
let firstAt = 0;
let times: number[] = [];
let cpuBefore = process.cpuUsage();
let sample = '';
let arrivals: [number, number][] = [];

const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

function take(request: Buffer): string {
  requests += 1;
  if (requests % settings.every === 0) times.push(nowMs());
  if (requests === 1) {
    sample = request.toString('latin1');
    firstAt = nowMs();
  }
  if (settings.numbered) {
    const at = request.indexOf(NUMBER);
    if (at >= 0) arrivals.push([Number.parseInt(request.toString('latin1', at + 10, at + 20), 10), nowMs()]);
  }
  return Math.random() < (settings.refuse ?? 0) ? NO : OK;
}

function serve(socket: Socket): void {
  let rest: Buffer | undefined;
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    let data = rest ? Buffer.concat([rest, chunk]) : chunk;
    rest = undefined;
    let answers = '';
    while (data.length > 0) {
      const end = data.indexOf(HEAD_END);
      const at = end < 0 ? -1 : data.indexOf(LENGTH);
      const length = at < 0 || at > end ? 0 : Number.parseInt(data.toString('latin1', at + 16, at + 26), 10);
      const size = end + 4 + length;
      if (end < 0 || size > data.length) {
        rest = data;
        break;
      }
      answers += take(data.subarray(0, size));
      data = data.subarray(size);
    }
    if (answers === '') return;
    if (settings.answerAfterMs) setTimeout(() => socket.write(answers, 'latin1'), settings.answerAfterMs);
    else socket.write(answers, 'latin1');
  });
}

const server = createServer(serve);

answer({
  listen: () =>
    new Promise((resolve) => {
      server.listen(0, '127.0.0.1', 1024, () => resolve((server.address() as { port: number }).port));
    }),
  reset: (next: Reset) => {
    settings = next;
    requests = 0;
    firstAt = 0;
    times = [];
    arrivals = [];
    cpuBefore = process.cpuUsage();
  },
  marks: (): Marks => {
    const { user, system } = process.cpuUsage(cpuBefore);
    return { requests, every: settings.every, firstAt, times, cpuMs: (user + system) / 1000, sample };
  },
  count: () => requests,
  arrivals: () => arrivals,
});
