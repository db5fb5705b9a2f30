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

export function inboundLimits(
  app: FastifyInstance,
  service: Service,
  failuresMax: number,
): Pick<Limits, 'inbound' | 'ofSource'> {
  return {
    inbound: app.createRateLimit({
      max: service.settings.inboundRateLimit,
      timeWindow: 60_000,
      keyGenerator: (request) => service.inboundAs(request),
    }),
    ofSource: app.createRateLimit({
      max: failuresMax,
      timeWindow: 60_000,
      keyGenerator: (request) => `${networkOf(request.ip)} ${service.inboundAs(request)}`,
    }),
  };
}
