/**
 * How tenants share what the daemon has: permits (dispatch/in-flight.ts), bytes of large bodies
 * (dispatch/body-bytes.ts), threads for names (deliver/dns.ts).
 */

/** Share of all suspects together, and of all attempts that are not slow. */
export const SHARE = 2 / 3;

/**
 * Share of one tenant. Attempts that hang cannot be taken back, so the rest is kept free for others.
 * The request that crosses it is still sent.
 */
export const TENANT_SHARE = 1 / 2;

/** A tenant may have this many times of what is free: ten tenants leave a fortieth to others. */
export const TIMES_FREE = 4;
