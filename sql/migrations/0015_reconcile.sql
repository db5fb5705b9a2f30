-- rowhook 0015: reconcile() brings capture up to date with the tables as they are now.

set role rowhook_owner;

create function rowhook._is_over(p_source rowhook.webhook_sources)
returns text
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select case
    when not exists (select from pg_class where oid = (p_source).relation) then
      case
        when (p_source).parent_id is not null
             or (p_source).lost_at < now() - interval '7 days'
          then 'forgotten: its table was dropped'
        when exists (select from rowhook.webhook_sources s
                       join pg_class c on c.oid = s.relation
                       join pg_namespace n on n.oid = c.relnamespace
                      where (n.nspname, c.relname)
                            = ((p_source).schema_name, (p_source).table_name))
          then 'forgotten: its table was dropped, and the new table of that name is watched by '
               'itself'
      end
    when exists (select from pg_partition_ancestors((p_source).relation) as a
                   join rowhook.webhook_sources s on s.relation = a.relid
                  where s.id <> (p_source).id)
      then 'forgotten: it became a partition of a watched table'
    when (p_source).parent_id is not null
         and not exists (select from pg_inherits i
                           join rowhook.webhook_sources s on s.relation = i.inhparent
                          where i.inhrelid = (p_source).relation
                            and s.id = (p_source).parent_id)
      then 'forgotten: it no longer inherits'
  end;
end;

comment on function rowhook._is_over(rowhook.webhook_sources) is
  'Why a source is to be removed: its table was dropped, is a partition of a watched one, or no '
  'longer inherits. Null: the source stays.';

create function rowhook._reconcile_table(p_source rowhook.webhook_sources)
returns table (relation text, change text)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
#variable_conflict use_column
declare
  v_source   rowhook.webhook_sources := p_source;
  v_name     text     := format('%I.%I', p_source.schema_name, p_source.table_name);
  v_namesake regclass := rowhook._namesake(p_source);
  v_over     text;
begin
  if v_namesake is not null and rowhook._may_take_place(v_source, v_namesake) then
    perform rowhook._take_place(v_source.id);
    select * into strict v_source from rowhook.webhook_sources s where s.id = p_source.id;
    return query
    select v_name, 'another table has this name now: it is watched instead';
  end if;
  v_over := rowhook._is_over(v_source);
  if v_over is not null then
    perform rowhook._remove_sources(array[v_source.id]);
    return query select v_name, v_over;
  elsif exists (select from pg_class where oid = v_source.relation) then
    return query
    select a.relation::text, 'triggers ' || a.change
      from rowhook._attach(v_source.id) as a;
    return query
    select c::text, format('watched: it inherits from %s', v_source.relation)
      from rowhook._watch_children(v_source, true) as c;
  end if;
end
$$;

comment on function rowhook._reconcile_table(rowhook.webhook_sources) is
  'Brings the table and the triggers of one source up to date, see reconcile(); raises an error '
  'for what its caller may not do.';

create function rowhook._newly_excluded(
  p_before rowhook.webhook_sources,
  p_after  rowhook.webhook_sources
)
returns setof text
language sql
stable
begin atomic
  select case
           when exists (select from jsonb_each_text((p_before).column_numbers) as n
                         where n.value::smallint = a.number
                           and n.key = any ((p_before).exclude_columns))
             then format('column %I stays excluded under this name', a.name)
           else format('column %I is new and excluded: it looks like a credential, or is computed '
                       'from an excluded column; to send it, watch the table again with '
                       'include_columns => %L', a.name, array[a.name])
         end
    from rowhook._attributes((p_after).relation) as a
   where a.name::text = any ((p_after).exclude_columns)
     and a.name::text <> all ((p_before).exclude_columns)
   order by a.number;
end;

comment on function rowhook._newly_excluded(
  rowhook.webhook_sources, rowhook.webhook_sources) is
  'Lines for the report of reconcile() about columns that a source excludes since its table '
  'changed.';

