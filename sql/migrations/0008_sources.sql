-- rowhook 0008: webhook_sources, one row for each watched table with its settings, the event types
-- that watched tables produce, and functions that read the columns and keys of a table as they are.

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
  exclude_columns   text[]      not null default '{}',
  include_columns   text[]      not null default '{}',
  describe          boolean     not null default true,
  capture           text        not null default 'subscribed',
  max_payload_bytes int         not null default 1048576,
  column_numbers    jsonb       not null default '{}',
  numbered_relation oid,
  newest_column     smallint    not null default 0,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  constraint webhook_sources_relation_is_unique
    unique (relation),
  constraint webhook_sources_prefix_is_a_name
    check (prefix ~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$' and length(prefix) <= 80),
  constraint webhook_sources_has_one_tenant
    check ((tenant_column is null) <> (tenant_id is null)),
  constraint webhook_sources_events_are_known
    check (events <@ '{created,updated,deleted}'),
  constraint webhook_sources_capture_is_known
    check (capture in ('subscribed', 'all')),
  constraint webhook_sources_max_payload_in_range
    check (max_payload_bytes between 1024 and 134217728)
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
comment on column rowhook.webhook_sources.exclude_columns is
  'Columns that are never captured, by all names that they had since they were excluded. Their '
  'numbers in column_numbers decide; a column that takes one of the names is excluded, too.';
comment on column rowhook.webhook_sources.include_columns is
  'Columns that are captured although their names say that they hold credentials.';
comment on column rowhook.webhook_sources.describe is
  'Whether the catalog shows the comments of the table and its columns as descriptions.';
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
comment on column rowhook.webhook_sources.newest_column is
  'The highest pg_attribute.attnum when the capture function was last written. Columns above it '
  'are new: they are checked for names of credentials, and a source that excludes columns does '
  'not capture them before reconcile().';
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
create policy owner_has_all on rowhook.webhook_sources
  to rowhook_owner using (true) with check (true);
create policy anyone_reads on rowhook.webhook_sources
  for select to rowhook_app, rowhook_daemon using (true);
grant select on rowhook.webhook_sources to rowhook_app, rowhook_daemon;

-- A change of a row whose tenant column is null belongs to no tenant, so it is not an event. A
-- sequence counts these rows, because a sequence never makes a transaction wait. It counts the rows
-- that a statement meets before the first wanted row, so the count may be too low.
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
     select event_type
      union all
     select '*'
      union all
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
  select coalesce(array_agg(distinct (p_source).prefix || '.' || s.suffix), '{}')
    from (
      select unnest((p_source).events) as suffix
       union all
      select d.value #>> '{}'
        from jsonb_each((p_source).derived) as d
       where jsonb_typeof(d.value) = 'string'
       union all
      select v.value
        from jsonb_each((p_source).derived) as d
       cross join lateral jsonb_each_text(
         case jsonb_typeof(d.value) when 'object' then d.value else '{}' end
       ) as v
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

-- Some statements read pg_attribute as it was before the table changed: those of a transaction in
-- REPEATABLE READ, and those that began before the change and reach the table through a foreign
-- key. Their triggers, however, see the table as it is, and so does
-- pg_identify_object_as_address(). That function calls a dropped column
-- "........pg.dropped.2........".
create function rowhook._attributes(p_relation oid)
returns table (number smallint, name name, type oid)
language sql
stable
begin atomic
  select a.attnum, n.name, a.atttypid
    from pg_attribute a
   cross join lateral (
     select ((pg_identify_object_as_address(
                'pg_class'::regclass, a.attrelid, a.attnum)).object_names)[3]::name
     offset 0
   ) as n (name)
   where a.attrelid = p_relation
     and a.attnum > 0
     and not a.attisdropped
     and n.name not like '........pg.dropped.%';
end;

comment on function rowhook._attributes(oid) is
  'The columns of a table by their current names, also for a transaction that began before a '
  'rename.';

-- force_generic_plan, here and in other functions that are called for each source: PostgreSQL would
-- otherwise plan the first five calls of a session, which takes longer than the queries.
create function rowhook._columns(p_relation oid)
returns name[]
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select coalesce(array_agg(name order by number), '{}') from rowhook._attributes(p_relation);
end;

comment on function rowhook._columns(oid) is 'The columns of a table, in order.';

create function rowhook._columns_among(p_relation oid, p_names text[])
returns text[]
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select array(
    select n.name
      from unnest(p_names) with ordinality as n (name, position)
     where n.name = any (rowhook._columns(p_relation)::text[])
     order by n.position);
end;

comment on function rowhook._columns_among(oid, text[]) is
  'Those of the given names that are columns of a table.';

-- A deferrable key may contain duplicates during a transaction, so it does not count.
create function rowhook._key_columns(p_relation oid)
returns name[]
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select coalesce(array_agg(a.name order by k.position), '{}')
    from pg_index i
   cross join lateral unnest(i.indkey[:]) with ordinality as k (attnum, position)
    join rowhook._attributes(p_relation) as a on a.number = k.attnum
   where i.indrelid = p_relation
     and i.indisprimary
     and i.indimmediate
     and k.position <= i.indnkeyatts;
end;

comment on function rowhook._key_columns(oid) is
  'The columns of the primary key of a table, in order; empty when the table has no key, or a '
  'deferrable one.';

-- pg_partition_tree() locks every partition. The daemon, status and the doctor would fill the
-- server's lock table, and wait for whoever rebuilds one of the partitions.
create function rowhook._partitions(p_relation oid)
returns table (relation oid, level int)
language sql
stable
begin atomic
  with recursive tree as (
    select p_relation as relation, 0 as level
    union all
    select i.inhrelid, t.level + 1
      from tree t
      join pg_class p on p.oid = t.relation and p.relkind = 'p'
      join pg_inherits i on i.inhparent = t.relation and not i.inhdetachpending
  )
  select t.relation, t.level from tree t;
end;

comment on function rowhook._partitions(oid) is
  'A table and its partitions on all levels, which it does not lock. The level of the table is 0.';

-- A statement fires the triggers of the table that it names, so partitions need triggers too. A
-- foreign table cannot have such triggers. The root comes first, because the app's statements lock
-- the root first.
create function rowhook._capture_relations(p_relation regclass)
returns setof regclass
language sql
stable
begin atomic
  select t.relation::regclass
    from rowhook._partitions(p_relation) as t
    join pg_class c on c.oid = t.relation
   where c.relkind <> 'f'
   order by t.level, t.relation;
end;

comment on function rowhook._capture_relations(regclass) is
  'The tables that carry the triggers of a watched table: the table itself and its partitions, '
  'the root first.';

-- One call of a trigger gets the changes of a statement together with all changes that foreign keys
-- made for that statement. So its transition tables may contain a row more than once, each time in
-- the state that the row had at that point.
create function rowhook._changed_by_keys(p_relation regclass)
returns boolean
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select exists (
    select from pg_constraint
     where contype = 'f'
       and conrelid in (select rowhook._capture_relations(p_relation))
       and (confdeltype in ('n', 'd') or confupdtype in ('c', 'n', 'd')));
end;

comment on function rowhook._changed_by_keys(regclass) is
  'Whether foreign keys may change the rows of a table: ON DELETE SET NULL or SET DEFAULT, ON '
  'UPDATE CASCADE, SET NULL or SET DEFAULT.';

-- A user-defined type may have a cast to json or text, and the function of that cast may raise any
-- error. The same is true of the parts of an array, a composite type or a range.
-- A loop over plans that are kept: one query in SQL is planned in each call, and reads all of
-- pg_type.
create function rowhook._prints_itself(p_type oid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set plan_cache_mode = force_generic_plan
as $$
declare
  v_type pg_type;
  v_oid  oid := p_type;
begin
  loop
    select * into v_type from pg_type where oid = v_oid;
    case
      when v_type.typtype = 'd' then
        v_oid := v_type.typbasetype;
      when v_type.typelem <> 0
           and v_type.typsubscript = 'array_subscript_handler'::regproc then
        v_oid := v_type.typelem;
      when v_type.typtype = 'e' then
        return not exists (
          select from pg_cast c
           where c.castsource = v_type.oid
             and c.casttarget in ('json'::regtype, 'text'::regtype));
      else
        return v_type.oid is null or v_type.oid < 16384 and v_type.typtype <> 'c';
    end case;
  end loop;
end
$$;

comment on function rowhook._prints_itself(oid) is
  'Whether PostgreSQL prints the values of a type by its own code alone, and not by a cast that '
  'somebody made.';

create function rowhook._foreign_columns(p_relation oid)
returns name[]
language sql
stable
set plan_cache_mode = force_generic_plan
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
  select coalesce(array_agg(name order by number), '{}')
    from own
   where type in (select f.type from foreign_types as f);
end;

comment on function rowhook._foreign_columns(oid) is
  'The columns of a table whose type PostgreSQL does not print by its own code alone.';

create function rowhook._has_virtual_columns(p_relation oid)
returns boolean
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select exists (
    select from pg_attribute
     where attrelid = p_relation and attgenerated = 'v' and not attisdropped);
end;

comment on function rowhook._has_virtual_columns(oid) is
  'Whether a table has virtual generated columns (PostgreSQL 18).';

create function rowhook._is_virtual(p_relation oid, p_column name)
returns boolean
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select exists (
    select from pg_attribute
     where attrelid = p_relation and attname = p_column and attgenerated = 'v');
end;

comment on function rowhook._is_virtual(oid, name) is
  'Whether a column is a virtual generated one (PostgreSQL 18). No trigger can read such a column.';

-- User-defined casts are not used: concat() takes the output of the type itself.
create function rowhook._text_of(p_relation oid, p_column name, p_expression text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set plan_cache_mode = force_generic_plan
as $$
declare
  v_type oid := (select a.type from rowhook._attributes(p_relation) as a where a.name = p_column);
begin
  -- Built-in types always print themselves.
  if v_type >= 16384 and not rowhook._prints_itself(v_type) then
    return format('case when num_nulls(%1$s) = 0 then concat(%1$s) end', p_expression);
  end if;
  return format('%s::text', p_expression);
end
$$;

comment on function rowhook._text_of(oid, name, text) is
  'SQL expression for the text of a column''s value.';

-- The digest covers everything that a capture function was written for: the columns of its table,
-- the expressions of the virtual columns, and the key. The digest changes when the table does, but
-- only an immutable function is computed while a query is planned and costs nothing when the query
-- runs. Each query that calls it reads a transition table, so PostgreSQL plans the query again
-- after the table has changed. The digest uses the id of the source and the names of types, because
-- oids change in a restore from a dump. A source that excludes columns also adds their numbers:
-- a column that was dropped and an excluded one that took its name would look the same otherwise.
-- Names, types and expressions must print in each session as in the one that wrote the function. A
-- plan calls this once, so these settings cost nothing.
create function rowhook._layout(p_source_id int)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
set row_security = on
set "TimeZone" = 'UTC'
set "DateStyle" = 'ISO, YMD'
set "IntervalStyle" = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
set lc_monetary = 'C'
set quote_all_identifiers = off
as $$
begin
  return (
    select md5(concat(
             rowhook._key_columns(s.relation),
             string_agg(
               concat_ws(' ',
                 quote_ident(c.name),
                 format_type(a.atttypid, case a.attgenerated when 'v' then a.atttypmod end),
                 case a.attgenerated when 'v' then pg_get_expr(d.adbin, d.adrelid) end,
                 case when s.exclude_columns <> '{}' then a.attnum end),
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
  'Digest of the columns and the key of a watched table. Marked immutable so that a plan contains '
  'it: the plan ends when the table changes.';

-- A name is cut into words at _, at other signs and before capital letters. The rules:
--   * A word that contains password, passwd, passphrase, passcode, apikey, privatekey or secretkey.
--   * A word that ends in token, secret or credential, or is pwd, salt, otp, totp, hotp, cvv, cvc
--     or jwt; also in the plural and with digits behind it.
--   * Two words such as api_key, private_key, access_key, pass_hash or recovery_codes; pin alone.
--   * Not if the last word says that the column is about a credential: token_type, password_id.
--   * Not if the type cannot hold one: boolean, dates, times. Numbers are no tokens: tokens_used.
create function rowhook._is_credential(p_name text, p_type oid)
returns boolean
language sql
stable
begin atomic
  select t.typcategory not in ('B', 'D', 'T')
         and w.words !~ ('_(at|on|id|ids|count|type|kind|limit|enabled|required|changed|expires|expiry|'
                         'expiration|version|status|length|policy|strength|attempts)_$')
         and (w.words ~ '(password|passwd|passphrase|passcode|apikey|privatekey|secretkey)'
              or w.words ~ '(secret|credential)s?[0-9]*_'
              or w.words ~ '_(pwd|salt|otp|totp|hotp|cvv|cvc|jwt)s?[0-9]*_'
              or w.words ~ '_(api|private|secret|access|signing|encryption|auth|master)_keys?[0-9]*_'
              or w.words ~ '_(pass|pw|pin)_(hash|digest|word|phrase|code)_' and w.words !~ '_pin_code_'
              or w.words ~ '_(recovery|backup|mfa|2fa)_codes?_'
              or w.words in ('_pin_', '_token_')
              or w.words ~ 'tokens?[0-9]*_' and t.typcategory <> 'N')
    from pg_type t
   cross join lateral (
     select '_' || regexp_replace(lower(regexp_replace(regexp_replace(p_name,
                     '([a-z0-9])([A-Z])', E'\\1_\\2', 'g'),
                     '([A-Z])([A-Z][a-z])', E'\\1_\\2', 'g')), '[^a-z0-9]+', '_', 'g') || '_'
     ) as w (words)
   where t.oid = p_type;
end;

comment on function rowhook._is_credential(text, oid) is
  'Whether the name of a column says that it holds a credential, such as password_hash, apiKey or '
  'reset_token. Its type must be able to hold one.';

-- A generated column that is computed from an excluded one would let it out.
create function rowhook._excluded(p_source rowhook.webhook_sources)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_same     boolean  := coalesce(p_source.numbered_relation = p_source.relation::oid, false);
  v_newest   smallint := case when v_same then p_source.newest_column else 0 end;
  v_held     name[]   := rowhook._key_columns(p_source.relation) || p_source.tenant_column;
  v_numbers  smallint[];
begin
  v_numbers := array(
    select a.number
      from rowhook._attributes(p_source.relation) as a
     where a.name::text = any (p_source.exclude_columns)
        or v_same and a.number in (
             select (p_source.column_numbers ->> e)::smallint
               from unnest(p_source.exclude_columns) as e)
        or a.number > v_newest
           and a.name::text <> all (p_source.include_columns)
           and array_position(v_held, a.name) is null
           and rowhook._is_credential(a.name, a.type));
  if v_numbers = '{}' then
    return p_source.exclude_columns;
  end if;
  v_numbers := v_numbers || array(
    select a.number
      from rowhook._attributes(p_source.relation) as a
      join pg_attribute g on g.attrelid = p_source.relation and g.attnum = a.number
      join pg_attrdef d on d.adrelid = g.attrelid and d.adnum = g.attnum
     where g.attgenerated <> ''
       and a.number <> all (v_numbers)
       and a.name::text <> all (p_source.include_columns)
       and array_position(v_held, a.name) is null
       and exists (
             select from pg_depend p
              where p.classid = 'pg_attrdef'::regclass
                and p.objid = d.oid
                and p.refclassid = 'pg_class'::regclass
                and p.refobjid = d.adrelid
                and p.refobjsubid = any (v_numbers)));
  return array(
    select u.name
      from (select a.name::text, a.number::int
              from rowhook._attributes(p_source.relation) as a
             where a.number = any (v_numbers)
             union all
            select e, 32768
              from unnest(p_source.exclude_columns) as e
             where e <> all (rowhook._columns(p_source.relation)::text[])) as u (name, number)
     group by u.name, u.number
     order by u.number, u.name);
end
$$;

comment on function rowhook._excluded(rowhook.webhook_sources) is
  'The excluded columns of a source by their current names: those that it excludes by number or '
  'name, new ones with names of credentials, and generated columns computed from them. Names that '
  'are gone come last.';

create function rowhook._captured_columns(p_source rowhook.webhook_sources)
returns name[]
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select case
           when (p_source).exclude_columns = '{}' then rowhook._columns((p_source).relation)
           else array(
             select c.name
               from unnest(rowhook._columns((p_source).relation)) with ordinality as c (name, number)
              where c.name::text <> all ((p_source).exclude_columns)
              order by c.number)
         end;
end;

comment on function rowhook._captured_columns(rowhook.webhook_sources) is
  'The columns of a source that are captured, in order: all that it does not exclude.';

-- A key may get an excluded column later. The source is then captured as if it had no key.
create function rowhook._captured_key(p_source rowhook.webhook_sources)
returns name[]
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select case when k.names::text[] && (p_source).exclude_columns then '{}' else k.names end
    from (select rowhook._key_columns((p_source).relation)) as k (names);
end;

comment on function rowhook._captured_key(rowhook.webhook_sources) is
  'The columns of the primary key of a source; empty when one of them is excluded.';

create function rowhook._captured_foreign(p_source rowhook.webhook_sources)
returns name[]
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select array(
    select c.name
      from unnest(rowhook._foreign_columns((p_source).relation)) with ordinality as c (name, number)
     where c.name::text <> all ((p_source).exclude_columns)
     order by c.number);
end;

comment on function rowhook._captured_foreign(rowhook.webhook_sources) is
  'The captured columns of a source whose type PostgreSQL does not print by its own code alone.';

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
   where p_source.numbered_relation = p_source.relation::oid
     and n.key <> all (rowhook._columns(p_source.relation)::text[]);
  if v_renamed is not null then
    p_source.tenant_column := coalesce(
      v_renamed ->> p_source.tenant_column::text, p_source.tenant_column);
    p_source.ignore_columns := array(
      select coalesce(v_renamed ->> c.name, c.name)
        from unnest(p_source.ignore_columns) with ordinality as c (name, position)
       order by c.position);
    p_source.include_columns := array(
      select coalesce(v_renamed ->> c.name, c.name)
        from unnest(p_source.include_columns) with ordinality as c (name, position)
       order by c.position);
    p_source.derived := (
      select coalesce(jsonb_object_agg(coalesce(v_renamed ->> d.key, d.key), d.value), '{}')
        from jsonb_each(p_source.derived) as d);
  end if;
  p_source.exclude_columns := rowhook._excluded(p_source);
  p_source.column_numbers := (
    select coalesce(jsonb_object_agg(a.name, a.number), '{}')
      from rowhook._attributes(p_source.relation) as a
     where a.name = p_source.tenant_column
        or a.name = any (p_source.ignore_columns::name[])
        or a.name = any (p_source.exclude_columns::name[])
        or a.name = any (p_source.include_columns::name[])
        or p_source.derived ? a.name::text);
  p_source.numbered_relation := p_source.relation;
  p_source.newest_column := (
    select coalesce(max(a.number), 0) from rowhook._attributes(p_source.relation) as a);
  return p_source;
end
$$;

comment on function rowhook._followed(rowhook.webhook_sources) is
  'The settings of a source with the current names of its columns. A name that exists is kept; a '
  'name that is gone is followed by its number. An excluded column is followed by its number in '
  'any case.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._patterns(text[]), rowhook._attributes(oid), rowhook._columns(oid),
  rowhook._capture_relations(regclass), rowhook._partitions(oid), rowhook._is_virtual(oid, name),
  rowhook._key_columns(oid), rowhook._is_credential(text, oid), rowhook._columns_among(oid, text[]),
  rowhook._captured_columns(rowhook.webhook_sources)
  to rowhook_daemon;
grant execute on function
  rowhook._source_event_types(rowhook.webhook_sources)
  to rowhook_app, rowhook_daemon;

create or replace function rowhook.schema_version() returns int language sql stable parallel safe return 8;

reset role;
