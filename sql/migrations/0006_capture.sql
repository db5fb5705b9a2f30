-- rowhook 0006: capture. watch(table) registers a source. It writes one static PL/pgSQL function
-- for the table, and three AFTER ... FOR EACH STATEMENT triggers that call it with transition
-- tables.
--
-- The function is generated and static, so its plans are cached and its columns are checked once.
-- The triggers fire per statement, because 100,000 rows in one statement must not cost 100,000
-- calls. A transition table also follows the columns of its table, whereas NEW of a row-level
-- trigger fails in a session that ran the trigger before the type of a column changed.
--
-- The generated functions run inside the app's own statements. Therefore:
--   * They are SECURITY DEFINER, owned by rowhook_owner, with a pinned search_path, so no setting
--     of the caller affects them. Settings that change how values print (TimeZone, DateStyle, ...)
--     are pinned too. Only two kinds of foreign code run in them: a user-defined cast to json for a
--     type, and the expressions of virtual generated columns. If these raise an error, the event
--     becomes thin (_render(), _capture_trial()), and the app's statement continues.
--   * The payload is json text made by row_to_json. jsonb would abort the app's statement on
--     "\u0000", drop duplicate keys and change their order. An oversized payload becomes a thin
--     event (key columns only) instead of an error.
--   * A table that was altered later must not break the app's statements, nor its events. A
--     function first checks whether the table has the columns and the key that it was written for
--     (_layout(), which costs nothing). If not, _capture_now() writes the query for this one
--     statement anew and follows renamed columns by their number. That takes milliseconds, until
--     reconcile() rewrites the function. If that query fails, all events of the statement are thin.
--   * A detached partition keeps its triggers until reconcile(), and is altered independently.
--     Columns are therefore named inside a subquery beside a one-row table of nulls with the same
--     names. SQL resolves a name in the innermost scope that has it, so a dropped column reads as
--     null. Outside of the subquery, columns have numbers, so that no column name conflicts with
--     one of ours. Operators of a column's own type are not used: values are compared by their
--     images, keys by their text.
--   * A zero-row statement, or one whose tenants want nothing, returns before anything else
--     happens.
--   * Nothing writes in an EXCEPTION block, which would take a transaction id for each statement.
--     Such blocks contain only reads, and exist only where a type or a virtual column may raise an
--     error. If writing to the outbox fails (a full disk, a missing partition), the app's statement
--     fails: a change without its event would be worse.
--
-- The old and new rows of an UPDATE are paired by primary key. Where the key does not identify one
-- row (there is no key, it is deferrable, or other tables inherit from this one), rows are paired
-- by position, because PostgreSQL fills both transition tables in step. Rows are also paired by
-- position if a statement changed several rows of a table that foreign keys may change, because a
-- row that two foreign keys change occurs twice. A foreign key that is added later counts after the
-- next reconcile().
--
-- Limits: Changes by a row-level AFTER trigger of the app are captured before the statement that
-- fired it. PostgreSQL re-queues a statement trigger when another change of the same kind follows.
-- If one foreign key updates a row and another deletes it, the `deleted` event may therefore be
-- written before the `updated` event. A row that MERGE moves to another partition is in the
-- transition tables of DELETE and INSERT, and their triggers fire only if the MERGE has such
-- actions. The app's statement fails on a row of more than 1 GB, on a json value nested as deep as
-- the stack allows, and on an enum whose first cast to json is created after watch() and fails
-- (docs/dba.md).

set role rowhook_owner;

