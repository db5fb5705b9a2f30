import type pg from 'pg';
import { nearEventType, readEventTypes } from '../../capture/unproduced-events.ts';
import { wants } from '../../match/event-patterns.ts';
import { UserError } from '../../shared/user-error.ts';

/** Limit on names in one sentence. */
const NAMED_MAX = 30;

/** Event types that rowhook itself writes. */
const OWN = ['webhook.disabled', 'webhook.failing'];

/** What the log may hold besides. */
const LOGGED = [...OWN, 'webhook.test'];

/** The pattern that the table requires. An invalid text gets the table's own sentence instead. */
const PATTERN = /^[\w-]+(\.[\w-]+)*(\.\*)?$/;

/**
 * Refuses event types that nothing produces, because a webhook with a misspelt type would wait
 * forever without a message. emit() may write any event type, so `force` accepts all of them.
 */
export async function requireKnownEvents(
  client: pg.Client,
  { events = [], force = false }: { events?: string[]; force?: boolean },
): Promise<void> {
  const patterns = events.filter((event) => PATTERN.test(event));
  if (force || patterns.length === 0) return;
  const known = await readEventTypes(client);
  const unknown = patterns.filter((pattern) => ![...known, ...OWN].some((event) => wants([pattern], event)));
  if (unknown.length === 0) return;
  const named = unknown.map((event) => `"${event}"`).join(', ');
  const forceHint = 'or give --force if your application emits the event';
  if (known.length === 0) {
    throw new UserError(
      `--events: no table is watched, so nothing produces ${named}. Run "rowhook watch <table>" first, ${forceHint}.`,
      2,
    );
  }
  const near = unknown.map((event) => nearEventType(event, known)).filter((event) => event !== null);
  const more = known.length > NAMED_MAX ? ` and ${known.length - NAMED_MAX} more, which "rowhook sources" lists` : '';
  throw new UserError(
    `--events: no watched table produces ${named}.${didYouMean(near)} Known are ${known.slice(0, NAMED_MAX).join(', ')}${more}. ` +
      `Choose from these, watch another table, ${forceHint}.`,
    2,
  );
}

/**
 * A sentence if nothing produces an event type that somebody looks for, where `*` stands for any
 * text. Null: something produces it.
 */
export async function eventTypeNote(client: pg.ClientBase, wanted: string): Promise<string | null> {
  const known = await readEventTypes(client);
  const pattern = new RegExp(`^${wanted.replaceAll(/[^*\w]/g, '\\$&').replaceAll('*', '.*')}$`);
  if ([...known, ...LOGGED].some((event) => pattern.test(event))) return null;
  const near = nearEventType(wanted, known);
  return `no watched table produces "${wanted}".${didYouMean(near === null ? [] : [near])}`;
}

function didYouMean(near: readonly string[]): string {
  return near.length === 0 ? '' : ` Did you mean ${[...new Set(near)].join(', ')}?`;
}
