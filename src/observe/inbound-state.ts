/** What stands with inbound events, for status, metrics and doctor. */
import type pg from 'pg';
import { Gauge, type Registry } from './prometheus.ts';

/** Counts end at 100,000. */
export interface InboundState {
  /** Received, or given back by a worker. They wait for a claim. */
  pending: number;
  /** Claimed, within the lease. */
  processing: number;
  /** Claimed, and the lease ended without an answer. They wait for the next claim. */
  leaseEnded: number;
  /** Failed events of the last 24 hours. */
  failed24h: number;
  /** Age of the oldest event that is neither processed nor failed. Null: there is none. */
  oldestSeconds: number | null;
  oldestTenantId: string | null;
  oldestEventName: string | null;
  /** How often it was claimed. */
  oldestAttempts: number | null;
}

export const READ_INBOUND_STATE = `
  select pending, processing, lease_ended as "leaseEnded", failed_24h as "failed24h",
         oldest_seconds as "oldestSeconds", oldest_tenant_id as "oldestTenantId",
         oldest_event_name as "oldestEventName", oldest_attempts as "oldestAttempts"
    from rowhook._inbound_state()`;

export async function readInboundState(client: pg.ClientBase): Promise<InboundState> {
  const { rows } = await client.query<InboundState>(READ_INBOUND_STATE);
  return rows[0] as InboundState;
}

/** `state`: undefined if it is not known yet. */
export function addInboundGauges(registers: Registry[], state: () => InboundState | undefined): void {
  new Gauge({
    name: 'rowhook_inbound_events',
    help:
      'Inbound events, by state: pending (no worker has them), processing, lease_ended (claimed and not answered ' +
      'in time), failed (of the last 24 hours). Counted once a minute, up to 100000. ' +
      'Every daemon reports the same number.',
    labelNames: ['state'],
    registers,
    collect() {
      const inbound = state();
      this.set({ state: 'pending' }, inbound?.pending ?? Number.NaN);
      this.set({ state: 'processing' }, inbound?.processing ?? Number.NaN);
      this.set({ state: 'lease_ended' }, inbound?.leaseEnded ?? Number.NaN);
      this.set({ state: 'failed' }, inbound?.failed24h ?? Number.NaN);
    },
  });
  new Gauge({
    name: 'rowhook_inbound_oldest_seconds',
    help:
      'Seconds since the oldest inbound event was received that is neither processed nor failed. 0: there is none. ' +
      'Measured once a minute. Every daemon reports the same number.',
    registers,
    collect() {
      const inbound = state();
      this.set(inbound === undefined ? Number.NaN : (inbound.oldestSeconds ?? 0));
    },
  });
}
