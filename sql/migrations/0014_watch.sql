-- rowhook 0014: watch(), unwatch() and watch_preset().

set role rowhook_owner;

-- Parameters:
--   prefix          first part of the event names; default: the table's name
--   tenant_column   column that holds the tenant; default: organization_id, tenant_id, org_id,
--                   account_id or workspace_id
--   derived         see webhook_sources.derived
--   tenant_id       instead of tenant_column: all rows belong to this one tenant
--   exclude_columns columns that are never captured; null: those that are excluded already
--   include_columns columns that are captured although their names say that they hold credentials;
--                   null: those that are included already
--   describe        whether the catalog shows comments
-- A column that is excluded stays so until somebody names it in include_columns, or passes another
-- list in exclude_columns. A call without these parameters must not let a secret out.
create function rowhook.watch(
  target            regclass,
  prefix            text    default null,
  tenant_column     text    default null,
  derived           jsonb   default '{}',
  ignore_columns    text[]  default '{updated_at}',
  capture           text    default 'subscribed',
  max_payload_bytes int     default 1048576,
  events            text[]  default '{created,updated,deleted}',
  tenant_id         text    default null,
  exclude_columns   text[]  default null,
  include_columns   text[]  default null,
  describe          boolean default true
)
returns rowhook.webhook_sources
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
begin
  v_source.relation          := watch.target;
  v_source.prefix            := coalesce(watch.prefix, rowhook._default_prefix(watch.target));
  v_source.tenant_id         := watch.tenant_id;
  v_source.tenant_column     := watch.tenant_column;
  v_source.events            := watch.events;
  v_source.derived           := watch.derived;
  v_source.ignore_columns    := array_remove(coalesce(watch.ignore_columns, '{}'), null);
  v_source.capture           := watch.capture;
  v_source.max_payload_bytes := watch.max_payload_bytes;
  v_source.describe          := coalesce(watch.describe, true);
  if watch.tenant_column is null and watch.tenant_id is null then
    v_source.tenant_column := rowhook._usual_tenant_column(watch.target);
  end if;
  perform rowhook._check_source(v_source, watch.prefix is null);

  select n.nspname, c.relname, pg_get_userbyid(c.relowner)
    into v_source.schema_name, v_source.table_name, v_source.table_owner
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where c.oid = watch.target;
  -- A source that has lost a table of this name continues with this one.
  update rowhook.webhook_sources as lost
     set relation     = watch.target,
         counted_from = rowhook._counts_again(lost, watch.target)
   where id = (select min(s.id)
                 from rowhook.webhook_sources s
                where (s.schema_name, s.table_name) = (v_source.schema_name, v_source.table_name)
                  and not exists (select from pg_class c where c.oid = s.relation))
     and not exists (select from pg_class c where c.oid = relation)
     and not exists (select from rowhook.webhook_sources s where s.relation = watch.target);

  select * into v_before from rowhook.webhook_sources s where s.relation = watch.target;
  if found then
    v_before := rowhook._followed(v_before);
  end if;
  v_source.exclude_columns := rowhook._names_without(
    coalesce(watch.exclude_columns, v_before.exclude_columns), watch.include_columns);
  v_source.include_columns := rowhook._names_without(
    coalesce(watch.include_columns, v_before.include_columns), watch.exclude_columns);
  perform rowhook._check_exclusions(v_source, watch.exclude_columns, watch.include_columns);
  insert into rowhook.webhook_sources as s
    (relation, schema_name, table_name, table_owner, counted_from,
     prefix, tenant_column, tenant_id,
     events, derived, ignore_columns, capture, max_payload_bytes,
     exclude_columns, include_columns, describe)
  values
    (v_source.relation, v_source.schema_name, v_source.table_name, v_source.table_owner,
     rowhook._counts_of(watch.target),
     v_source.prefix, v_source.tenant_column, v_source.tenant_id,
     v_source.events, v_source.derived, v_source.ignore_columns,
     v_source.capture, v_source.max_payload_bytes,
     v_source.exclude_columns, v_source.include_columns, v_source.describe)
  on conflict (relation) do update
     set schema_name       = excluded.schema_name,
         table_name        = excluded.table_name,
         table_owner       = excluded.table_owner,
         lost_at           = null,
         parent_id         = null,
         prefix            = excluded.prefix,
         tenant_column     = excluded.tenant_column,
         tenant_id         = excluded.tenant_id,
         events            = excluded.events,
         derived           = excluded.derived,
         ignore_columns    = excluded.ignore_columns,
         capture           = excluded.capture,
         max_payload_bytes = excluded.max_payload_bytes,
         exclude_columns   = excluded.exclude_columns,
         include_columns   = excluded.include_columns,
         describe          = excluded.describe,
         column_numbers    = '{}',
         newest_column     = 0,
         updated_at        = now()
  returning * into v_source;

  perform rowhook._write_capture(v_source.id);
  select * into v_source from rowhook.webhook_sources s where s.id = v_source.id;
  perform rowhook._check_derived(v_source);
  perform rowhook._attach(v_source.id);
  perform rowhook._watch_children(v_source, false);
  perform rowhook._note_prefix(v_source, watch.prefix is null);
  perform rowhook._note_casts(v_source);
  perform rowhook._note_exclusions(v_source, v_before.exclude_columns, watch.exclude_columns);
  perform rowhook._note_resets(
    v_source, v_before, watch.prefix is not null,
    watch.tenant_column is not null or watch.tenant_id is not null);
  return v_source;
