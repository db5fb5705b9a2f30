/**
 * Bytes of large request bodies in flight, and how tenants share them. Permits limit small bodies
 * well enough. So a small body takes no bytes, and never waits for the large ones of others. When
 * all bodies shared one limit, one event of 1 MiB for 32 webhooks that hung stopped everybody for
 * 30 s.
 */

import { SHARE, TENANT_SHARE, TIMES_FREE, withinHeap } from '../shared/shares.ts';

/** Limit on the bytes. The request that crosses it is still sent. */
const BYTES_MAX = withinHeap(128 * 1024 * 1024, 1 / 32);

/** A body of this size is small. 256 of them, one for each permit, are 16 MiB. */
const SMALL_MAX = 64 * 1024;

export class BodyBytes {
  #all = 0;
  #slow = 0;
  readonly #byTenant = new Map<string, number>();

  /** Whether the tenant may start a request with a body of about `size` bytes. */
  mayStart(tenantId: string, size: number): boolean {
    if (size <= SMALL_MAX) return true;
    const free = Math.min(BYTES_MAX - this.#all, SHARE * BYTES_MAX - (this.#all - this.#slow));
    return this.#ofTenant(tenantId) < Math.min(TENANT_SHARE * BYTES_MAX, TIMES_FREE * free);
  }

  /** Counts a body that is in flight. Returns the bytes that it takes. */
  take(tenantId: string, size: number): number {
    const bytes = size <= SMALL_MAX ? 0 : size;
    this.#add(tenantId, bytes);
    return bytes;
  }

  /** A request with these bytes is slow. */
  slow(bytes: number): void {
    this.#slow += bytes;
  }

  /** A request with these bytes has ended. */
  free(tenantId: string, bytes: number, wasSlow: boolean): void {
    this.#add(tenantId, -bytes);
    if (wasSlow) this.#slow -= bytes;
  }

  #ofTenant(tenantId: string): number {
    return this.#byTenant.get(tenantId) ?? 0;
  }

  #add(tenantId: string, bytes: number): void {
    if (bytes === 0) return;
    this.#all += bytes;
    const left = this.#ofTenant(tenantId) + bytes;
    if (left === 0) this.#byTenant.delete(tenantId);
    else this.#byTenant.set(tenantId, left);
  }
}
