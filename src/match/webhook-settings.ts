/**
 * Reads the settings of a webhook from its row's columns. Most webhooks share equal settings. The
 * table's constraints refuse unusable values, unless the constraints were dropped.
 */
import type { TenantConfiguration, WebhookSettings } from '../model.ts';
import { PAYLOAD_FORMATS } from '../payload/formats.ts';

/**
 * Lists, objects and numbers of any size arrive as text. The text is parsed for the first webhook
 * that has it. A text that cannot be parsed stops only its own webhook.
 */
export interface SettingsRow {
  http_method: string;
  event_types: string;
  filter: string | null;
  headers: string;
  auth_type: string;
  auth_config: string;
  retry_enabled: boolean;
  retry_attempts: number;
  retry_strategy: string;
  retry_delay_seconds: number;
  timeout_ms: number;
  max_in_flight: number;
  rate_limit_per_second: string | null;
  ordering: string;
  payload_format: string;
  payload_template: string | null;
  content_type: string | null;
  batch_max_events: number;
  batch_max_wait_ms: number;
  allowed_ips: string | null;
}

export const SETTINGS = [
  'http_method',
  'event_types',
  'filter',
  'headers',
  'auth_type',
  'auth_config',
  'retry_enabled',
  'retry_attempts',
  'retry_strategy',
  'retry_delay_seconds',
  'timeout_ms',
  'max_in_flight',
  'rate_limit_per_second',
  'ordering',
  'payload_format',
  'payload_template',
  'content_type',
  'batch_max_events',
  'batch_max_wait_ms',
  'allowed_ips',
] as const satisfies readonly (keyof SettingsRow)[];

/** The largest value of a Node timer. */
const INT_MAX = 2 ** 31 - 1;
/** At a lower rate the next request would be due after a year. */
const RATE_MIN = 0.000_000_03;

/**
 * Reads only columns that the cache compares. Otherwise a webhook could get the value of another
 * webhook, perhaps of another tenant. Throws a sentence.
 */
export function toSettings(row: SettingsRow): WebhookSettings {
  return {
    httpMethod: oneOf('http_method', row.http_method, ['POST', 'PUT', 'PATCH']),
    eventTypes: eventTypesOf(row.event_types),
    filter: row.filter,
    headers: strings('headers', row.headers),
    authType: oneOf('auth_type', row.auth_type, ['none', 'bearer', 'basic', 'api_key']),
    authConfig: credentials(row),
    retry: {
      enabled: row.retry_enabled,
      retriesMax: number('retry_attempts', row.retry_attempts, 0),
      strategy: oneOf('retry_strategy', row.retry_strategy, ['exponential', 'linear']),
      delaySeconds: number('retry_delay_seconds', row.retry_delay_seconds, 0),
    },
    timeoutMs: number('timeout_ms', row.timeout_ms, 1),
    maxInFlight: number('max_in_flight', row.max_in_flight, 1),
    ratePerSecond: rateOf(row.rate_limit_per_second),
    ordering: oneOf('ordering', row.ordering, ['none', 'row']),
    payloadFormat: oneOf('payload_format', row.payload_format, PAYLOAD_FORMATS),
    payloadTemplate: row.payload_template,
    contentType: row.content_type,
    batchMax: number('batch_max_events', row.batch_max_events, 1),
    batchWaitMs: number('batch_max_wait_ms', row.batch_max_wait_ms, 0),
    allowedIps: row.allowed_ips === null ? null : listOf('allowed_ips', row.allowed_ips),
  };
}

/** The limits of a tenant. Throws a sentence. */
export function limitsOf(maxInFlight: number | null, rate: string | null): TenantConfiguration['limits'] {
  if (maxInFlight === null && rate === null) return null;
  try {
    return {
      maxInFlight: maxInFlight === null ? null : number('max_in_flight', maxInFlight, 1),
      ratePerSecond: rateOf(rate),
    };
  } catch (error) {
    throw new Error(`webhook_tenants: ${(error as Error).message}`);
  }
}

/** A numeric as text. It may be NaN, Infinity, or outside the range of a JavaScript number. */
function rateOf(text: string | null): number | null {
  return text === null ? null : number('rate_limit_per_second', Number(text), RATE_MIN);
}

export function eventTypesOf(json: string): string[] {
  return listOf('event_types', json);
}

function number(column: string, value: number, min: number): number {
  if (value >= min && value <= INT_MAX) return value;
  throw new Error(`${column} is not a number from ${min} to ${INT_MAX}`);
}

function oneOf<T extends string>(column: string, value: string, known: readonly T[]): T {
  const found = known.find((one) => one === value);
  if (found === undefined) throw new Error(`${column} is not one of ${known.join(', ')}`);
  return found;
}

function listOf(column: string, json: string): string[] {
  const list: unknown = JSON.parse(json);
  if (!Array.isArray(list) || !list.every((one) => typeof one === 'string'))
    throw new Error(`${column} is not a list of texts`);
  return list;
}

/** The sentence never quotes the values, because they may be secrets. */
function strings(column: string, json: string): Record<string, string> {
  const object: unknown = JSON.parse(json);
  if (typeof object !== 'object' || object === null || Object.values(object).some((one) => typeof one !== 'string'))
    throw new Error(`${column} is not an object of texts`);
  return object as Record<string, string>;
}

const CREDENTIALS: Readonly<Record<string, readonly string[]>> = {
  bearer: ['token'],
  basic: ['username', 'password'],
  api_key: ['header_name', 'header_value'],
};

function credentials({ auth_type, auth_config }: SettingsRow): Record<string, string> {
  const config = strings('auth_config', auth_config);
  const missing = CREDENTIALS[auth_type]?.find((key) => config[key] === undefined);
  if (missing === undefined) return config;
  throw new Error(`auth_config has no ${missing}, which auth_type ${auth_type} needs`);
}
