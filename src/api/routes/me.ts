/** What a token is, for whoever holds it. */
import type { FastifyInstance } from 'fastify';
import { ANY_SCOPE, type Caller } from '../auth.ts';
import { route } from '../route.ts';
import { closed, nullable, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';

export const Me = closed({
  organization_id: nullable(Type.String()),
  tenant_id: nullable(Type.String({ description: 'the same as organization_id' })),
  name: Type.String(),
  scopes: Type.Array(Type.String()),
  read_only: Type.Boolean(),
  expires_at: nullable(Time),
});

export function meJson({ tenantId, name, scopes, expiresAt }: Caller) {
  return {
    organization_id: tenantId,
    tenant_id: tenantId,
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
    route(app, service, { method: 'GET', path, tag: 'tokens', scopes: ANY_SCOPE, schema }, async ({ caller }) =>
      meJson(caller),
    );
  }
  const schema = { summary: 'The addresses that webhooks are sent from', response: { 200: EgressIps } };
  route(
    app,
    service,
    { method: 'GET', path: '/v1/egress-ips', tag: 'tokens', scopes: ANY_SCOPE, schema },
    async () => ({ data: [...service.settings.egressIps] }),
  );
}