create function rowhook._complaints(p_source rowhook.webhook_sources)
returns setof text
language sql
stable
begin atomic
  select format(
           'nothing is captured: column %I is gone; '
           'watch the table again with its new tenant_column',
           (p_source).tenant_column)
   where (p_source).tenant_column is not null
     and (p_source).tenant_column <> all (rowhook._columns((p_source).relation))
     and exists (select from pg_class where oid = (p_source).relation)
  union all
  select format(
           'nothing is captured: column %I is now a virtual generated column, which no trigger can '
           'read; make it a stored column, or watch the table again with another tenant_column',
           (p_source).tenant_column)
   where rowhook._is_virtual((p_source).relation, (p_source).tenant_column)
  union all
  select format(
           'nothing is captured: column %I holds the tenant and is excluded; '
           'watch the table again with another tenant_column',
           (p_source).tenant_column)
   where (p_source).tenant_column::text = any ((p_source).exclude_columns)
     and (p_source).tenant_column = any (rowhook._columns((p_source).relation))
  union all
  select format(
           'its events do not name their row: the primary key contains %s, which is excluded',
           string_agg(quote_ident(k), ', '))
    from unnest(rowhook._key_columns((p_source).relation)) as k
   where k::text = any ((p_source).exclude_columns)
  having count(*) > 0
  union all
  select format(
           'PostgreSQL refuses UPDATE and DELETE on this table, because it cannot collect the '
           'changes of the foreign table %s: detach the foreign table, or unwatch this table',
           f.member)
    from (select rowhook._foreign_member((p_source).relation) as member) as f
   where f.member is not null
  union all
  select format(
           'another table has this name now and is not watched, because %s: %s',
           case
             when pg_get_userbyid(c.relowner) <> (p_source).table_owner
               then format('its owner is %I', pg_get_userbyid(c.relowner))
             when rowhook._foreign_member(n.namesake) is not null
               then format('it has the foreign table %s under it, which must be detached first',
                           rowhook._foreign_member(n.namesake))
             else format('it has no column %I', (p_source).tenant_column)
           end,
           rowhook._watch_statement(p_source, n.namesake))
    from (select rowhook._namesake(p_source) as namesake) as n
    join pg_class c on c.oid = n.namesake
   where not rowhook._may_take_place(p_source, n.namesake);
end;

comment on function rowhook._complaints(rowhook.webhook_sources) is
  'Problems that keep a source from being captured and that reconcile() can only report.';

-- The daemon calls this function. It changes what its caller may change, and reports what the
-- caller may not change. An error in one source does not stop the others.
--   only_source   one source instead of all. A lock stays until its transaction ends, so the daemon
--                 passes one source at a time.
create function rowhook.reconcile(only_source int default null)
returns table (relation text, change text)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_before rowhook.webhook_sources;
  v_source rowhook.webhook_sources;
  v_name   text;
  v_noted  text;
begin
  -- Inheriting tables come before their parent.
  for v_source in
    select * from rowhook.webhook_sources where id = coalesce(only_source, id) order by id desc
  loop
    v_name := format('%I.%I', v_source.schema_name, v_source.table_name);
    begin
      if exists (select from pg_class where oid = v_source.relation)
         and rowhook._write_capture(v_source.id) then
        return query
        select v_source.relation::text, 'capture function rewritten: the table changed';
        v_before := v_source;
        select * into strict v_source from rowhook.webhook_sources where id = v_source.id;
        return query
        select v_source.relation::text, c
          from rowhook._newly_excluded(v_before, v_source) as c;
      end if;
      return query select v_name, c from rowhook._complaints(v_source) as c;
    exception when others then
      return query
      select v_name,
             format('its capture function could not be written: %s (%s)', sqlerrm, sqlstate);
    end;
    begin
      return query select r.relation, r.change from rowhook._reconcile_table(v_source) as r;
      v_noted := rowhook._remember_table(v_source.id);
      if v_noted is not null then
        return query select v_name, v_noted;
      end if;
    exception
      when insufficient_privilege then
        get stacked diagnostics v_noted = pg_exception_hint;
        return query
        select v_name,
               case
                 when sqlerrm !~ '^(watch: |permission denied for function watch)'
                   then concat_ws('. ', sqlerrm, nullif(v_noted, ''))
                 else format(
                   '%s, and %s may not create them: let the owner of the table run select '
                   'rowhook.reconcile()',
                   case
                     when rowhook._namesake(v_source) is null then 'triggers missing'
                     else 'another table has this name now and lacks triggers'
                   end,
                   current_user)
               end;
      when lock_not_available then
        return query
        select v_name, 'triggers missing: ' || sqlerrm;
      when others then
        return query
        select v_name, format('it could not be brought up to date: %s (%s)', sqlerrm, sqlstate);
    end;
  end loop;
end
$$;

comment on function rowhook.reconcile(int) is
  'Brings capture up to date with the current tables, or with that of one source: columns, '
  'partitions and inheriting tables, dropped, replaced or restored tables. Returns what it '
  'changed and what the caller may not change.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._is_over(rowhook.webhook_sources),
  rowhook._reconcile_table(rowhook.webhook_sources),
  rowhook._complaints(rowhook.webhook_sources),
  rowhook._newly_excluded(rowhook.webhook_sources, rowhook.webhook_sources),
  rowhook.reconcile(int)
  to rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 15;

reset role;
