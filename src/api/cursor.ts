/** The place where the next page of a list begins: a time with its microseconds, and an id. */
import { Problem } from './problem.ts';

export interface Place {
  /** RFC 3339 with microseconds. */
  at: string;
  id: string;
}

export function cursorOf({ at, id }: Place): string {
  return Buffer.from(`${at} ${id}`).toString('base64url');
}

const PLACE = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([\w-]{1,100})$/;

/** Undefined: the first page. */
export function placeOf(cursor: string | undefined): Place | undefined {
  if (cursor === undefined) return undefined;
  const [, at, id] = PLACE.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (at !== undefined && id !== undefined && !Number.isNaN(Date.parse(at))) return { at, id };
  throw new Problem('bad_request', 'cursor is not one that a page of this list gave.');
}
