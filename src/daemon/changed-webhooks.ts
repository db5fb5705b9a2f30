/** What the changes of configurations in a window say. */
import { type Change, changesConfiguration } from '../model.ts';

/**
 * A tenant with more changed webhooks than this in one window lags: its configurations are loaded
 * by its own stream. While the lanes loaded them, changes of 60 webhooks at a time kept an event of
 * another tenant waiting for 0.7 s.
 */
export const CHANGED_MAX = 16;

/** The webhooks that changed, by tenant. */
export function changedBy(changes: readonly Change[]): Map<string, Set<string> | null> {
  const changed = new Map<string, Set<string> | null>();
  for (const change of changes.filter(changesConfiguration)) {
    const { tenantId } = change;
    const known = changed.get(tenantId);
    const ids = known === null ? null : idsIn(change);
    changed.set(tenantId, ids && new Set([...(known ?? []), ...ids]));
  }
  return changed;
}

/** Null: any webhook, also if the row cannot be read, or is not of rowhook. */
function idsIn({ data, unreadable }: Change): string[] | null {
  const ids: unknown = data === null || unreadable !== undefined ? null : JSON.parse(data);
  return Array.isArray(ids) && ids.every((id) => typeof id === 'string') ? ids : null;
}
