/**
 * Event types that active webhooks want and nothing produces, for example because a table was
 * unwatched or got another prefix.
 */
import type pg from 'pg';
import { readUnproduced } from '../../capture/unproduced-events.ts';
import { type Out, printable } from '../../shared/terminal.ts';

/** Prints warnings below a list of webhooks. */
export async function printUnproduced(
  client: pg.ClientBase,
  shown: readonly { id: string }[],
  tenantId: string | null,
  out: Out,
): Promise<void> {
  const ids = new Set(shown.map(({ id }) => id));
  const found = (await readUnproduced(client, tenantId)).filter(({ id }) => ids.has(id));
  if (found.length > 0) out.print();
  for (const { id, unproduced, near } of found) {
    const maybe = near === null ? '' : ` Did you mean ${printable(near)}?`;
    out.print(
      out.paint(
        'yellow',
        `Webhook ${id} wants ${printable(unproduced.join(', '))}, which no watched table produces.${maybe}`,
      ),
    );
  }
}
