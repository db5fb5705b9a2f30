/** Times show their zone: the visitor's in the text, UTC beside it. */
import { useSyncExternalStore } from 'react';

const FULL = new Intl.DateTimeFormat(undefined, {
  year: 'numeric',
  month: 'short',
  day: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'short',
});

const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'always', style: 'short' });

const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];

/** One timer for all times of the page. */
let now = Date.now();
const listeners = new Set<() => void>();
setInterval(() => {
  now = Date.now();
  for (const listener of listeners) listener();
}, 10_000);

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

export function fullTime(at: string): string {
  return FULL.format(new Date(at));
}

export function relative(at: string, from: number): string {
  const seconds = (Date.parse(at) - from) / 1000;
  if (Math.abs(seconds) < 5) return 'just now';
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
  return RELATIVE.format(Math.round(seconds / size), unit);
}

/** "3 min. ago", with the full time on hover and for machines. */
export function Ago({ at }: { at: string }) {
  const from = useNow();
  return (
    <time dateTime={at} title={`${fullTime(at)} (${at})`}>
      {relative(at, Math.max(from, Date.now() - 10_000))}
    </time>
  );
}

/** Of a next attempt. A time that has passed means that it is next in line. */
export function Next({ at }: { at: string | null }) {
  const from = useNow();
  if (at === null) return <span className="muted">–</span>;
  return Date.parse(at) <= from ? <span className="muted">Due</span> : <Ago at={at} />;
}

export function At({ at }: { at: string }) {
  return (
    <time dateTime={at} title={at}>
      {fullTime(at)}
    </time>
  );
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', timeZoneName: 'short' });
const DAY_MS = 86_400_000;

/** As short as can be: of the next day, the hour is enough. */
export function ShortAt({ at }: { at: string }) {
  const isSoon = Math.abs(Date.parse(at) - Date.now()) < DAY_MS;
  return (
    <time dateTime={at} title={`${fullTime(at)} (${at})`}>
      {isSoon ? CLOCK.format(new Date(at)) : new Date(at).toLocaleDateString(undefined, { dateStyle: 'medium' })}
    </time>
  );
}

const ISO = /(\d{4}-\d\d-\d\dT[\d:.]+Z)/;

/** A sentence of the server. Its times are shown in the visitor's zone. */
export function Sentence({ text }: { text: string }) {
  // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a text do not move
  return text.split(ISO).map((part, index) => (ISO.test(part) ? <At key={index} at={part} /> : part));
}

export function ms(value: number | null): string {
  if (value === null) return '–';
  return value < 10_000 ? `${value} ms` : `${(value / 1000).toFixed(1)} s`;
}
