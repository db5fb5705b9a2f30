/** TypeScript for receivers: a union of all bodies, told apart by `event`. Pure. */
import { pascalCase } from './openapi.ts';
import { type EventType, withoutDialect } from './payload-schema.ts';

const HEADER = `// The webhooks that rowhook sends, made by: rowhook types --lang typescript

export interface Organization {
  id: string;
  name?: string | null;
  slug?: string | null;
}

/** What all bodies have. \`data\` is whole, unless \`truncated\` is true: then it has the key columns alone. */
export interface Webhook<Event extends string, Data> {
  /** The same for each attempt: the header webhook-id. */
  id: string;
  event: Event;
  /** RFC 3339, in UTC. */
  timestamp: string;
  organization: Organization;
  data: Data;
  /** The old values of the columns that an UPDATE changed. */
  previous?: Data extends object ? Partial<Data> : unknown;
  truncated?: undefined;
  test?: true;
  metadata: { webhook_id: string; webhook_name: string; delivery_id: string };
}

/** An event that was too large to be sent whole. */
export interface Thin<Event extends string, Data>
  extends Omit<Webhook<Event, Data>, 'data' | 'previous' | 'truncated'> {
  data: Data extends object ? Partial<Data> : unknown;
  truncated: true;
  truncated_reason: string;
}

export interface Batch {
  id: string;
  batch: WebhookPayload[];
}
`;

export function typescriptOf(types: readonly EventType[]): string {
  const data = dataTypes(types);
  const names = uniqueNames(types.map(({ event_type }) => pascalCase(event_type)));
  const events = types.map(({ event_type, description }, index) => {
    const parts = `${literal(event_type)}, ${data.nameOf(index)}`;
    return `${comment(description)}export type ${names[index]} = Webhook<${parts}> | Thin<${parts}>;\n`;
  });
  const union = names.length === 0 ? ' never' : names.map((name) => `\n  | ${name}`).join('');
  return [
    HEADER,
    ...data.declarations,
    ...events,
    `export type WebhookPayload =${union};\n`,
    "export type EventType = WebhookPayload['event'];\n",
  ].join('\n');
}

/** Event types with the same schema share a type: those of one table do. */
function dataTypes(types: readonly EventType[]): { declarations: string[]; nameOf(index: number): string } {
  const schemas = types.map(({ schema }) => withoutDialect(schema));
  const texts = schemas.map((schema) => JSON.stringify(schema));
  const distinct = [...new Set(texts)];
  const groups = distinct.map((text) => types.filter((_, index) => texts[index] === text));
  const names = uniqueNames(groups.map((group) => `${pascalCase(commonPrefix(group))}Data`));
  const declarations = distinct.map((text, index) => {
    const schema = schemas[texts.indexOf(text)] ?? true;
    const about = typeof schema === 'object' && typeof schema.description === 'string' ? schema.description : null;
    return `${comment(about)}export type ${names[index]} = ${typeOf(schema, '')};\n`;
  });
  return { declarations, nameOf: (index) => names[distinct.indexOf(texts[index] ?? '')] ?? 'unknown' };
}

/** deal.created, deal.stage.changed → deal. A single event type stays whole. */
function commonPrefix(group: readonly EventType[]): string {
  const [first = [], ...others] = group.map(({ event_type }) => event_type.split('.'));
  const common = first.findIndex((word, index) => others.some((other) => other[index] !== word));
  return (common > 0 ? first.slice(0, common) : first).join('.');
}

/** No name twice, none that begins with a digit, and none of the names above. */
function uniqueNames(names: readonly string[]): string[] {
  const taken = new Set(['Organization', 'Webhook', 'Thin', 'Batch', 'WebhookPayload', 'EventType']);
  return names.map((wanted) => {
    const name = /^[A-Za-z]/.test(wanted) ? wanted : `Event${wanted}`;
    let free = name;
    for (let number = 2; taken.has(free); number += 1) free = `${name}${number}`;
    taken.add(free);
    return free;
  });
}

function typeOf(schema: unknown, indent: string): string {
  if (typeof schema !== 'object' || schema === null) return schema === false ? 'never' : 'unknown';
  const { const: constant, enum: values, anyOf, oneOf, type } = schema as Record<string, unknown>;
  if (constant !== undefined) return literal(constant);
  if (Array.isArray(values)) return values.length === 0 ? 'never' : values.map(literal).join(' | ');
  const either = anyOf ?? oneOf;
  if (Array.isArray(either)) return union(either.map((one) => typeOf(one, indent)));
  const named = [type ?? []].flat() as string[];
  if (named.length === 0) return 'properties' in schema ? objectOf(schema, indent) : 'unknown';
  return union(named.map((name) => typeNamed(name, schema, indent)));
}

function typeNamed(name: string, schema: object, indent: string): string {
  if (name === 'object') return objectOf(schema, indent);
  if (name === 'array') {
    const items = typeOf((schema as { items?: unknown }).items, indent);
    return /^[\w.]+$/.test(items) ? `${items}[]` : `(${items})[]`;
  }
  if (name === 'integer') return 'number';
  return ['string', 'number', 'boolean', 'null'].includes(name) ? name : 'unknown';
}

function objectOf(schema: object, indent: string): string {
  const { properties = {}, required = [] } = schema as { properties?: Record<string, unknown>; required?: unknown };
  const members = Object.entries(properties);
  if (members.length === 0) return 'Record<string, unknown>';
  const inner = `${indent}  `;
  const lines = members.map(([name, member]) => {
    const about = (member as { description?: unknown } | null)?.description;
    const mark = Array.isArray(required) && required.includes(name) ? '' : '?';
    const key = /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
    return `${comment(typeof about === 'string' ? about : null, inner)}${inner}${key}${mark}: ${typeOf(member, inner)};\n`;
  });
  return `{\n${lines.join('')}${indent}}`;
}

function union(types: readonly string[]): string {
  return [...new Set(types)].join(' | ');
}

/** Objects and arrays have no literal type. */
function literal(value: unknown): string {
  return typeof value === 'object' && value !== null ? 'unknown' : JSON.stringify(value);
}

function comment(text: string | null, indent = ''): string {
  if (text === null || text === '') return '';
  return `${indent}/** ${text.replaceAll('*/', '*\\/').replaceAll(/\s+/g, ' ')} */\n`;
}
