/** For operators: the organizations, and how rowhook does. */
import type { FastifyInstance } from 'fastify';
import {
  putOrganization,
  type Organization as Row,
  readOrganizations,
  readStatusFor,
} from '../../operations/operators.ts';
import { JsonText } from '../body.ts';
import { Status } from '../document/status.ts';
import { notFound, Problem } from '../problem.ts';
import { type Call, type RouteSchema, route } from '../route.ts';
import { closed, LIMIT, listOf, nullable, Page, Type } from '../schema.ts';
import type { Service } from '../service.ts';

const tag = 'operator';
const scopes = ['operator'] as const;

const SETTINGS = {
  name: nullable(Type.String({ maxLength: 1_000 })),
  slug: nullable(Type.String({ maxLength: 1_000 })),
  max_in_flight: nullable(Type.Integer({ minimum: 1, maximum: 10_000 })),
  rate_limit_per_second: nullable(Type.Number({ minimum: 0.00001, maximum: 100_000 })),
};
export const Organization = closed({
  id: Type.String(),
  ...SETTINGS,
  webhooks: Type.Integer(),
  active: Type.Integer(),
  failing: Type.Integer(),
  disabled: Type.Integer(),
  waiting: Type.Integer({ description: 'deliveries, counted up to 10,000' }),
  failed: Type.Integer({ description: 'deliveries, counted up to 10,000' }),
});

function organizationJson({ rate_limit_per_second: rate, ...row }: Row) {
  return { ...row, rate_limit_per_second: rate === null ? null : Number(rate) };
}

/** Only keys have the scope, and the database checks the key once more. */
function hashOf({ credential }: Pick<Call<RouteSchema>, 'credential'>): Buffer {
  if (credential.kind === 'key') return credential.hash;
  throw new Problem('forbidden', 'This needs a key of the operator.');
}

export function addOperators(app: FastifyInstance, service: Service): void {
  const list = {
    summary: 'List organizations by id, and how their webhooks do',
    querystring: closed({
      ...Page,
      q: Type.Optional(Type.String({ maxLength: 255, description: 'part of an id or name' })),
    }),
    response: { 200: listOf(Organization) },
  };
  route(
    app,
    service,
    { method: 'GET', path: '/v1/organizations', tag, scopes, schema: list },
    async ({ tx, credential, query: { limit = LIMIT, cursor, q } }) => {
      const after = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString();
      if (after?.includes('\0')) throw new Problem('bad_request', 'cursor is not one that a page of this list gave.');
      const rows = await readOrganizations(tx, hashOf({ credential }), { after, q, limit });
      const data = rows.slice(0, limit).map(organizationJson);
      const last = rows.length > limit ? data.at(-1) : undefined;
      return { data, next_cursor: last === undefined ? null : Buffer.from(last.id).toString('base64url') };
    },
  );

  const put = {
    summary: 'Set the name, the slug and the limits of an organization',
    params: Type.Object({ organization: Type.String() }),
    body: closed(Type.Partial(Type.Object(SETTINGS)).properties),
    response: { 200: closed({ id: Type.String(), ...SETTINGS }) },
  };
  route(
    app,
    service,
    { method: 'PUT', path: '/v1/organizations/:organization', tag, scopes, schema: put },
    async ({ tx, credential, params: { organization: id }, body }) => {
      if (Buffer.byteLength(id) > 512 || id.includes('\0')) throw notFound('organization');
      const { name = null, slug = null, max_in_flight = null, rate_limit_per_second = null } = body;
      const settings = { name, slug, max_in_flight, rate_limit_per_second };
      await putOrganization(tx, hashOf({ credential }), id, settings);
      return { id, ...settings };
    },
  );

  const status = { summary: 'Daemons, lanes, and what waits', response: { 200: Status } };
  route(
    app,
    service,
    { method: 'GET', path: '/v1/status', tag, scopes, schema: status },
    async ({ tx, credential }) => new JsonText(await readStatusFor(tx, hashOf({ credential }))),
  );
}
