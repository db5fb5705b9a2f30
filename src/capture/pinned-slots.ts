/** Finds who keeps a slot of the outbox from being emptied. */

import type pg from 'pg';
import type { Finding } from '../shared/finding.ts';
import { printable } from '../shared/terminal.ts';
import { ageText, startRemedy } from '../shared/text.ts';
import { readSlots, type Slot } from './outbox-slots.ts';

/** Limit on the age of a slot's oldest row. A slot is due to be emptied after 7 days. */
export const SLOT_SECONDS_MAX = 7 * 86_400 + 600;

/**
 * The slots with events older than `slotSeconds` that a reader or a lock keeps from being emptied.
 */
export async function pinnedSlots(client: pg.ClientBase | pg.Pool, slotSeconds: number): Promise<Finding[]> {
  const slots = await readSlots(client);
  const old = slots.filter(({ oldestSeconds }) => (oldestSeconds ?? 0) > slotSeconds);
  return (await Promise.all(old.map((slot) => findingOf(client, slot, slotSeconds)))).flat();
}

async function findingOf(client: pg.ClientBase | pg.Pool, slot: Slot, slotSeconds: number): Promise<Finding[]> {
  const holder = await readerOf(client, slot.slot, slotSeconds);
  if (holder) return [finding(slot, holder)];
  // This slot is not due now. A former holder does no harm until the slot's next turn.
  if (slot.turn !== 'next') return [];
  return [finding(slot, (await lockOf(client, slot.slot)) ?? NOBODY)];
}

function finding({ slot, oldestSeconds, bytes }: Slot, { by, fix }: Holder): Finding {
  const size = `${Math.ceil(bytes / 2 ** 20)} MiB`;
  return {
    kind: 'warning',
    what: `slot ${slot} of the outbox (${size}) has events of ${ageText(oldestSeconds ?? 0)} ago, pinned by ${by}`,
    why:
      'A slot is emptied after 7 days, once every lane has read it and nobody has locked it. ' +
      'Until then the outbox grows.',
    fix,
  };
}

interface Holder {
  by: string;
  fix: string;
}

const NOBODY: Holder = {
  by: 'nobody: the daemon empties it within a minute',
  fix: 'select rowhook._recycle_slot();',
};

/** Lanes that have not read all old events of the slot. */
async function readerOf(
  client: pg.ClientBase | pg.Pool,
  slot: number,
  slotSeconds: number,
): Promise<Holder | undefined> {
  const { rows } = await client.query<{ lane: number; owner: string | null; environment: string | null }>(
    `select l.lane, o.owner_name as owner, (select environment from rowhook.webhook_installation)
       from rowhook.webhook_lanes l
       left join rowhook.webhook_lane_owners o using (lane)
      where exists (select from rowhook.webhook_outbox o
                     left join rowhook.webhook_lagging_tenants t on (t.lane, t.tenant_id) = (o.lane, o.tenant_id)
                     where o.slot = $1 and o.lane = l.lane
                       and o.occurred_at < clock_timestamp() - make_interval(secs => $2)
                       and not pg_visible_in_snapshot(o.xid, coalesce(t.from_snapshot, l.from_snapshot)))
      order by l.lane`,
    [slot, slotSeconds],
  );
  if (rows.length === 0) return undefined;
  const owners = [...new Set(rows.flatMap(({ owner }) => owner ?? []))];
  const lanes = `lanes ${rows.map(({ lane }) => lane).join(', ')}, which have not read the whole slot`;
  return owners.length === 0
    ? { by: `${lanes}: no daemon owns them`, fix: startRemedy(rows[0]?.environment ?? null) }
    : {
        by: `${lanes} (${printable(owners.join(', '))})`,
        fix: 'rowhook status --watch   # shows whether the lanes catch up',
      };
}

/** A prepared transaction has no process. */
async function lockOf(client: pg.ClientBase | pg.Pool, slot: number): Promise<Holder | undefined> {
  const { rows } = await client.query<{ pid: number | null; who: string | null; prepared: string | null }>(
    `select l.pid,
            concat_ws(' ', a.usename, '(' || nullif(a.application_name, '') || ')') as who,
            quote_literal(p.gid) as prepared
       from pg_locks l
       left join pg_stat_activity a on a.pid = l.pid
       left join pg_locks own on l.pid is null
                             and own.virtualtransaction = l.virtualtransaction
                             and own.locktype = 'transactionid'
       left join pg_prepared_xacts p on p.transaction = own.transactionid
      where l.relation = to_regclass('rowhook.webhook_outbox_' || $1)
        and l.granted
        and l.pid is distinct from pg_backend_pid()
        and l.database = (select oid from pg_database where datname = current_database())
      limit 1`,
    [slot],
  );
  const [lock] = rows;
  if (!lock) return undefined;
  if (lock.pid !== null) {
    return {
      by: printable(`the transaction of process ${lock.pid}, ${lock.who}`),
      fix: `select pg_terminate_backend(${lock.pid});`,
    };
  }
  const name = printable(lock.prepared ?? '…');
  return { by: `the prepared transaction ${name}`, fix: `rollback prepared ${name};   -- or commit prepared` };
}
