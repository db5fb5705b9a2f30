-- rowhook 0013: what watch() checks before a table becomes a source, and the notices that it
-- raises. It offers similar names for a table that does not exist, and reports event types that
-- two tables share and casts to json that rowhook_owner may not run.

set role rowhook_owner;

create function rowhook._qualified(p_relation oid)
returns text
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select coalesce(
           (select format('%I.%I', n.nspname, c.relname)
              from pg_class c
              join pg_namespace n on n.oid = c.relnamespace
             where c.oid = p_relation),
           p_relation::text);
end;

comment on function rowhook._qualified(oid) is
  'The name of a table with its schema, quoted where necessary; the number of the table when it '
  'is gone.';

create function rowhook._detach_statement(p_relation regclass, p_member regclass)
returns text
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select case when m.relispartition
           then format(
             'alter table %s detach partition %s;',
             rowhook._qualified(i.inhparent), rowhook._qualified(m.oid))
           else format(
             'alter foreign table %s no inherit %s;',
             rowhook._qualified(m.oid), rowhook._qualified(i.inhparent))
         end
    from pg_class m
    join pg_inherits i on i.inhrelid = m.oid
   where m.oid = p_member
   order by i.inhparent <> p_relation
   limit 1;
end;

comment on function rowhook._detach_statement(regclass, regclass) is
  'The statement that takes a foreign table out from under the given table.';

create function rowhook._default_prefix(p_relation oid)
returns text
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select regexp_replace(c.relname, '[^A-Za-z0-9_-]+', '_', 'g')
    from pg_class c
   where c.oid = p_relation;
end;

comment on function rowhook._default_prefix(oid) is
  'The default prefix of a table: its name, in ASCII letters.';

