/** How an inbound event is called. Pure. */
import { headerOf, type InboundSource, type RequestHeaders } from './source.ts';

/** `inbound.` and the name are an event type, which has 128 characters at most. */
export const NAME_LENGTH_MAX = 120;

export function isEventName(text: string): boolean {
  return text.length <= NAME_LENGTH_MAX && /^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$/.test(text);
}

/** Characters that an event type cannot hold become dots. Undefined: nothing remains. */
export function eventNameFrom(given: unknown): string | undefined {
  if (typeof given !== 'string') return undefined;
  const bare = (text: string) => text.replace(/^\.+|\.+$/g, '');
  const name = bare(bare(given.slice(0, 1_000).replace(/[^A-Za-z0-9_-]+/g, '.')).slice(0, NAME_LENGTH_MAX));
  return name === '' ? undefined : name;
}

/** What the source says, else what its kind of sender does, else the source's name. */
export function eventNameOf(source: InboundSource, headers: RequestHeaders, value: unknown): string {
  const { event_name, event_path, event_header, name } = source;
  return (
    event_name ??
    eventNameFrom(event_path === null ? undefined : at(value, event_path)) ??
    eventNameFrom(event_header === null ? undefined : headerOf(headers, event_header)) ??
    eventNameFrom(usualName(source, headers, value)) ??
    eventNameFrom(headerOf(headers, 'x-webhook-event')) ??
    name
  );
}

/** Of a request with a key and without a name in its path. */
export function unsignedName(headers: RequestHeaders, value: unknown): string {
  return eventNameFrom(headerOf(headers, 'x-webhook-event')) ?? eventNameFrom(at(value, 'type')) ?? 'webhook';
}

function usualName({ verification }: InboundSource, headers: RequestHeaders, value: unknown): unknown {
  switch (verification) {
    case 'standard_webhooks':
    case 'stripe':
      return at(value, 'type');
    case 'github':
      return headerOf(headers, 'x-github-event');
    case 'shopify':
      return headerOf(headers, 'x-shopify-topic');
    case 'slack':
      return at(value, 'event.type') ?? at(value, 'type');
    case 'hmac':
    case 'api_key':
      return undefined;
  }
}

/** `data.type` in `{"data":{"type":…}}`. Only own members count. */
export function at(value: unknown, path: string): unknown {
  let found = value;
  for (const part of path.split('.')) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, part)) return undefined;
    found = (found as Record<string, unknown>)[part];
  }
  return found;
}
