-- rowhook 0012: watched tables that were dropped and created again, restored from a dump, or put in
-- place of another by renaming. The table is found again by its name.

set role rowhook_owner;

-- A table is watched by its oid and found again by its name. A table that was dropped and created
-- again, restored from a dump, or put in place of another by renaming has another oid. A namesake
-- must be a table that can be watched and that is not watched itself. A view does not count: in
-- that case the rows stay in the renamed table.
create function rowhook._namesake(p_source rowhook.webhook_sources)
returns regclass
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select c.oid
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = (p_source).schema_name
     and c.relname = (p_source).table_name
     and c.oid <> (p_source).relation
     and c.relkind in ('r', 'p')
     and c.relpersistence <> 't'
     and not c.relispartition
     and not exists (select from rowhook.webhook_sources s where s.relation = c.oid);
end;

comment on function rowhook._namesake(rowhook.webhook_sources) is
  'The table that now has the name of a watched table and is not watched itself; null when there '
  'is none.';

-- The owner must be the same. Otherwise anybody who may create tables in that schema could make
-- rowhook run on a table of his own. With our triggers on a table that has a foreign table under
-- it, PostgreSQL would refuse the app's UPDATE and DELETE.
create function rowhook._may_take_place(p_source rowhook.webhook_sources, p_namesake regclass)
returns boolean
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select pg_get_userbyid(c.relowner) = (p_source).table_owner
         and ((p_source).tenant_column is null
              or (p_source).tenant_column = any (rowhook._columns(p_namesake)))
         and rowhook._foreign_member(p_namesake) is null
    from pg_class c
   where c.oid = p_namesake;
end;

comment on function rowhook._may_take_place(rowhook.webhook_sources, regclass) is
  'Whether a namesake may replace the watched table automatically: it has the same owner, the '
  'tenant column, and no foreign table under it.';

create function rowhook._in_its_name(p_source rowhook.webhook_sources)
returns text
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select case
           when c.relispartition then 'a partition of another table'
           when c.relkind = 'v' then 'a view'
           when c.relkind = 'm' then 'a materialized view'
           when c.relkind = 'f' then 'a foreign table'
         end
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = (p_source).schema_name
     and c.relname = (p_source).table_name
     and c.oid <> (p_source).relation;
end;

comment on function rowhook._in_its_name(rowhook.webhook_sources) is
  'What now has the name of a watched table and cannot be watched, such as a view; null when '
  'there is no such thing.';

-- The doctor counts from these values. So rows that were written before do not count, and neither
-- do rows captured from other tables.
create function rowhook._counts_of(p_relation regclass)
returns jsonb
language sql
stable
begin atomic
  select jsonb_build_object(
    'changes',
    (select coalesce(sum(pg_stat_get_tuples_inserted(r)
                         + pg_stat_get_tuples_updated(r)
                         + pg_stat_get_tuples_deleted(r)), 0)
       from rowhook._capture_relations(p_relation) as r),
    'outbox_id',
    coalesce(pg_sequence_last_value('rowhook.webhook_outbox_id_seq'), 0),
    'active_ms',
    coalesce((select max(d.active_time)
                from pg_stat_database d
               where d.datname = current_database()), 0),
    'reset',
    (select extract(epoch from d.stats_reset)
       from pg_stat_database d
      where d.datname = current_database()));
end;

comment on function rowhook._counts_of(regclass) is
  'Current statistics of a table: rows changed, outbox ids assigned, time in statements, and '
  'since when they are counted.';

-- The function of the source stays, and so does the value that its time is compared with.
create function rowhook._counts_again(p_source rowhook.webhook_sources, p_relation regclass)
returns jsonb
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select (p_source).counted_from || jsonb_build_object('changes', now -> 'changes')
         || case
              when now -> 'reset' is distinct from (p_source).counted_from -> 'reset'
                then jsonb_build_object('active_ms', 0, 'reset', now -> 'reset')
              else '{}'
            end
    from rowhook._counts_of(p_relation) as now;
end;

comment on function rowhook._counts_again(rowhook.webhook_sources, regclass) is
  'The starting point of the doctor''s counts when a source continues with another table.';

create function rowhook._grown(p_source rowhook.webhook_sources, p_count text, p_now jsonb)
returns float8
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select (p_now ->> p_count)::float8
         - case
             when (p_now ->> p_count)::float8 < ((p_source).counted_from ->> p_count)::float8
                  or p_count <> 'outbox_id'
                     and p_now -> 'reset' is distinct from (p_source).counted_from -> 'reset'
               then 0
             else ((p_source).counted_from ->> p_count)::float8
           end;
end;

comment on function rowhook._grown(rowhook.webhook_sources, text, jsonb) is
  'How much one of the counts of _counts_of() has grown since the table was watched; the whole '
  'count where counting began anew.';

-- The recorded name follows the table, as long as nobody else has taken that name.
create function rowhook._remember_table(p_source_id int)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_source rowhook.webhook_sources;
  v_now    rowhook.webhook_sources;
  v_noted  text;
