/**
 * The schemas of the API, with TypeBox. One schema of a route validates, types its handler, and
 * becomes its part of the OpenAPI document.
 */
import { type Static, type TSchema, Type, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';

import { notFound } from './problem.ts';

export { type Static, type TSchema, Type };

/** Values of a query are converted from text, those of a body never. All errors are reported. */
export const compileValidator = TypeBoxValidatorCompiler;

export const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** An object without further fields. */
export const closed = <T extends Record<string, TSchema>>(fields: T, options: object = {}) =>
  Type.Object(fields, { additionalProperties: false, ...options });

/** RFC 3339, in UTC. */
export const Time = Type.String({ format: 'date-time' });

/** An id that is not a UUID names nothing, so it is 404 and not 400. */
export const Id = Type.String({ description: 'a UUID' });

/** An id that is no UUID is the id of nothing. */
export function idOf({ id }: { id: string }, what: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return id.toLowerCase();
  throw notFound(what);
}

export const Organization = Type.String({
  description: 'the id of the organization, percent-encoded; `me` stands for the one of the token',
});

export const OfOrganization = Type.Object({ org: Organization });

/** Headers of a request, for the document. Their values are read where they count. */
export const headersOf = <K extends string>(named: Readonly<Record<K, string>>) =>
  Type.Object(
    Object.fromEntries(
      Object.entries<string>(named).map(([name, description]) => [name, Type.Optional(Type.String({ description }))]),
    ),
  );

export const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ description: 'stable; a program decides by this' }),
    errors: Type.Optional(Type.Array(Type.Object({ field: Type.String(), message: Type.String() }))),
  },
  { description: 'RFC 9457' },
);

/** The parameters of a list. */
export const Page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, description: '50 by default' })),
  cursor: Type.Optional(Type.String({ maxLength: 500, description: 'next_cursor of the page before' })),
};

export const LIMIT = 50;

/** `{"data":[…],"next_cursor":null}` */
export const listOf = <T extends TSchema>(item: T) =>
  closed({ data: Type.Array(item), next_cursor: nullable(Type.String()) });
