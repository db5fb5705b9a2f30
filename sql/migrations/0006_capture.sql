-- rowhook 0006: capture. watch(table) registers a source and writes one static PL/pgSQL function for that table, and
-- three AFTER ... FOR EACH STATEMENT triggers that call it with transition tables.
--
-- Why generated and static: its plans are cached and its columns are checked once. Why per statement: 100,000 rows in
-- one statement must not cost 100,000 calls. A table without a primary key cannot pair the old and new rows of an
-- UPDATE, so it gets row-level triggers instead, which PostgreSQL pairs itself.
--
-- What the generated functions take care of, since they run inside the app's own statements:
--   * They are SECURITY DEFINER, owned by rowhook_owner, with a pinned search_path, so nothing of the caller's leaks in;
--     the settings that change how values print (TimeZone, DateStyle, ...) are pinned too.
--   * The payload is json text made by row_to_json: jsonb would abort the app's statement on "\u0000", drop duplicate
--     keys and reorder. An oversized payload becomes a thin event (key columns only) instead of an error.
--   * A column that was dropped or renamed since must not break the app's statements. Columns are therefore named inside
--     a subquery that stands beside a one-row table "rowhook_missing" of nulls by the same names: SQL resolves a name
--     in the innermost scope that has it, so a column that is gone reads as null. reconcile() then rewrites the function.
--   * A zero-row statement, or one whose tenants want nothing, leaves before anything else happens.
--   * There is no EXCEPTION block: a subtransaction per statement would burn transaction ids.

set role rowhook_owner;

