// The types of the client, written from the OpenAPI document: src/client/types.ts. `npm run docs`
// writes the file. openapi-typescript, which goes with openapi-fetch, needs the compiler of
// TypeScript 5, and npm installs no second one beside ours.

import type { Content, Document, Operation, Parameter, Schema } from './api-document.ts';

const HEAD = `// Written by npm run docs from the OpenAPI document. Do not edit.
`;

export function clientTypes({ paths, components: { schemas } }: Document): string {
  const named = Object.entries(schemas).map(([name, schema]) => {
    const body = typeOf(schema, '');
    const comment = commentOf(schema.description, '');
    return schema.properties
      ? `${comment}export interface ${name} ${body}\n`
      : `${comment}export type ${name} = ${body};\n`;
  });
  const each = Object.entries(paths).map(([path, methods]) => {
    const operations = Object.entries(methods).map(([method, operation]) => operationOf(method, operation));
    return `  ${JSON.stringify(path)}: {\n${operations.join('')}  };\n`;
  });
  return [HEAD, ...named, `export interface paths {\n${each.join('')}}\n`].join('\n');
}

function operationOf(method: string, { summary, parameters = [], requestBody, responses }: Operation): string {
  const places = (['path', 'query', 'header'] as const).flatMap((place) => {
    const here = parameters.filter((parameter) => parameter.in === place);
    if (here.length === 0) return [];
    const optional = here.some(({ required }) => required) ? '' : '?';
    return `        ${place}${optional}: ${parametersOf(here)};\n`;
  });
  const body =
    requestBody && `      requestBody${requestBody.required ? '' : '?'}: ${contentOf(requestBody.content)};\n`;
  const answers = Object.entries(responses).map(([status, { content }]) => {
    const key = /^\d+$/.test(status) ? status : JSON.stringify(status);
    return `        ${key}: ${content ? contentOf(content) : '{ content?: never }'};\n`;
  });
  return [
    commentOf(summary, '    '),
    `    ${method}: {\n`,
    places.length === 0 ? '' : `      parameters: {\n${places.join('')}      };\n`,
    body ?? '',
    `      responses: {\n${answers.join('')}      };\n    };\n`,
  ].join('');
}

const contentOf = (content: Content) => {
  const types = Object.entries(content).map(
    ([type, { schema }]) => `${JSON.stringify(type)}: ${typeOf(schema, '        ')}`,
  );
  return `{ content: { ${types.join('; ')} } }`;
};

function parametersOf(parameters: readonly Parameter[]): string {
  const properties = Object.fromEntries(
    parameters.map(({ name, description, schema }) => [name, { ...schema, ...(description && { description }) }]),
  );
  const required = parameters.flatMap(({ name, required }) => (required ? name : []));
  return objectOf({ properties, required }, '        ');
}

/** As TypeScript. `at` is the indentation of the line where it begins. */
function typeOf(schema: Schema, at: string): string {
  const { $ref, anyOf, items, properties, patternProperties, additionalProperties, type } = schema;
  if ($ref !== undefined) return $ref.slice($ref.lastIndexOf('/') + 1);
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (anyOf) return [...new Set(anyOf.map((each) => typeOf(each, at)))].join(' | ');
  if (type === 'array') return `Array<${items ? typeOf(items, at) : 'unknown'}>`;
  if (properties && Object.keys(properties).length > 0) return objectOf(schema, at);
  const [ofAll] = Object.values(patternProperties ?? {});
  const rest = ofAll ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
  if (rest) return `Record<string, ${typeOf(rest, at)}>`;
  if (type === 'object') return additionalProperties === false ? 'Record<string, never>' : 'Record<string, unknown>';
  return SCALARS[type ?? ''] ?? 'unknown';
}

const SCALARS: Readonly<Record<string, string>> = {
  string: 'string',
  integer: 'number',
  number: 'number',
  boolean: 'boolean',
  null: 'null',
};

function objectOf({ properties = {}, required = [] }: Schema, at: string): string {
  const lines = Object.entries(properties).map(([name, schema]) => {
    const key = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
    const optional = required.includes(name) ? '' : '?';
    return `${commentOf(schema.description, `${at}  `)}${at}  ${key}${optional}: ${typeOf(schema, `${at}  `)};\n`;
  });
  return `{\n${lines.join('')}${at}}`;
}

function commentOf(text: string | undefined, at: string): string {
  return text === undefined ? '' : `${at}/** ${text.replaceAll('*/', '* /')} */\n`;
}
