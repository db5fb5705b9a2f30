/**
 * Finds webhooks that rowhook disabled, whose breaker is open, or whose attempts have all failed
 * for a while.
 */
import type pg from 'pg';
import type { Finding } from '../../shared/finding.ts';
import { printable } from '../../shared/terminal.ts';
import { type CheckResult, type Examination, fine } from '../finding.ts';

/** Limit on findings of one kind. With 10,000 failing webhooks, nobody reads a line for each. */
const LISTED_MAX = 5;

/** Limit on webhooks that `rowhook status` lists. */
const STATUS_MAX = 100_000;

/**
 * The first retries come after 5 s and 5 min. A webhook that recovered has succeeded within this
 * time.
 */
const FAILING_SECONDS = 600;

interface Failing {
  id: string;
  name: string;
  tenantId: string;
  since: Date;
  reason: string | null;
  failures: number;
  /** All findings of this kind, including those that are not listed. */
  total: number;
}

interface Kind {
  sql: string;
  finding(webhook: Failing): Finding;
  /** Text for the findings that are not listed. */
  more: string;
}

const HEALTH = `select c.id, c.name, c.tenant_id as "tenantId", h.failing_since as since, null as reason, h.failures
   from rowhook.webhook_health h
   join rowhook.webhook_configurations c on c.id = h.webhook_id
  where c.is_active`;

const KINDS: readonly Kind[] = [
  {
    sql: `select id, name, tenant_id as "tenantId", disabled_at as since, disabled_reason as reason, 0 as failures
            from rowhook.webhook_configurations
           where not is_active and disabled_reason is not null`,
    finding: (webhook) => ({
      kind: 'warning',
      what: disabledText(webhook),
      why: 'Nothing is sent to it. Its events are captured for 30 days after that, and each event is kept for 7 days.',
      fix: `rowhook webhook enable ${webhook.id}   # after its receiver is fixed; prints how to send missed events`,
    }),
    more: 'were disabled by rowhook',
  },
  {
    sql: `${HEALTH} and h.open_until is not null`,
    finding: (webhook) => ({
      kind: 'warning',
      what: `${nameOf(webhook)} has an open breaker: ${attemptsOf(webhook)}`,
      why: 'Its events wait. One attempt every few minutes tests the receiver. Other webhooks are not affected.',
      fix: lookAndEnable(webhook),
    }),
    more: 'have an open breaker',
  },
  {
    sql: `${HEALTH} and h.open_until is null
            and h.failing_since < clock_timestamp() - make_interval(secs => ${FAILING_SECONDS})`,
    finding: (webhook) => ({
      kind: 'warning',
      what: `${nameOf(webhook)} keeps failing: ${attemptsOf(webhook)}`,
      why: 'Its deliveries wait for their next attempt. They are given up when no attempts are left.',
      fix: lookAndEnable(webhook),
    }),
    more: 'keep failing',
  },
];

export async function webhooks({ client }: Examination): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const kind of KINDS) results.push(...(await remarksOf(client, kind)));
  return results.length > 0 ? results : [fine('no webhook is disabled by rowhook, and none keeps failing')];
}

/** Webhooks that have failed for longest are first. */
async function remarksOf(client: pg.ClientBase, { sql, finding, more }: Kind): Promise<CheckResult[]> {
  const { rows } = await client.query<Failing>(
    `select *, count(*) over ()::int as total from (${sql}) as w order by since, id limit ${LISTED_MAX}`,
  );
  const total = rows[0]?.total ?? 0;
  const results: CheckResult[] = rows.map(finding);
  if (total > rows.length) {
    results.push({
      kind: 'warning',
      what: `${total - rows.length} more webhooks ${more}`,
      why: `Only the ${LISTED_MAX} oldest cases are listed.`,
      fix: `rowhook status --limit ${Math.min(total, STATUS_MAX)}`,
    });
  }
  return results;
}

function nameOf({ id, name, tenantId }: Failing): string {
  return `webhook ${id} (${printable(name)}, tenant ${printable(tenantId)})`;
}

function disabledText(webhook: Failing): string {
  const { since, reason } = webhook;
  return `${nameOf(webhook)} was disabled by rowhook at ${since.toISOString()}: ${printable(reason ?? '')}`;
}

function attemptsOf({ failures, since }: Failing): string {
  const count = failures === 1 ? '1 attempt has' : `${failures} attempts have`;
  return `${count} failed since ${since.toISOString()}, and none has succeeded`;
}

function lookAndEnable({ id }: Failing): string {
  const enable = `rowhook webhook enable ${id}`;
  return `rowhook logs --webhook ${id} --status failed --limit 1   # shows why; after the receiver is fixed: ${enable}`;
}
