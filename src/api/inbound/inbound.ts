/** All that the API has for inbound webhooks: routes, and limits of those who send. */
import type { FastifyInstance } from 'fastify';
import { networkOf } from '../network.ts';
import type { Limits, Service } from '../service.ts';
import { addEndpoint } from './endpoint.ts';
import { addInboundEvents } from './events.ts';
import { addInboundSources } from './sources.ts';

export function addInbound(app: FastifyInstance, service: Service): void {
  addEndpoint(app, service);
  addInboundSources(app, service);
  addInboundEvents(app, service);
}

/** How many names each limit counts. The least recent are forgotten. */
export const COUNTED = { cache: 50_000 };

export function inboundLimits(
  app: FastifyInstance,
  service: Service,
  failuresMax: number,
): Pick<Limits, 'inbound' | 'ofSource' | 'ofTestUrl'> {
  return {
    inbound: app.createRateLimit({
      ...COUNTED,
      max: service.settings.inboundRateLimit,
      timeWindow: 60_000,
      keyGenerator: (request) => service.inboundAs(request),
    }),
    ofSource: app.createRateLimit({
      ...COUNTED,
      max: failuresMax,
      timeWindow: 60_000,
      keyGenerator: (request) => `${networkOf(request.ip)} ${service.inboundAs(request)}`,
    }),
    // Anybody may name any: they must not push out the counts of organizations.
    ofTestUrl: app.createRateLimit({
      ...COUNTED,
      max: service.settings.inboundRateLimit,
      timeWindow: 60_000,
      keyGenerator: (request) => (request.params as { id: string }).id,
    }),
  };
}
