/** What a token is, for whoever holds it. */
import type { FastifyInstance } from 'fastify';
import type pg from 'pg';
import { type OrganizationNames, readOrganizationNames } from '../../operations/organization.ts';
import { ANY_SCOPE, type Caller } from '../auth.ts';
import { route } from '../route.ts';
import { closed, nullable, OfOrganization, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';

/** As in the body of a webhook. */
const OrganizationNamesJson = closed({
  id: Type.String(),
  name: nullable(Type.String()),
  slug: nullable(Type.String()),
});

export const Me = closed({
  organization_id: nullable(Type.String()),
  tenant_id: nullable(Type.String({ description: 'the same as organization_id' })),
  organization: nullable(OrganizationNamesJson),
  name: Type.String({ description: 'of the token' }),
  scopes: Type.Array(Type.String()),
  read_only: Type.Boolean(),
  expires_at: nullable(Time),
});

/** `tx` has the tenant of the caller. */
export async function meJson(tx: pg.ClientBase, { tenantId, name, scopes, expiresAt }: Caller) {
  return {
    organization_id: tenantId,
    tenant_id: tenantId,
    organization: tenantId === null ? null : await readOrganizationNames(tx, tenantId),
    name,
    scopes: [...scopes],
    read_only: !scopes.includes('write'),
    expires_at: expiresAt?.toISOString() ?? null,
  };
}

const EgressIps = closed({
  data: Type.Array(Type.String({ description: 'an address, or a network such as 192.0.2.0/24' })),
});

export function addMe(app: FastifyInstance, service: Service): void {
  for (const path of ['/v1/me', '/auth/me']) {
    const schema = { summary: 'What the token is', response: { 200: Me } };
    route(app, service, { method: 'GET', path, tag: 'tokens', scopes: ANY_SCOPE, schema }, async ({ tx, caller }) =>
      meJson(tx, caller),
    );
  }
  const named = {
    summary: 'The name and the slug of this organization',
    params: OfOrganization,
    response: { 200: OrganizationNamesJson },
  };
  route(
    app,
    service,
    { method: 'GET', path: '/v1/:org/organization', tag: 'tokens', scopes: ANY_SCOPE, schema: named },
    async ({ tx, organization }): Promise<OrganizationNames> => readOrganizationNames(tx, organization),
  );
  const schema = { summary: 'The addresses that webhooks are sent from', response: { 200: EgressIps } };
  route(
    app,
    service,
    { method: 'GET', path: '/v1/egress-ips', tag: 'tokens', scopes: ANY_SCOPE, schema },
    async () => ({ data: [...service.settings.egressIps] }),
  );
}
