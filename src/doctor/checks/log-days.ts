/**
 * Checks the daily partitions of the log. They are created a week ahead, so a problem shows days
 * before it matters.
 */
import { printable } from '../../shared/terminal.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

/** Lower limit on days ahead. The daemon creates seven. */
const DAYS_AHEAD_MIN = 4;

/** An event trigger that fires. `always`: it also fires for replicas. */
interface EventTrigger {
  name: string;
  always: boolean;
}

export async function logDays({ client }: Examination): Promise<CheckResult[]> {
  const { rows } = await client.query<{ ahead: number; byDefault: boolean; eventTriggers: EventTrigger[] }>(
    `select rowhook._log_days_ahead() as ahead,
            pg_relation_size('rowhook.webhook_logs_default') > 0 as "byDefault",
            (select coalesce(jsonb_agg(jsonb_build_object('name', quote_ident(evtname), 'always', evtenabled = 'A')
                                       order by evtname), '[]')
               from pg_event_trigger
              where evtenabled in ('O', 'A')
                and evtevent in ('ddl_command_start', 'ddl_command_end')) as "eventTriggers"`,
  );
  const { ahead, byDefault, eventTriggers } = rows[0] as (typeof rows)[number];
  const results: CheckResult[] = [];
  if (ahead < DAYS_AHEAD_MIN) {
    results.push({
      kind: 'warning',
      what: `webhook_logs has partitions for only ${ahead} more days`,
      why:
        `The daemon creates partitions for 7 days. Its log says why it cannot${printable(because(eventTriggers))}. ` +
        'No attempt is lost: without a partition, attempts are recorded in webhook_logs_default.',
      fix: printable(around(eventTriggers)),
    });
  }
  if (byDefault) {
    results.push({
      kind: 'warning',
      what: 'webhook_logs_default holds attempts',
      why:
        'They were recorded when their day had no partition. When the daemon can create it, it moves one day ' +
        'per minute. A large number of attempts may stay until tomorrow.',
      fix: printable(around(eventTriggers)),
    });
  }
  return results.length > 0 ? results : [fine(`webhook_logs has partitions for ${ahead} days ahead`)];
}

function because(eventTriggers: readonly EventTrigger[]): string {
  const names = eventTriggers.map(({ name }) => name).join(', ');
  return names === '' ? '' : `; event triggers may forbid it (${names})`;
}

/** Disables an event trigger that forbids the statement, then restores its former state. */
function around(eventTriggers: readonly EventTrigger[]): string {
  const off = eventTriggers.map(({ name }) => `alter event trigger ${name} disable; `).join('');
  const on = eventTriggers.map(({ name, always }) => ` alter event trigger ${name} enable${always ? ' always' : ''};`);
  return `${off}select rowhook._make_log_partitions();${on.join('')}`;
}
