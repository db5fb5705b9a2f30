/** Event types that active webhooks ask for and nothing produces: after a table was unwatched, or got another prefix. */
import type pg from 'pg';
import { readUnproduced } from '../../capture/unproduced-events.ts';
import { type Out, printable } from '../../shared/terminal.ts';

/** Below a list of webhooks. */
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
    const maybe = near === null ? '' : ` Is it ${printable(near)}?`;
    out.print(
      out.paint(
        'yellow',
        `${id} asks for ${printable(unproduced.join(', '))}, which no watched table produces.${maybe}`,
      ),
    );
  }
}
