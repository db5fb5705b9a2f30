import { UserError } from '../../shared/user-error.ts';

/** What `webhook create` and `webhook update` may be given; text as it was typed. */
export interface WebhookFlags {
  tenant?: string;
  name?: string;
  url?: string;
  events?: string[];
  /** Also events that no watched table produces. */
  force?: boolean;
  description?: string;
  method?: string;
  filter?: string;
  header?: string[];
  secret?: string;
  bearer?: string;
  basic?: string;
  apiKey?: string;
  /** false: --no-auth */
  auth?: boolean;
  retry?: boolean;
  retryAttempts?: number;
  retryStrategy?: string;
  retryDelay?: number;
  timeoutMs?: number;
  maxInFlight?: number;
  rateLimit?: string;
  ordering?: string;
  payloadFormat?: string;
  batchMax?: number;
  batchWaitMs?: number;
  allowedIps?: string[];
  active?: boolean;
}

/** The columns that the flags set. The database judges the values; here they only take their columns' shape. */
export function columnsOf(flags: WebhookFlags): [column: string, value: unknown][] {
  const columns: Record<string, unknown> = {
    tenant_id: flags.tenant,
    name: flags.name,
    url: flags.url && validUrl(flags.url),
    event_types: flags.events,
    description: emptyAsNull(flags.description),
    http_method: flags.method?.toUpperCase(),
    filter: emptyAsNull(flags.filter && validJson(flags.filter)),
    headers: flags.header && JSON.stringify(headersOf(flags.header)),
    secret: flags.secret,
    ...authOf(flags),
    retry_enabled: flags.retry,
    retry_attempts: flags.retryAttempts,
    retry_strategy: flags.retryStrategy,
    retry_delay_seconds: flags.retryDelay,
    timeout_ms: flags.timeoutMs,
    max_in_flight: flags.maxInFlight,
    rate_limit_per_second: emptyAsNull(flags.rateLimit),
    ordering: flags.ordering,
    payload_format: flags.payloadFormat,
    batch_max_events: flags.batchMax,
    batch_max_wait_ms: flags.batchWaitMs,
    allowed_ips: flags.allowedIps?.length === 0 ? null : flags.allowedIps,
    is_active: flags.active,
  };
  return Object.entries(columns).filter(([, value]) => value !== undefined);
}

/** The table judges its form; what no URL parser takes could never be sent to. The URL may hold secrets and is not printed. */
function validUrl(url: string): string {
  if (URL.canParse(url)) return url;
  throw new UserError('--url: is not a valid URL: write it as https://host/path.', 2);
}

/** PostgreSQL would refuse it too, and not say which flag it was. */
function validJson(filter: string): string {
  try {
    JSON.parse(filter);
    return filter;
  } catch {
    throw new UserError(`--filter: is not JSON: write it as '{"data.stage":"won"}', in single quotes.`, 2);
  }
}

/** `--filter ''` takes the filter away. */
function emptyAsNull(text: string | undefined): string | null | undefined {
  return text === '' ? null : text;
}

function headersOf(headers: readonly string[]): Record<string, string> {
  return Object.fromEntries(headers.filter((header) => header !== '').map((header) => pairOf('--header', header)));
}

function authOf({ bearer, basic, apiKey, auth }: WebhookFlags): Record<string, string> {
  const given = [bearer, basic, apiKey, auth === false ? '' : undefined].filter((value) => value !== undefined);
  if (given.length > 1) {
    throw new UserError('--bearer, --basic, --api-key and --no-auth exclude each other: give one of them.', 2);
  }
  const columns = (type: string, config: object) => ({ auth_type: type, auth_config: JSON.stringify(config) });
  if (bearer !== undefined) return columns('bearer', { token: bearer });
  if (basic !== undefined) {
    const [username, password] = pairOf('--basic', basic, false);
    return columns('basic', { username, password });
  }
  if (apiKey !== undefined) {
    const [name, value] = pairOf('--api-key', apiKey);
    return columns('api_key', { header_name: name, header_value: value });
  }
  return auth === false ? columns('none', {}) : {};
}

/** `left:right`. The value may be a secret, so the message shows the form instead. */
function pairOf(flag: string, text: string, trimmed = true): [string, string] {
  const colon = text.indexOf(':');
  if (colon < 1) {
    const form = flag === '--basic' ? '"username:password"' : '"Name: value"';
    throw new UserError(`${flag}: has no colon: write it as ${form}.`, 2);
  }
  const [left, right] = [text.slice(0, colon), text.slice(colon + 1)];
  return trimmed ? [left.trim(), right.trim()] : [left, right];
}
