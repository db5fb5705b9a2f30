// Random requests for every operation of the OpenAPI document: from its own schemas, and from none.

import fc from 'fast-check';
import type { Document, Operation, Schema } from './api-document.ts';

export interface FuzzRequest {
  method: string;
  /** From /api on. */
  path: string;
  body: string | undefined;
  contentType: string;
}

const NASTY = [
  ...['', ' ', '\0', 'a\0b', '\ud800', '\u{1f600}', 'é'.repeat(300), '%', '%00', '%ff', '../..', "'; drop table x; --"],
  ...['null', 'true', '-1', '1e400', 'NaN', '__proto__', 'constructor', 'toString', '{{', '{% if', '*', 'a.*', '٣'],
  ...['9223372036854775808', '99999999999999999999', '2026-02-30T25:61:61Z', '0001-01-01T00:00:00Z', '+275760-09-13'],
  ...[
    'http://',
    'https://[::1',
    'https://u:p@h.example/',
    'file:///etc/passwd',
    'https://\u0000.example',
    '999d',
    '0s',
  ],
];

const text = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ maxLength: 2_000 }) },
);

/** No schema at all: any JSON, such as rowhook's users send by mistake. */
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  text,
  fc.dictionary(fc.oneof(text, fc.constantFrom('__proto__', 'id', 'data', 'event')), text, { maxKeys: 4 }),
  fc.constant({ ['__proto__']: { admin: true } }),
);

/** Real ids of the organization, so that requests get further than 404. */
export type Ids = Readonly<Record<string, readonly string[]>>;

export function fuzzRequests(document: Document, ids: Ids, without?: RegExp): fc.Arbitrary<FuzzRequest> {
  const schemas = document.components.schemas;
  const paths = Object.entries(document.paths).filter(([path]) => !without?.test(path));
  const operations = paths.flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => requestOf(method, path, operation, ids, schemas)),
  );
  return fc.oneof(...operations);
}

function requestOf(method: string, path: string, operation: Operation, ids: Ids, schemas: Record<string, Schema>) {
  const { parameters = [], requestBody } = operation;
  const inPath = parameters.filter((parameter) => parameter.in === 'path');
  const places = inPath.map(({ name }) => {
    const known = fc.constantFrom(...(ids[name] ?? ['me']));
    return fc.oneof({ weight: 8, arbitrary: known }, { weight: 1, arbitrary: text });
  });
  const inQuery = parameters.filter((parameter) => parameter.in === 'query');
  const query = fc.record(Object.fromEntries(inQuery.map(({ name, schema }) => [name, mostly(schema, schemas)])), {
    requiredKeys: [],
  });
  const schema = Object.values(requestBody?.content ?? {})[0]?.schema;
  const json = (value: fc.Arbitrary<unknown>) => value.map((each) => JSON.stringify(each) ?? '');
  const body: fc.Arbitrary<string | undefined> =
    schema === undefined
      ? fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: json(anything) })
      : fc.oneof(
          { weight: 6, arbitrary: json(mostly(schema, schemas)) },
          { weight: 3, arbitrary: json(anything) },
          { weight: 1, arbitrary: text },
        );
  const contentType = fc.oneof(
    { weight: 20, arbitrary: fc.constant('application/json') },
    { weight: 1, arbitrary: fc.constantFrom('text/plain', 'application/json; charset=x', 'application/x+json', 'x') },
  );
  return fc
    .record({ values: fc.tuple(...places), query, body, contentType })
    .map(({ values, query: asked, body: sent, contentType: type }): FuzzRequest => {
      const filled = inPath.reduce((at, { name }, n) => at.replace(`{${name}}`, encoded(values[n] as string)), path);
      const words = Object.entries(asked).map(([name, value]) => `${name}=${encoded(plain(value))}`);
      const url = `${filled}${words.length > 0 ? `?${words.join('&')}` : ''}`;
      return { method: method.toUpperCase(), path: url, body: method === 'get' ? undefined : sent, contentType: type };
    });
}

/** As a client writes a value into a query. */
const plain = (value: unknown) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));

/** `.` and `..` would lead elsewhere, and a lone surrogate has no UTF-8. */
const encoded = (value: string) => encodeURIComponent(value.toWellFormed()).replaceAll('.', '%2E');

/** Mostly values that the schema allows, and sometimes others. */
function mostly(schema: Schema, schemas: Record<string, Schema>, depth = 0): fc.Arbitrary<unknown> {
  if (depth > 4) return fc.constant(null);
  return fc.oneof(
    { weight: 9, arbitrary: allowedBy(schema, schemas, depth) },
    { weight: 1, arbitrary: anything as fc.Arbitrary<unknown> },
  );
}

function allowedBy(schema: Schema, schemas: Record<string, Schema>, depth: number): fc.Arbitrary<unknown> {
  const within = (each: Schema) => mostly(each, schemas, depth + 1);
  const { $ref, anyOf, items, properties, required = [], patternProperties, type } = schema;
  if ($ref) return allowedBy(schemas[$ref.slice($ref.lastIndexOf('/') + 1)] ?? {}, schemas, depth);
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  if (anyOf) return fc.oneof(...anyOf.map(within));
  if (type === 'array') return fc.array(within(items ?? {}), { maxLength: 4 });
  if (properties) {
    const members = Object.fromEntries(Object.entries(properties).map(([name, each]) => [name, within(each)]));
    return fc.record(members, { requiredKeys: required });
  }
  if (patternProperties) return fc.dictionary(text, within(Object.values(patternProperties)[0] ?? {}), { maxKeys: 4 });
  return SCALARS[type ?? ''] ?? anything;
}

/** What people write in the fields, beside what nobody should. */
const WORDS = [
  ...['https://hooks.example.com/in', 'deal.*', 'deal.won', '*', 'POST', 'bearer', 'basic', 'api_key', 'exponential'],
  ...['linear', 'row', 'none', 'flat', 'nested', 'success', '1h', '2026-01-01T00:00:00Z', '10.0.0.0/8', 'read', 'Acme'],
];

const SCALARS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  string: fc.oneof(fc.constantFrom(...WORDS), text),
  integer: fc.oneof(fc.integer({ min: -2, max: 600 }), fc.integer(), fc.maxSafeInteger()),
  number: fc.oneof(fc.integer({ min: -2, max: 600 }), fc.double({ noNaN: true })),
  boolean: fc.boolean(),
  null: fc.constant(null),
};