create table rowhook.webhook_sources (
  id                int         generated always as identity primary key,
  relation          regclass    not null,
  schema_name       name        not null,
  table_name        name        not null,
  table_owner       name        not null,
  lost_at           timestamptz,
  counted_from      jsonb       not null,
  parent_id         int         references rowhook.webhook_sources on delete set null,
  prefix            text        not null,
  tenant_column     name,
  tenant_id         text,
  events            text[]      not null default '{created,updated,deleted}',
  derived           jsonb       not null default '{}',
  ignore_columns    text[]      not null default '{updated_at}',
  capture           text        not null default 'subscribed',
  max_payload_bytes int         not null default 1048576,
  column_numbers    jsonb       not null default '{}',
  numbered_relation oid,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  constraint webhook_sources_relation_is_unique       unique (relation),
  constraint webhook_sources_prefix_is_a_name         check (prefix ~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$' and length(prefix) <= 80),
  constraint webhook_sources_has_one_tenant           check ((tenant_column is null) <> (tenant_id is null)),
  constraint webhook_sources_events_are_known         check (events <@ '{created,updated,deleted}'),
  constraint webhook_sources_capture_is_known         check (capture in ('subscribed', 'all')),
  constraint webhook_sources_max_payload_in_range     check (max_payload_bytes between 1024 and 134217728)
);

comment on table rowhook.webhook_sources is
  'Watched tables. Written by watch() and unwatch() only.';
comment on column rowhook.webhook_sources.id is
  'The source. Its capture function is rowhook._capture_<id>.';
comment on column rowhook.webhook_sources.relation is 'The watched table.';
comment on column rowhook.webhook_sources.schema_name is
  'Schema of the table when it was last seen. A table that replaces a watched one is recognised '
  'by its name.';
comment on column rowhook.webhook_sources.table_name is 'Name of the table when it was last seen.';
comment on column rowhook.webhook_sources.table_owner is
  'Owner of the table when it was last seen. A table of another owner does not replace it '
  'automatically.';
comment on column rowhook.webhook_sources.lost_at is
  'When reconcile() first missed the table. The source is kept for 7 days after that, in case '
  'its table comes back.';
comment on column rowhook.webhook_sources.counted_from is
  'The statistics when the table was first watched. The doctor computes the cost of capture from '
  'there.';
comment on column rowhook.webhook_sources.parent_id is
  'Set for a table that is watched because it inherits from a watched table.';
comment on column rowhook.webhook_sources.prefix is
  'First part of its event types: deal in deal.updated.';
comment on column rowhook.webhook_sources.tenant_column is
  'Column that holds the tenant of a row; null: tenant_id is the tenant of all rows.';
comment on column rowhook.webhook_sources.tenant_id is
  'The one tenant of all rows of the table; null: tenant_column holds the tenant.';
comment on column rowhook.webhook_sources.events is
  'Which of created, updated and deleted are events.';
comment on column rowhook.webhook_sources.derived is
  'Further events of an UPDATE. {"column":"suffix"}: the column changes (to a value, unless the '
  'suffix ends in "changed"); {"column":{"value":"suffix"}}: the column becomes that value, also '
  'on INSERT.';
comment on column rowhook.webhook_sources.ignore_columns is
  'An UPDATE that changes only these columns is not an event.';
comment on column rowhook.webhook_sources.capture is
  'subscribed: only events that an active webhook of the tenant wants are written. all: every '
  'event is written, for history and for replay to later webhooks.';
comment on column rowhook.webhook_sources.max_payload_bytes is
  'Maximum number of bytes of data and previous together. A larger event is thin: it has the key '
  'columns only and "truncated": true.';
comment on column rowhook.webhook_sources.column_numbers is
  'Numbers (pg_attribute.attnum) of the columns that the settings name. A renamed column is '
  'recognised by its number.';
comment on column rowhook.webhook_sources.numbered_relation is
  'The table that column_numbers belongs to. After a restore from a dump the table is another '
  'one, and the numbers are ignored.';
comment on column rowhook.webhook_sources.created_at is 'When the table was first watched.';
comment on column rowhook.webhook_sources.updated_at is 'When watch() last changed the settings.';
comment on constraint webhook_sources_pkey on rowhook.webhook_sources is 'A source has one row.';
comment on constraint webhook_sources_parent_id_fkey on rowhook.webhook_sources is
  'parent_id is another source. It becomes null when that source is deleted.';
comment on constraint webhook_sources_relation_is_unique on rowhook.webhook_sources is
  'A table is watched once.';
comment on constraint webhook_sources_prefix_is_a_name on rowhook.webhook_sources is
  'prefix consists of letters, digits, _, -, and dots between them, at most 80 characters.';
comment on constraint webhook_sources_has_one_tenant on rowhook.webhook_sources is
  'Either tenant_column or tenant_id is set.';
comment on constraint webhook_sources_events_are_known on rowhook.webhook_sources is
  'events contains only created, updated and deleted.';
comment on constraint webhook_sources_capture_is_known on rowhook.webhook_sources is
  'capture is subscribed or all.';
comment on constraint webhook_sources_max_payload_in_range on rowhook.webhook_sources is
  'max_payload_bytes is 1 KiB to 128 MiB.';

comment on sequence rowhook.webhook_sources_id_seq is 'Ids of webhook_sources.';

alter table rowhook.webhook_sources enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_sources to rowhook_owner using (true) with check (true);
create policy anyone_reads  on rowhook.webhook_sources for select to rowhook_app, rowhook_daemon using (true);
grant select on rowhook.webhook_sources to rowhook_app, rowhook_daemon;

-- Changes of a row whose tenant column is null belong to nobody and become no event. A sequence
-- counts these rows, because counting with a sequence waits for nobody. It counts the rows that a
-- statement meets before a wanted one, so the count may be too low.
create sequence rowhook.rows_without_tenant;
comment on sequence rowhook.rows_without_tenant is
  'Counts changes of rows whose tenant column is null. Such a change is not an event; the true '
  'number may be higher.';

grant select on rowhook.rows_without_tenant to rowhook_daemon;

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

comment on function rowhook._patterns(text[]) is
  'The entries of event_types that want one of these events: the event itself, its prefixes with '
  '.*, and *.';

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

comment on function rowhook._source_event_types(rowhook.webhook_sources) is
  'Every event type that a source can produce.';

create view rowhook.webhook_event_types with (security_invoker = true) as
select event_type, s.relation
  from rowhook.webhook_sources s
 cross join lateral unnest(rowhook._source_event_types(s)) as event_type;
comment on view rowhook.webhook_event_types is
  'The event types that watched tables produce. emit() may add any other.';
comment on column rowhook.webhook_event_types.event_type is
  'What a webhook may ask for, such as deal.updated.';
comment on column rowhook.webhook_event_types.relation is 'The watched table that produces it.';
grant select on rowhook.webhook_event_types to rowhook_app, rowhook_daemon;

-- A transaction in REPEATABLE READ, or a statement that began before the table changed and reaches
-- it through a foreign key, reads pg_attribute as it was. Its triggers, however, see the table as
-- it is, and so does pg_identify_object_as_address(). That function calls a dropped column
-- "........pg.dropped.2........".
create function rowhook._attributes(p_relation oid)
returns table (number smallint, name name, type oid)
language sql
stable
begin atomic
  select a.attnum, n.name, a.atttypid
    from pg_attribute a
   cross join lateral (select ((pg_identify_object_as_address('pg_class'::regclass, a.attrelid, a.attnum)).object_names)[3]::name offset 0) as n (name)
   where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped and n.name not like '........pg.dropped.%';
end;

comment on function rowhook._attributes(oid) is
  'The columns of a table by their current names, also for a transaction that began before a '
  'rename.';

create function rowhook._columns(p_relation oid)
returns name[]
language sql
stable
begin atomic
  select coalesce(array_agg(name order by number), '{}') from rowhook._attributes(p_relation);
end;

comment on function rowhook._columns(oid) is 'The columns of a table, in order.';

-- A deferrable key may contain duplicates during a transaction, so it does not count.
create function rowhook._key_columns(p_relation oid)
returns name[]
language sql
stable
begin atomic
  select coalesce(array_agg(a.name order by k.position), '{}')
    from pg_index i
   cross join lateral unnest(i.indkey[:]) with ordinality as k (attnum, position)
    join rowhook._attributes(p_relation) as a on a.number = k.attnum
   where i.indrelid = p_relation and i.indisprimary and i.indimmediate and k.position <= i.indnkeyatts;
end;

comment on function rowhook._key_columns(oid) is
  'The columns of the primary key of a table, in order; empty when the table has no key, or a '
  'deferrable one.';

-- A statement fires the triggers of the table that it names, so partitions need triggers too. A
-- foreign table cannot have such triggers. The root comes first, because the app's statements lock
-- it first.
create function rowhook._capture_relations(p_relation regclass)
returns setof regclass
language sql
stable
begin atomic
  select t.relid
    from (select p_relation, 0 union all select relid, level from pg_partition_tree(p_relation) where level > 0) as t (relid, level)
    join pg_class c on c.oid = t.relid
   where c.relkind <> 'f'
   order by t.level, t.relid;
end;

comment on function rowhook._capture_relations(regclass) is
  'The tables that carry the triggers of a watched table: the table itself and its partitions, '
  'the root first.';

-- All changes of foreign keys for one statement are in the transition tables of one call, together
-- with the changes of that statement itself. So a row may occur more than once, each time in the
-- state that it had at that point.
create function rowhook._changed_by_keys(p_relation regclass)
returns boolean
language sql
stable
begin atomic
  select exists (
    select from pg_constraint
     where contype = 'f' and conrelid in (select rowhook._capture_relations(p_relation)) and (confdeltype in ('n', 'd') or confupdtype in ('c', 'n', 'd')));
end;

comment on function rowhook._changed_by_keys(regclass) is
  'Whether foreign keys may change the rows of a table: ON DELETE SET NULL or SET DEFAULT, ON '
  'UPDATE CASCADE, SET NULL or SET DEFAULT.';

-- A user-defined type may have a cast to json or text by a function, which may raise any error. The
-- same goes for the parts of an array, a composite type or a range.
create function rowhook._prints_itself(p_type oid)
returns boolean
language sql
stable
begin atomic
  with recursive parts as (
    select p_type as oid
    union
    select case when t.typtype = 'd' then t.typbasetype else t.typelem end
      from parts join pg_type t on t.oid = parts.oid
     where t.typtype = 'd' or (t.typelem <> 0 and t.typsubscript = 'array_subscript_handler'::regproc)
  )
  select coalesce(bool_and(case
           when t.typtype = 'd' or (t.typelem <> 0 and t.typsubscript = 'array_subscript_handler'::regproc) then true
           when t.typtype = 'e' then not exists (
             select from pg_cast c where c.castsource = t.oid and c.casttarget in ('json'::regtype, 'text'::regtype))
           else t.oid < 16384 and t.typtype <> 'c'
         end), true)
    from parts join pg_type t on t.oid = parts.oid;
end;

comment on function rowhook._prints_itself(oid) is
  'Whether PostgreSQL prints the values of a type by its own code alone, and not by a cast that '
  'somebody made.';

create function rowhook._foreign_columns(p_relation oid)
returns name[]
language sql
stable
begin atomic
  with own as (
    -- Built-in types always print themselves.
    select name, number, type from rowhook._attributes(p_relation) where type >= 16384
  ), types as materialized (
    -- Each type is checked once. A check for each of 800 columns made watch() take 30 times as
    -- long.
    select distinct type from own
  ), foreign_types as materialized (
    select type from types where not rowhook._prints_itself(type)
  )
  select coalesce(array_agg(name order by number), '{}') from own where type in (select f.type from foreign_types as f);
end;

comment on function rowhook._foreign_columns(oid) is
  'The columns of a table whose type PostgreSQL does not print by its own code alone.';

-- User-defined casts are not used: concat() takes the output of the type itself.
create function rowhook._text_of(p_relation oid, p_column name, p_expression text)
returns text
language sql
stable
begin atomic
  select format(case when exists (select from rowhook._attributes(p_relation) as a
                                   where a.name = p_column and a.type >= 16384 and not rowhook._prints_itself(a.type))
                     then 'case when num_nulls(%1$s) = 0 then concat(%1$s) end' else '%1$s::text' end, p_expression);
end;

comment on function rowhook._text_of(oid, name, text) is
  'SQL expression for the text of a column''s value.';

-- The digest covers everything that a capture function was written for: the columns of its table,
-- how the virtual ones are computed, and the key. It is not more immutable than the table is. But
-- only an immutable function is computed while a query is planned and costs nothing when the query
-- runs. Each query that calls it reads a transition table, so PostgreSQL plans the query again
-- after the table has changed. The digest uses the id of the source and the names of types, because
-- oids change in a restore from a dump.
create function rowhook._layout(p_source_id int)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  return (
    select md5(concat(rowhook._key_columns(s.relation), string_agg(
             concat_ws(' ', quote_ident(c.name), format_type(a.atttypid, case a.attgenerated when 'v' then a.atttypmod end), case when a.attgenerated = 'v' then pg_get_expr(d.adbin, d.adrelid) end),
             ',' order by a.attnum)))
      from rowhook.webhook_sources s
      left join lateral rowhook._attributes(s.relation) as c on true
      left join pg_attribute a on a.attrelid = s.relation and a.attnum = c.number
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where s.id = p_source_id
     group by s.relation);
end
$$;

comment on function rowhook._layout(int) is
  'Digest of the columns and the key of a watched table. Marked immutable so that a plan holds '
  'it: the plan ends when the table changes.';

create function rowhook._followed(p_source rowhook.webhook_sources)
returns rowhook.webhook_sources
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_renamed jsonb;
begin
  select jsonb_object_agg(n.key, a.name) into v_renamed
    from jsonb_each_text(p_source.column_numbers) as n
    join rowhook._attributes(p_source.relation) as a on a.number = n.value::smallint
   where p_source.numbered_relation = p_source.relation::oid and n.key <> all (rowhook._columns(p_source.relation)::text[]);
  if v_renamed is not null then
    p_source.tenant_column  := coalesce(v_renamed ->> p_source.tenant_column::text, p_source.tenant_column);
    p_source.ignore_columns := array(select coalesce(v_renamed ->> u.c, u.c) from unnest(p_source.ignore_columns) with ordinality as u (c, i) order by u.i);
    p_source.derived        := (select coalesce(jsonb_object_agg(coalesce(v_renamed ->> d.key, d.key), d.value), '{}') from jsonb_each(p_source.derived) as d);
  end if;
  p_source.column_numbers    := (
    select coalesce(jsonb_object_agg(a.name, a.number), '{}') from rowhook._attributes(p_source.relation) as a
     where a.name = p_source.tenant_column or a.name = any (p_source.ignore_columns::name[]) or p_source.derived ? a.name::text);
  p_source.numbered_relation := p_source.relation;
  return p_source;
end
$$;

comment on function rowhook._followed(rowhook.webhook_sources) is
  'The settings of a source with the current names of its columns. A name that exists is kept; a '
  'name that is gone is followed by its number.';

create type rowhook._printed as (data json, problem text);
comment on type rowhook._printed is 'The json of a row, or why it cannot be printed.';

-- The block only reads, so its subtransaction takes no transaction id. A cancelled statement, a
-- deadlock and a serialization failure are not caught: they end the statement.
create function rowhook._render(p_row record)
returns rowhook._printed
language plpgsql
volatile
as $$
begin
  return row(row_to_json(p_row), null)::rowhook._printed;
exception
  when transaction_rollback then
    raise;
  when others or assert_failure then
    return row(null, rowhook._problem(sqlstate, sqlerrm))::rowhook._printed;
end
$$;

comment on function rowhook._render(record) is
  'The json of a row whose columns may refuse to be printed, or the error that printing it raises.';

create function rowhook._problem(p_sqlstate text, p_message text)
returns text
language sql
immutable
parallel safe
return p_sqlstate || ': ' || left(p_message, 500);

comment on function rowhook._problem(text, text) is
  'Why an event is thin, in the form of webhook_outbox.truncated: an SQLSTATE and its message.';

-- A change yields event types on INSERT ('created'), UPDATE ('updated') and DELETE ('deleted').
-- Each has a condition over the images o (old) and n (new), or null for always.
create function rowhook._capture_rules(p_source rowhook.webhook_sources)
returns table (operation text, event_type text, condition text)
language sql
stable
begin atomic
  with derived as (
    select c.number, c.name, d.value as rule
      from jsonb_each((p_source).derived) as d
      join unnest(rowhook._columns((p_source).relation)) with ordinality as c (name, number) on c.name = d.key
  )
  select e.operation, (p_source).prefix || '.' || e.operation, null
    from unnest((p_source).events) as e (operation)
  union all
  -- {"column":"suffix"}
  select 'updated', (p_source).prefix || '.' || s.suffix,
         format('row(o.c%1$s)::record operator(pg_catalog.*<>) row(n.c%1$s)::record%2$s', d.number,
           case when s.suffix like '%changed' then '' else format(' and n.c%s is not null', d.number) end)
    from derived as d
   cross join lateral (select d.rule #>> '{}') as s (suffix)
   where jsonb_typeof(d.rule) = 'string'
  union all
  -- {"column":{"value":"suffix"}}
  select w.operation, (p_source).prefix || '.' || v.value, format(w.condition, v.key, t.old, t.new)
    from derived as d
   cross join lateral (select rowhook._text_of((p_source).relation, d.name, 'o.c' || d.number),
                              rowhook._text_of((p_source).relation, d.name, 'n.c' || d.number)) as t (old, new)
   cross join lateral jsonb_each_text(case jsonb_typeof(d.rule) when 'object' then d.rule else '{}' end) as v
   cross join (values
     ('created', '%3$s = %1$L'),
     ('updated', '%3$s = %1$L and %2$s is distinct from %1$L')) as w (operation, condition);
end;

comment on function rowhook._capture_rules(rowhook.webhook_sources) is
  'The event types of each kind of change to a source, with their conditions as SQL.';

create function rowhook._capture_events(p_source rowhook.webhook_sources, p_operation text)
returns text
language sql
stable
begin atomic
  select case
           when count(r.condition) = 0 then format('%L::text[]', coalesce(array_agg(r.event_type), '{}'))
           else format('array_remove(array[%s]::text[], null)', string_agg(
             case when r.condition is null then quote_literal(r.event_type) else format('case when %s then %L end', r.condition, r.event_type) end,
             ', ' order by r.condition is not null, r.event_type collate "C"))
         end
    from (select event_type,
                 case when count(condition) = count(*) then string_agg(condition, ' or ' order by condition collate "C") end as condition
            from rowhook._capture_rules(p_source)
           where operation = p_operation
           group by event_type) as r;
end;

comment on function rowhook._capture_events(rowhook.webhook_sources, text) is
  'SQL expression for the event types of one change, each of them once.';

-- PostgreSQL allows 1,664 columns in a target list, and a pair of old and new rows takes two for
-- each column. A wide table compares its columns as one array of JSON texts, which takes longer.
create function rowhook._columns_max()
returns int
language sql
immutable
parallel safe
return 800;

comment on function rowhook._columns_max() is
  'A table with more columns than this number is wide: capture compares its columns as text.';

create function rowhook._is_virtual(p_relation oid, p_column name)
returns boolean
language sql
stable
begin atomic
  select exists (select from pg_attribute where attrelid = p_relation and attname = p_column and attgenerated = 'v');
end;

comment on function rowhook._is_virtual(oid, name) is
  'Whether a column is a virtual generated one (PostgreSQL 18). No trigger can read such a column.';

create function rowhook._capture_tenant(p_source rowhook.webhook_sources)
returns text
language sql
stable
begin atomic
  select case
           when (p_source).tenant_column is null then format('%L::text', (p_source).tenant_id)
           when rowhook._is_virtual((p_source).relation, (p_source).tenant_column) then 'null::text'
           else rowhook._text_of((p_source).relation, (p_source).tenant_column, quote_ident((p_source).tenant_column))
                || ' collate "default"'
         end;
end;

comment on function rowhook._capture_tenant(rowhook.webhook_sources) is
  'SQL expression for the tenant of a row in a transition table.';

-- Only the tenants are queried first. PostgreSQL looks through the whole text of a query each time
-- it runs, so this one names nothing else.
create function rowhook._capture_tenants(p_source rowhook.webhook_sources, p_table text)
returns text
language sql
stable
begin atomic
  select format('(select side.tenant from (select %s) as missing cross join lateral (select %s as tenant from %s as r) as side)',
    case when (p_source).tenant_column is not null then format('null::text as %I', (p_source).tenant_column) else '' end,
    rowhook._capture_tenant(p_source), p_table);
end;

comment on function rowhook._capture_tenants(rowhook.webhook_sources, text) is
  'SQL subquery over a transition table: the tenants of the changed rows.';

create function rowhook._has_virtual_columns(p_relation oid)
returns boolean
language sql
stable
begin atomic
  select exists (select from pg_attribute where attrelid = p_relation and attgenerated = 'v' and not attisdropped);
end;

comment on function rowhook._has_virtual_columns(oid) is
  'Whether a table has virtual generated columns (PostgreSQL 18).';

-- One image of the changed rows has: the row as it is stored (image) and as it prints (whole), its
-- tenant, its requested columns by number (c1, c2 ...), its key as text and, if requested, its
-- position. The head of this file explains the nulls called missing.
create function rowhook._capture_image(p_source rowhook.webhook_sources, p_table text, p_numbers int[], p_by_position boolean, p_thin boolean)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_columns name[]  := rowhook._columns(p_source.relation);
  v_virtual boolean := not p_thin and rowhook._has_virtual_columns(p_source.relation);
  v_numbers int[]   := p_numbers;
  v_foreign name[]  := rowhook._foreign_columns(p_source.relation);
  v_missing text;
  v_list    text;
  v_key     text;
  v_printed text := '';
begin
  -- A transition table contains nulls for virtual generated columns (PostgreSQL 18), so their
  -- expressions are inserted here, and these may name any column. For them the nulls have types,
  -- all of them built in. The cast to the column's own type (numeric(9,2), date) is not part of the
  -- output of pg_get_expr. A thin event does without these columns.
  if v_virtual then
    v_numbers := array(select generate_series(1, cardinality(v_columns)));
    v_printed := format(' cross join lateral (select %s) as v',
      (select string_agg(format('side.c%s as %I', number, name), ', ' order by number) from unnest(v_columns) with ordinality as u (name, number)));
  end if;
  select string_agg(format('null::%s as %I', case when v_virtual and a.atttypid < 16384 then format_type(a.atttypid, null) else 'text' end, c.name), ', ' order by c.number),
         string_agg(format(', %s as c%s', case when a.attgenerated = 'v' and v_virtual then format('(%s)::%s', pg_get_expr(d.adbin, d.adrelid), format_type(a.atttypid, a.atttypmod))
                                               when a.attgenerated = 'v' then 'null::text' else quote_ident(c.name) end, c.number), '' order by c.number) filter (where c.number > 0)
    into v_missing, v_list
    from (select name, number from unnest(v_columns) with ordinality as u (name, number) where number = any (v_numbers)
          union all
          select p_source.tenant_column, 0
           where p_source.tenant_column is not null
             and p_source.tenant_column <> all (array(select v_columns[number] from unnest(v_numbers) as u (number)))) as c (name, number)
    left join rowhook._attributes(p_source.relation) as n on n.name = c.name
    left join pg_attribute a on a.attrelid = p_source.relation and a.attnum = n.number
    left join pg_attrdef d   on d.adrelid = a.attrelid and d.adnum = a.attnum;

  -- If a column of a composite key is gone, there is no key; otherwise unrelated rows would pair.
  select case count(*)
           when 0 then 'null::text'
           when 1 then format('%s collate "C"', rowhook._text_of(p_source.relation, min(c.name), 'side.c' || min(c.number)))
           else format('case when num_nulls(%1$s) = 0 then row(%1$s)::text collate "C" end', string_agg('side.c' || c.number, ', ' order by k.position))
         end
    into v_key
    from unnest(rowhook._key_columns(p_source.relation)) with ordinality as k (name, position)
    join unnest(v_columns) with ordinality as c (name, number) on c.name = k.name;

  return format('(select side.*, %s as whole, %s as key%s%s from (select %s) as missing cross join lateral (select (r.*)::record as image, %s as tenant%s from %s as r) as side%s)',
    case when v_virtual then '(v.*)::record' else 'side.image' end,
    v_key,
    case when cardinality(v_numbers) > rowhook._columns_max()
      then format(', array[%s] as texts', (select string_agg(format(case when v_columns[number] = any (v_foreign) then 'case when (rowhook._render(row(side.c%1$s))).problem is null then to_json(side.c%1$s)::text end'
                                                       else 'to_json(side.c%1$s)::text' end, number), ', ' order by number)
                                     from unnest(v_numbers) as u (number)))
      else '' end,
    case when p_by_position then ', case when (select count(*) from rowhook_old) = (select count(*) from rowhook_new) then row_number() over () end as position' else '' end,
    coalesce(v_missing, ''), rowhook._capture_tenant(p_source), coalesce(v_list, ''), p_table, v_printed);
end
$$;

comment on function rowhook._capture_image(rowhook.webhook_sources, text, int[], boolean, boolean) is
  'SQL subquery over a transition table: the changed rows with tenant, key and columns.';

-- p_changes is a query of (tenant_id, event_types, row_key, whole, k1, k2 ...), one row per change,
-- with the columns of the key as k1, k2 ...; for an UPDATE it also has previous and problem. With
-- p_problem, only the key is printed.
create function rowhook._capture_query(p_source rowhook.webhook_sources, p_changes text, p_possible text[], p_pairs boolean, p_problem text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_foreign   name[]  := rowhook._foreign_columns(p_source.relation);
  v_careful   boolean := v_foreign <> '{}' and p_problem is null;
  v_key       text;
  v_wanted    text    := rowhook._capture_wanted(p_source, 'e.tenant_id', format('(e.event_types || %L::text[])', rowhook._wildcards(p_possible)));
  v_which     text    := 'e.tenant_id is not null and e.event_types <> ''{}'' and ' || v_wanted;
  v_previous  text    := case when p_pairs then 'f.previous' else 'null::json' end;
begin
  select string_agg(format('%L, %s', name, case when name = any (v_foreign) then rowhook._text_of(p_source.relation, name, 'f.k' || position)
                                                else 'f.k' || position end), ', ' order by position)
    into v_key
    from unnest(rowhook._key_columns(p_source.relation)) with ordinality as k (name, position);
  if p_problem is not null then
    return format('select %s, rowhook._lane(f.tenant_id), f.tenant_id, f.event_types, f.row_key, json_build_object(%s), null::json, %L::text from (select e.* from (%s) as e where %s) as f',
      p_source.id, v_key, p_problem, p_changes, v_which);
  end if;
  -- OFFSET 0 prevents the planner from evaluating row_to_json twice, once for the size and once for
  -- the row. pg_column_size comes first, since row_to_json fails at 1 GB; no type prints shorter
  -- than an eighth of its size. For the text itself, pg_column_size returns the bytes plus 4 for
  -- the header; octet_length would print the text again for each use of "fits".
  return format($sql$select %1$s, rowhook._lane(f.tenant_id), f.tenant_id, f.event_types, f.row_key,
           case when f.fits then f.data else json_build_object(%2$s) end, case when f.fits then %8$s end, case when not f.fits then %9$s end
      from (select d.*, coalesce(pg_column_size(d.data) - 4%7$s <= %3$s, false) as fits
              from (select e.*%10$s
                      from (select e.*, case when pg_column_size(e.whole) <= %4$s%11$s then %12$s end as %13$s
                              from (%5$s) as e
                             where %6$s
                            offset 0) as e) as d) as f$sql$,
    p_source.id, v_key, p_source.max_payload_bytes, least(p_source.max_payload_bytes * 8::bigint, 134217728), p_changes, v_which,
    case when p_pairs then ' + coalesce(pg_column_size(d.previous) - 4, 0)' else '' end,
    v_previous,
    case when v_careful then 'coalesce(f.refusal, ''too_large'')' else '''too_large''' end,
    case when v_careful then format(', (e.printed).data, %s as refusal', case when p_pairs then 'coalesce(e.problem, (e.printed).problem)' else '(e.printed).problem' end) else '' end,
    case when v_careful and p_pairs then ' and e.problem is null' else '' end,
    case when v_careful then 'rowhook._render(e.whole)' else 'row_to_json(e.whole)' end,
    case when v_careful then 'printed' else 'data' end);
end
$$;

comment on function rowhook._capture_query(rowhook.webhook_sources, text, text[], boolean, text) is
  'SQL query for the rows that a capture function writes into the outbox for one kind of '
  'statement. With p_problem, every event is thin.';

create function rowhook._capture_wanted(p_source rowhook.webhook_sources, p_tenant text, p_patterns text)
returns text
language sql
stable
begin atomic
  -- A disabled webhook counts for 30 days, so that its missed events can be replayed and nothing is
  -- captured for it forever. An active webhook has no disabled_at. This is a scalar subquery,
  -- because the planner does not turn it into a join: a plan made for a bulk statement would read
  -- all webhooks in each later statement.
  select case when (p_source).capture = 'subscribed'
    then format('(select true from rowhook.webhook_configurations as w where w.tenant_id = %s and coalesce(w.disabled_at, ''infinity'') > now() - interval ''30 days'' and w.event_types && %s limit 1)', p_tenant, p_patterns)
    else 'true' end;
end;

comment on function rowhook._capture_wanted(rowhook.webhook_sources, text, text) is
  'SQL expression for whether any webhook wants one of the given event types of a tenant.';

create function rowhook._wildcards(p_event_types text[])
returns text[]
language sql
immutable
parallel safe
begin atomic
  select array(select unnest(rowhook._patterns(p_event_types)) except select unnest(p_event_types) order by 1);
end;

comment on function rowhook._wildcards(text[]) is
  'The patterns with * that match one of these event types.';

create function rowhook._capture_possible(p_source rowhook.webhook_sources, p_operation text)
returns text[]
language sql
stable
begin atomic
  select array(select distinct r.event_type from rowhook._capture_rules(p_source) as r
                where p_operation = 'UPDATE' or r.operation = case p_operation when 'INSERT' then 'created' else 'deleted' end
                order by 1);
end;

comment on function rowhook._capture_possible(rowhook.webhook_sources, text) is
  'Every event type that a kind of statement can produce. An UPDATE may also be a delete and a '
  'create.';

create function rowhook._capture_queries(p_source rowhook.webhook_sources, p_operation text, p_problem text default null)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_thin    boolean := p_problem is not null;
  v_changes text[]  := case p_operation
    when 'INSERT' then array[rowhook._capture_rows(p_source, 'n', 'rowhook_new', rowhook._capture_events(p_source, 'created'), v_thin)]
    when 'DELETE' then array[rowhook._capture_rows(p_source, 'o', 'rowhook_old', rowhook._capture_events(p_source, 'deleted'), v_thin)]
    else array[rowhook._capture_pairs(p_source, false, v_thin)]
         || case when rowhook._changed_by_keys(p_source.relation) then array[rowhook._capture_pairs(p_source, true, v_thin)] else '{}' end
  end;
begin
  return array(select rowhook._capture_query(p_source, u.changes, rowhook._capture_possible(p_source, p_operation), p_operation = 'UPDATE', p_problem)
                 from unnest(v_changes) with ordinality as u (changes, number) order by u.number);
end
$$;

comment on function rowhook._capture_queries(rowhook.webhook_sources, text, text) is
  'SQL queries for the outbox rows of one kind of statement: one query for a single change and, '
  'where it differs, a second one for several changes.';

create function rowhook._tenant_may_be_null(p_source rowhook.webhook_sources)
returns boolean
language sql
stable
begin atomic
  select exists (select from pg_attribute a
                  where a.attrelid = (p_source).relation and a.attname = (p_source).tenant_column and not a.attnotnull);
end;

comment on function rowhook._tenant_may_be_null(rowhook.webhook_sources) is
  'Whether a row of a source may have no tenant.';

-- Rows whose tenant is null are counted here as well, in the first table only.
create function rowhook._capture_probes(p_source rowhook.webhook_sources, p_operation text, p_counted boolean)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_possible text[] := rowhook._capture_possible(p_source, p_operation);
begin
  return array(
    select format('exists (select from %s as i where %s)', rowhook._capture_tenants(p_source, t.name),
             format(case when t.number = 1 and p_counted
                         then 'case when i.tenant is null then nextval(''rowhook.rows_without_tenant'') < 0 else %s end' else '%s' end,
               rowhook._capture_wanted(p_source, 'i.tenant', quote_literal(v_possible || rowhook._wildcards(v_possible)) || '::text[]')))
      from unnest(case p_operation when 'INSERT' then '{rowhook_new}' when 'DELETE' then '{rowhook_old}' else '{rowhook_new,rowhook_old}' end::text[])
           with ordinality as t (name, number)
     order by t.number);
end
$$;

comment on function rowhook._capture_probes(rowhook.webhook_sources, text, boolean) is
  'SQL expressions for whether any tenant of the changed rows wants any of the events, one for '
  'each transition table.';

-- v_wanted stays null if the table is no longer the one that the function was written for. It
-- becomes null if virtual columns cannot be computed. The end of the function handles both cases.
create function rowhook._capture_branch(p_source rowhook.webhook_sources, p_operation text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_possible text[] := rowhook._capture_possible(p_source, p_operation);
  v_queries  text[];
  v_inserts  text[];
  v_probes   text[] := rowhook._capture_probes(p_source, p_operation, rowhook._tenant_may_be_null(p_source));
begin
  if v_possible = '{}' then
    return 'return null;';
  end if;
  v_queries := rowhook._capture_queries(p_source, p_operation);
  v_inserts := array(select format('%s %s;', rowhook._capture_insert(), q) from unnest(v_queries) as q);
  -- Each table has an expression of its own: a single expression would set up both, even where the
  -- first one decides.
  return format($sql$v_wanted := case when rowhook._layout(%s) = %L then %s end;
    if not v_wanted then
      %s
    end if;%s
    if v_wanted then
      %s
    end if;$sql$,
    p_source.id, rowhook._layout(p_source.id), v_probes[1],
    case when cardinality(v_probes) > 1 then format(E'v_wanted := %s;\n      if not v_wanted then\n        return null;\n      end if;', v_probes[2]) else 'return null;' end,
    case when rowhook._has_virtual_columns(p_source.relation) then format(E'\n    if v_wanted then\n      %s\n    end if;', rowhook._capture_trial(v_queries[cardinality(v_queries)])) else '' end,
    case when cardinality(v_inserts) = 1 then v_inserts[1]
         else format('if exists (select from rowhook_new offset 1) then %s else %s end if;', v_inserts[2], v_inserts[1]) end);
end
$$;

comment on function rowhook._capture_branch(rowhook.webhook_sources, text) is
  'PL/pgSQL for one kind of statement in a capture function: return at once if no tenant of the '
  'changed rows wants any event, otherwise write one outbox row per change.';

create function rowhook._capture_insert()
returns text
language sql
immutable
parallel safe
return 'insert into rowhook.webhook_outbox (source_id, lane, tenant_id, event_types, row_key, data, previous, truncated)';

comment on function rowhook._capture_insert() is
  'The head of the INSERT statement that a capture function runs.';

-- The block only reads, so its subtransaction takes no transaction id.
create function rowhook._capture_trial(p_query text)
returns text
language sql
immutable
parallel safe
return format($sql$begin
        perform count(t) from (%s offset 0) as t;
      exception
        when transaction_rollback then raise;
        when others or assert_failure then v_wanted := null;
      end;$sql$, p_query);

comment on function rowhook._capture_trial(text) is
  'PL/pgSQL that runs a query without writing, and sets v_wanted to null if it fails.';

-- The rows of an INSERT have the alias n, those of a DELETE the alias o, see _capture_query. Only
-- the columns of the key and the columns that decide about derived events are needed.
create function rowhook._capture_rows(p_source rowhook.webhook_sources, p_alias text, p_table text, p_events text, p_thin boolean)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_columns name[] := rowhook._columns(p_source.relation);
  v_keys    name[] := rowhook._key_columns(p_source.relation);
begin
  return format('select %1$s.tenant as tenant_id, %2$s as event_types, %1$s.key as row_key, %1$s.whole%3$s from %4$s as %1$s',
    p_alias, p_events,
    (select coalesce(string_agg(format(', %s.c%s as k%s', p_alias, c.number, k.position), '' order by k.position), '')
       from unnest(v_keys) with ordinality as k (name, position)
       join unnest(v_columns) with ordinality as c (name, number) on c.name = k.name),
    rowhook._capture_image(p_source, p_table,
      array(select number::int from unnest(v_columns) with ordinality as c (name, number)
             where name = any (v_keys) or p_source.derived ? name::text order by number), false, p_thin));
end
$$;

comment on function rowhook._capture_rows(rowhook.webhook_sources, text, text, text, boolean) is
  'SQL query for the changes of an INSERT or a DELETE.';

-- A changed key or tenant is a delete and a create, so that neither tenant sees the other's data.
-- An image without a counterpart has no tenant, so the same rule applies. With p_repeated a row may
-- occur more than once, see _changed_by_keys: its key does not tell which image became which. See
-- also _capture_query.
create function rowhook._capture_pairs(p_source rowhook.webhook_sources, p_repeated boolean, p_thin boolean)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_columns  name[]  := rowhook._columns(p_source.relation);
  v_numbers  int[]   := array(select generate_series(1, cardinality(v_columns)));
  v_keys     name[]  := rowhook._key_columns(p_source.relation);
  v_family   boolean := exists (select from pg_inherits i join pg_class c on c.oid = i.inhrelid
                                 where i.inhparent = p_source.relation and not c.relispartition);
  v_position boolean := v_keys = '{}' or v_family or p_repeated;
  v_moved    text    := 'o.tenant is distinct from n.tenant';
  v_changed  text    := 'o.image operator(pg_catalog.*<>) n.image';
  v_wide     boolean := cardinality(v_columns) > rowhook._columns_max();
  v_foreign  name[]  := rowhook._foreign_columns(p_source.relation);
  v_previous text;
  v_problem  text    := 'null::text';
  v_counted  int[]   := array(select c.number from unnest(v_columns) with ordinality as c (name, number)
                               where c.name <> all (p_source.ignore_columns) order by c.number);
begin
  if v_position and v_keys <> '{}' then
    v_moved := '(o.tenant is distinct from n.tenant or o.key is distinct from n.key)';
  end if;

  if cardinality(v_counted) < cardinality(v_columns) then
    v_changed := case
      when v_counted = '{}' then 'false'
      when v_wide then format('exists (select from unnest(o.texts, n.texts) with ordinality as u (old, new, number) where u.old is distinct from u.new and u.number = any (%L::int[]))', v_counted)
      else (select format('row(%s)::record operator(pg_catalog.*<>) row(%s)::record', string_agg('o.c' || c, ', ' order by c), string_agg('n.c' || c, ', ' order by c)) from unnest(v_counted) as c)
    end;
  end if;

  if v_wide then
    v_previous := format($sql$(select '{' || coalesce(string_agg(u.name || coalesce(u.old, 'null'), ',' order by u.number), '') || '}' from unnest(%L::text[], p.o_texts, p.n_texts) with ordinality as u (name, old, new, number) where u.old is distinct from u.new)$sql$,
      (select array_agg(to_json(c.name::text) || ':' order by c.number) from unnest(v_columns) with ordinality as c (name, number)));
  else
    v_previous := format($sql$'{' || array_to_string(array[%s]::text[], ',') || '}'$sql$,
      (select string_agg(format('case when row(p.o%1$s)::record operator(pg_catalog.*<>) row(p.n%1$s)::record then %2$L || coalesce(to_json(p.o%1$s)::text, ''null'') end',
                                c.number, to_json(c.name::text) || ':'), ', ' order by c.number)
         from unnest(v_columns) with ordinality as c (name, number)));
  end if;

  -- The old values of columns whose type may raise an error are checked here, before they are
  -- printed.
  if v_foreign <> '{}' and not p_thin then
    select format('case when s.is_new and not (%s) then (rowhook._render(row(%s))).problem end', v_moved,
                  string_agg(format('case when row(o.c%1$s)::record operator(pg_catalog.*<>) row(n.c%1$s)::record then o.c%1$s end', c.number), ', ' order by c.number))
      into v_problem
      from unnest(v_columns) with ordinality as c (name, number) where c.name = any (v_foreign);
  end if;

  -- Each pair produces its new image and, if the row moved, its old image first. OFFSET 0 makes
  -- PostgreSQL compute only once what is used more than once.
  return format($sql$select p.tenant_id, p.event_types, p.row_key, p.whole, p.problem, %1$s as previous%2$s
                              from (select case when s.is_new then n.tenant else o.tenant end as tenant_id,
                                           case when not s.is_new then %3$s when %4$s then %5$s else %6$s end as event_types,
                                           case when s.is_new then n.key else o.key end as row_key,
                                           case when s.is_new then n.whole else o.whole end as whole,
                                           %4$s as moved, s.is_new, %13$s as problem%7$s
                                      from %8$s as o full join %9$s as n on %10$s
                                     cross join (values (false), (true)) as s (is_new)
                                     where case when %4$s then true else s.is_new and %11$s end%12$s
                                    offset 0) as p$sql$,
    case when p_thin then 'null::json' else format('case when not p.moved and p.problem is null then (%s)::json end', v_previous) end,
    coalesce((select string_agg(format(', case when p.is_new then p.n%1$s else p.o%1$s end as k%2$s', c.number, k.position), '' order by k.position)
                from unnest(v_keys) with ordinality as k (name, position)
                join unnest(v_columns) with ordinality as c (name, number) on c.name = k.name), ''),
    rowhook._capture_events(p_source, 'deleted'), v_moved, rowhook._capture_events(p_source, 'created'), rowhook._capture_events(p_source, 'updated'),
    (select coalesce(string_agg(format(', o.c%1$s as o%1$s, n.c%1$s as n%1$s', c.number), '' order by c.number), '')
       from unnest(v_columns) with ordinality as c (name, number) where not v_wide or c.name = any (v_keys))
      || case when v_wide then ', o.texts as o_texts, n.texts as n_texts' else '' end,
    rowhook._capture_image(p_source, 'rowhook_old', v_numbers, v_position, p_thin), rowhook._capture_image(p_source, 'rowhook_new', v_numbers, v_position, p_thin),
    case when v_position then 'o.position = n.position' else 'o.key = n.key' end,
    v_changed,
    -- Among inheriting tables, a key that one row left may belong to another row in the same
    -- statement. The create of that key comes after its delete. Otherwise, changes whose keys do
    -- not determine the order come in the order in which they were made.
    case when v_family and v_keys <> '{}' then ' order by s.is_new, o.position'
         when p_repeated then ' order by o.position, s.is_new'
         else '' end,
    v_problem);
end
$$;

comment on function rowhook._capture_pairs(rowhook.webhook_sources, boolean, boolean) is
  'SQL query for the changes of an UPDATE, with old and new rows paired.';

create function rowhook._source_now(p_source_id int, p_relation oid, p_operation text)
returns rowhook.webhook_sources
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_source rowhook.webhook_sources;
begin
  select * into v_source from rowhook.webhook_sources where id = p_source_id;
  if not found then
    return null;
  end if;
  v_source          := rowhook._followed(v_source);
  v_source.relation := p_relation;
  if v_source.tenant_column <> all (rowhook._columns(p_relation)) or rowhook._capture_possible(v_source, p_operation) = '{}' then
    return null;
  end if;
  return v_source;
end
$$;

comment on function rowhook._source_now(int, oid, text) is
  'The settings of a source for the current form of the table of a statement; null when nothing '
  'of such a statement is captured.';

-- This query comes first, because most statements interest no webhook, and the query that writes
-- takes longer to build.
create function rowhook._wanted_now(p_source_id int, p_relation oid, p_operation text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_source rowhook.webhook_sources := rowhook._source_now(p_source_id, p_relation, p_operation);
begin
  return 'select ' || case when v_source.id is null then 'false'
                           else array_to_string(rowhook._capture_probes(v_source, p_operation, false), ' or ') end;
end
$$;

comment on function rowhook._wanted_now(int, oid, text) is
  'SQL query for whether any webhook wants an event of a statement, for a table that has changed '
  'since its capture function was written.';

create function rowhook._capture_now(p_source_id int, p_relation oid, p_operation text, p_problem text default null)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_source  rowhook.webhook_sources := rowhook._source_now(p_source_id, p_relation, p_operation);
  v_queries text[];
begin
  if v_source.id is null then
    return null;
  end if;
  v_queries := rowhook._capture_queries(v_source, p_operation, p_problem);
  return v_queries[cardinality(v_queries)];
end
$$;

comment on function rowhook._capture_now(int, oid, text, text) is
  'SQL query for the outbox rows of a statement, for a table that has changed since its capture '
  'function was written. With p_problem, every event is thin; null when nothing is captured.';

-- The check of rowhook.mute is in the body and not in a WHEN of the triggers: PostgreSQL parses a
-- trigger's condition again in each statement, which takes 7 us.
create function rowhook._capture_body(p_source rowhook.webhook_sources)
returns text
language sql
stable
begin atomic
  select format($body$
#variable_conflict use_column
declare
  v_wanted  boolean;
  v_query   text;
  v_written bigint;
begin
  if current_setting('rowhook.mute', true) = 'on' then
    return null;
  end if;
  if tg_op = 'INSERT' then
    %2$s
  elsif tg_op = 'DELETE' then
    %3$s
  else
    %4$s
  end if;
  if v_wanted is null then
    begin
      execute rowhook._wanted_now(%1$s, tg_relid, tg_op) into v_wanted;
      if not v_wanted then
        return null;
      end if;
      v_query := rowhook._capture_now(%1$s, tg_relid, tg_op);
      execute 'select count(t) from (' || v_query || ' offset 0) as t';
    exception
      when transaction_rollback then raise;
      when others or assert_failure then v_query := rowhook._capture_now(%1$s, tg_relid, tg_op, rowhook._problem(sqlstate, sqlerrm));
    end;
    if v_query is null then
      return null;
    end if;
    execute '%5$s ' || v_query;
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0 and pg_sequence_last_value('rowhook.doorbell'::regclass) = 2 then
    perform pg_notify('rowhook', '');
  end if;
  return null;
end
$body$,
    (p_source).id, rowhook._capture_branch(p_source, 'INSERT'), rowhook._capture_branch(p_source, 'DELETE'),
    rowhook._capture_branch(p_source, 'UPDATE'), rowhook._capture_insert());
end;

comment on function rowhook._capture_body(rowhook.webhook_sources) is
  'The body of the capture function of a source.';

-- rowhook_owner owns the capture function, because it owns this function.
create function rowhook._write_capture(p_source_id int)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
-- The function that is written must not depend on who writes it. Constants in expressions are
-- printed under the settings of the functions below.
set "TimeZone" = 'UTC'
set "DateStyle" = 'ISO, YMD'
set "IntervalStyle" = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
set lc_monetary = 'C'
set quote_all_identifiers = off
as $$
declare
  v_before rowhook.webhook_sources;
  v_source rowhook.webhook_sources;
  v_name   text := '_capture_' || p_source_id;
  v_body   text;
begin
  select * into strict v_before from rowhook.webhook_sources where id = p_source_id;
  v_source := rowhook._followed(v_before);
  if v_source is distinct from v_before then
    update rowhook.webhook_sources s
       set tenant_column = v_source.tenant_column, ignore_columns = v_source.ignore_columns, derived = v_source.derived,
           column_numbers = v_source.column_numbers, numbered_relation = v_source.numbered_relation
     where s.id = p_source_id;
  end if;
  v_body := rowhook._capture_body(v_source);
  if exists (select from pg_proc where oid = to_regproc('rowhook.' || v_name) and prosrc = v_body) then
    return false;
  end if;
  -- Most of these settings change how values print: the output of row_to_json must not depend on
  -- the writer. With row_security off, as pg_restore sets it, our own policies would end the app's
  -- statement. With jit, a plan made for a bulk statement would be compiled again in each later
  -- small statement.
  execute format($sql$
    create or replace function rowhook.%I() returns trigger language plpgsql volatile security definer
      set search_path = pg_catalog, pg_temp
      set "TimeZone" = 'UTC'
      set "DateStyle" = 'ISO, YMD'
      set "IntervalStyle" = 'postgres'
      set bytea_output = 'hex'
      set extra_float_digits = 1
      set lc_monetary = 'C'
      set quote_all_identifiers = off
      set row_security = on
      set jit = off
      as %L$sql$, v_name, v_body);
  execute format('revoke execute on function rowhook.%I() from public', v_name);
  execute format('comment on function rowhook.%I() is %L', v_name, 'Capture of ' || v_source.relation || ', written by rowhook.watch().');
  return true;
end
$$;

comment on function rowhook._write_capture(int) is
  'Writes the capture function of a source, rowhook._capture_<id>, unless it exists in exactly '
  'this form. Returns whether it wrote the function.';

-- The function runs as the caller, who owns the table or has the privilege TRIGGER.
create function rowhook._attach(p_source_id int)
returns table (relation regclass, change text)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
#variable_conflict use_column
declare
  v_watched    regclass := (select s.relation from rowhook.webhook_sources s where s.id = p_source_id);
  v_function   regproc  := to_regproc('rowhook._capture_' || p_source_id);
  v_relations  regclass[];
  v_statements text[];
  v_forbidden  regclass;
begin
  select array_agg(m.relation order by m.number), array_agg(m.statements order by m.number)
    into v_relations, v_statements
    from (select r.relation, r.number, string_agg(format('create or replace trigger %I after %s on %s referencing %s for each statement execute function %s()',
                                                         o.name, o.operation, r.relation, o.images, v_function), '; ' order by o.name) as statements
            from rowhook._capture_relations(v_watched) with ordinality as r (relation, number)
           cross join (values ('rowhook_insert', 'insert', 'new table as rowhook_new'),
                              ('rowhook_update', 'update', 'old table as rowhook_old new table as rowhook_new'),
                              ('rowhook_delete', 'delete', 'old table as rowhook_old')) as o (name, operation, images)
           where not exists (select from pg_trigger t where t.tgrelid = r.relation and t.tgname = o.name and t.tgfoid = v_function)
           group by r.relation, r.number) as m;
  -- CREATE TRIGGER checks the privilege only after it has the lock. Without the check here, the
  -- app's writers would wait behind us in vain.
  select r into v_forbidden from unnest(v_relations) as r where not has_table_privilege(r, 'trigger') limit 1;
  if found then
    raise insufficient_privilege using
      message = format('watch: %I may not make triggers on table %s', current_user, v_forbidden),
      hint = (select format(case when pg_has_role(c.relowner, 'rowhook_owner', 'usage')
                                 then 'Connect as its owner %I, or let the owner run: ' else 'Let its owner %I run: ' end
                            || 'grant trigger on %s to %I;', pg_get_userbyid(c.relowner), v_forbidden, current_user)
                from pg_class c where c.oid = v_forbidden);
  end if;
  perform rowhook._execute_with_locks(v_relations, v_statements);
  return query select r, 'attached' from unnest(v_relations) as r;

  v_relations := array(
    select distinct t.tgrelid::regclass from pg_trigger t
     where t.tgfoid = v_function and t.tgrelid not in (select * from rowhook._capture_relations(v_watched)));
  perform rowhook._detach(v_relations, array[p_source_id]);
  return query select r, 'detached' from unnest(v_relations) as r;
end
$$;

comment on function rowhook._attach(int) is
  'Creates the missing triggers of a source and drops those that do not belong (on a detached '
  'partition), and returns one line for each table that it changed. Waits for locks as '
  '_execute_with_locks() does.';

-- Each statement comes with the table that it locks. A long wait would make the app's own
-- statements queue behind us. A session that has waited 1 s for a lock (deadlock_timeout) checks
-- for a deadlock and ends its own transaction if it is in one. So we wait for 0.8 s for all tables
-- together, and then release the locks that we have, since the transaction that holds the next one
-- may need them. We try eight times.
create function rowhook._execute_with_locks(p_relations regclass[], p_statements text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
set lock_timeout = '800ms'
as $$
declare
  v_relation regclass;
  v_until    timestamptz;
begin
  for v_try in 1 .. 8 loop
    v_until := clock_timestamp() + '0.8 s';
    begin
      for n in 1 .. coalesce(cardinality(p_relations), 0) loop
        v_relation := p_relations[n];
        perform set_config('lock_timeout', greatest(1, extract(milliseconds from v_until - clock_timestamp())::int)::text, true);
        execute p_statements[n];
      end loop;
      return;
    exception when lock_not_available then
      if v_try = 8 then
        raise lock_not_available using
          message = format('table %s is locked by a long transaction: no lock within %s tries of 0.8 s', v_relation, v_try),
          hint = 'End that transaction (see pg_stat_activity and pg_locks), then try again. The table is as it was.';
      end if;
    when out_of_memory then
      raise out_of_memory using
        message = format('there is no room in the lock table of the server for table %s besides those of this transaction', v_relation),
        detail = sqlerrm,
        hint = 'Do it table by table, each in a transaction of its own; or raise max_locks_per_transaction and restart the server.';
    end;
    perform pg_sleep(0.2 * v_try);
  end loop;
end
$$;

comment on function rowhook._execute_with_locks(regclass[], text[]) is
  'Runs statements that create or drop triggers and lock tables, all or none. It waits 0.8 s for '
  'the locks, up to eight times, so that nobody queues behind it for long or meets a deadlock.';

-- A role that does not inherit needs more than membership.
create function rowhook._grant_statement(p_role name)
returns text
language sql
stable
begin atomic
  select case
    when r.rolinherit and not pg_has_role(p_role, 'member') then format('grant %I to %I;', p_role, r.rolname)
    when current_setting('server_version_num')::int >= 160000 then format('grant %I to %I with inherit true;', p_role, r.rolname)
    else format('grant %I to %I; alter role %2$I inherit;', p_role, r.rolname)
  end
    from pg_roles r where r.rolname = current_user;
end;

comment on function rowhook._grant_statement(name) is
  'The statement that grants the current role the rights of another role.';

create function rowhook._detach(p_relations regclass[], p_source_ids int[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_forbidden pg_class;
begin
  -- The privilege is checked before anything is locked, as in _attach().
  select c.* into v_forbidden
    from pg_class c
   where c.oid = any (p_relations) and not pg_has_role(c.relowner, 'usage')
     and exists (select from pg_trigger t join unnest(p_source_ids) as id on t.tgfoid = to_regproc('rowhook._capture_' || id) where t.tgrelid = c.oid)
   limit 1;
  if found then
    raise insufficient_privilege using
      message = format('unwatch: %I may not drop the triggers of table %s, whose owner is %I', current_user, v_forbidden.oid::regclass,
                       pg_get_userbyid(v_forbidden.relowner)),
      hint = format('Connect as a login that is a member of both %I and rowhook_owner, or run first: %s',
                    pg_get_userbyid(v_forbidden.relowner), rowhook._grant_statement(pg_get_userbyid(v_forbidden.relowner)));
  end if;
  perform rowhook._execute_with_locks(array_agg(d.relation order by d.number), array_agg(d.statements order by d.number))
     from (select r.relation, r.number, string_agg(format('drop trigger %I on %s', t.tgname, r.relation), '; ' order by t.tgname) as statements
             from unnest(p_relations) with ordinality as r (relation, number)
             join pg_trigger t on t.tgrelid = r.relation
            where t.tgfoid in (select to_regproc('rowhook._capture_' || id) from unnest(p_source_ids) as id)
            group by r.relation, r.number) as d;
end
$$;

comment on function rowhook._detach(regclass[], int[]) is
  'Drops the triggers of the given sources from the given tables, in their order.';

-- Roots come before their partitions, and tables come in the order of their sources, wherever they
-- carry triggers now.
create function rowhook._remove_sources(p_source_ids int[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  perform rowhook._detach(
    array(select t.tgrelid::regclass
            from unnest(p_source_ids) with ordinality as s (id, number)
            join pg_trigger t on t.tgfoid = to_regproc('rowhook._capture_' || s.id)
           group by t.tgrelid
           order by min(s.number), (select count(*) from pg_partition_ancestors(t.tgrelid)), t.tgrelid),
    p_source_ids);
  perform rowhook._forget_source(id) from unnest(p_source_ids) as id;
end
$$;

comment on function rowhook._remove_sources(int[]) is
  'Drops sources with their triggers and their capture functions.';

create function rowhook._forget_source(p_source_id int)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  execute format('drop function if exists rowhook.%I()', '_capture_' || p_source_id);
  delete from rowhook.webhook_sources where id = p_source_id;
end
$$;

comment on function rowhook._forget_source(int) is
  'Drops a source and its capture function. Fails while a trigger still calls the function.';

-- A statement on an inheriting table fires the triggers of that table. So the table is a source of
-- its own, with the settings of its parent. A table that somebody watched separately stays as it
-- is.
create function rowhook._watch_children(p_source rowhook.webhook_sources, p_only_new boolean)
returns setof regclass
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_child  regclass;
  v_known  boolean;
  v_parent int;
begin
  for v_child, v_known, v_parent in
    select i.inhrelid, s.id is not null, s.parent_id
      from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
      left join rowhook.webhook_sources s on s.relation = i.inhrelid
     where i.inhparent = p_source.relation and c.relkind = 'r' and c.relpersistence <> 't' and not c.relispartition
     order by i.inhrelid
  loop
    continue when v_known and (p_only_new or v_parent is distinct from p_source.id);
    perform rowhook.watch(v_child, p_source.prefix, p_source.tenant_column::text, p_source.derived, p_source.ignore_columns,
                          p_source.capture, p_source.max_payload_bytes, p_source.events, p_source.tenant_id);
    update rowhook.webhook_sources set parent_id = p_source.id where relation = v_child;
    if not v_known then
      return next v_child;
    end if;
  end loop;
end
$$;

comment on function rowhook._watch_children(rowhook.webhook_sources, boolean) is
  'Watches the tables that inherit from a watched table, with its settings, and returns the '
  'tables that became sources.';

-- PostgreSQL cannot collect the changes of a foreign table, and refuses an UPDATE or DELETE that
-- would have to.
create function rowhook._foreign_member(p_relation regclass)
returns regclass
language sql
stable
begin atomic
  select c.oid
    from (select relid from pg_partition_tree(p_relation) union select inhrelid from pg_inherits where inhparent = p_relation) as t (relid)
    join pg_class c on c.oid = t.relid
   where c.relkind = 'f'
   limit 1;
end;

comment on function rowhook._foreign_member(regclass) is
  'A foreign table among the partitions or children of a table; null when there is none.';

-- A table is watched by its oid and found again by its name. A table that was dropped and created
-- again, restored from a dump, or put in place of another by renaming has another oid. A namesake
-- must be a table that can be watched and that is not watched itself. A view does not count: in
-- that case the rows stay in the renamed table.
create function rowhook._namesake(p_source rowhook.webhook_sources)
returns regclass
language sql
stable
begin atomic
  select c.oid
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = (p_source).schema_name and c.relname = (p_source).table_name and c.oid <> (p_source).relation
     and c.relkind in ('r', 'p') and c.relpersistence <> 't' and not c.relispartition
     and not exists (select from rowhook.webhook_sources s where s.relation = c.oid);
end;

comment on function rowhook._namesake(rowhook.webhook_sources) is
  'The table that now has the name of a watched table and is not watched itself; null when there '
  'is none.';

-- The owner must be the same. Otherwise anybody who may create tables in that schema could make
-- rowhook run on a table of his own.
create function rowhook._may_take_place(p_source rowhook.webhook_sources, p_namesake regclass)
returns boolean
language sql
stable
begin atomic
  select pg_get_userbyid(c.relowner) = (p_source).table_owner
         and coalesce((p_source).tenant_column = any (rowhook._columns(p_namesake)), true)
    from pg_class c where c.oid = p_namesake;
end;

comment on function rowhook._may_take_place(rowhook.webhook_sources, regclass) is
  'Whether a namesake may replace the watched table automatically: it has the same owner, and '
  'the tenant column.';

-- The doctor counts from these values. So rows that were written before do not count, and neither
-- do rows captured from other tables.
create function rowhook._counts_of(p_relation regclass)
returns jsonb
language sql
stable
begin atomic
  select jsonb_build_object(
    'changes', (select coalesce(sum(pg_stat_get_tuples_inserted(r) + pg_stat_get_tuples_updated(r) + pg_stat_get_tuples_deleted(r)), 0)
                  from rowhook._capture_relations(p_relation) as r),
    'outbox_id', coalesce(pg_sequence_last_value('rowhook.webhook_outbox_id_seq'), 0),
    'active_ms', coalesce((select max(d.active_time) from pg_stat_database d where d.datname = current_database()), 0),
    'reset', (select extract(epoch from d.stats_reset) from pg_stat_database d where d.datname = current_database()));
end;

comment on function rowhook._counts_of(regclass) is
  'Current statistics of a table: rows changed, outbox ids assigned, time in statements, and '
  'since when they are counted.';

-- The function of the source stays, and so does the value that its time is compared with.
create function rowhook._counts_again(p_source rowhook.webhook_sources, p_relation regclass)
returns jsonb
language sql
stable
begin atomic
  select (p_source).counted_from || jsonb_build_object('changes', now -> 'changes')
         || case when now -> 'reset' is distinct from (p_source).counted_from -> 'reset'
                 then jsonb_build_object('active_ms', 0, 'reset', now -> 'reset') else '{}' end
    from rowhook._counts_of(p_relation) as now;
end;

comment on function rowhook._counts_again(rowhook.webhook_sources, regclass) is
  'The starting point of the doctor''s counts when a source continues with another table.';

create function rowhook._grown(p_source rowhook.webhook_sources, p_count text, p_now jsonb)
returns float8
language sql
stable
begin atomic
  select (p_now ->> p_count)::float8
         - case when (p_now ->> p_count)::float8 < ((p_source).counted_from ->> p_count)::float8
                     or p_count <> 'outbox_id' and p_now -> 'reset' is distinct from (p_source).counted_from -> 'reset'
                then 0 else ((p_source).counted_from ->> p_count)::float8 end;
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
  v_noted  text;
begin
  select * into v_source from rowhook.webhook_sources where id = p_source_id;
  update rowhook.webhook_sources s
     set schema_name = n.nspname, table_name = c.relname, table_owner = pg_get_userbyid(c.relowner), lost_at = null
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
   where s.id = p_source_id and c.oid = s.relation and rowhook._namesake(v_source) is null
     and (s.schema_name, s.table_name, s.table_owner, s.lost_at) is distinct from (n.nspname, c.relname, pg_get_userbyid(c.relowner), null);
  update rowhook.webhook_sources s
     set lost_at = now()
   where s.id = p_source_id and s.lost_at is null and not exists (select from pg_class c where c.oid = s.relation)
  returning format('its table was dropped; the source is kept for 7 days, in case it comes back: select rowhook.unwatch(%L) forgets it now',
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
       set relation = v_namesake, lost_at = null, counted_from = rowhook._counts_again(v_source, v_namesake)
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
  v_derived jsonb  := (select coalesce(jsonb_object_agg(d.key, d.value), '{}') from jsonb_each(p_source.derived) as d where d.key = any (v_columns::text[]));
  v_ignored text[] := array(select c from unnest(p_source.ignore_columns) as c where c = 'updated_at' or c = any (v_columns::text[]));
begin
  return format('select rowhook.watch(%L, prefix => %L', rowhook._qualified(p_relation), p_source.prefix)
    || case when p_source.tenant_column is null then format(', tenant_id => %L', p_source.tenant_id)
            when p_source.tenant_column = any (v_columns) then format(', tenant_column => %L', p_source.tenant_column)
            else format(', tenant_column => %L', coalesce(rowhook._usual_tenant_column(p_relation), '...')) end
    || case when p_source.events <> '{created,updated,deleted}' then format(', events => %L', p_source.events) else '' end
    || case when v_derived <> '{}' then format(', derived => %L', v_derived) else '' end
    || case when v_ignored <> '{updated_at}' then format(', ignore_columns => %L', v_ignored) else '' end
    || case when p_source.capture <> 'subscribed' then format(', capture => %L', p_source.capture) else '' end
    || case when p_source.max_payload_bytes <> 1048576 then format(', max_payload_bytes => %s', p_source.max_payload_bytes) else '' end
    || ');';
end
$$;

comment on function rowhook._watch_statement(rowhook.webhook_sources, regclass) is
  'The statement that watches a table with the settings of a source, as far as the table has the '
  'columns.';

create function rowhook._qualified(p_relation oid)
returns text
language sql
stable
begin atomic
  select coalesce((select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_relation),
                  p_relation::text);
end;

comment on function rowhook._qualified(oid) is
  'The name of a table with its schema, quoted where necessary; the number of the table when it '
  'is gone.';

create function rowhook._default_prefix(p_relation oid)
returns text
language sql
stable
begin atomic
  select regexp_replace(c.relname, '[^A-Za-z0-9_-]+', '_', 'g') from pg_class c where c.oid = p_relation;
end;

comment on function rowhook._default_prefix(oid) is
  'The default prefix of a table: its name, in ASCII letters.';

create function rowhook._usual_tenant_column(p_relation oid)
returns name
language sql
stable
begin atomic
  select u.c
    from unnest('{organization_id,tenant_id,org_id,account_id,workspace_id}'::name[]) with ordinality as u (c, i)
   where u.c = any (rowhook._columns(p_relation))
   order by u.i limit 1;
end;

comment on function rowhook._usual_tenant_column(oid) is
  'The column of a table that holds the tenant, recognised by its name: organization_id, '
  'tenant_id, org_id, account_id or workspace_id.';

create function rowhook._check_source(p_source rowhook.webhook_sources, p_by_default boolean)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  c_name    constant text := '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$';
  v_columns constant name[] := rowhook._columns(p_source.relation);
  v_class   pg_class;
  v_foreign regclass;
  v_value   text;
begin
  select * into v_class from pg_class where oid = p_source.relation;
  if not found then
    raise undefined_table using
      message = 'watch: there is no such table',
      hint = 'Name it with its schema, for example public.deals.';
  end if;
  if v_class.relkind not in ('r', 'p') then
    raise wrong_object_type using
      message = format('watch: %s is %s: only tables can be watched', p_source.relation,
        case v_class.relkind when 'v' then 'a view' when 'm' then 'a materialized view' when 'f' then 'a foreign table' when 'S' then 'a sequence' when 'c' then 'a composite type' when 'i' then 'an index' when 'I' then 'an index' else 'no table' end),
      hint = 'Watch the table that holds the rows.';
  end if;
  if v_class.relpersistence = 't' then
    raise wrong_object_type using
      message = format('watch: %s is a temporary table: it cannot be watched', p_source.relation),
      hint = 'Watch a permanent table of the application.';
  end if;
  if v_class.relnamespace in ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace, 'information_schema'::regnamespace, 'rowhook'::regnamespace) then
    raise wrong_object_type using
      message = format('watch: %s cannot be watched: it belongs to PostgreSQL or to rowhook itself', p_source.relation),
      hint = 'Watch a table of the application.';
  end if;
  if v_class.relispartition then
    raise wrong_object_type using
      message = format('watch: %s is a partition', p_source.relation),
      hint = format('Watch the partitioned table %s; its partitions come along, later ones too.', pg_partition_root(p_source.relation)::regclass);
  end if;
  v_foreign := rowhook._foreign_member(p_source.relation);
  if v_foreign is not null then
    raise wrong_object_type using
      message = format('watch: %s has a foreign table under it, %s, whose changes PostgreSQL cannot collect', p_source.relation, v_foreign),
      hint = 'Detach that table, or watch the other tables one by one.';
  end if;

  if p_by_default and p_source.prefix !~ '[A-Za-z0-9]' then
    raise invalid_parameter_value using
      message = format('watch: the name %s has no ASCII letters, of which a prefix could be made', p_source.relation),
      hint = format('Choose a prefix, for example: %s', replace(rowhook._watch_statement(p_source, p_source.relation),
        format('prefix => %L', p_source.prefix), 'prefix => ''deal'''));
  end if;
  if p_source.prefix !~ c_name or length(p_source.prefix) > 80 then
    raise invalid_parameter_value using
      message = format('watch: prefix %L is refused', p_source.prefix),
      hint = 'A prefix is made of letters, digits, "_", "-" and ".", up to 80 characters, as in deal.';
  end if;
  if p_source.capture is null or p_source.capture not in ('subscribed', 'all') then
    raise invalid_parameter_value using
      message = format('watch: capture %L is refused', p_source.capture),
      hint = 'It is ''subscribed'' (only what an active webhook wants) or ''all''.';
  end if;
  if p_source.events is null or not p_source.events <@ '{created,updated,deleted}' then
    raise invalid_parameter_value using
      message = format('watch: events %L is refused', p_source.events),
      hint = 'They are some of created, updated and deleted; further ones are derived from columns.';
  end if;
  if p_source.max_payload_bytes is null or p_source.max_payload_bytes not between 1024 and 134217728 then
    raise invalid_parameter_value using
      message = format('watch: max_payload_bytes %L is refused', p_source.max_payload_bytes),
      hint = 'It is 1024 to 134217728 bytes (128 MiB).';
  end if;
  if p_source.derived is null or jsonb_typeof(p_source.derived) <> 'object' or exists (
       select from jsonb_each(p_source.derived) as d
        cross join lateral jsonb_each(case jsonb_typeof(d.value) when 'object' then d.value else jsonb_build_object('', d.value) end) as v
        where jsonb_typeof(v.value) <> 'string' or v.value #>> '{}' !~ c_name) then
    raise invalid_parameter_value using
      message = 'watch: derived is an object of column -> suffix, or column -> {value: suffix}',
      hint = 'For example {"stage":"stage.changed","status":{"won":"won"}}.';
  end if;
  select e into v_value from unnest(rowhook._source_event_types(p_source)) as e where length(e) > 128 limit 1;
  if found then
    raise invalid_parameter_value using
      message = format('watch: the event type %s... is longer than 128 characters', left(v_value, 40)),
      hint = 'Choose a shorter prefix or suffix.';
  end if;

  if p_source.tenant_column is not null and p_source.tenant_id is not null then
    raise invalid_parameter_value using
      message = 'watch: tenant_column and tenant_id are both given',
      hint = 'Give the column that holds the tenant, or the one tenant of all rows.';
  end if;
  if p_source.tenant_column is null and p_source.tenant_id is null then
    raise undefined_column using
      message = format('watch: %s has no column organization_id, tenant_id, org_id, account_id or workspace_id, so its tenant is unknown', p_source.relation),
      hint = 'Name the column with tenant_column, or give tenant_id if all rows belong to one tenant.';
  end if;
  if p_source.tenant_id = '' or octet_length(p_source.tenant_id) > 512 then
    raise invalid_parameter_value using
      message = format('watch: tenant_id %L is refused', left(p_source.tenant_id, 40)),
      hint = 'It is 1 to 512 bytes long.';
  end if;
  if rowhook._is_virtual(p_source.relation, p_source.tenant_column) then
    raise feature_not_supported using
      message = format('watch: column %I of %s is a virtual generated column, which no trigger can read, so the tenant is unknown', p_source.tenant_column, p_source.relation),
      hint = 'Make the column a stored one, or name the column that it is computed from with tenant_column.';
  end if;
  -- updated_at is ignored by default, also if the table has no such column.
  select string_agg(quote_ident(c), ', ' order by c) into v_value
    from (select p_source.tenant_column::text union select jsonb_object_keys(p_source.derived) union select unnest(array_remove(p_source.ignore_columns, 'updated_at'))) as u (c)
   where c <> all (v_columns::text[]);
  if v_value is not null then
    raise undefined_column using
      message = format('watch: %s has no column %s', p_source.relation, v_value),
      hint = format('Its columns are %s.', (select string_agg(quote_ident(c), ', ') from unnest(v_columns) as c));
  end if;
end
$$;

comment on function rowhook._check_source(rowhook.webhook_sources, boolean) is
  'Raises an error if a table to be watched, or its settings, are not valid; the error names the '
  'remedy.';

create function rowhook._name_parts(p_name text)
returns name[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  return parse_ident(p_name)::name[];
exception when invalid_parameter_value then
  return array[p_name]::name[];
end
$$;

comment on function rowhook._name_parts(text) is
  'The parts of a name as SQL reads it: schema and table. Quoted parts are kept as they are, '
  'others become lower case; a name that cannot be read this way is one part.';

create function rowhook._edit_distance(p_one text, p_other text)
returns int
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_before int[];
  v_row    int[] := array(select generate_series(0, length(p_other)));
  v_next   int[];
  v_same   boolean;
begin
  for i in 1 .. length(p_one) loop
    v_next := array[i];
    for j in 1 .. length(p_other) loop
      v_same := substr(p_one, i, 1) = substr(p_other, j, 1);
      v_next[j + 1] := least(v_row[j + 1] + 1, v_next[j] + 1, v_row[j] + case when v_same then 0 else 1 end);
      if i > 1 and j > 1 and substr(p_one, i, 1) = substr(p_other, j - 1, 1) and substr(p_one, i - 1, 1) = substr(p_other, j, 1) then
        v_next[j + 1] := least(v_next[j + 1], v_before[j - 1] + 1);
      end if;
    end loop;
    v_before := v_row;
    v_row := v_next;
  end loop;
  return v_row[length(p_other) + 1];
end
$$;

comment on function rowhook._edit_distance(text, text) is
  'The number of letters to add, drop or change to turn one word into the other. Two swapped '
  'neighbours count once.';

-- Comparing two names of 40 letters takes 5 ms. Of many tables, only those that contain most thirds
-- of the name are compared.
create function rowhook._near_names(p_name text, p_schemas name[])
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
  select array(
    select n.table_name
      from (select t.*
              from (select format('%I.%I', s.nspname, c.relname) as table_name, s.nspname = any (p_schemas) as is_seen,
                           lower(regexp_replace(c.relname, '[ _-]', '', 'g')) as near, lower(regexp_replace(p_name, '[ _"-]', '', 'g')) as wanted
                      from pg_class c
                      join pg_namespace s on s.oid = c.relnamespace
                     where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
                       and s.nspname not in ('pg_catalog', 'information_schema', 'rowhook') and s.nspname !~ '^pg_(toast|temp)'
                       and abs(length(c.relname) - length(p_name)) < 4 and has_schema_privilege(s.oid, 'usage')) as t
             cross join lateral (
                   select count(*) from generate_series(0, 2) as third
                    where strpos(t.near, substr(t.wanted, third * ((length(t.wanted) + 2) / 3) + 1, (length(t.wanted) + 2) / 3)) > 0) as h (thirds)
             order by h.thirds desc, t.is_seen desc, t.table_name
             limit 100) as n
     cross join lateral (select rowhook._edit_distance(n.wanted, n.near) as distance) as d
     where d.distance <= least(2, length(n.wanted) / 3)
     order by d.distance, n.is_seen desc, n.table_name
     limit 3);
$$;

comment on function rowhook._near_names(text, name[]) is
  'Tables with a similar name, the most similar first, and among equals those of the schemas '
  'that are searched first.';

create function rowhook._table(p_for text, p_name text, p_schemas name[])
returns regclass
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_parts  name[] := rowhook._name_parts(p_name);
  v_schema name   := v_parts[cardinality(v_parts) - 1];
  v_table  name   := v_parts[cardinality(v_parts)];
  v_found  oid;
  v_near   text[];
begin
  if p_name is null then
    raise undefined_table using
      message = format('%s: there is no such table', p_for),
      hint = 'Name it with its schema, for example public.deals.';
  end if;
  if p_name ~ '^[0-9]{1,9}$' and exists (select from pg_class where oid = p_name::oid) then
    return p_name::oid;
  end if;
  select c.oid into v_found
    from unnest(case when v_schema is null then p_schemas else array[v_schema] end) with ordinality as s (name, number)
    join pg_namespace n on n.nspname = s.name
    join pg_class c on c.relnamespace = n.oid and c.relname = v_table
   order by s.number limit 1;
  if v_found is null then
    v_near := rowhook._near_names(v_table, coalesce(array[v_schema], p_schemas));
    raise undefined_table using
      message = format('%s: there is no table %s', p_for, (select string_agg(quote_ident(p), '.') from unnest(v_parts) as p)),
      hint = case when v_near = '{}' then 'Check its name, and name it with its schema, for example public.deals.'
                  else format('Is it %s? In SQL: select rowhook.%s(%L); in a shell: rowhook %2$s %4$s', array_to_string(v_near, ' or '), p_for, v_near[1],
                              -- A shell has no way to write a quote inside quotes.
                              format('''%s''', replace(v_near[1], '''', '''' || chr(92) || ''''''))) end;
  end if;
  if v_schema is not null and not has_schema_privilege(v_schema, 'usage') then
    raise insufficient_privilege using
      message = format('%s: %I may not look into schema %I', p_for, current_user, v_schema),
      hint = format('Let its owner run: grant usage on schema %I to %I;', v_schema, current_user);
  end if;
  return v_found;
end
$$;

comment on function rowhook._table(text, text, name[]) is
  'The table with the given name, searched for in the given schemas as PostgreSQL does; an error '
  'that offers similar names if there is none. The first argument is the command that asks.';

-- A webhook cannot tell which of the two tables such an event comes from. Tables that inherit from
-- each other share their event types on purpose, and tables of different tenants may share them.
create function rowhook._shares_events(p_source rowhook.webhook_sources)
returns table (relation regclass, event_type text)
language sql
stable
begin atomic
  with recursive above as (
    select (p_source).relation::oid as oid
     union
    select i.inhparent from pg_inherits i join above a on i.inhrelid = a.oid
  )
  select s.relation, e.event_type
    from rowhook.webhook_sources s
    join pg_class c on c.oid = s.relation
   cross join lateral (
         select min(own) from unnest(rowhook._source_event_types(p_source)) as own
          where own = any (rowhook._source_event_types(s))) as e (event_type)
   where s.relation <> (p_source).relation and e.event_type is not null
     and (s.tenant_id = (p_source).tenant_id or num_nulls(s.tenant_id, (p_source).tenant_id) > 0)
     and not exists (
           with recursive theirs as (
             select s.relation::oid as oid
              union
             select i.inhparent from pg_inherits i join theirs t on i.inhrelid = t.oid
           )
           select from theirs t join above a on a.oid = t.oid)
   order by s.id
   limit 1;
end;

comment on function rowhook._shares_events(rowhook.webhook_sources) is
  'Another watched table that produces an event type of a source, with that event type.';

create function rowhook._free_prefix(p_source rowhook.webhook_sources)
returns text
language sql
stable
begin atomic
  select u.prefix
    from (select left(regexp_replace((p_source).schema_name || '_' || (p_source).table_name, '[^A-Za-z0-9_-]+', '_', 'g'), 70), 0
          union all
          select left((p_source).prefix, 70) || '_' || n, n from generate_series(2, 100000) as n) as u (prefix, number)
   where u.prefix ~ '[A-Za-z0-9]' and u.prefix <> (p_source).prefix
     and not exists (select from rowhook.webhook_sources s where s.prefix = u.prefix)
   order by u.number
   limit 1;
end;

comment on function rowhook._free_prefix(rowhook.webhook_sources) is
  'A prefix that no other source has: made of schema and table, if necessary with a number.';

create function rowhook._renamed_statement(p_source rowhook.webhook_sources)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  p_source.prefix := rowhook._free_prefix(p_source);
  return rowhook._watch_statement(p_source, p_source.relation);
end
$$;

comment on function rowhook._renamed_statement(rowhook.webhook_sources) is
  'The statement that gives a source a prefix of its own.';

create function rowhook._note_prefix(p_source rowhook.webhook_sources, p_by_default boolean)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_other record;
begin
  select * into v_other from rowhook._shares_events(p_source);
  if found then
    raise notice using
      message = format('%s has event types that %s has too, such as %s: a webhook gets those of both', p_source.relation, v_other.relation, v_other.event_type),
      hint = format('To tell them apart, choose a prefix: %s', rowhook._renamed_statement(p_source));
  elsif p_by_default and p_source.table_name ~ '[^ -~]' then
    raise notice using
      message = format('%s has the prefix %s, as event types are made of ASCII letters', p_source.relation, p_source.prefix),
      hint = format('To choose another: %s', rowhook._watch_statement(p_source, p_source.relation));
  end if;
end
$$;

comment on function rowhook._note_prefix(rowhook.webhook_sources, boolean) is
  'Raises a notice when a source shares event types with another source, or when its prefix lost '
  'letters of the table''s name.';

-- Casts of types inside arrays, domains and composite types count, too.
create function rowhook._json_casts(p_relation oid)
returns table (columns text, cast_function text, grants text)
language sql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  with recursive parts (attname, type) as (
    select attname, atttypid from pg_attribute where attrelid = p_relation and attnum > 0 and not attisdropped
    union
    select p.attname, u.type
      from parts p
      join pg_type t on t.oid = p.type
     cross join lateral (
       select t.typbasetype where t.typtype = 'd'
       union all
       select t.typelem where t.typelem <> 0
       union all
       select a.atttypid from pg_attribute a where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
     ) as u (type)
  )
  select string_agg(distinct quote_ident(p.attname), ', '), f.oid::regprocedure::text,
         nullif(concat_ws(' ',
           case when not has_schema_privilege('rowhook_owner', n.oid, 'usage') then format('grant usage on schema %I to rowhook_owner;', n.nspname) end,
           case when not has_function_privilege('rowhook_owner', f.oid, 'execute') then format('grant execute on function %s to rowhook_owner;', f.oid::regprocedure) end), '')
    from parts p
    join pg_cast c on c.castsource = p.type and c.casttarget = 'json'::regtype and c.castmethod = 'f'
    join pg_proc f on f.oid = c.castfunc
    join pg_namespace n on n.oid = f.pronamespace
   where p.type >= 16384
   group by f.oid, n.oid, n.nspname;
end;

comment on function rowhook._json_casts(oid) is
  'The user-defined casts to json that print columns of a table, and the grants that '
  'rowhook_owner needs to run them; null when it needs none.';

create function rowhook._note_casts(p_source rowhook.webhook_sources)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_cast record;
begin
  for v_cast in select c.* from rowhook._json_casts(p_source.relation) as c where c.grants is not null order by 2 loop
    raise warning using
      message = format('watch: rowhook_owner may not run %s, which prints %s of %s: events of such rows hold their key columns only',
                       v_cast.cast_function, v_cast.columns, p_source.relation),
      hint = v_cast.grants;
  end loop;
end
$$;

comment on function rowhook._note_casts(rowhook.webhook_sources) is
  'Warns of casts to json that rowhook_owner may not run, as soon as the table is watched.';

-- Parameters:
--   prefix          first part of the event names; default: the table's name
--   tenant_column   column that holds the tenant; default: organization_id, tenant_id, org_id,
--                   account_id or workspace_id
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
set row_security = on
as $$
#variable_conflict use_column
declare
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
  if watch.tenant_column is null and watch.tenant_id is null then
    v_source.tenant_column := rowhook._usual_tenant_column(watch.target);
  end if;
  perform rowhook._check_source(v_source, watch.prefix is null);

  select n.nspname, c.relname, pg_get_userbyid(c.relowner) into v_source.schema_name, v_source.table_name, v_source.table_owner
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = watch.target;
  -- A source that has lost a table of this name continues with this one.
  update rowhook.webhook_sources as lost
     set relation = watch.target, counted_from = rowhook._counts_again(lost, watch.target)
   where id = (select min(s.id) from rowhook.webhook_sources s
                where (s.schema_name, s.table_name) = (v_source.schema_name, v_source.table_name)
                  and not exists (select from pg_class c where c.oid = s.relation))
     and not exists (select from pg_class c where c.oid = relation)
     and not exists (select from rowhook.webhook_sources s where s.relation = watch.target);
  insert into rowhook.webhook_sources as s
    (relation, schema_name, table_name, table_owner, counted_from,
     prefix, tenant_column, tenant_id, events, derived, ignore_columns, capture, max_payload_bytes)
  values (v_source.relation, v_source.schema_name, v_source.table_name, v_source.table_owner, rowhook._counts_of(watch.target),
          v_source.prefix, v_source.tenant_column, v_source.tenant_id, v_source.events, v_source.derived,
          v_source.ignore_columns, v_source.capture, v_source.max_payload_bytes)
  on conflict (relation) do update
     set schema_name = excluded.schema_name, table_name = excluded.table_name, table_owner = excluded.table_owner, lost_at = null,
         parent_id = null, prefix = excluded.prefix, tenant_column = excluded.tenant_column, tenant_id = excluded.tenant_id,
         events = excluded.events, derived = excluded.derived, ignore_columns = excluded.ignore_columns,
         capture = excluded.capture, max_payload_bytes = excluded.max_payload_bytes, column_numbers = '{}', updated_at = now()
  returning * into v_source;

  perform rowhook._write_capture(v_source.id);
  select * into v_source from rowhook.webhook_sources s where s.id = v_source.id;
  perform rowhook._attach(v_source.id);
  perform rowhook._watch_children(v_source, false);
  perform rowhook._note_prefix(v_source, watch.prefix is null);
  perform rowhook._note_casts(v_source);
  return v_source;
end
$$;

comment on function rowhook.watch(regclass, text, text, jsonb, text[], text, int, text[], text) is
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
  tenant_id         text    default null
)
returns rowhook.webhook_sources
language sql
volatile
begin atomic
  select rowhook.watch(rowhook._table('watch', target, current_schemas(true)), prefix, tenant_column, derived, ignore_columns, capture,
                       max_payload_bytes, events, tenant_id);
end;

comment on function rowhook.watch(text, text, text, jsonb, text[], text, int, text[], text) is
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
  select * into v_source from rowhook.webhook_sources s where s.relation = unwatch.target or rowhook._namesake(s) = unwatch.target;
  if not found then
    return false;
  end if;
  if v_source.parent_id is not null then
    raise object_not_in_prerequisite_state using
      message = format('unwatch: %s is watched because it inherits from %s', unwatch.target, (select s.relation from rowhook.webhook_sources s where s.id = v_source.parent_id)),
      hint = 'Unwatch that table; or watch this one by itself, with its own settings.';
  end if;
  -- The app's statements lock inheriting tables after their parent.
  perform rowhook._remove_sources(array(
    with recursive family as (
      select v_source.id, 1 as depth
      union
      select s.id, f.depth + 1 from rowhook.webhook_sources s join family f on s.parent_id = f.id
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
  v_parts name[] := rowhook._name_parts(p_name);
begin
  return array(
    select s.id from rowhook.webhook_sources s
     where s.table_name = v_parts[cardinality(v_parts)]
       and (s.schema_name = v_parts[cardinality(v_parts) - 1] or cardinality(v_parts) = 1 and s.schema_name = any (p_schemas))
       and not exists (select from pg_class c where c.oid = s.relation)
       and not exists (select from rowhook.webhook_sources o join pg_class c on c.oid = o.relation join pg_namespace n on n.oid = c.relnamespace
                        where (n.nspname, c.relname) = (s.schema_name, s.table_name))
     order by s.id);
end
$$;

comment on function rowhook._lost_sources(text, name[]) is
  'Sources whose table is gone, by the last name of the table. Empty if there is a watched table '
  'with this name.';

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
  select case when l.ids <> '{}' then rowhook._unwatch_lost(l.ids) else rowhook.unwatch(rowhook._table('unwatch', target, current_schemas(true))) end
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
    return query select format('%I.%I', p_schema, p_table_name), v_entry.prefix, 'missing', 'there is no such table';
    return;
  end if;
  select * into v_before from rowhook.webhook_sources s where s.relation = v_target;
  v_source := rowhook.watch(v_target, v_entry.prefix, events => v_entry.events, derived => (
    select coalesce(jsonb_object_agg(d.key, d.value), '{}') from jsonb_each(v_entry.derived) as d
     where exists (select from pg_attribute a where a.attrelid = v_target and a.attname = d.key and not a.attisdropped)));
  return query select v_target::text, v_entry.prefix,
    case when to_jsonb(v_source) - 'updated_at' = to_jsonb(v_before) - 'updated_at' then 'unchanged' else 'watched' end,
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
  return query select p.table_name from rowhook._presets() as p where p_preset in (p.preset, 'all');
  if not found then
    raise invalid_parameter_value using
      message = format('watch_preset: there is no preset %L', p_preset),
      hint = 'The presets are crm, sales, inbox, users and all.';
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
  select w.* from rowhook._preset_tables(preset) as table_name cross join lateral rowhook._watch_preset_table(table_name, in_schema) as w
$$;

comment on function rowhook.watch_preset(text, text) is
  'Watches the existing tables of a preset: crm (contacts, deals, clients, projects, notes), '
  'sales (opportunities, leads), inbox (conversations, messages), users, or all. Returns one row '
  'for each table; its status says whether the table exists.';

create function rowhook._is_over(p_source rowhook.webhook_sources)
returns text
language sql
stable
begin atomic
  select case
    when not exists (select from pg_class where oid = (p_source).relation) then
      case when (p_source).parent_id is not null or (p_source).lost_at < now() - interval '7 days' then 'forgotten: its table was dropped'
           when exists (select from rowhook.webhook_sources s join pg_class c on c.oid = s.relation join pg_namespace n on n.oid = c.relnamespace
                         where (n.nspname, c.relname) = ((p_source).schema_name, (p_source).table_name))
             then 'forgotten: its table was dropped, and the one of that name is watched by itself'
      end
    when exists (select from pg_partition_ancestors((p_source).relation) as a join rowhook.webhook_sources s on s.relation = a.relid where s.id <> (p_source).id)
      then 'forgotten: it became a partition of a watched table'
    when (p_source).parent_id is not null and not exists (
           select from pg_inherits i join rowhook.webhook_sources s on s.relation = i.inhparent where i.inhrelid = (p_source).relation and s.id = (p_source).parent_id)
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
    return query select v_name, 'another table has this name by now: it is watched in its place';
  end if;
  v_over := rowhook._is_over(v_source);
  if v_over is not null then
    perform rowhook._remove_sources(array[v_source.id]);
    return query select v_name, v_over;
  elsif exists (select from pg_class where oid = v_source.relation) then
    return query select a.relation::text, 'triggers ' || a.change from rowhook._attach(v_source.id) as a;
    return query select c::text, format('watched: it inherits from %s', v_source.relation) from rowhook._watch_children(v_source, true) as c;
  end if;
end
$$;

comment on function rowhook._reconcile_table(rowhook.webhook_sources) is
  'Brings the table and the triggers of one source up to date, see reconcile(); raises an error '
  'for what its caller may not do.';

create function rowhook._complaints(p_source rowhook.webhook_sources)
returns setof text
language sql
stable
begin atomic
  select format('nothing is captured: column %I is gone; watch the table again with its new tenant_column', (p_source).tenant_column)
   where (p_source).tenant_column <> all (rowhook._columns((p_source).relation)) and exists (select from pg_class where oid = (p_source).relation)
  union all
  select format('nothing is captured: column %I is a virtual generated one by now, which no trigger can read; make it a stored one, or watch the table again with another tenant_column', (p_source).tenant_column)
   where rowhook._is_virtual((p_source).relation, (p_source).tenant_column)
  union all
  select format('PostgreSQL refuses UPDATE and DELETE on it, as it cannot collect the changes of the foreign table %s: detach that table, or unwatch this one', f.member)
    from (select rowhook._foreign_member((p_source).relation) as member) as f where f.member is not null
  union all
  select format('another table has this name by now and is not watched, since %s: %s',
                case when pg_get_userbyid(c.relowner) <> (p_source).table_owner then format('its owner is %I', pg_get_userbyid(c.relowner))
                     else format('it has no column %I', (p_source).tenant_column) end,
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
as $$
#variable_conflict use_column
declare
  v_source rowhook.webhook_sources;
  v_name   text;
  v_noted  text;
begin
  -- Inheriting tables come before their parent.
  for v_source in select * from rowhook.webhook_sources where id = coalesce(only_source, id) order by id desc loop
    v_name := format('%I.%I', v_source.schema_name, v_source.table_name);
    begin
      if exists (select from pg_class where oid = v_source.relation) and rowhook._write_capture(v_source.id) then
        return query select v_source.relation::text, 'capture function rewritten: the table changed';
        select * into strict v_source from rowhook.webhook_sources where id = v_source.id;
      end if;
      return query select v_name, c from rowhook._complaints(v_source) as c;
    exception when others then
      return query select v_name, format('its capture function could not be written: %s (%s)', sqlerrm, sqlstate);
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
        return query select v_name,
          case when sqlerrm !~ '^(watch: |permission denied for function watch)' then concat_ws('. ', sqlerrm, nullif(v_noted, ''))
               else format('%s, and %s may not make them: let the owner of the table run select rowhook.reconcile()',
                           case when rowhook._namesake(v_source) is null then 'triggers missing'
                                else 'another table has this name by now and lacks triggers' end, current_user) end;
      when lock_not_available then
        return query select v_name, 'triggers missing: ' || sqlerrm;
      when others then
        return query select v_name, format('it could not be brought in line: %s (%s)', sqlerrm, sqlstate);
    end;
  end loop;
end
$$;

comment on function rowhook.reconcile(int) is
  'Brings capture up to date with the current tables, or with that of one source: columns, '
  'partitions and inheriting tables, dropped, replaced or restored tables. Returns what it '
  'changed and what the caller may not change.';

revoke execute on all functions in schema rowhook from public;
grant execute on function rowhook.reconcile(int), rowhook._write_capture(int), rowhook._forget_source(int), rowhook._attach(int),
                          rowhook._execute_with_locks(regclass[], text[]), rowhook._detach(regclass[], int[]), rowhook._remove_sources(int[]),
                          rowhook._watch_children(rowhook.webhook_sources, boolean), rowhook._capture_relations(regclass), rowhook._columns(oid), rowhook._attributes(oid), rowhook._is_virtual(oid, name),
                          rowhook._foreign_member(regclass), rowhook._namesake(rowhook.webhook_sources),
                          rowhook._may_take_place(rowhook.webhook_sources, regclass), rowhook._remember_table(int), rowhook._take_place(int),
                          rowhook._watch_statement(rowhook.webhook_sources, regclass), rowhook._qualified(oid), rowhook._usual_tenant_column(oid),
                          rowhook._is_over(rowhook.webhook_sources), rowhook._reconcile_table(rowhook.webhook_sources),
                          rowhook._complaints(rowhook.webhook_sources), rowhook._table(text, text, name[]), rowhook._name_parts(text),
                          rowhook._near_names(text, name[]), rowhook._edit_distance(text, text), rowhook._grant_statement(name),
                          rowhook._grown(rowhook.webhook_sources, text, jsonb), rowhook._counts_of(regclass), rowhook._default_prefix(oid), rowhook._renamed_statement(rowhook.webhook_sources), rowhook._patterns(text[]),
                          rowhook._tenant_may_be_null(rowhook.webhook_sources), rowhook._shares_events(rowhook.webhook_sources),
                          rowhook._free_prefix(rowhook.webhook_sources), rowhook._note_prefix(rowhook.webhook_sources, boolean),
                          rowhook._json_casts(oid), rowhook._note_casts(rowhook.webhook_sources)
   to rowhook_daemon;
grant execute on function rowhook._source_event_types(rowhook.webhook_sources) to rowhook_app, rowhook_daemon;

create or replace function rowhook.schema_version() returns int language sql stable parallel safe return 6;

reset role;
