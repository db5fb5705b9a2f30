/** Values in queries and bodies: times, event types. */
import { time } from '../../config/parse.ts';
import { Problem } from '../problem.ts';
import { Type } from '../schema.ts';

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

export const TimeText = Type.String({
  maxLength: 64,
  description: 'RFC 3339, such as 2025-10-17T19:30:00Z, or an age such as 2h or 3d',
});

/** A time with its zone. Undefined stays undefined. */
export function timeOf(name: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  let normal: string;
  try {
    // In a query, + is a blank.
    normal = time(text.replace(/ (?=\d\d:\d\d$)/, '+'));
  } catch {
    throw new Problem(
      'bad_request',
      `${name} is not a time. Write it as 2025-10-17T19:30:00Z, or 2h for two hours ago.`,
    );
  }
  const [, count, unit] = /^(\d+)([smhd])$/.exec(normal) ?? [];
  if (count === undefined || unit === undefined) return normal;
  const at = Date.now() - Number(count) * (SECONDS[unit] as number) * 1_000;
  if (Number.isNaN(new Date(at).getTime())) throw new Problem('bad_request', `${name} is too long ago.`);
  return new Date(at).toISOString();
}
/** The rule of rowhook.emit(). */
export function isEventType(text: string): boolean {
  return text.length <= 128 && /^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$/.test(text);
}
