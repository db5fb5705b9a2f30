/** What the form of a webhook holds, and the body that it becomes. */
import { jsonText, type NewWebhook, type Webhook } from 'rowhook/client';

export interface Header {
  name: string;
  value: string;
}

export interface Draft {
  name: string;
  description: string;
  target_url: string;
  http_method: string;
  auth_type: string;
  auth: Record<string, string>;
  event_types: string[];
  /** What is typed into Events and was not taken by Enter. It counts too. */
  event_text: string;
  /** JSON. Empty: every event. */
  filter: string;
  headers: Header[];
  retry_enabled: boolean;
  retry_attempts: string;
  retry_strategy: string;
  retry_delay_seconds: string;
  timeout_ms: string;
  max_in_flight: string;
  rate_limit_per_second: string;
  ordering: string;
  payload_format: string;
  payload_template: string;
  content_type: string;
  batch_max_events: string;
  batch_max_wait_ms: string;
}

export const EMPTY: Draft = {
  name: '',
  description: '',
  target_url: '',
  http_method: 'POST',
  auth_type: 'none',
  auth: {},
  event_types: [],
  event_text: '',
  filter: '',
  headers: [],
  retry_enabled: true,
  retry_attempts: '7',
  retry_strategy: 'exponential',
  retry_delay_seconds: '60',
  timeout_ms: '10000',
  max_in_flight: '8',
  rate_limit_per_second: '',
  ordering: 'none',
  payload_format: 'nested',
  payload_template: '',
  content_type: '',
  batch_max_events: '1',
  batch_max_wait_ms: '1000',
};

/** The fields of each kind of authentication: key, label, whether it is a secret. */
export const AUTH_FIELDS: Readonly<
  Record<string, readonly (readonly [key: string, label: string, secret: boolean])[]>
> = {
  none: [],
  bearer: [['token', 'Token', true]],
  basic: [
    ['username', 'User', false],
    ['password', 'Password', true],
  ],
  api_key: [
    ['header_name', 'Header', false],
    ['header_value', 'Value', true],
  ],
};

export function draftOf(webhook: Webhook, filter: string): Draft {
  const text = (value: number | null | undefined) => (value === null || value === undefined ? '' : String(value));
  return {
    name: webhook.name,
    description: webhook.description ?? '',
    target_url: webhook.target_url,
    http_method: webhook.http_method,
    auth_type: webhook.auth_type,
    auth: Object.fromEntries(Object.entries(webhook.auth_config).map(([key, value]) => [key, value ?? ''])),
    event_types: webhook.event_types,
    event_text: '',
    filter: filter === 'null' ? '' : filter,
    headers: Object.entries(webhook.headers).map(([name, value]) => ({ name, value })),
    retry_enabled: webhook.retry_enabled,
    retry_attempts: text(webhook.retry_attempts),
    retry_strategy: webhook.retry_strategy,
    retry_delay_seconds: text(webhook.retry_delay_seconds),
    timeout_ms: text(webhook.timeout_ms),
    max_in_flight: text(webhook.max_in_flight),
    rate_limit_per_second: text(webhook.rate_limit_per_second),
    ordering: webhook.ordering,
    payload_format: webhook.payload_format,
    payload_template: webhook.payload_template ?? '',
    content_type: webhook.content_type ?? '',
    batch_max_events: text(webhook.batch_max_events),
    batch_max_wait_ms: text(webhook.batch_max_wait_ms),
  };
}

/** What an event type, or a pattern of them, looks like. */
const PATTERN = /^(\*|[\w-]+(\.[\w-]+)*(\.\*)?)$/;

export const patternsIn = (text: string) => text.split(/[\s,]+/).filter((one) => one !== '');

export const wrongPattern = (text: string) => patternsIn(text).find((one) => !PATTERN.test(one));

export function eventTypesOf({ event_types, event_text }: Draft): string[] {
  return [...new Set([...event_types, ...patternsIn(event_text)])];
}

