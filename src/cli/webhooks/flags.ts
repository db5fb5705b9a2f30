/** The flags of `webhook create` and `webhook update`, and the columns that they set. */
import type { Command } from 'commander';
import { cidrs, webhookId, wholeNumber } from '../../config/parse.ts';
import { UserError } from '../../shared/user-error.ts';
import { type Cli, parsed } from '../define.ts';
import { SECRETS_NOTE, type SecretFlag, secretFlags } from '../secret-flags.ts';
import { templateText } from './template.ts';

export interface JsonFlag {
  json?: boolean;
}

/** Values as the user typed them. */
export interface WebhookFlags {
  tenant?: string;
  name?: string;
  url?: string;
  events?: string[];
  /** Accept event types that no watched table produces. */
  force?: boolean;
  description?: string;
  method?: string;
  filter?: string;
  header?: string[];
  secret?: string;
  bearer?: string;
  basic?: string;
  apiKey?: string;
  /** False: --no-auth. */
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
  payloadTemplate?: string;
  contentType?: string;
  batchMax?: number;
  batchWaitMs?: number;
  allowedIps?: string[];
  active?: boolean;
}

const SERVER_LOG =
  'A server that logs statement parameters logs secrets too, unless this role may set log_parameter_max_length.';

export const NOTES = [...SECRETS_NOTE, SERVER_LOG];

const SECRETS: readonly SecretFlag[] = [
  {
    flag: '--header <header>',
    description: "HTTP header to send, 'Name: value'; repeatable; content-type stays application/json",
    repeatable: true,
  },
  { flag: '--bearer <token>', description: 'authorization with a bearer token' },
  { flag: '--basic <user:password>', description: 'authorization with user and password' },
  { flag: '--api-key <header>', description: "authorization with a header, 'Name: value'" },
  { flag: '--secret <secret>', description: 'the signing secret (default: a random whsec_…)' },
];

/** The flags that create and update share. The database checks their ranges. */
export function optionalFlags(command: Command, cli: Cli): Command {
  const number = (flag: string) => parsed(flag, wholeNumber(0, 2 ** 31 - 1));
  return secretFlags(command, cli, SECRETS)
    .option('--force', 'accept event types that no watched table produces, such as those that your application emits')
    .option('--description <text>', 'description of the webhook')
    .option('--method <method>', 'POST (default), PUT or PATCH')
    .option('--filter <json>', `conditions on the row, such as '{"data.stage":"won"}'`)
    .option('--no-auth', 'no authorization')
    .option('--retry', 'retry failed deliveries (default)')
    .option('--no-retry', 'never retry')
    .option('--retry-attempts <n>', 'maximum number of retries, 0 to 20', number('--retry-attempts'))
    .option('--retry-strategy <strategy>', 'exponential (default) or linear')
    .option('--retry-delay <seconds>', 'base of linear: it waits 1, 2, 3 … times this', number('--retry-delay'))
    .option('--timeout-ms <ms>', 'timeout of one attempt in milliseconds', number('--timeout-ms'))
    .option('--max-in-flight <n>', 'maximum number of requests in flight', number('--max-in-flight'))
    .option('--rate-limit <n>', 'maximum number of requests per second')
    .option(
      '--ordering <ordering>',
      'none (default), or row: a delivery that waits for a retry holds back later events of its row',
    )
    .option('--payload-format <format>', 'nested (default), flat, cloudevents, slack, discord, teams or template')
    .option('--payload-template <liquid>', 'Liquid template of the body; @file reads it from a file', templateText)
    .option('--content-type <type>', 'content type of what the template makes (default: application/json)')
    .option('--batch-max <n>', 'events in one request, 1 (default: no batches) to 100', number('--batch-max'))
    .option('--batch-wait-ms <ms>', 'how long a batch waits for more events, 0 to 5000', number('--batch-wait-ms'))
    .option('--allowed-ips <list>', 'send only to these IP ranges', parsed('--allowed-ips', cidrs));
}

/** Adds a command whose argument is the id of one webhook. */
export function ofOne(group: Command, name: string, description: string): Command {
  return group
    .command(name)
    .description(description)
    .argument('<id>', "the webhook's id", parsed('webhook id', webhookId));
}

/** The columns that the flags set. The database checks the values. */
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
    ...formatOf(flags),
    batch_max_events: flags.batchMax,
    batch_max_wait_ms: flags.batchWaitMs,
    allowed_ips: flags.allowedIps?.length === 0 ? null : flags.allowedIps,
    is_active: flags.active,
  };
  return Object.entries(columns).filter(([, value]) => value !== undefined);
}

/** A format of rowhook's own has no template and no content type, so it removes those of before. */
function formatOf({ payloadFormat, payloadTemplate, contentType }: WebhookFlags): Record<string, unknown> {
  const unset = payloadFormat === undefined || payloadFormat === 'template' ? undefined : null;
  return {
    payload_format: payloadFormat ?? (payloadTemplate ? 'template' : undefined),
    payload_template: payloadTemplate === undefined ? unset : emptyAsNull(payloadTemplate),
    content_type: contentType === undefined ? unset : emptyAsNull(contentType),
  };
}

/** The database checks more. The message does not contain the URL, which may hold secrets. */
function validUrl(url: string): string {
  if (URL.canParse(url)) return url;
  throw new UserError('--url: is not a valid URL. Write it as https://host/path.', 2);
}

/** PostgreSQL would refuse it too, but its message does not name the flag. */
function validJson(filter: string): string {
  try {
    JSON.parse(filter);
    return filter;
  } catch {
    throw new UserError(`--filter: is not JSON. Write it as '{"data.stage":"won"}', in single quotes.`, 2);
  }
}

/** `--filter ''` removes the filter. */
function emptyAsNull(text: string | undefined): string | null | undefined {
  return text === '' ? null : text;
}

function headersOf(headers: readonly string[]): Record<string, string> {
  return Object.fromEntries(headers.filter((header) => header !== '').map((header) => pairOf('--header', header)));
}

function authOf({ bearer, basic, apiKey, auth }: WebhookFlags): Record<string, string> {
  const given = [bearer, basic, apiKey, auth === false ? '' : undefined].filter((value) => value !== undefined);
  if (given.length > 1) {
    throw new UserError('give only one of --bearer, --basic, --api-key and --no-auth.', 2);
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

/** Splits `left:right`. The message does not contain the text, which may be a secret. */
function pairOf(flag: string, text: string, trimmed = true): [string, string] {
  const colon = text.indexOf(':');
  if (colon < 1) {
    const form = flag === '--basic' ? '"username:password"' : '"Name: value"';
    const lack = colon < 0 ? 'has no colon' : 'has nothing before its colon';
    throw new UserError(`${flag}: ${lack}. Write it as ${form}.`, 2);
  }
  const [left, right] = [text.slice(0, colon), text.slice(colon + 1)];
  return trimmed ? [left.trim(), right.trim()] : [left, right];
}
