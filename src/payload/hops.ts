/**
 * How often an event was relayed from an inbound webhook to an outgoing one. A webhook that posts to
 * our own inbound endpoint would go round forever: the header webhook-hops counts, and MATCH cuts.
 * Pure.
 */
import type { Change } from '../model.ts';

/** Limit on hops. A delivery above it is skipped. */
export const HOPS_MAX = 5;

/** 0: the event does not come from an inbound webhook. */
export function hopsOf({ sourceId }: Pick<Change, 'sourceId'>): number {
  return sourceId !== null && sourceId < 0 ? -sourceId : 0;
}
