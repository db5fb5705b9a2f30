import type { TestDatabase } from './database.ts';

/**
 * Everything that a dump of the schema would hold and more, one line for each thing: to be compared before and after. Not
 * among it: pg_class.relhastriggers, a hint that VACUUM corrects.
 */
export async function catalogOf(database: Pick<TestDatabase, 'query'>): Promise<string[]> {
  const rows = await database.query<{ line: string }>(`
    with ours as (select oid, nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema')
    select concat_ws(' ', 'schema', nspname, nspowner::regrole, nspacl) as line from pg_namespace where nspname !~ '^pg_(toast|temp)'
    union all
    select concat_ws(' ', 'relation', c.oid::regclass, c.oid, c.relkind, c.relowner::regrole, c.relacl, c.reloptions, c.relpersistence,
                     c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.relispartition, pg_get_expr(c.relpartbound, c.oid))
      from pg_class c join ours on ours.oid = c.relnamespace
    union all
    select concat_ws(' ', 'column', a.attrelid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attacl,
                     a.attidentity, a.attgenerated, a.attisdropped, a.attinhcount, pg_get_expr(d.adbin, d.adrelid))
      from pg_attribute a join pg_class c on c.oid = a.attrelid join ours on ours.oid = c.relnamespace
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    union all
    select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(c.oid)) from pg_constraint c join ours on ours.oid = connamespace
    union all
    select concat_ws(' ', 'index', indexrelid::regclass, pg_get_indexdef(indexrelid), indisvalid)
      from pg_index i join pg_class c on c.oid = i.indexrelid join ours on ours.oid = c.relnamespace
    union all
    select concat_ws(' ', 'function', p.oid::regprocedure, p.proowner::regrole, p.proacl, p.prosecdef, p.proconfig, md5(p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), '')))
      from pg_proc p join ours on ours.oid = p.pronamespace
    union all
    select concat_ws(' ', 'trigger', tgrelid::regclass, tgname, pg_get_triggerdef(oid), tgenabled) from pg_trigger where not tgisinternal
    union all
    select concat_ws(' ', 'type', t.oid::regtype, typowner::regrole, typacl, array(select enumlabel::text from pg_enum where enumtypid = t.oid order by enumsortorder))
      from pg_type t join ours on ours.oid = typnamespace
    union all
    select concat_ws(' ', 'policy', polrelid::regclass, polname, polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) from pg_policy
    union all
    select concat_ws(' ', 'rule', pg_get_ruledef(r.oid)) from pg_rewrite r join pg_class c on c.oid = r.ev_class join ours on ours.oid = c.relnamespace
    union all
    select concat_ws(' ', 'sequence', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle) from pg_sequence
    union all
    select concat_ws(' ', 'statistics', pg_get_statisticsobjdef(oid)) from pg_statistic_ext
    union all
    select concat_ws(' ', 'comment', pg_describe_object(classoid, objoid, objsubid), description) from pg_description
     where objoid >= 16384
    union all
    select concat_ws(' ', 'depends', pg_describe_object(classid, objid, objsubid), pg_describe_object(refclassid, refobjid, refobjsubid), deptype)
      from pg_depend
     where objid >= 16384 and objid not in (select oid from pg_class where relnamespace = 'pg_toast'::regnamespace)
    union all
    select concat_ws(' ', 'depends on role', classid::regclass, objid, objsubid, pg_get_userbyid(refobjid), deptype)
      from pg_shdepend where dbid = (select oid from pg_database where datname = current_database())
    union all
    select concat_ws(' ', 'default acl', defaclrole::regrole, defaclnamespace, defaclobjtype, defaclacl) from pg_default_acl
    union all
    select concat_ws(' ', 'extension', extname, extversion) from pg_extension
    union all
    select concat_ws(' ', 'event trigger', evtname) from pg_event_trigger
    union all
    select concat_ws(' ', 'publication', pubname) from pg_publication
    union all
    select concat_ws(' ', 'settings', datname, setconfig) from pg_db_role_setting join pg_database on pg_database.oid = setdatabase
     where datname = current_database()
    order by 1`);
  return rows.map(({ line }) => line);
}