create function rowhook._usual_tenant_column(p_relation oid)
returns name
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select u.c
    from unnest('{organization_id,tenant_id,org_id,account_id,workspace_id}'::name[])
         with ordinality as u (c, i)
   where u.c = any (rowhook._columns(p_relation))
   order by u.i
   limit 1;
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
      hint    = 'Write the table with its schema, for example public.deals.';
  end if;
  if v_class.relkind not in ('r', 'p') then
    raise wrong_object_type using
      message = format(
        'watch: %s is %s: only tables can be watched',
        p_source.relation,
        case v_class.relkind
          when 'v' then 'a view'
          when 'm' then 'a materialized view'
          when 'f' then 'a foreign table'
          when 'S' then 'a sequence'
          when 'c' then 'a composite type'
          when 'i' then 'an index'
          when 'I' then 'an index'
          else 'not a table'
        end),
      hint    = 'Watch the table that holds the rows.';
  end if;
  if v_class.relpersistence = 't' then
    raise wrong_object_type using
      message = format('watch: %s is a temporary table: it cannot be watched', p_source.relation),
      hint    = 'Watch a permanent table of the application.';
  end if;
  if v_class.relnamespace in (
       'pg_catalog'::regnamespace,
       'pg_toast'::regnamespace,
       'information_schema'::regnamespace,
       'rowhook'::regnamespace) then
    raise wrong_object_type using
      message = format(
        'watch: %s cannot be watched: it belongs to PostgreSQL or to rowhook itself',
        p_source.relation),
      hint    = 'Watch a table of the application.';
  end if;
  if v_class.relispartition then
    raise wrong_object_type using
      message = format('watch: %s is a partition', p_source.relation),
      hint    = format(
        'Watch the partitioned table %s; this includes its partitions, also future ones.',
        pg_partition_root(p_source.relation)::regclass);
  end if;
  v_foreign := rowhook._foreign_member(p_source.relation);
  if v_foreign is not null then
    raise wrong_object_type using
      message = format(
        'watch: %s has a foreign table under it, %s, whose changes PostgreSQL cannot collect',
        p_source.relation, v_foreign),
      hint    = format(
        'Detach the foreign table, as its owner: %s',
        rowhook._detach_statement(p_source.relation, v_foreign));
  end if;

  if p_by_default and p_source.prefix !~ '[A-Za-z0-9]' then
    raise invalid_parameter_value using
      message = format(
        'watch: the name %s has no ASCII letters or digits, so it cannot become the prefix',
        p_source.relation),
      hint    = format(
        'Choose a prefix, for example: %s',
        replace(rowhook._watch_statement(p_source, p_source.relation),
                format('prefix => %L', p_source.prefix),
                'prefix => ''deal'''));
  end if;
  if p_source.prefix !~ c_name or length(p_source.prefix) > 80 then
    raise invalid_parameter_value using
      message = format('watch: prefix %L is refused', p_source.prefix),
      hint    = 'A prefix has 1 to 80 characters: ASCII letters, digits, "_", "-" and ".", for '
                'example deal.';
  end if;
  if p_source.capture is null or p_source.capture not in ('subscribed', 'all') then
    raise invalid_parameter_value using
      message = format('watch: capture %L is refused', p_source.capture),
      hint    = 'Pass ''subscribed'' (only events that a webhook wants) or ''all''.';
  end if;
  if p_source.events is null or not p_source.events <@ '{created,updated,deleted}' then
    raise invalid_parameter_value using
      message = format('watch: events %L is refused', p_source.events),
      hint    = 'Pass any of created, updated and deleted. The parameter derived makes further '
                'events from columns.';
  end if;
  if p_source.max_payload_bytes is null
     or p_source.max_payload_bytes not between 1024 and 134217728 then
    raise invalid_parameter_value using
      message = format('watch: max_payload_bytes %L is refused', p_source.max_payload_bytes),
      hint    = 'Pass 1024 to 134217728 bytes (128 MiB).';
  end if;
  if p_source.derived is null
     or jsonb_typeof(p_source.derived) <> 'object'
     or exists (
       select from jsonb_each(p_source.derived) as d
        cross join lateral jsonb_each(
          case jsonb_typeof(d.value)
            when 'object' then d.value
            else jsonb_build_object('', d.value)
          end) as v
        where jsonb_typeof(v.value) <> 'string' or v.value #>> '{}' !~ c_name) then
    raise invalid_parameter_value using
      message = 'watch: derived must be an object of column -> suffix, or column -> '
                '{value: suffix}',
      hint    = 'Pass an object such as {"stage":"stage.changed","status":{"won":"won"}}.';
  end if;
  select e into v_value
    from unnest(rowhook._source_event_types(p_source)) as e
   where length(e) > 128
   limit 1;
  if found then
    raise invalid_parameter_value using
      message = format('watch: the event type %s... is longer than 128 characters',
                       left(v_value, 40)),
      hint    = 'Choose a shorter prefix or suffix.';
  end if;

  if p_source.tenant_column is not null and p_source.tenant_id is not null then
    raise invalid_parameter_value using
      message = 'watch: tenant_column and tenant_id are both given',
      hint    = 'Pass tenant_column if a column holds the tenant, or tenant_id if all rows belong '
                'to one tenant.';
  end if;
  if p_source.tenant_column is null and p_source.tenant_id is null then
    raise undefined_column using
      message = format(
        'watch: %s has no column organization_id, tenant_id, org_id, account_id or workspace_id, '
        'so its tenant is unknown',
        p_source.relation),
      hint    = 'Name the column with tenant_column, or pass tenant_id if all rows belong to one '
                'tenant.';
  end if;
  if p_source.tenant_id = '' or octet_length(p_source.tenant_id) > 512 then
    raise invalid_parameter_value using
      message = format('watch: tenant_id %L is refused', left(p_source.tenant_id, 40)),
      hint    = 'Pass 1 to 512 bytes.';
  end if;
  if rowhook._is_virtual(p_source.relation, p_source.tenant_column) then
    raise feature_not_supported using
      message = format(
        'watch: column %I of %s is a virtual generated column, which no trigger can read, '
        'so the tenant is unknown',
        p_source.tenant_column, p_source.relation),
      hint    = 'Make it a stored column, or pass the column that it is computed from as '
                'tenant_column.';
  end if;
  -- updated_at is ignored by default, also if the table has no such column.
  select string_agg(quote_ident(c), ', ' order by c) into v_value
    from (select p_source.tenant_column::text
          union
          select jsonb_object_keys(p_source.derived)
          union
          select unnest(array_remove(p_source.ignore_columns, 'updated_at'))) as u (c)
   where c <> all (v_columns::text[]);
  if v_value is not null then
    raise undefined_column using
      message = format('watch: %s has no column %s', p_source.relation, v_value),
      hint    = format('Its columns are %s.',
                       (select string_agg(quote_ident(c), ', ') from unnest(v_columns) as c));
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
      v_next[j + 1] := least(
        v_row[j + 1] + 1,
        v_next[j] + 1,
        v_row[j] + case when v_same then 0 else 1 end);
      if i > 1 and j > 1
         and substr(p_one, i, 1) = substr(p_other, j - 1, 1)
         and substr(p_one, i - 1, 1) = substr(p_other, j, 1) then
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
              from (select format('%I.%I', s.nspname, c.relname) as table_name,
                           s.nspname = any (p_schemas) as is_seen,
                           lower(regexp_replace(c.relname, '[ _-]', '', 'g')) as near,
                           lower(regexp_replace(p_name, '[ _"-]', '', 'g')) as wanted
                      from pg_class c
                      join pg_namespace s on s.oid = c.relnamespace
                     where c.relkind in ('r', 'p')
                       and not c.relispartition
                       and c.relpersistence <> 't'
                       and s.nspname not in ('pg_catalog', 'information_schema', 'rowhook')
                       and s.nspname !~ '^pg_(toast|temp)'
                       and abs(length(c.relname) - length(p_name)) < 4
                       and has_schema_privilege(s.oid, 'usage')) as t
             cross join lateral (
                   select count(*)
                     from generate_series(0, 2) as third
                    where strpos(t.near, substr(t.wanted,
                                                third * ((length(t.wanted) + 2) / 3) + 1,
                                                (length(t.wanted) + 2) / 3)) > 0) as h (thirds)
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
      hint    = 'Write the table with its schema, for example public.deals.';
  end if;
  if p_name ~ '^[0-9]{1,9}$' and exists (select from pg_class where oid = p_name::oid) then
    return p_name::oid;
  end if;
  select c.oid into v_found
    from unnest(case when v_schema is null then p_schemas else array[v_schema] end)
         with ordinality as s (name, number)
    join pg_namespace n on n.nspname = s.name
    join pg_class c on c.relnamespace = n.oid and c.relname = v_table
   order by s.number
   limit 1;
  if v_found is null then
    v_near := rowhook._near_names(v_table, coalesce(array[v_schema], p_schemas));
    raise undefined_table using
      message = format('%s: there is no table %s', p_for,
                       (select string_agg(quote_ident(p), '.') from unnest(v_parts) as p)),
      hint    = case
        when v_near = '{}' then
          'Check the name, and write the table with its schema, for example public.deals.'
        else format(
          'Is it %s? In SQL: select rowhook.%s(%L); in a shell: rowhook %2$s %4$s',
          array_to_string(v_near, ' or '),
          p_for,
          v_near[1],
          -- A shell has no way to write a quote inside quotes.
          format('''%s''', replace(v_near[1], '''', '''' || chr(92) || '''''')))
      end;
  end if;
  if v_schema is not null and not has_schema_privilege(v_schema, 'usage') then
    raise insufficient_privilege using
      message = format('%s: %I may not use the schema %I', p_for, current_user, v_schema),
      hint    = format('Let its owner run: grant usage on schema %I to %I;', v_schema, current_user);
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
   where s.relation <> (p_source).relation
     and e.event_type is not null
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
set plan_cache_mode = force_generic_plan
begin atomic
  with longest (prefix) as (
    -- An event type has 128 characters at most.
    select greatest(0, least(70, 128 + length((p_source).prefix) - max(length(event_type))))
      from unnest(rowhook._source_event_types(p_source)) as event_type
  )
  select u.prefix
    from longest
   cross join lateral (
          select left(regexp_replace((p_source).schema_name || '_' || (p_source).table_name,
                                     '[^A-Za-z0-9_-]+', '_', 'g'), longest.prefix),
                 0
          union all
          select left((p_source).prefix, greatest(0, longest.prefix - 1 - length(n::text))) || '_' || n,
                 n
            from generate_series(2, 100000) as n) as u (prefix, number)
   where u.prefix ~ '[A-Za-z0-9]'
     and u.prefix <> (p_source).prefix
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
  -- A table that inherits has its prefix from its parent, so the notice for the parent is enough.
  select * into v_other
    from rowhook._shares_events(p_source)
   where not exists (select from pg_inherits i
                       join rowhook.webhook_sources s on s.relation = i.inhparent
                      where i.inhrelid = p_source.relation and s.prefix = p_source.prefix);
  if found then
    raise notice using
      message = format(
        '%s and %s share event types, such as %s: a webhook receives the events of both tables',
        p_source.relation, v_other.relation, v_other.event_type),
      hint    = format('To tell them apart, choose a prefix: %s',
                       rowhook._renamed_statement(p_source));
  elsif p_by_default and p_source.table_name ~ '[^ -~]' then
    raise notice using
      message = format('%s has the prefix %s, because event types consist of ASCII letters',
                       p_source.relation, p_source.prefix),
      hint    = format('To choose another prefix: %s',
                       rowhook._watch_statement(p_source, p_source.relation));
  end if;
end
$$;

comment on function rowhook._note_prefix(rowhook.webhook_sources, boolean) is
  'Raises a notice when a source shares event types with another source, or when its prefix lost '
  'letters of the table''s name.';

-- Casts of types inside arrays, domains and composite types count, too. PostgreSQL does not check
-- EXECUTE when it prints a row. The cast itself may look up what is in its schema, or read a table
-- of its extension: PostGIS reads spatial_ref_sys.
create function rowhook._json_casts(p_relation oid)
returns table (columns text, cast_function text, grants text)
language sql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  with recursive parts (attname, type) as (
    select attname, atttypid
      from pg_attribute
     where attrelid = p_relation and attnum > 0 and not attisdropped
    union
    select p.attname, u.type
      from parts p
      join pg_type t on t.oid = p.type
     cross join lateral (
       select t.typbasetype where t.typtype = 'd'
       union all
       select t.typelem where t.typelem <> 0
       union all
       select a.atttypid
         from pg_attribute a
        where t.typtype = 'c'
          and a.attrelid = t.typrelid
          and a.attnum > 0
          and not a.attisdropped
     ) as u (type)
  )
  select string_agg(distinct quote_ident(p.attname), ', '),
         f.oid::regprocedure::text,
         nullif(concat_ws(' ',
           case
             when not has_schema_privilege('rowhook_owner', n.oid, 'usage')
               then format('grant usage on schema %I to rowhook_owner;', n.nspname)
           end,
           (select string_agg(format('grant select on %s to rowhook_owner;', t.oid::regclass),
                              ' ' order by t.oid)
              from pg_depend of_cast
              join pg_depend of_table
                on of_table.refclassid = of_cast.refclassid
               and of_table.refobjid = of_cast.refobjid
               and of_table.deptype = 'e'
               and of_table.classid = 'pg_class'::regclass
              join pg_class t on t.oid = of_table.objid and t.relkind in ('r', 'p')
             where of_cast.classid = 'pg_proc'::regclass
               and of_cast.objid = f.oid
               and of_cast.deptype = 'e'
               and not has_table_privilege('rowhook_owner', t.oid, 'select'))), '')
    from parts p
    join pg_cast c
      on c.castsource = p.type
     and c.casttarget = 'json'::regtype
     and c.castmethod = 'f'
    join pg_proc f on f.oid = c.castfunc
    join pg_namespace n on n.oid = f.pronamespace
   where p.type >= 16384
   group by f.oid, n.oid, n.nspname;
end;

comment on function rowhook._json_casts(oid) is
  'The user-defined casts to json that print columns of a table, and the grants that '
  'rowhook_owner may need for them; null when it needs none.';

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
  for v_cast in
    select c.*
      from rowhook._json_casts(p_source.relation) as c
     where c.grants is not null
     order by 2
  loop
    raise warning using
      message = format(
        'watch: %s, which prints %s of %s, may need rights that rowhook_owner lacks: '
        'the events of rows that it cannot print contain the key columns only',
        v_cast.cast_function, v_cast.columns, p_source.relation),
      hint    = v_cast.grants;
  end loop;
end
$$;

comment on function rowhook._note_casts(rowhook.webhook_sources) is
  'Warns of casts to json that may need rights that rowhook_owner lacks, as soon as the table is '
  'watched.';

create function rowhook._names_without(p_names text[], p_others text[])
returns text[]
language sql
immutable
parallel safe
set plan_cache_mode = force_generic_plan
begin atomic
  select array(
    select n.name
      from unnest(p_names) with ordinality as n (name, position)
     where n.name is not null
       and n.name <> all (coalesce(p_others, '{}'))
     group by n.name
     order by min(n.position));
end;

comment on function rowhook._names_without(text[], text[]) is
  'The names of the first list that are not in the second one, each of them once.';

create function rowhook._check_exclusions(
  p_source   rowhook.webhook_sources,
  p_excluded text[],
  p_included text[]
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_columns constant name[] := rowhook._columns(p_source.relation);
  v_value   text;
begin
  select string_agg(quote_ident(c), ', ' order by c) into v_value
    from (select unnest(p_excluded) union select unnest(p_included)) as u (c)
   where c <> all (v_columns::text[]);
  if v_value is not null then
    raise undefined_column using
      message = format('watch: %s has no column %s, which is to be excluded or included',
                       p_source.relation, v_value),
      hint    = format('Its columns are %s.',
                       (select string_agg(quote_ident(c), ', ') from unnest(v_columns) as c));
  end if;
  select string_agg(quote_ident(c), ', ' order by c) into v_value
    from unnest(p_excluded) as c
   where c = any (p_included);
  if v_value is not null then
    raise invalid_parameter_value using
      message = format('watch: %s of %s is both excluded and included',
                       v_value, p_source.relation),
      hint    = 'Name the column in exclude_columns or in include_columns.';
  end if;
  if p_source.tenant_column::text = any (p_source.exclude_columns) then
    raise invalid_parameter_value using
      message = format('watch: column %I of %s cannot be excluded: it holds the tenant',
                       p_source.tenant_column, p_source.relation),
      hint    = 'Leave it out of exclude_columns, or name another tenant_column. If it was excluded '
                'before, name it in include_columns.';
  end if;
  select string_agg(quote_ident(k), ', ') into v_value
    from unnest(rowhook._key_columns(p_source.relation)) as k
   where k::text = any (p_source.exclude_columns);
  if v_value is not null then
    raise invalid_parameter_value using
      message = format('watch: column %s of %s cannot be excluded: it is part of the primary key',
                       v_value, p_source.relation),
      hint    = 'Every event names its row by the primary key. Leave the column out of '
                'exclude_columns, or give the table another primary key. If it was excluded before, '
                'name it in include_columns.';
  end if;
end
$$;

comment on function rowhook._check_exclusions(rowhook.webhook_sources, text[], text[]) is
  'Raises an error if columns that a call of watch() excludes or includes do not exist, or cannot '
  'be excluded.';

create function rowhook._check_derived(p_source rowhook.webhook_sources)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_column text;
begin
  select key into v_column
    from jsonb_object_keys(p_source.derived) as key
   where key = any (p_source.exclude_columns)
   order by key
   limit 1;
  if found then
    raise invalid_parameter_value using
      message = format('watch: events are derived from column %I of %s, which is excluded',
                       v_column, p_source.relation),
      hint    = format('Leave the column out of derived, or let it be sent: '
                       'include_columns => %L', array[v_column]);
  end if;
end
$$;

comment on function rowhook._check_derived(rowhook.webhook_sources) is
  'Raises an error if events are derived from an excluded column: a change of such a column is '
  'not an event.';

create function rowhook._exposed_columns(p_source rowhook.webhook_sources)
returns text[]
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select array(
    select a.name::text
      from rowhook._attributes((p_source).relation) as a
     where a.name = any (rowhook._key_columns((p_source).relation) || (p_source).tenant_column)
       and a.name::text <> all ((p_source).include_columns)
       and rowhook._is_credential(a.name, a.type)
     order by a.number);
end;

comment on function rowhook._exposed_columns(rowhook.webhook_sources) is
  'Columns of the key, and the tenant column, that look like credentials. They cannot be '
  'excluded.';

create function rowhook._note_exclusions(
  p_source rowhook.webhook_sources,
  p_before text[],
  p_given  text[]
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_columns text[] := array(
    select a.name
      from rowhook._attributes(p_source.relation) as a
     where a.name::text = any (p_source.exclude_columns)
       and a.name::text <> all (coalesce(p_given, '{}'))
       and (a.name::text <> all (coalesce(p_before, '{}'))
            or rowhook._is_credential(a.name, a.type))
     order by a.number);
  -- include_columns names a column on purpose. Another list may have left it out by mistake.
  v_sent    text[] := array(
    select a.name
      from rowhook._attributes(p_source.relation) as a
     where a.name::text = any (p_before)
       and a.name::text <> all (p_source.exclude_columns || p_source.include_columns)
     order by a.number);
  v_column  text;
begin
  if v_sent <> '{}' then
    raise warning using
      message = format('watch: %s is no longer excluded: events of %s contain it from now on',
                       (select string_agg(quote_ident(c), ', ') from unnest(v_sent) as c),
                       p_source.relation),
      hint    = format('exclude_columns replaces the list. To exclude all: exclude_columns => %L, '
                       'or --exclude %s',
                       v_sent || p_given, array_to_string(v_sent || p_given, ','));
  end if;
  if v_columns <> '{}' then
    raise notice using
      message = format('%s: not sent, because they look like credentials: %s',
                       p_source.relation,
                       (select string_agg(quote_ident(c), ', ') from unnest(v_columns) as c)),
      hint    = format('To send such a column, name it: include_columns => %L, or --include %s',
                       v_columns[1:1], v_columns[1]);
  end if;
  foreach v_column in array rowhook._exposed_columns(p_source) loop
    raise warning using
      message = format('watch: column %I of %s looks like a credential, and every event contains '
                       'it: the key and the tenant cannot be excluded', v_column, p_source.relation),
      hint    = format('If it is not a credential, say so: include_columns => %L', array[v_column]);
  end loop;
end
$$;

comment on function rowhook._note_exclusions(rowhook.webhook_sources, text[], text[]) is
  'Reports the columns that watch() excludes by their names, those that it no longer excludes, and '
  'key and tenant columns that look like credentials.';

create function rowhook._note_resets(
  p_source       rowhook.webhook_sources,
  p_before       rowhook.webhook_sources,
  p_is_prefixed  boolean,
  p_names_tenant boolean
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  -- The settings of this call, with those of before where the defaults took their place.
  v_kept  rowhook.webhook_sources := p_source;
  v_reset text[] := '{}';
begin
  -- A table that was watched because it inherits had the settings of its parent.
  if p_before.id is null or p_before.parent_id is not null then
    return;
  end if;
  if p_source.prefix <> p_before.prefix and not p_is_prefixed then
    v_kept.prefix := p_before.prefix;
    v_reset := v_reset || format('prefix (was %s)', p_before.prefix);
  end if;
  if (p_source.tenant_column, p_source.tenant_id)
       is distinct from (p_before.tenant_column, p_before.tenant_id)
     and not p_names_tenant then
    v_kept.tenant_column := p_before.tenant_column;
    v_kept.tenant_id     := p_before.tenant_id;
    v_reset := v_reset || case
      when p_before.tenant_id is null then format('tenant_column (was %s)', p_before.tenant_column)
      else format('tenant_id (was %s)', p_before.tenant_id)
    end;
  end if;
  if p_source.events <> p_before.events and p_source.events = '{created,updated,deleted}' then
    v_kept.events := p_before.events;
    v_reset := v_reset || format('events (was %s)', p_before.events);
  end if;
  if p_source.derived <> p_before.derived and p_source.derived = '{}' then
    v_kept.derived := p_before.derived;
    v_reset := v_reset || format('derived (was %s)', p_before.derived);
  end if;
  if p_source.ignore_columns <> p_before.ignore_columns
     and p_source.ignore_columns = '{updated_at}' then
    v_kept.ignore_columns := p_before.ignore_columns;
    v_reset := v_reset || format('ignore_columns (was %s)', p_before.ignore_columns);
  end if;
  if p_source.capture <> p_before.capture and p_source.capture = 'subscribed' then
    v_kept.capture := p_before.capture;
    v_reset := v_reset || format('capture (was %s)', p_before.capture);
  end if;
  if p_source.max_payload_bytes <> p_before.max_payload_bytes
     and p_source.max_payload_bytes = 1048576 then
    v_kept.max_payload_bytes := p_before.max_payload_bytes;
    v_reset := v_reset || format('max_payload_bytes (was %s)', p_before.max_payload_bytes);
  end if;
  if p_source.describe and not p_before.describe then
    v_kept.describe := false;
    v_reset := v_reset || 'describe (was false)'::text;
  end if;
  if v_reset <> '{}' then
    raise warning using
      message = format('watch: settings of %s have their defaults again: %s',
                       p_source.relation, array_to_string(v_reset, ', ')),
      hint    = format('A call sets all settings. To keep them: %s',
                       rowhook._watch_statement(v_kept, p_source.relation));
  end if;
end
$$;

comment on function rowhook._note_resets(
  rowhook.webhook_sources, rowhook.webhook_sources, boolean, boolean) is
  'Warns when a call of watch() gave a watched table defaults in place of settings that it had.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._qualified(oid),
  rowhook._detach_statement(regclass, regclass),
  rowhook._default_prefix(oid),
  rowhook._usual_tenant_column(oid),
  rowhook._name_parts(text),
  rowhook._edit_distance(text, text),
  rowhook._near_names(text, name[]),
  rowhook._table(text, text, name[]),
  rowhook._shares_events(rowhook.webhook_sources),
  rowhook._free_prefix(rowhook.webhook_sources),
  rowhook._renamed_statement(rowhook.webhook_sources),
  rowhook._note_prefix(rowhook.webhook_sources, boolean),
  rowhook._json_casts(oid),
  rowhook._note_casts(rowhook.webhook_sources),
  rowhook._names_without(text[], text[]),
  rowhook._check_exclusions(rowhook.webhook_sources, text[], text[]),
  rowhook._check_derived(rowhook.webhook_sources),
  rowhook._exposed_columns(rowhook.webhook_sources),
  rowhook._note_exclusions(rowhook.webhook_sources, text[], text[]),
  rowhook._note_resets(rowhook.webhook_sources, rowhook.webhook_sources, boolean, boolean)
  to rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 13;

reset role;