begin
  select * into v_source from rowhook.webhook_sources where id = p_source_id;
  update rowhook.webhook_sources s
     set schema_name = n.nspname,
         table_name  = c.relname,
         table_owner = pg_get_userbyid(c.relowner),
         lost_at     = null
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where s.id = p_source_id
     and c.oid = s.relation
     and rowhook._namesake(v_source) is null
     and (s.schema_name, s.table_name, s.table_owner, s.lost_at)
         is distinct from (n.nspname, c.relname, pg_get_userbyid(c.relowner), null)
  returning s.* into v_now;
  -- A table that takes the name after this has nothing to do with the source, so the new name is
  -- reported.
  if (v_now.schema_name, v_now.table_name) <> (v_source.schema_name, v_source.table_name) then
    return format('its table is %I.%I now, and is watched under that name',
                  v_now.schema_name, v_now.table_name)
           || coalesce(format('; %I.%I is ', v_source.schema_name, v_source.table_name)
                       || rowhook._in_its_name(v_source) || ' now, which is not watched', '');
  end if;
  update rowhook.webhook_sources s
     set lost_at = now()
   where s.id = p_source_id
     and s.lost_at is null
     and not exists (select from pg_class c where c.oid = s.relation)
  returning format(
              'its table was dropped; the source is kept for 7 days, in case the table comes back: '
              'select rowhook.unwatch(%L) removes it now',
              format('%I.%I', s.schema_name, s.table_name))
       into v_noted;
  return v_noted;
end
$$;

comment on function rowhook._remember_table(int) is
  'Records the name and the owner of the table of a source, or that the table is gone. Returns a '
  'line for the report.';

create function rowhook._take_place(p_source_id int)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_source   rowhook.webhook_sources;
  v_namesake regclass;
begin
  select * into strict v_source from rowhook.webhook_sources where id = p_source_id for update;
  v_namesake := rowhook._namesake(v_source);
  if v_namesake is not null and rowhook._may_take_place(v_source, v_namesake) then
    update rowhook.webhook_sources
       set relation     = v_namesake,
           lost_at      = null,
           counted_from = rowhook._counts_again(v_source, v_namesake)
     where id = p_source_id;
    perform rowhook._write_capture(p_source_id);
  end if;
end
$$;

comment on function rowhook._take_place(int) is
  'Makes the namesake of a source''s table the table of the source, if it may replace it.';

-- A missing tenant column is replaced by one of the usual names, or by a placeholder to fill in.
create function rowhook._watch_statement(p_source rowhook.webhook_sources, p_relation regclass)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_columns name[] := rowhook._columns(p_relation);
  v_derived jsonb  := (select coalesce(jsonb_object_agg(d.key, d.value), '{}')
                         from jsonb_each(p_source.derived) as d
                        where d.key = any (v_columns::text[]));
  v_ignored text[] := array(select c
                              from unnest(p_source.ignore_columns) as c
                             where c = 'updated_at' or c = any (v_columns::text[]));
  v_excluded text[] := rowhook._columns_among(p_relation, p_source.exclude_columns);
  v_included text[] := rowhook._columns_among(p_relation, p_source.include_columns);
begin
  return format('select rowhook.watch(%L, prefix => %L',
                rowhook._qualified(p_relation), p_source.prefix)
    || case
         when p_source.tenant_column is null
           then format(', tenant_id => %L', p_source.tenant_id)
         when p_source.tenant_column = any (v_columns)
           then format(', tenant_column => %L', p_source.tenant_column)
         else format(', tenant_column => %L',
                     coalesce(rowhook._usual_tenant_column(p_relation), '...'))
       end
    || case
         when p_source.events <> '{created,updated,deleted}'
           then format(', events => %L', p_source.events)
         else ''
       end
    || case when v_derived <> '{}' then format(', derived => %L', v_derived) else '' end
    || case
         when v_ignored <> '{updated_at}' then format(', ignore_columns => %L', v_ignored)
         else ''
       end
    || case
         when p_source.capture <> 'subscribed' then format(', capture => %L', p_source.capture)
         else ''
       end
    || case
         when p_source.max_payload_bytes <> 1048576
           then format(', max_payload_bytes => %s', p_source.max_payload_bytes)
         else ''
       end
    || case when v_excluded <> '{}' then format(', exclude_columns => %L', v_excluded) else '' end
    || case when v_included <> '{}' then format(', include_columns => %L', v_included) else '' end
    || case when p_source.describe is false then ', describe => false' else '' end
    || ');';
end
$$;

comment on function rowhook._watch_statement(rowhook.webhook_sources, regclass) is
  'The statement that watches a table with the settings of a source, as far as the table has the '
  'columns.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._namesake(rowhook.webhook_sources),
  rowhook._may_take_place(rowhook.webhook_sources, regclass),
  rowhook._in_its_name(rowhook.webhook_sources),
  rowhook._counts_of(regclass),
  rowhook._grown(rowhook.webhook_sources, text, jsonb),
  rowhook._remember_table(int),
  rowhook._take_place(int),
  rowhook._watch_statement(rowhook.webhook_sources, regclass)
  to rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 12;

reset role;
