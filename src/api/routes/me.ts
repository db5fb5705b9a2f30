/** What a token is, for whoever holds it. */
import type { FastifyInstance } from 'fastify';
import { route } from '../route.ts';
import { closed, nullable, Time, Type } from '../schema.ts';
import type { Service } from '../service.ts';

const Me = closed({
  organization_id: nullable(Type.String()),
  tenant_id: nullable(Type.String({ description: 'the same as organization_id' })),
  name: Type.String(),
  scopes: Type.Array(Type.String()),
  read_only: Type.Boolean(),
  expires_at: nullable(Time),
});

const ANY = ['read', 'write', 'inbound', 'keys', 'operator'] as const;

export function addMe(app: FastifyInstance, service: Service): void {
  for (const path of ['/v1/me', '/auth/me']) {
    const schema = { summary: 'What the token is', response: { 200: Me } };
    route(app, service, { method: 'GET', path, tag: 'tokens', scopes: ANY, schema }, async ({ caller }) => ({
      organization_id: caller.tenantId,
      tenant_id: caller.tenantId,
      name: caller.name,
      scopes: [...caller.scopes],
      read_only: !caller.scopes.includes('write'),
      expires_at: caller.expiresAt?.toISOString() ?? null,
    }));
  }
}