create table rowhook.webhook_sources (
  id                int         generated always as identity primary key,
  relation          regclass    not null,
  parent_id         int         references rowhook.webhook_sources on delete cascade,
  prefix            text        not null,
  tenant_column     name,
  tenant_id         text,
  events            text[]      not null default '{created,updated,deleted}',
  derived           jsonb       not null default '{}',
  ignore_columns    text[]      not null default '{updated_at}',
  capture           text        not null default 'subscribed',
  max_payload_bytes int         not null default 1048576,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  constraint webhook_sources_relation_is_unique       unique (relation),
  constraint webhook_sources_prefix_is_a_name         check (prefix ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' and length(prefix) <= 80),
  constraint webhook_sources_has_one_tenant           check ((tenant_column is null) <> (tenant_id is null)),
  constraint webhook_sources_events_are_known         check (events <@ '{created,updated,deleted}'),
  constraint webhook_sources_capture_is_known         check (capture in ('subscribed', 'all')),
  constraint webhook_sources_max_payload_in_range     check (max_payload_bytes between 1024 and 268435456)
);

comment on table rowhook.webhook_sources is 'Watched tables. Written by watch() and unwatch() only.';
comment on column rowhook.webhook_sources.parent_id is 'Set for a table that is watched because it inherits from a watched one.';
comment on column rowhook.webhook_sources.derived is
  'Further events of an UPDATE: {"column":"suffix"} when the column changes (to a value, unless the suffix ends in "changed"), or {"column":{"value":"suffix"}} when it becomes that value, on INSERT too.';
comment on column rowhook.webhook_sources.ignore_columns is 'An UPDATE that changes only these columns is no event.';
comment on column rowhook.webhook_sources.capture is
  'subscribed: only what an active webhook of the tenant wants is written. all: every event is, for history and replay to later webhooks.';
comment on column rowhook.webhook_sources.max_payload_bytes is 'Bytes of data and previous together; above it the event is thin: key columns only, "truncated": true.';

alter table rowhook.webhook_sources enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_sources to rowhook_owner using (true) with check (true);
create policy anyone_reads  on rowhook.webhook_sources for select to rowhook_app, rowhook_daemon using (true);
grant select on rowhook.webhook_sources to rowhook_app, rowhook_daemon;

-- The patterns of event_types that an event matches: itself, each of its prefixes with .*, and *.
create function rowhook._patterns(p_event_types text[])
returns text[]
language sql
immutable
strict
parallel safe
begin atomic
  select array_agg(distinct pattern order by pattern)
    from unnest(p_event_types) as event_type
    cross join lateral (
      select event_type union all select '*' union all
      select array_to_string((string_to_array(event_type, '.'))[1:n], '.') || '.*'
        from generate_series(1, cardinality(string_to_array(event_type, '.')) - 1) as n
    ) as p (pattern);
end;

-- Every event type that a source can produce.
create function rowhook._source_event_types(p_source rowhook.webhook_sources)
returns text[]
language sql
immutable
parallel safe
begin atomic
  select coalesce(array_agg(distinct (p_source).prefix || '.' || suffix), '{}') from (
    select unnest((p_source).events) as suffix
    union all
    select d.value #>> '{}' from jsonb_each((p_source).derived) as d where jsonb_typeof(d.value) = 'string'
    union all
    select v.value from jsonb_each((p_source).derived) as d
     cross join lateral jsonb_each_text(case jsonb_typeof(d.value) when 'object' then d.value else '{}' end) as v
  ) as s;
end;

create view rowhook.webhook_event_types with (security_invoker = true) as
select event_type, s.relation
  from rowhook.webhook_sources s
 cross join lateral unnest(rowhook._source_event_types(s)) as event_type;
comment on view rowhook.webhook_event_types is 'The event types that watched tables produce. emit() may add any other.';
grant select on rowhook.webhook_event_types to rowhook_app, rowhook_daemon;

-- The primary key of a table: its columns in order, and the equality operator of each one's own operator class. A
-- deferrable key may hold duplicates in mid-transaction, so it does not count.
create function rowhook._key_columns(p_relation regclass)
returns table (column_name name, equals text)
language sql
stable
begin atomic
  select a.attname, format('operator(%I.%s)', n.nspname, o.oprname)
    from pg_index i
   cross join lateral unnest(i.indkey[:], i.indclass[:]) with ordinality as k (attnum, opclass, position)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    join pg_opclass c   on c.oid = k.opclass
    join pg_amop m      on m.amopfamily = c.opcfamily and m.amopstrategy = 3
                       and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
    join pg_operator o  on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
   where i.indrelid = p_relation and i.indisprimary and i.indimmediate
   order by k.position;
end;

-- One kind of statement in a capture function: leave at once when no tenant of these rows wants any of it, else write
-- one outbox row per change. p_images are the images (old, new) whose tenants are asked, p_possible every event type the
-- kind can yield, p_changes a query of (tenant_id, event_types, row_key, key, whole, previous), one row per change.
create function rowhook._capture_branch(p_source rowhook.webhook_sources, p_images text[], p_possible text[], p_changes text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wildcards text[] := array(select unnest(rowhook._patterns(p_possible)) except select unnest(p_possible) order by 1);
  v_wanted    text   := 'true';
  v_early     text;
begin
  if p_possible = '{}' then
    return 'return null;';
  end if;
  if p_source.capture = 'subscribed' then
    v_wanted := 'exists (select from rowhook.webhook_configurations as w where w.tenant_id = %s and (w.is_active or w.disabled_at is not null) and w.event_types && %s)';
  end if;
  select string_agg(format('exists (select from %s as i where %s)', image,
                           format(v_wanted, 'i.rowhook_tenant', quote_literal(p_possible || v_wildcards) || '::text[]')), ' or ')
    into v_early
    from unnest(p_images) as image;
  -- OFFSET 0 keeps the planner from evaluating row_to_json once for the size and once for the row.
  -- pg_column_size comes first: row_to_json itself fails above 1 GB.
  return format($sql$if not (%1$s) then
      return null;
    end if;
    insert into rowhook.webhook_outbox (source_id, lane, tenant_id, event_types, row_key, data, previous, truncated)
    select %2$s, rowhook._lane(f.tenant_id), f.tenant_id, f.event_types, f.row_key,
           case when f.fits then f.data else f.key end, case when f.fits then f.previous end, not f.fits
      from (select c.*, coalesce(octet_length(c.data::text) + octet_length(coalesce(c.previous::text, '')) <= %3$s, false) as fits
              from (select e.tenant_id, e.event_types, e.row_key, e.key, e.previous,
                           case when pg_column_size(e.whole) <= %3$s then row_to_json(e.whole) end as data
                      from (%4$s) as e
                     where e.tenant_id is not null and e.event_types <> '{}' and %5$s
                    offset 0) as c) as f;$sql$,
    v_early, p_source.id, p_source.max_payload_bytes, p_changes,
    format(v_wanted, 'e.tenant_id', '(e.event_types || ' || quote_literal(v_wildcards) || '::text[])'));
end
$$;

-- One image of the changed rows as a subquery: its columns, its tenant, the row as a whole. p_from is a transition table
-- or (select new.*). See the head of this file for rowhook_missing.
create function rowhook._capture_image(p_source rowhook.webhook_sources, p_columns name[], p_from text)
returns text
language sql
stable
begin atomic
  select format('(select rowhook_side.* from (select %s) as rowhook_missing cross join lateral (select rowhook_row, %s as rowhook_tenant, %s from %s as rowhook_row) as rowhook_side)',
    string_agg(format('null::text as %I', c), ', ' order by i),
    case when (p_source).tenant_column is null then format('%L::text', (p_source).tenant_id) else format('%I::text', (p_source).tenant_column) end,
    string_agg(format('%I', c), ', ' order by i),
    p_from)
    from unnest(p_columns) with ordinality as u (c, i);
end;

-- One change as a select list: p_image (o or n) is the row it shows, p_events the expressions of its event types.
create function rowhook._capture_change(p_keys name[], p_image text, p_events text[], p_previous text)
returns text
language sql
stable
begin atomic
  select format('select %1$s.rowhook_tenant as tenant_id, array_remove(array[%2$s]::text[], null) as event_types, %3$s as row_key, json_build_object(%4$s) as key, %1$s.rowhook_row as whole, %5$s::json as previous',
    p_image,
    array_to_string(p_events, ', '),
    case cardinality(p_keys) when 0 then 'null::text' when 1 then format('%s.%I::text', p_image, p_keys[1])
      else format('row(%s)::text', string_agg(format('%s.%I', p_image, c), ', ' order by i)) end,
    string_agg(format('%L::text, %s.%I', c, p_image, c), ', ' order by i),
    p_previous)
    from unnest(p_keys) with ordinality as u (c, i);
end;

-- The body of a source's capture function. With a primary key it reads the transition tables rowhook_old and
-- rowhook_new; without one it is a row-level trigger and reads OLD and NEW.
create function rowhook._capture_body(p_source rowhook.webhook_sources)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys      name[] := array(select column_name from rowhook._key_columns(p_source.relation));
  v_columns   name[];   -- all columns, in order
  v_next      int;      -- the number that the next added column will get
  v_prefix    text := p_source.prefix || '.';
  v_old       text;     -- the images, see _capture_image
  v_new       text;
  v_pairing   text;
  v_change    text;     -- did the update change anything that counts?
  v_previous  text;
  v_created   text[] := '{}';  -- expressions over n (new image) and o (old image) that yield an event type or null
  v_updated   text[] := '{}';
  v_deleted   text[] := '{}';
  v_on_insert text[] := '{}';  -- every event type that such a change can yield
  v_on_update text[] := '{}';
  v_on_delete text[] := '{}';
  v_column    name;
  v_rule      jsonb;
  v_value     text;
  v_event     text;
begin
  select array_agg(attname order by attnum) filter (where not attisdropped), max(attnum) + 1
    into v_columns, v_next
    from pg_attribute
   where attrelid = p_source.relation and attnum > 0;

  -- Which events, under which conditions.
  if 'created' = any (p_source.events) then
    v_on_insert := array[v_prefix || 'created'];
    v_created   := array[quote_literal(v_prefix || 'created')];
  end if;
  if 'updated' = any (p_source.events) then
    v_on_update := array[v_prefix || 'updated'];
    v_updated   := array[quote_literal(v_prefix || 'updated')];
  end if;
  if 'deleted' = any (p_source.events) then
    v_on_delete := array[v_prefix || 'deleted'];
    v_deleted   := array[quote_literal(v_prefix || 'deleted')];
  end if;
  for v_column, v_rule in
    select key, value from jsonb_each(p_source.derived) where key = any (v_columns) order by key
  loop
    if jsonb_typeof(v_rule) = 'string' then
      v_event     := v_prefix || (v_rule #>> '{}');
      v_on_update := v_on_update || v_event;
      v_updated   := v_updated || format('case when row(o.%1$I)::record operator(pg_catalog.*<>) row(n.%1$I)::record%2$s then %3$L end', v_column,
                       case when v_event like '%changed' then '' else format(' and n.%I is not null', v_column) end, v_event);
    else
      for v_value, v_event in select key, v_prefix || value from jsonb_each_text(v_rule) order by key loop
        v_on_insert := v_on_insert || v_event;
        v_on_update := v_on_update || v_event;
        v_created   := v_created || format('case when n.%I::text = %L then %L end', v_column, v_value, v_event);
        v_updated   := v_updated || format('case when n.%1$I::text = %2$L and o.%1$I::text is distinct from %2$L then %3$L end', v_column, v_value, v_event);
      end loop;
    end if;
  end loop;

  if v_keys = '{}' then
    v_old     := rowhook._capture_image(p_source, v_columns, '(select old.*)');
    v_new     := rowhook._capture_image(p_source, v_columns, '(select new.*)');
    v_pairing := format('%s as o cross join %s as n', v_old, v_new);
  else
    v_old     := rowhook._capture_image(p_source, v_columns, 'rowhook_old');
    v_new     := rowhook._capture_image(p_source, v_columns, 'rowhook_new');
    v_pairing := format('%s as o full join %s as n on %s', v_old, v_new,
      (select string_agg(format('o.%1$I %2$s n.%1$I', column_name, equals), ' and ') from rowhook._key_columns(p_source.relation)));
  end if;

  -- A column added since is in no list below. Then any change counts, until reconcile() rewrites this function.
  v_change := 'o.rowhook_row operator(pg_catalog.*<>) n.rowhook_row';
  if p_source.ignore_columns && v_columns::text[] then
    v_change := format('%s and (has_column_privilege(%s::oid, %s::smallint, ''select'') is not null%s)', v_change, p_source.relation::oid, v_next,
      coalesce((select format(' or row(%s)::record operator(pg_catalog.*<>) row(%s)::record', string_agg(format('o.%I', c), ', '), string_agg(format('n.%I', c), ', '))
                  from unnest(v_columns) as c where c <> all (p_source.ignore_columns) having count(*) > 0), ''));
  end if;
  v_previous := '(''{'' || array_to_string(array[' || (
    select string_agg(format('case when row(o.%1$I)::record operator(pg_catalog.*<>) row(n.%1$I)::record then %2$L || coalesce(to_json(o.%1$I)::text, ''null'') end',
                             c, to_json(c::text)::text || ':'), ', ' order by i)
      from unnest(v_columns) with ordinality as u (c, i)) || ']::text[], '','') || ''}'')';

  return format($body$
begin
  if tg_op = 'INSERT' then
    %1$s
  elsif tg_op = 'DELETE' then
    %2$s
  else
    %3$s
  end if;
  if found and pg_sequence_last_value('rowhook.doorbell'::regclass) = 2 then
    perform pg_notify('rowhook', '');
  end if;
  return null;
end
$body$,
    rowhook._capture_branch(p_source, array[v_new], v_on_insert,
      rowhook._capture_change(v_keys, 'n', v_created, 'null') || ' from ' || v_new || ' as n'),
    rowhook._capture_branch(p_source, array[v_old], v_on_delete,
      rowhook._capture_change(v_keys, 'o', v_deleted, 'null') || ' from ' || v_old || ' as o'),
    -- A changed tenant or key is a delete and a create: neither tenant sees the other's data. An image that is missing
    -- from the full join has no tenant, so the tenants alone decide.
    rowhook._capture_branch(p_source, array[v_new, v_old], v_on_update || v_on_insert || v_on_delete,
      format('select u.* from %s cross join lateral (%s where o.rowhook_tenant = n.rowhook_tenant and %s union all %s where o.rowhook_tenant is distinct from n.rowhook_tenant union all %s where o.rowhook_tenant is distinct from n.rowhook_tenant) as u',
        v_pairing, rowhook._capture_change(v_keys, 'n', v_updated, v_previous), v_change,
        rowhook._capture_change(v_keys, 'o', v_deleted, 'null'), rowhook._capture_change(v_keys, 'n', v_created, 'null'))));
end
$$;

-- Writes the capture function of a source, if it is not there in just this form. Owned by rowhook_owner, because this
-- function is. Returns whether it wrote.
create function rowhook._write_capture(p_source_id int)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_source rowhook.webhook_sources;
  v_name   text := '_capture_' || p_source_id;
  v_body   text;
begin
  select * into strict v_source from rowhook.webhook_sources where id = p_source_id;
  v_body := rowhook._capture_body(v_source);
  if exists (select from pg_proc where oid = to_regproc('rowhook.' || v_name) and prosrc = v_body) then
    return false;
  end if;
  -- The settings are those that change how values print; row_to_json must not depend on who writes.
  execute format($sql$
    create or replace function rowhook.%I() returns trigger language plpgsql volatile security definer
      set search_path = pg_catalog, pg_temp
      set "TimeZone" = 'UTC'
      set "DateStyle" = 'ISO, YMD'
      set "IntervalStyle" = 'postgres'
      set bytea_output = 'hex'
      set extra_float_digits = 1
      set lc_monetary = 'C'
      as %L$sql$, v_name, v_body);
  execute format('revoke execute on function rowhook.%I() from public', v_name);
  execute format('comment on function rowhook.%I() is %L', v_name, 'Capture of ' || v_source.relation || ', written by rowhook.watch().');
  return true;
end
$$;

-- The tables that carry a source's triggers: the table itself, and with statement-level triggers every partition too,
-- since a statement fires those of the table it names. Row-level triggers are passed on by PostgreSQL.
create function rowhook._capture_relations(p_source rowhook.webhook_sources)
returns setof regclass
language sql
stable
begin atomic
  select (p_source).relation
  union
  select relid::regclass from pg_partition_tree((p_source).relation)
   where exists (select from rowhook._key_columns((p_source).relation));
end;

-- Makes the triggers of a source where they are missing and drops them where they do not belong (a detached partition).
-- Runs as the caller, who owns the table or has the privilege TRIGGER. Returns one line for each table it touched.
create function rowhook._attach(p_source rowhook.webhook_sources)
returns table (relation regclass, change text)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_function  regproc := to_regproc('rowhook._capture_' || p_source.id);
  v_level     text    := case when exists (select from rowhook._key_columns(p_source.relation)) then 'statement' else 'row' end;
  v_relation  regclass;
  v_operation text;
  v_sql       text;
  v_touched   boolean;
begin
  for v_relation in select * from rowhook._capture_relations(p_source) loop
    v_touched := false;
    foreach v_operation in array '{insert,update,delete}'::text[] loop
      continue when exists (
        select from pg_trigger t
         where t.tgrelid = v_relation and t.tgname = 'rowhook_' || v_operation and t.tgfoid = v_function
           and (t.tgtype & 1 = 1) = (v_level = 'row'));
      v_sql := format(
        'create or replace trigger %I after %s on %s %s for each %s when (pg_catalog.current_setting(''rowhook.mute'', true) is distinct from ''on'') execute function %s()',
        'rowhook_' || v_operation, v_operation, v_relation,
        case when v_level = 'row' then '' else 'referencing ' || case v_operation
          when 'insert' then 'new table as rowhook_new'
          when 'delete' then 'old table as rowhook_old'
          else 'old table as rowhook_old new table as rowhook_new' end end,
        v_level, v_function);
      perform rowhook._execute_with_lock(v_sql, v_relation);
      v_touched := true;
    end loop;
    if v_touched then
      return query select v_relation, 'attached';
    end if;
  end loop;

  for v_relation in
    select distinct t.tgrelid::regclass from pg_trigger t
     where t.tgfoid = v_function and t.tgparentid = 0
       and t.tgrelid not in (select r from rowhook._capture_relations(p_source) as r)
  loop
    perform rowhook._detach(v_relation, p_source.id);
    return query select v_relation, 'detached';
  end loop;
end
$$;

-- Runs one statement that locks a table. A long lock wait would queue the app's own statements behind us, so it waits
-- 2 s (lock_timeout of the callers) and tries again, five times.
create function rowhook._execute_with_lock(p_sql text, p_relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  for v_try in 1 .. 5 loop
    begin
      execute p_sql;
      return;
    exception when lock_not_available then
      if v_try = 5 then
        raise lock_not_available using
          message = format('table %s is locked by a long transaction: no lock within %s tries of 2 s', p_relation, v_try),
          hint = 'End that transaction (see pg_stat_activity and pg_locks), then try again. Nothing was changed.';
      end if;
      perform pg_sleep(0.2 * v_try);
    end;
  end loop;
end
$$;

create function rowhook._detach(p_relation regclass, p_source_id int)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_trigger name;
begin
  for v_trigger in
    select tgname from pg_trigger
     where tgrelid = p_relation and tgparentid = 0 and tgfoid = to_regproc('rowhook._capture_' || p_source_id)
  loop
    perform rowhook._execute_with_lock(format('drop trigger %I on %s', v_trigger, p_relation), p_relation);
  end loop;
end
$$;

-- Watches a table: its inserts, updates and deletes become events from the next statement on. Calling it again changes
-- the settings of the source. Run it as the table's owner, being a member of rowhook_owner.
--   prefix          first part of the event names; default: the table's name
--   tenant_column   column that holds the tenant; default: organization_id, tenant_id, org_id, account_id or workspace_id
--   derived         see webhook_sources.derived
--   tenant_id       instead of tenant_column: all rows belong to this one tenant
create function rowhook.watch(
  target            regclass,
  prefix            text    default null,
  tenant_column     text    default null,
  derived           jsonb   default '{}',
  ignore_columns    text[]  default '{updated_at}',
  capture           text    default 'subscribed',
  max_payload_bytes int     default 1048576,
  events            text[]  default '{created,updated,deleted}',
  tenant_id         text    default null
)
returns rowhook.webhook_sources
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_class   pg_class;
  v_source  rowhook.webhook_sources;
  v_tenant  name := watch.tenant_column;
  v_missing text;
  v_child   regclass;
begin
  select * into v_class from pg_class where oid = watch.target;
  if not found then
    raise undefined_table using message = 'watch: there is no such table', hint = 'Name it with its schema, for example public.deals.';
  end if;
  if v_class.relkind not in ('r', 'p') then
    raise wrong_object_type using
      message = format('watch: %s is %s: only tables can be watched', watch.target,
        case v_class.relkind when 'v' then 'a view' when 'm' then 'a materialized view' when 'f' then 'a foreign table' when 'S' then 'a sequence' when 'i' then 'an index' else 'no table' end),
      hint = 'Watch the table that holds the rows.';
  end if;
  if v_class.relpersistence = 't' or v_class.relnamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'rowhook'::regnamespace) then
    raise wrong_object_type using message = format('watch: %s is a temporary, system or rowhook table: it cannot be watched', watch.target);
  end if;
  if v_class.relispartition then
    raise wrong_object_type using
      message = format('watch: %s is a partition', watch.target),
      hint = format('Watch the partitioned table %s; its partitions come along, later ones too.', (select relid from pg_partition_ancestors(watch.target) order by relid <> pg_partition_root(watch.target) limit 1));
  end if;
  if watch.derived is null or jsonb_typeof(watch.derived) <> 'object' or exists (
       select from jsonb_each(watch.derived) as d
        where not (jsonb_typeof(d.value) = 'string' and d.value #>> '{}' ~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'
                or jsonb_typeof(d.value) = 'object' and not exists (select from jsonb_each(d.value) as v where jsonb_typeof(v.value) <> 'string' or v.value #>> '{}' !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$'))) then
    raise invalid_parameter_value using
      message = 'watch: derived is an object of column -> suffix, or column -> {value: suffix}',
      hint = 'For example {"stage":"stage.changed","status":{"won":"won"}}.';
  end if;
  if watch.tenant_id is not null and v_tenant is not null then
    raise invalid_parameter_value using message = 'watch: give tenant_column or tenant_id, not both';
  end if;
  if v_tenant is null and watch.tenant_id is null then
    select a.attname into v_tenant
      from unnest('{organization_id,tenant_id,org_id,account_id,workspace_id}'::name[]) with ordinality as u (c, i)
      join pg_attribute a on a.attrelid = watch.target and a.attname = u.c and not a.attisdropped and a.attnum > 0
     order by u.i limit 1;
    if v_tenant is null then
      raise undefined_column using
        message = format('watch: %s has no column organization_id, tenant_id, org_id, account_id or workspace_id, so its tenant is unknown', watch.target),
        hint = 'Name the column with tenant_column, or give tenant_id if all rows belong to one tenant.';
    end if;
  end if;
  select string_agg(quote_ident(c), ', ') into v_missing
    from (select v_tenant::text union all select jsonb_object_keys(watch.derived) union all
          -- updated_at is ignored by default, also where there is none
          select unnest(array_remove(watch.ignore_columns, 'updated_at'))) as u (c)
   where c is not null
     and not exists (select from pg_attribute a where a.attrelid = watch.target and a.attname = c and not a.attisdropped and a.attnum > 0);
  if v_missing is not null then
    raise undefined_column using
      message = format('watch: %s has no column %s', watch.target, v_missing),
      hint = format('Its columns are %s.', (select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute where attrelid = watch.target and not attisdropped and attnum > 0));
  end if;

  insert into rowhook.webhook_sources as s
    (relation, prefix, tenant_column, tenant_id, events, derived, ignore_columns, capture, max_payload_bytes)
  values (watch.target, coalesce(watch.prefix, regexp_replace(v_class.relname, '[^A-Za-z0-9_-]+', '_', 'g')), v_tenant, watch.tenant_id,
          watch.events, watch.derived, coalesce(watch.ignore_columns, '{}'), watch.capture, watch.max_payload_bytes)
  on conflict (relation) do update
     set prefix = excluded.prefix, tenant_column = excluded.tenant_column, tenant_id = excluded.tenant_id, events = excluded.events,
         derived = excluded.derived, ignore_columns = excluded.ignore_columns, capture = excluded.capture,
         max_payload_bytes = excluded.max_payload_bytes, updated_at = now()
  returning * into v_source;

  perform rowhook._write_capture(v_source.id);
  perform rowhook._attach(v_source);

  -- A table that inherits has rows, and maybe columns, of its own: it is a source of its own, with the same settings.
  for v_child in
    select i.inhrelid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = watch.target and not c.relispartition
  loop
    perform rowhook.watch(v_child, v_source.prefix, v_source.tenant_column::text, v_source.derived, v_source.ignore_columns,
                          v_source.capture, v_source.max_payload_bytes, v_source.events, v_source.tenant_id);
    update rowhook.webhook_sources set parent_id = v_source.id where relation = v_child;
  end loop;
  return v_source;
end
$$;

-- Stops watching a table and leaves no trace on it. Returns whether it was watched. Events already in the outbox are
-- still delivered.
create function rowhook.unwatch(target regclass)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_source   rowhook.webhook_sources;
  v_relation regclass;
begin
  for v_source in
    with recursive family as (
      select s.* from rowhook.webhook_sources s where s.relation = unwatch.target
      union all
      select s.* from rowhook.webhook_sources s join family f on s.parent_id = f.id
    )
    select * from family order by id desc
  loop
    for v_relation in
      select distinct tgrelid::regclass from pg_trigger
       where tgfoid = to_regproc('rowhook._capture_' || v_source.id) and tgparentid = 0
    loop
      perform rowhook._detach(v_relation, v_source.id);
    end loop;
    perform rowhook._forget_source(v_source.id);
  end loop;
  return v_source.id is not null;
end
$$;

-- Drops a source and its function; fails while a trigger still calls it.
create function rowhook._forget_source(p_source_id int)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('drop function if exists rowhook.%I()', '_capture_' || p_source_id);
  delete from rowhook.webhook_sources where id = p_source_id;
end
$$;

-- The tables that presets attach to, where they exist.
create function rowhook._presets()
returns table (preset text, table_name text, prefix text, events text[], derived jsonb)
language sql
immutable
parallel safe
begin atomic
  select v.preset, v.table_name, v.prefix, v.events::text[], v.derived::jsonb
    from (values
      ('crm',   'contacts',      'contact',       '{created,updated,deleted}', '{"assigned_to":"assigned"}'),
      ('crm',   'deals',         'deal',          '{created,updated,deleted}', '{"assigned_to":"assigned","stage":"stage.changed"}'),
      ('crm',   'clients',       'clients',       '{created,updated,deleted}', '{}'),
      ('crm',   'projects',      'projects',      '{created,updated,deleted}', '{}'),
      ('crm',   'notes',         'notes',         '{created,updated,deleted}', '{}'),
      ('sales', 'opportunities', 'opportunities', '{created,updated,deleted}', '{}'),
      ('sales', 'leads',         'lead',          '{created,updated}',         '{"converted_at":"converted"}'),
      ('inbox', 'conversations', 'conversation',  '{created}',                 '{"assigned_to":"assigned","status":"status.changed"}'),
      ('inbox', 'messages',      'message',       '{}',                        '{"status":{"received":"received","sent":"sent","delivered":"delivered","read":"read","failed":"failed"}}'),
      ('users', 'users',         'user',          '{created}',                 '{}')
    ) as v (preset, table_name, prefix, events, derived);
end;

-- Watches the tables of a preset that exist in a schema, and says which do not: crm (contacts, deals, clients, projects,
-- notes), sales (opportunities, leads), inbox (conversations, messages), users, or all of them. Derived events whose
-- column a table lacks are left out.
create function rowhook.watch_preset(preset text, in_schema text default 'public')
returns table (relation text, prefix text, status text, detail text)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_entry  record;
  v_target regclass;
  v_before rowhook.webhook_sources;
  v_source rowhook.webhook_sources;
begin
  if not exists (select from rowhook._presets() as p where watch_preset.preset in (p.preset, 'all')) then
    raise invalid_parameter_value using
      message = format('watch_preset: there is no preset %L', watch_preset.preset),
      hint = 'The presets are crm, sales, inbox, users and all.';
  end if;
  for v_entry in select p.* from rowhook._presets() as p where watch_preset.preset in (p.preset, 'all') loop
    v_target := to_regclass(format('%I.%I', watch_preset.in_schema, v_entry.table_name));
    if v_target is null then
      return query select format('%I.%I', watch_preset.in_schema, v_entry.table_name), v_entry.prefix, 'missing', 'there is no such table';
      continue;
    end if;
    select * into v_before from rowhook.webhook_sources s where s.relation = v_target;
    v_source := rowhook.watch(v_target, v_entry.prefix, events => v_entry.events, derived => (
      select coalesce(jsonb_object_agg(d.key, d.value), '{}') from jsonb_each(v_entry.derived) as d
       where exists (select from pg_attribute a where a.attrelid = v_target and a.attname = d.key and not a.attisdropped)));
    return query select v_target::text, v_entry.prefix,
      case when to_jsonb(v_source) - 'updated_at' = to_jsonb(v_before) - 'updated_at' then 'unchanged' else 'watched' end,
      array_to_string(rowhook._source_event_types(v_source), ', ');
  end loop;
end
$$;

-- Brings capture in line with the tables as they are now: columns added or dropped, partitions attached or detached,
-- watched tables dropped or restored from a dump. The daemon calls it; it changes what its caller may change, and says
-- what it may not.
create function rowhook.reconcile()
returns table (relation text, change text)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_source   rowhook.webhook_sources;
  v_attached record;
begin
  for v_source in select * from rowhook.webhook_sources order by id loop
    if not exists (select from pg_class where oid = v_source.relation) then
      perform rowhook._forget_source(v_source.id);
      return query select v_source.relation::text, 'forgotten: the table was dropped';
      continue;
    end if;
    if rowhook._write_capture(v_source.id) then
      return query select v_source.relation::text, 'capture function rewritten: the columns changed';
    end if;
    begin
      for v_attached in select * from rowhook._attach(v_source) loop
        return query select v_attached.relation::text, 'triggers ' || v_attached.change;
      end loop;
    exception when insufficient_privilege then
      return query select v_source.relation::text,
        format('triggers missing, and %s may not make them: let the owner of the table run select rowhook.reconcile()', current_user);
    end;
  end loop;
end
$$;

comment on function rowhook.watch(regclass, text, text, jsonb, text[], text, int, text[], text) is
  'Watches a table: its inserts, updates and deletes become events. Call it again to change the settings. Run it as the owner of the table and member of rowhook_owner.';
comment on function rowhook.unwatch(regclass) is 'Stops watching a table and leaves no trace on it. Returns whether it was watched.';
comment on function rowhook.watch_preset(text, text) is 'Watches the tables of a preset (crm, sales, inbox, users, all) that exist, and says which do not.';
comment on function rowhook.reconcile() is 'Brings capture in line with the tables as they are: new columns, new partitions, dropped tables. Returns what it changed or may not change.';

revoke execute on all functions in schema rowhook from public;
grant execute on function rowhook.reconcile(), rowhook._write_capture(int), rowhook._forget_source(int), rowhook._attach(rowhook.webhook_sources),
                          rowhook._execute_with_lock(text, regclass), rowhook._detach(regclass, int),
                          rowhook._capture_relations(rowhook.webhook_sources), rowhook._key_columns(regclass)
   to rowhook_daemon;
grant execute on function rowhook._source_event_types(rowhook.webhook_sources) to rowhook_app, rowhook_daemon;

create or replace function rowhook.schema_version() returns int language sql immutable parallel safe return 6;

reset role;
