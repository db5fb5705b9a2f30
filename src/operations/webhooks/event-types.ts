import type pg from 'pg';
import { wants } from '../../match/event-patterns.ts';
import { UserError } from '../../shared/user-error.ts';

/** Limit on names in one sentence. */
const NAMED_MAX = 30;

/** Event types that rowhook itself writes. */
const OWN = ['webhook.disabled', 'webhook.failing'];

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
  const { rows } = await client.query<{ event_type: string }>(
    `select event_type from rowhook.webhook_event_types
      union select event_type from rowhook.event_definitions order by event_type`,
  );
  const known = rows.map((row) => row.event_type);
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
  const more = known.length > NAMED_MAX ? ` and ${known.length - NAMED_MAX} more, which "rowhook sources" lists` : '';
  throw new UserError(
    `--events: no watched table produces ${named}. Known are ${known.slice(0, NAMED_MAX).join(', ')}${more}. ` +
      `Choose from these, watch another table, ${forceHint}.`,
    2,
  );
}
