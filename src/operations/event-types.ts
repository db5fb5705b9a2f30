import type pg from 'pg';
import { wants } from '../match/event-patterns.ts';
import { UserError } from '../shared/user-error.ts';

/** Names that one sentence can hold. */
const NAMED_MAX = 30;

/** What rowhook itself writes. */
const OWN = ['webhook.disabled'];

/** As the table asks for; what is not even an event type gets the table's own sentence. */
const PATTERN = /^[\w-]+(\.[\w-]+)*(\.\*)?$/;

/**
 * Refuses event types that nothing produces: with a misspelt one a webhook would wait in silence for ever. emit() may write any
 * event, so `force` takes them all.
 */
export async function requireKnownEvents(
  client: pg.Client,
  { events = [], force = false }: { events?: string[]; force?: boolean },
): Promise<void> {
  const patterns = events.filter((event) => PATTERN.test(event));
  if (force || patterns.length === 0) return;
  const { rows } = await client.query<{ event_type: string }>(
    'select distinct event_type from rowhook.webhook_event_types order by event_type',
  );
  const known = rows.map((row) => row.event_type);
  const unknown = patterns.filter((pattern) => ![...known, ...OWN].some((event) => wants([pattern], event)));
  if (unknown.length === 0) return;
  const named = unknown.map((event) => `"${event}"`).join(', ');
  const forceHint = 'or give --force for an event that your application emits';
  if (known.length === 0) {
    throw new UserError(
      `--events: no table is watched yet, so nothing produces ${named}. Watch one first, as in "rowhook watch --preset crm", ${forceHint}.`,
      2,
    );
  }
  const more = known.length > NAMED_MAX ? ` and ${known.length - NAMED_MAX} more, which "rowhook sources" lists` : '';
  throw new UserError(
    `--events: no watched table produces ${named}. Known are ${known.slice(0, NAMED_MAX).join(', ')}${more}. Choose from these, watch another table, ${forceHint}.`,
    2,
  );
}