end
$$;

comment on function rowhook.watch(
  regclass, text, text, jsonb, text[], text, int, text[], text, text[], text[], boolean) is
  'Watches a table: its inserts, updates and deletes become events from the next statement on; '
  'another call changes the settings. Run it as the owner of the table and a member of '
  'rowhook_owner.';

-- This function has no search_path of its own, because the name is resolved as the caller would
-- resolve it. Nothing else in it is resolved that way, since the body was parsed when the function
-- was created.
create function rowhook.watch(
  target            text,
  prefix            text    default null,
  tenant_column     text    default null,
  derived           jsonb   default '{}',
  ignore_columns    text[]  default '{updated_at}',
  capture           text    default 'subscribed',
  max_payload_bytes int     default 1048576,
  events            text[]  default '{created,updated,deleted}',
  tenant_id         text    default null,
  exclude_columns   text[]  default null,
  include_columns   text[]  default null,
  describe          boolean default true
)
returns rowhook.webhook_sources
language sql
volatile
begin atomic
  select rowhook.watch(
           rowhook._table('watch', target, current_schemas(true)),
           prefix, tenant_column, derived, ignore_columns, capture, max_payload_bytes, events,
           tenant_id, exclude_columns, include_columns, describe);
end;

comment on function rowhook.watch(
  text, text, text, jsonb, text[], text, int, text[], text, text[], text[], boolean) is
  'Like watch(regclass), with the name of the table as text. If there is no such table, the '
  'error offers similar names.';

create function rowhook.unwatch(target regclass)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_source rowhook.webhook_sources;
begin
  -- Otherwise the next reconcile() would watch a table that has replaced a watched one.
  select * into v_source
    from rowhook.webhook_sources s
   where s.relation = unwatch.target or rowhook._namesake(s) = unwatch.target;
  if not found then
    return false;
  end if;
  if v_source.parent_id is not null then
    raise object_not_in_prerequisite_state using
      message = format(
        'unwatch: %s is watched because it inherits from %s',
        unwatch.target,
        (select s.relation from rowhook.webhook_sources s where s.id = v_source.parent_id)),
      hint    = 'Unwatch the parent table, or watch this table by itself, with its own settings.';
  end if;
  -- The app's statements lock inheriting tables after their parent.
  perform rowhook._remove_sources(array(
    with recursive family as (
      select v_source.id, 1 as depth
      union
      select s.id, f.depth + 1
        from rowhook.webhook_sources s
        join family f on s.parent_id = f.id
    )
    select id from family order by depth, id));
  return true;
end
$$;

comment on function rowhook.unwatch(regclass) is
  'Stops watching a table and leaves no trace on it; events that are already in the outbox are '
  'still delivered. Returns whether the table was watched.';

