/** Whose changes are read together: all tenants of some lanes, or one tenant that lags. */
import { READ, type WindowStatements } from './statements.ts';

export interface Scope {
  lanes: readonly number[];
  /** Only this tenant is read. Null: all tenants of the lanes, except the excluded ones. */
  tenantId: string | null;
  /** Tenants that are read by themselves. */
  excluded: readonly string[];
}

/** The statements for a scope, and the value of their parameter for tenants, if they have one. */
export function statementsFor({ tenantId, excluded }: Scope): { read: WindowStatements; tenants: unknown[] } {
  if (tenantId !== null) return { read: READ.one, tenants: [tenantId] };
  if (excluded.length > 0) return { read: READ.others, tenants: [excluded] };
  return { read: READ.all, tenants: [] };
}

export function allOf(lanes: readonly number[]): Scope {
  return { lanes, tenantId: null, excluded: [] };
}
