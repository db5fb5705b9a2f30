/** Attempts as they happen: server-sent events. */
import type { FastifyInstance, FastifyReply } from 'fastify';
import type pg from 'pg';
import { Problem } from '../problem.ts';
import { Later, route } from '../route.ts';
import { OfOrganization, Type } from '../schema.ts';
import type { Service } from '../service.ts';
import { Streams } from './streams.ts';

export function addStream(app: FastifyInstance, service: Service): void {
  const streams = new Streams();
  app.addHook('preClose', async () => streams.end());
  const schema = {
    summary: 'Attempts as they happen, as server-sent events',
    description:
      'Event `attempt` has an attempt and its webhook_id. Event `skipped` says how many there were above 50 a second.',
    params: OfOrganization,
    response: { 200: Type.Any({ description: 'text/event-stream' }) },
  };
  route(
    app,
    service,
    { method: 'GET', path: '/v1/:org/stream', tag: 'deliveries', isListed: false, schema },
    async ({ organization, request, reply }) => {
      const last = request.headers['last-event-id'];
      const after = typeof last === 'string' && /^\d{1,18}$/.test(last) ? BigInt(last) : null;
      return new Later(async (again) => {
        // Before anything is waited for: many requests may come at the same time.
        const leave = streams.enter(organization);
        if (leave === undefined)
          throw new Problem('rate_limited', 'There are too many streams.', { headers: { 'retry-after': '60' } });
        try {
          const before = after ?? (await again((tx) => lastId(tx)));
          begin(reply);
          await streams.add(organization, reply.raw, again, before);
          return undefined;
        } finally {
          leave();
        }
      });
    },
  );
}

function begin(reply: FastifyReply): void {
  reply.hijack();
  const headers = Object.fromEntries(
    Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined),
  ) as Record<string, string>;
  reply.raw.writeHead(200, {
    ...headers,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
}

/** Attempts from before the stream are not sent. */
async function lastId(tx: pg.ClientBase): Promise<bigint> {
  const { rows } = await tx.query<{ id: string }>(
    `select coalesce(max(id), 0) as id from rowhook.webhook_logs
      where tenant_id = rowhook.current_tenant() and attempted_at > now() - interval '45 seconds'`,
  );
  return BigInt(rows[0]?.id ?? 0);
}
