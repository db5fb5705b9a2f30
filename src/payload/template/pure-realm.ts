/**
 * Makes the JavaScript of this thread forget the time, the time zone and the language of its
 * machine, so that a template and an event give the same bytes everywhere. It changes the globals,
 * so it is only for the thread that renders.
 */

const RealDate = Date;
const RealFormat = Intl.DateTimeFormat;

/** The time of the event that is rendered, in milliseconds since 1970. */
let now = 0;

export function setNow(ms: number): void {
  now = ms;
}

const ISO_WITHOUT_ZONE = /^([+-]?\d{4,6}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)$/;
const HAS_ZONE = /(?:Z|[+-]\d\d(?::?\d\d)?|\b[A-Z]{2,4}|\))$/i;
/** `2025-10-17T19:30:00.123456+02`, as PostgreSQL prints it. */
const SHORT_ZONE = /^(\d{4,6}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?)([+-]\d\d)$/;

/** A time without a zone is UTC. JavaScript has no years before Christ in this form. */
function timeOf(text: string): number {
  if (/\bBC$|^-?infinity$/i.test(text)) return Number.NaN;
  const iso = ISO_WITHOUT_ZONE.exec(text);
  if (iso) return RealDate.parse(`${iso[1]}T${iso[2]}Z`);
  const short = SHORT_ZONE.exec(text);
  if (short) return RealDate.parse(`${short[1]}T${short[2]}${short[3]}:00`);
  if (HAS_ZONE.test(text)) return RealDate.parse(text);
  const inUtc = RealDate.parse(`${text} GMT`);
  return Number.isNaN(inUtc) ? RealDate.parse(text) : inUtc;
}

function timeFrom(args: readonly unknown[]): number {
  const [first] = args;
  if (args.length === 0) return now;
  if (args.length > 1) return RealDate.UTC(...(args as Parameters<typeof RealDate.UTC>));
  if (first instanceof RealDate) return first.getTime();
  return typeof first === 'string' ? timeOf(first) : Number(first);
}

class UtcDate extends RealDate {
  constructor(...args: unknown[]) {
    super(timeFrom(args));
  }
  static override now(): number {
    return now;
  }
  static override parse(text: string): number {
    return timeOf(text);
  }
  override getTimezoneOffset(): number {
    return 0;
  }
  override toString(): string {
    return this.toUTCString();
  }
  override toLocaleString(locale?: Intl.LocalesArgument, options?: Intl.DateTimeFormatOptions): string {
    return super.toLocaleString(locale ?? 'en-US', { timeZone: 'UTC', ...options });
  }
  override toLocaleDateString(locale?: Intl.LocalesArgument, options?: Intl.DateTimeFormatOptions): string {
    return super.toLocaleDateString(locale ?? 'en-US', { timeZone: 'UTC', ...options });
  }
  override toLocaleTimeString(locale?: Intl.LocalesArgument, options?: Intl.DateTimeFormatOptions): string {
    return super.toLocaleTimeString(locale ?? 'en-US', { timeZone: 'UTC', ...options });
  }
}

/**
 * Milliseconds of processor time of this thread. The library's limit on time reads this clock, so
 * that a busy machine refuses no template. Node 22 has no such clock for one thread.
 */
const { threadCpuUsage } = process as { threadCpuUsage?: () => { user: number; system: number } };
const { performance: real } = globalThis;
function cpuMs(): number {
  if (threadCpuUsage === undefined) return real.now();
  const { user, system } = threadCpuUsage.call(process);
  return (user + system) / 1000;
}

export function makeRealmPure(): void {
  const local = ['FullYear', 'Month', 'Date', 'Day', 'Hours', 'Minutes', 'Seconds', 'Milliseconds'] as const;
  for (const part of local) {
    const utc = RealDate.prototype[`getUTC${part}`];
    Object.defineProperty(UtcDate.prototype, `get${part}`, { value: utc });
  }
  const Format = function format(locale?: string | string[], options?: Intl.DateTimeFormatOptions) {
    return new RealFormat(locale ?? 'en-US', { timeZone: 'UTC', ...options });
  };
  Object.assign(globalThis, { Date: UtcDate });
  Object.assign(Intl, { DateTimeFormat: Format });
  Object.defineProperty(globalThis, 'performance', { value: { now: cpuMs } });
  Math.random = () => {
    throw new Error('templates draw nothing at random');
  };
}