export type Errors = Record<string, string>;

/** Judged here, before anything is sent. The server judges all of it once more. */
export function problemsOf(draft: Draft): Errors {
  const errors: Errors = {};
  if (draft.name.trim() === '') errors.name = 'Give it a name, such as the system that receives.';
  const url = urlProblem(draft.target_url);
  if (draft.target_url.trim() === '') errors.target_url = 'Say where to send: a URL that begins with https://.';
  else if (url) errors.target_url = url;
  if (wrongPattern(draft.event_text) !== undefined) errors.event_types = 'Correct it, or remove it.';
  else if (eventTypesOf(draft).length === 0) errors.event_types = 'Choose at least one event, or * for all.';
  if (draft.filter.trim() !== '' && !isObject(draft.filter))
    errors.filter = 'This is not a JSON object. Write it as {"data.stage":"won"}.';
  for (const field of NUMBERS) {
    if (!/^\d+(\.\d+)?$/.test(draft[field].trim()) && !(field === 'rate_limit_per_second' && draft[field] === ''))
      errors[field] = 'Write a number.';
  }
  return errors;
}

const NUMBERS = [
  'retry_attempts',
  'retry_delay_seconds',
  'timeout_ms',
  'max_in_flight',
  'rate_limit_per_second',
  'batch_max_events',
  'batch_max_wait_ms',
] as const;

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

/** While typing, with the remedy. The server knows what else its operator allows or refuses. */
export function urlProblem(text: string): string | undefined {
  const value = text.trim();
  if (value === '' || /^h?t?t?p?s?:?\/?\/?$/i.test(value)) return undefined;
  if (!/^https?:\/\//i.test(value)) return 'Begin it with https://.';
  if (/\s/.test(value)) return 'Remove the blank in it.';
  let url: URL;
  try {
    url = new URL(value);
  } catch {
    return 'This is not a URL. Write it as https://hooks.example.com/in.';
  }
  if (url.username !== '' || url.password !== '')
    return 'Remove the user and the password from the URL, and choose Basic under Authentication.';
  if (url.hash !== '') return `Remove “${url.hash}”: what follows a # is never sent.`;
  return undefined;
}

/** The filter goes in as it was typed, so its numbers keep their digits. */
export function bodyOf(draft: Draft): NewWebhook {
  const { filter, headers, auth, event_text: _, rate_limit_per_second: rate, ...rest } = draft;
  const isTemplate = draft.payload_format === 'template';
  const number = (field: (typeof NUMBERS)[number]) => Number(draft[field]);
  return {
    ...rest,
    name: draft.name.trim(),
    target_url: draft.target_url.trim(),
    event_types: eventTypesOf(draft),
    description: draft.description.trim() || null,
    filter: filter.trim() === '' ? null : jsonText(filter),
    headers: Object.fromEntries(
      headers.filter(({ name }) => name.trim() !== '').map((one) => [one.name.trim(), one.value]),
    ),
    auth_config: authOf(draft.auth_type, auth),
    retry_attempts: number('retry_attempts'),
    retry_delay_seconds: number('retry_delay_seconds'),
    timeout_ms: number('timeout_ms'),
    max_in_flight: number('max_in_flight'),
    rate_limit_per_second: rate.trim() === '' ? null : Number(rate),
    payload_template: isTemplate ? draft.payload_template : null,
    content_type: isTemplate && draft.content_type !== '' ? draft.content_type : null,
    batch_max_events: number('batch_max_events'),
    batch_max_wait_ms: number('batch_max_wait_ms'),
  };
}

/** An empty secret keeps what is stored. */
function authOf(type: string, auth: Record<string, string>): Record<string, string | null> {
  const fields = AUTH_FIELDS[type] ?? [];
  return Object.fromEntries(fields.map(([key, , secret]) => [key, secret && !auth[key] ? null : (auth[key] ?? '')]));
}
