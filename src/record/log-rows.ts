/** Rows of webhook_logs: one for each attempt. */
import type pg from 'pg';
import type { Attempt } from '../model.ts';
import { USER_AGENT } from '../payload/headers.ts';
import { FENCE, type Fence } from './fence.ts';

/**
 * A column of webhook_logs. `value` returns its value, and `from` is its SQL expression. In `from`,
 * $ stands for the value as text. An empty value is null.
 */
interface LogColumn {
  name: string;
  from: string;
  value(attempt: Attempt, now: number): string | number | null;
}

const ESCAPE = '\x1d';
const RECORD_END = '\x1e';
const FIELD_END = '\x1f';

/** What stands behind ESCAPE instead of a control character. An empty text becomes EMPTY. */
const ESCAPED: Readonly<Record<string, string>> = { [ESCAPE]: 'x', [RECORD_END]: 'y', [FIELD_END]: 'z' };
const EMPTY = `${ESCAPE}e`;
const SPECIAL = new RegExp(`[${ESCAPE}${RECORD_END}${FIELD_END}]`, 'g');

/**
 * A text that others wrote may contain any character, or none. Ids, codes and numbers contain no
 * control characters, and neither does JSON. As JSON, the six texts of a row took PostgreSQL 2 us
 * more of 20.
 */
const TEXT = `case when strpos($, chr(29)) = 0 then $
  else replace(replace(replace(replace($, chr(29) || 'e', ''),
         chr(29) || 'z', chr(31)), chr(29) || 'y', chr(30)), chr(29) || 'x', chr(29)) end`;

function escaped(text: string | null): string {
  if (text === null) return '';
  return text === '' ? EMPTY : text.replace(SPECIAL, (c) => `${ESCAPE}${ESCAPED[c]}`);
}

const LOG_COLUMNS: readonly LogColumn[] = [
  column(
    'attempted_at',
    'clock_timestamp() - make_interval(secs => $::float8 / 1000)',
    ({ startedAt }, now) => now - startedAt,
  ),
  column('tenant_id', TEXT, ({ delivery }) => escaped(delivery.change.tenantId)),
  column('webhook_id', '$::uuid', ({ delivery }) => delivery.webhookId),
  column('delivery_id', '$::uuid', ({ delivery }) => delivery.id),
  column('event_id', '$', ({ delivery }) => delivery.eventId),
  column('event_type', TEXT, ({ delivery }) => escaped(delivery.eventType)),
  column('attempt', '$::int', ({ attempt }) => attempt),
  column('status', '$', ({ outcome }) => outcome.status),
  column('code', '$', ({ outcome }) => outcome.code),
  column('response_status', '$::int', ({ outcome }) => outcome.response?.status ?? null),
  column('response_body', TEXT, ({ outcome }) => escaped(outcome.response?.body ?? null)),
  column('response_headers', '$::json', ({ outcome }) => outcome.response && JSON.stringify(outcome.response.headers)),
  column('request_url', TEXT, ({ requestUrl }) => escaped(requestUrl)),
  column('request_headers', '$::json', ({ requestHeaders }) => requestHeaders && JSON.stringify(requestHeaders)),
  column('remote_ip', '$::inet', ({ outcome }) => outcome.remoteIp),
  column('duration_ms', '$::int', ({ outcome }) => outcome.durationMs),
  column(
    'next_attempt_at',
    'clock_timestamp() + make_interval(secs => $::float8 / 1000)',
    ({ retryInMs }) => retryInMs,
  ),
  column('error', TEXT, ({ outcome }) => escaped(outcome.error)),
  column('lane', '$::smallint', ({ delivery }) => delivery.change.lane),
  column('request_method', '$', ({ requestMethod }) => requestMethod),
  // Besides the event, the body is made of these. `organization` is JSON text.
  column('organization', '$::json', ({ delivery }) => delivery.organization),
  column('webhook_name', TEXT, ({ delivery }) => escaped(delivery.webhookName)),
  column('payload_format', '$', ({ delivery }) => delivery.payloadFormat),
];

function column(name: string, from: string, value: LogColumn['value']): LogColumn {
  return { name, from, value };
}

// All rows are sent as one text. ASCII control characters separate fields and records. A row then
// took PostgreSQL 20 us, and as a JSON array of objects 31 us, of which 21 were
// json_to_recordset. As one array per column it took the daemon 10 us more, and the daemon reaches
// its limit before PostgreSQL does. OFFSET 0 makes PostgreSQL split a row once, and not once per
// column.
const LOGS = `
  with held as materialized (${FENCE}), logged as (
    insert into rowhook.webhook_logs (${LOG_COLUMNS.map(({ name }) => name).join(', ')}, user_agent)
    select ${LOG_COLUMNS.map(({ from }, i) => from.replaceAll('$', `field[${i + 1}]`)).join(', ')}, '${USER_AGENT}'
      from (select string_to_array(record, chr(31), '') as field
              from string_to_table($4, chr(30)) as record
            offset 0) as r
     where (select count(*) from held) = cardinality($2::smallint[])
  )
  select from held`;

/**
 * Inserts log rows, by itself or as part of a larger transaction. Returns whether the daemon still
 * owns all lanes. If not, nothing was written.
 */
export async function recordLogs(
  client: pg.ClientBase | pg.Pool,
  attempts: readonly Attempt[],
  fence: Fence,
): Promise<boolean> {
  const now = performance.now();
  const recordOf = (attempt: Attempt) => LOG_COLUMNS.map(({ value }) => value(attempt, now)).join(FIELD_END);
  const values = [...fence, attempts.map(recordOf).join(RECORD_END)];
  const { rowCount } = await client.query({ name: 'rowhook_record_logs', text: LOGS, values });
  return rowCount === fence[1].length;
}
