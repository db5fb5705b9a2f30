/** What `rowhook watch` prints about a table that was watched already. */
import type { Watched } from '../../operations/sources.ts';
import { type Out, printable } from '../../shared/terminal.ts';

/** Limit on listed webhooks. With 10,000 webhooks, nobody reads a line for each. */
const WEBHOOKS_MAX = 5;

/** A table may have had settings that this command did not repeat. */
export function printChanges({ source, changes, bereft }: Watched, out: Out): void {
  if (changes.length > 0) out.print('The table was watched already. This replaced its settings:');
  for (const change of changes) out.print(`  ${printable(change)}`);
  for (const { id, name, tenantId, wants } of bereft.slice(0, WEBHOOKS_MAX)) {
    const who = `Webhook ${id} (${printable(name)}, tenant ${printable(tenantId)})`;
    const what = `${printable(wants.join(', '))}, which ${source.relation} no longer produces`;
    out.print(out.paint('yellow', `${who} wants ${what}.`));
  }
  const more = bereft.length - WEBHOOKS_MAX;
  if (more > 0) out.print(out.paint('yellow', `${more} more webhooks want such events.`));
}