create function rowhook._lost_sources(p_name text, p_schemas name[])
returns int[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_parts   name[] := rowhook._name_parts(p_name);
  v_schemas name[] := case
    when cardinality(v_parts) = 1 then p_schemas
    else v_parts[cardinality(v_parts) - 1:cardinality(v_parts) - 1]
  end;
begin
  return coalesce((
    select array_agg(s.id order by s.id)
      from rowhook.webhook_sources s
     where s.table_name = v_parts[cardinality(v_parts)]
       and s.schema_name = any (v_schemas)
       and not exists (select from pg_class c where c.oid = s.relation)
       and not exists (select from rowhook.webhook_sources o
                         join pg_class c on c.oid = o.relation
                         join pg_namespace n on n.oid = c.relnamespace
                        where c.relname = s.table_name and n.nspname = any (v_schemas))
     group by s.schema_name
     order by array_position(v_schemas, s.schema_name)
     limit 1), '{}');
end
$$;

comment on function rowhook._lost_sources(text, name[]) is
  'Sources whose table is gone, by the last name of the table, in the first schema that has any. '
  'Empty if the schemas have a watched table with this name.';

create function rowhook._unwatch_lost(p_source_ids int[])
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  perform rowhook._remove_sources(p_source_ids);
  return true;
end
$$;

comment on function rowhook._unwatch_lost(int[]) is
  'The part of unwatch() for sources whose table is gone. Returns true.';

-- See watch() for the search_path.
create function rowhook.unwatch(target text)
returns boolean
language sql
volatile
begin atomic
  select case
           when l.ids <> '{}' then rowhook._unwatch_lost(l.ids)
           else rowhook.unwatch(rowhook._table('unwatch', target, current_schemas(true)))
         end
    from (select rowhook._lost_sources(target, current_schemas(true)) as ids) as l;
end;

comment on function rowhook.unwatch(text) is
  'Like unwatch(regclass), with the name of the table as text. It also accepts a watched table '
  'that no longer exists.';

create function rowhook._presets()
returns table (preset text, table_name text, prefix text, events text[], derived jsonb)
language sql
immutable
parallel safe
begin atomic
  select v.preset, v.table_name, v.prefix, v.events::text[], v.derived::jsonb
    from (values
      ('crm',   'contacts',      'contact',       '{created,updated,deleted}',
       '{"assigned_to":"assigned"}'),
      ('crm',   'deals',         'deal',          '{created,updated,deleted}',
       '{"assigned_to":"assigned","stage":"stage.changed"}'),
      ('crm',   'clients',       'clients',       '{created,updated,deleted}',
       '{}'),
      ('crm',   'projects',      'projects',      '{created,updated,deleted}',
       '{}'),
      ('crm',   'notes',         'notes',         '{created,updated,deleted}',
       '{}'),
      ('sales', 'opportunities', 'opportunities', '{created,updated,deleted}',
       '{}'),
      ('sales', 'leads',         'lead',          '{created,updated}',
       '{"converted_at":"converted"}'),
      ('inbox', 'conversations', 'conversation',  '{created}',
       '{"assigned_to":"assigned","status":"status.changed"}'),
      ('inbox', 'messages',      'message',       '{}',
       '{"status":{"received":"received","sent":"sent","delivered":"delivered","read":"read",'
       '"failed":"failed"}}'),
      ('users', 'users',         'user',          '{created}',
       '{}')
    ) as v (preset, table_name, prefix, events, derived);
end;

comment on function rowhook._presets() is
  'The tables that the presets of watch_preset() name, and their events.';

create function rowhook._watch_preset_table(p_table_name text, p_schema text)
returns table (relation text, prefix text, status text, detail text)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
#variable_conflict use_column
declare
  v_entry  record;
  v_target regclass := to_regclass(format('%I.%I', p_schema, p_table_name));
  v_before rowhook.webhook_sources;
  v_source rowhook.webhook_sources;
begin
  select p.* into strict v_entry from rowhook._presets() as p where p.table_name = p_table_name;
  if v_target is null then
    return query
    select format('%I.%I', p_schema, p_table_name), v_entry.prefix, 'missing',
           'there is no such table';
    return;
  end if;
  select * into v_before from rowhook.webhook_sources s where s.relation = v_target;
  v_source := rowhook.watch(v_target, v_entry.prefix, events => v_entry.events, derived => (
    select coalesce(jsonb_object_agg(d.key, d.value), '{}')
      from jsonb_each(v_entry.derived) as d
     where exists (select from pg_attribute a
                    where a.attrelid = v_target
                      and a.attname = d.key
                      and not a.attisdropped)));
  return query
  select v_target::text,
         v_entry.prefix,
         case
           when to_jsonb(v_source) - 'updated_at' = to_jsonb(v_before) - 'updated_at'
             then 'unchanged'
           else 'watched'
         end,
         array_to_string(rowhook._source_event_types(v_source), ', ');
end
$$;

comment on function rowhook._watch_preset_table(text, text) is
  'Watches one table of the presets, if it exists. Derived events whose column is missing are '
  'left out.';

create function rowhook._preset_tables(p_preset text)
returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  return query
  select p.table_name from rowhook._presets() as p where p_preset in (p.preset, 'all');
  if not found then
    raise invalid_parameter_value using
      message = format('watch_preset: there is no preset %L', p_preset),
      hint    = 'The presets are crm, sales, inbox, users and all.';
  end if;
end
$$;

comment on function rowhook._preset_tables(text) is
  'The tables of a preset, or of all presets; raises an error when there is no such preset.';

-- Each table stays locked until the transaction ends. `rowhook watch --preset` uses one transaction
-- for each table.
create function rowhook.watch_preset(preset text, in_schema text default 'public')
returns table (relation text, prefix text, status text, detail text)
language sql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
  select w.*
    from rowhook._preset_tables(preset) as table_name
   cross join lateral rowhook._watch_preset_table(table_name, in_schema) as w
$$;

comment on function rowhook.watch_preset(text, text) is
  'Watches the existing tables of a preset: crm (contacts, deals, clients, projects, notes), '
  'sales (opportunities, leads), inbox (conversations, messages), users, or all. Returns one row '
  'for each table; its status says whether the table exists.';

revoke execute on all functions in schema rowhook from public;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 14;

reset role;
