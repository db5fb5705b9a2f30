/**
 * Errors about a webhook's row name its columns. The reader of a command line knows the flags, so
 * create and update name those instead.
 */
import { type CodedError, explain } from '../../database/explain-error.ts';
import { UserError } from '../../shared/user-error.ts';

/** Columns whose flag has another name. */
const FLAGS: Readonly<Record<string, string>> = {
  event_types: '--events',
  http_method: '--method',
  headers: '--header',
  auth_config: '--bearer, --basic or --api-key',
  retry_delay_seconds: '--retry-delay',
  rate_limit_per_second: '--rate-limit',
  batch_max_events: '--batch-max',
  batch_max_wait_ms: '--batch-wait-ms',
  tenant_id: '--tenant',
};
const SAME = [
  ...['name', 'url', 'description', 'filter', 'secret', 'ordering', 'timeout_ms', 'max_in_flight', 'allowed_ips'],
  ...['retry_attempts', 'retry_strategy', 'payload_format', 'payload_template', 'content_type'],
];

function flagOf(column: string): string {
  return FLAGS[column] ?? (SAME.includes(column) ? `--${column.replaceAll('_', '-')}` : column);
}

/** Pure. The first column is the subject; in the rest of the sentence, only names with _ are columns for sure. */
export function withFlags(sentence: string): string {
  const [, column, rest] = /^webhook_configurations(?: refuses the row: |\.)(\w+)(.*)$/s.exec(sentence) ?? [];
  if (column === undefined || rest === undefined) return sentence;
  return `${flagOf(column)}${rest.replaceAll(/\b[a-z]+(?:_[a-z]+)+\b/g, flagOf)}`;
}

/** Resolves as `written` does. If the row is refused, the error names flags. */
export async function namingFlags<T>(written: Promise<T>): Promise<T> {
  try {
    return await written;
  } catch (error) {
    if ((error as CodedError).table !== 'webhook_configurations') throw error;
    const explained = explain(error, 'the database');
    if (!(explained instanceof UserError)) throw error;
    throw new UserError(withFlags(explained.message), explained.exitCode, { cause: error });
  }
}
