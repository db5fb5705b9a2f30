/**
 * What the ways of receiving share: the limit of an organization, one statement at a time, the bell
 * of the workers, and the answer.
 */
import { hash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type pg from 'pg';
import type { CodedError } from '../../database/explain-error.ts';
import { hopsOf, keptHeaders } from '../../inbound/once.ts';
import type { RequestHeaders } from '../../inbound/source.ts';
import type { Arrival, Refused, Stored } from '../../operations/inbound/receive.ts';
import { JsonText } from '../body.ts';
import { networkOf } from '../network.ts';
import { Problem } from '../problem.ts';
import type { Service } from '../service.ts';
import { turnOfNetwork, turnOfTenant } from '../turnstile.ts';
import { Bell } from './bell.ts';

/** How many senders are remembered with their organizations. */
const SENDERS_MAX = 10_000;

/** The database cannot hold the text in its encoding, or as JSON. */
const UNSTORABLE: readonly (string | undefined)[] = ['22021', '22P02', '22P05'];

export class Intake {
  readonly service: Service;
  readonly #bell: Bell;
  /** The organization of senders that were verified before, by key or by source. */
  readonly #senders = new Map<string, string>();

  constructor(service: Service) {
    this.service = service;
    this.#bell = new Bell(service);
  }

  /**
   * Counts a request against the limit of its organization, and throws above it. Of senders that
   * were verified before the organization is known, so a flood costs the database nothing. Returns
   * whether it was counted.
   */
  async admit(request: FastifyRequest, reply: FastifyReply, sender: string): Promise<boolean> {
    const tenantId = this.#senders.get(sender);
    if (tenantId !== undefined) await this.service.countInbound(request, reply, tenantId);
    return tenantId !== undefined;
  }

  /** Whether it was verified before, by this process. */
  knows(sender: string): boolean {
    return this.#senders.has(sender);
  }

  /** The sender is verified. Its first request is counted now, when it is already stored. */
  async remember(request: FastifyRequest, reply: FastifyReply, sender: string, tenantId: string): Promise<void> {
    this.#note(sender, tenantId);
    await this.service.countInbound(request, reply, tenantId).catch(() => {});
  }

  /** Throws if the organization of a source has reached its limit. Anybody may name a source. */
  async requireRoom(request: FastifyRequest, sender: string): Promise<void> {
    const tenantId = this.#senders.get(sender);
    if (tenantId !== undefined) await this.service.requireInboundRoom(request, tenantId);
  }

  /** A request of a source is verified before it is stored, so it is counted in between. */
  async count(request: FastifyRequest, reply: FastifyReply, sender: string, tenantId: string): Promise<void> {
    this.#note(sender, tenantId);
    await this.service.countInbound(request, reply, tenantId);
  }

  #note(sender: string, tenantId: string): void {
    this.#senders.set(sender, tenantId);
    if (this.#senders.size > SENDERS_MAX) this.forget(this.#senders.keys().next().value as string);
  }

  forget(sender: string): void {
    this.#senders.delete(sender);
  }

  /**
   * Runs one statement, which commits by itself. A sender that was never verified waits in the turn
   * of its network.
   */
  async run<T>(request: FastifyRequest, sender: string, work: (pool: pg.Pool) => Promise<T>): Promise<T> {
    const tenantId = this.#senders.get(sender);
    const turn = tenantId === undefined ? turnOfNetwork(networkOf(request.ip)) : turnOfTenant(tenantId);
    const place = await this.service.turnstile.pass(turn);
    try {
      return await work(this.service.pool);
    } finally {
      place.leave();
    }
  }

  /** Senders that were never verified have the turn of their network. */
  store(sender: string, arrival: Arrival): Promise<Stored | Refused> {
    const tenantId = this.#senders.get(sender);
    const turn = tenantId === undefined ? turnOfNetwork(networkOf(arrival.address)) : turnOfTenant(tenantId);
    return this.service.groups.store(turn, arrival).catch((error: CodedError) => {
      if (!UNSTORABLE.includes(error.code)) throw error;
      throw new Problem('bad_request', 'The body has text that the database cannot hold.', { cause: error });
    });
  }

  arrival(
    request: FastifyRequest,
    headers: RequestHeaders,
    body: Buffer,
    about: Pick<Arrival, 'sender' | 'eventName' | 'payload' | 'keys'>,
  ): Arrival {
    return {
      ...about,
      headers: keptHeaders(headers),
      hash: hash('sha256', body, 'buffer'),
      hops: hopsOf(headers),
      address: this.service.addressOf(request),
    };
  }

  answer(reply: FastifyReply, stored: Stored, payload: string): object {
    if (stored.is_new) this.#bell.ring();
    reply.code(stored.is_new ? 201 : 200);
    return {
      id: stored.id,
      tenant_id: stored.tenant_id,
      event_name: stored.event_name,
      payload: new JsonText(stored.payload ?? payload),
      status: stored.status,
      received_at: stored.received_at.toISOString(),
    };
  }
}
