/** Finds settings and subscriptions that keep triggers from firing. */
import type pg from 'pg';
import type { Finding } from '../shared/finding.ts';
import { shellWord } from '../shared/shell-quote.ts';
import { printable } from '../shared/terminal.ts';

/**
 * A setting of the server, a database or a role. Every new session there writes without triggers.
 */
export async function bySetting(client: pg.ClientBase): Promise<Finding[]> {
  const { rows } = await client.query<{ whose: string | null; setting: string; name: string }>(
    `select coalesce(nullif(concat_ws(' in ',
                                      'role ' || quote_ident(r.rolname),
                                      'database ' || quote_ident(d.datname)), ''), 'role all') as whose,
            setting,
            split_part(setting, '=', 1) as name
       from pg_db_role_setting s
      cross join unnest(s.setconfig) as setting
       left join pg_database d on d.oid = s.setdatabase
       left join pg_roles r on r.oid = s.setrole
      where (s.setdatabase = 0 or d.datname = current_database())
        and lower(setting) in ('session_replication_role=replica', 'rowhook.mute=on')
      union all
     select null, name || '=' || reset_val, name from pg_settings
      where name = 'session_replication_role'
        and reset_val = 'replica'
        and source not in ('user', 'database', 'database user', 'global', 'client')`,
  );
  return rows.map(({ whose, setting, name }) => ({
    kind: 'error',
    what: printable(`${setting} is set for ${whose ?? 'the whole server'}`),
    why:
      'Sessions with this setting fire no triggers, so their changes become no events. ' +
      'It is meant for a single load or restore.',
    // The setting may come from postgresql.conf, which RESET does not change.
    fix:
      whose === null ? `alter system set ${name} = origin; select pg_reload_conf();` : printable(resetFor(whose, name)),
  }));
}

function resetFor(whose: string, name: string): string {
  return `alter ${whose} reset ${name};`;
}

/** An apply worker fires only row triggers, and ours are statement triggers. */
export async function bySubscription(client: pg.ClientBase): Promise<Finding[]> {
  const { rows } = await client.query<{ relation: string; subscription: string }>(
    `select format('%I.%I', n.nspname, c.relname) as relation, u.subname as subscription
       from pg_subscription_rel sr
       join pg_subscription u on u.oid = sr.srsubid
       join pg_class c on c.oid = sr.srrelid
       join pg_namespace n on n.oid = c.relnamespace
       join rowhook.webhook_sources s
         on exists (select from rowhook._capture_relations(s.relation) as r where r = sr.srrelid)
      order by 1`,
  );
  return rows.map(({ relation, subscription }) => ({
    kind: 'warning',
    what: printable(`${relation} is filled by the subscription ${subscription}`),
    why: 'Logical replication fires no statement triggers, so replicated changes become no events here.',
    fix: printable(`rowhook watch ${shellWord(relation)}   # on the publishing database, where the application writes`),
  }));
}
