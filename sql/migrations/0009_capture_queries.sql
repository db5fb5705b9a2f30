-- rowhook 0009: the queries that turn the transition tables of one statement into outbox rows. The
-- capture functions of 0010_capture_functions.sql contain them. test/golden/capture-deals.sql shows
-- what is written for one table.
--
-- From the inside out:
--   _capture_image    the rows of one transition table, each with its tenant, key and columns
--   _capture_rows     the changes of an INSERT or a DELETE: the rows of one image
--   _capture_pairs    the changes of an UPDATE: the rows of two images, old and new, as pairs
--   _capture_query    the outbox rows for these changes
--   _capture_queries  all queries for one kind of statement
--
-- The queries are written on few lines: PostgreSQL looks through the text of a query each time it
-- runs, so every blank counts. The templates below use more lines, see _fill().

set role rowhook_owner;

-- A template is SQL with marks, such as {tenant}. All marks are replaced in one pass, so a part may
-- itself contain {tenant}. The caller quotes identifiers and literals. A backslash at the end of a
-- line joins the next line to it, without the blanks before that line. A part that is null is an
-- error, because it would silently remove a piece of code. The body has a backslash only in an E''
-- constant, because standard_conforming_strings may be off in the session of the caller.
--
-- watch() calls this function 29 times, and the app's own statement calls it after ALTER TABLE. So
-- the marks become those of format(), which puts in all parts at once. Queries and regular
-- expressions took four times as long.
create function rowhook._fill(p_template text, variadic p_parts text[])
returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_template text := replace(p_template, '%', '%%');
  v_lines    text[];
  v_before   text;
begin
  if strpos(v_template, E'\\\n') > 0 then
    v_lines    := string_to_array(v_template, E'\\\n');
    v_template := v_lines[1];
    for n in 2 .. cardinality(v_lines) loop
      v_template := v_template || ltrim(v_lines[n], ' ');
    end loop;
  end if;
  if cardinality(p_parts) % 2 = 1 then
    raise invalid_parameter_value using
      message = '_fill: the parts, name, text, name, text ..., are not an even number of elements';
  end if;
  for n in 1 .. cardinality(p_parts) by 2 loop
    v_before   := v_template;
    v_template := replace(v_before, '{' || p_parts[n] || '}', '%' || n + 1 || '$s');
    if v_template = v_before then
      raise invalid_parameter_value using
        message = format('_fill: the part %s has no mark in the template', p_parts[n]);
    end if;
  end loop;
  if array_position(p_parts, null) > 0
     or strpos(v_template, '{') > 0 and v_template ~ '[{][a-z_]+[}]' then
    raise invalid_parameter_value using
      message = format('_fill: %s is in the template, but its part is missing or null',
                       coalesce('{' || p_parts[array_position(p_parts, null) - 1] || '}',
                                substring(v_template from '[{][a-z_]+[}]')));
  end if;
  return format(v_template, variadic p_parts);
end
$$;

comment on function rowhook._fill(text, text[]) is
  'The template with each {name} replaced by the part of that name. The parts are name, text, '
  'name, text ... A mark without a part, or a part without a mark, is an error.';

create type rowhook._printed as (data json, problem text);
comment on type rowhook._printed is 'The json of a row, or why it cannot be printed.';

-- The block only reads, so its subtransaction takes no transaction id. A cancelled statement, a
-- deadlock and a serialization failure are not caught: they end the statement. A cast may return
-- text that is not JSON, which PostgreSQL does not check: PostGIS prints a coordinate that is NaN
-- as NaN. The cast from text checks it.
create function rowhook._render(p_row record)
returns rowhook._printed
language plpgsql
volatile
as $$
begin
  return row(row_to_json(p_row)::text::json, null)::rowhook._printed;
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

-- Values are compared by their images, because the operators of a type may be foreign code.
create function rowhook._differ(p_old text, p_new text)
returns text
language sql
immutable
parallel safe
return 'row(' || p_old || ')::record operator(pg_catalog.*<>) row(' || p_new || ')::record';

comment on function rowhook._differ(text, text) is
  'SQL condition for whether the values of one list of expressions differ from those of another.';

-- Two equal values of these built-in types are the same bytes, so their own operator tells as much
-- as their images, in a fifth of the time. A text needs a collation in which equal texts are the
-- same bytes, which the collation of its column may not be.
create function rowhook._differ_in(p_column name, p_type oid)
returns text
language sql
immutable
parallel safe
return case
  when p_type in ('text'::regtype, 'varchar'::regtype)
    then format('v_old.%1$I collate "C" is distinct from v_new.%1$I collate "C"', p_column)
  when p_type in ('boolean'::regtype, 'smallint'::regtype, 'int'::regtype, 'bigint'::regtype,
                  'uuid'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
    then format('v_old.%1$I is distinct from v_new.%1$I', p_column)
  else rowhook._differ(format('v_old.%I', p_column), format('v_new.%I', p_column))
end;

comment on function rowhook._differ_in(name, oid) is
  'PL/pgSQL condition for whether a column of a type differs between v_old and v_new.';

-- A change yields event types on INSERT ('created'), UPDATE ('updated') and DELETE ('deleted').
-- Each has a condition over the images o (old) and n (new), or null for always. With p_one_row the
-- images are the records v_old and v_new, see 0010_capture_functions.sql.
create function rowhook._capture_rules(p_source rowhook.webhook_sources, p_one_row boolean)
returns table (operation text, event_type text, condition text)
language sql
stable
begin atomic
  with derived as (
    select c.name,
           a.type,
           d.value as rule,
           case when p_one_row then format('v_old.%I', c.name) else 'o.c' || c.number end as old,
           case when p_one_row then format('v_new.%I', c.name) else 'n.c' || c.number end as new
      from jsonb_each((p_source).derived) as d
      join unnest(rowhook._captured_columns(p_source)) with ordinality as c (name, number)
        on c.name = d.key
      join rowhook._attributes((p_source).relation) as a on a.name = c.name
  )
  select e.operation, (p_source).prefix || '.' || e.operation, null
    from unnest((p_source).events) as e (operation)
  union all
  -- {"column":"suffix"}
  select 'updated',
         (p_source).prefix || '.' || s.suffix,
         case when p_one_row then rowhook._differ_in(d.name, d.type)
              else rowhook._differ(d.old, d.new)
         end
           || case when s.suffix like '%changed' then ''
                   else format(' and %s is not null', d.new)
              end
    from derived as d
   cross join lateral (select d.rule #>> '{}') as s (suffix)
   where jsonb_typeof(d.rule) = 'string'
  union all
  -- {"column":{"value":"suffix"}}
  select w.operation, (p_source).prefix || '.' || v.value, w.condition
    from derived as d
   cross join lateral (
     select rowhook._text_of((p_source).relation, d.name, d.old),
            rowhook._text_of((p_source).relation, d.name, d.new)
   ) as t (old, new)
   cross join lateral jsonb_each_text(
     case jsonb_typeof(d.rule) when 'object' then d.rule else '{}' end
   ) as v
   cross join lateral (values
     ('created', format('%s = %L', t.new, v.key)),
     ('updated', format('%s = %L and %s is distinct from %2$L', t.new, v.key, t.old))
   ) as w (operation, condition);
end;

comment on function rowhook._capture_rules(rowhook.webhook_sources, boolean) is
  'The event types of each kind of change to a source, with their conditions as SQL, or as '
  'PL/pgSQL for a statement of one row.';

-- force_generic_plan: PostgreSQL would plan the query again in each call, which takes 10 times as
-- long as all the rest of the function.
create function rowhook._capture_events(
  p_source    rowhook.webhook_sources,
  p_operation text,
  p_one_row   boolean default false
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set plan_cache_mode = force_generic_plan
as $$
begin
  return (
    with rules as (
      select event_type,
             case when count(condition) = count(*)
                  then string_agg(condition, ' or ' order by condition collate "C")
             end as condition
        from rowhook._capture_rules(p_source, p_one_row)
       where operation = p_operation
       group by event_type
    )
    select case
             when count(condition) = 0
               then format('%L::text[]', coalesce(array_agg(event_type), '{}'))
             else format('array_remove(array[%s]::text[], null)', string_agg(
                    case when condition is null then quote_literal(event_type)
                         else format('case when %s then %L end', condition, event_type)
                    end,
                    ', ' order by condition is not null, event_type collate "C"))
           end
      from rules);
end
$$;

comment on function rowhook._capture_events(rowhook.webhook_sources, text, boolean) is
  'SQL expression for the event types of one change, each of them once.';

-- force_generic_plan: see _capture_events.
create function rowhook._capture_possible(p_source rowhook.webhook_sources, p_operation text)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set plan_cache_mode = force_generic_plan
as $$
begin
  return array(
    select distinct r.event_type
      from rowhook._capture_rules(p_source, false) as r
     where p_operation = 'UPDATE'
        or r.operation = case p_operation when 'INSERT' then 'created' else 'deleted' end
     order by 1);
end
$$;

comment on function rowhook._capture_possible(rowhook.webhook_sources, text) is
  'Every event type that a kind of statement can produce. An UPDATE may also be a delete and a '
  'create.';

create function rowhook._wildcards(p_event_types text[])
returns text[]
language sql
immutable
parallel safe
begin atomic
  select array(
    select unnest(rowhook._patterns(p_event_types))
    except
    select unnest(p_event_types)
    order by 1);
end;

comment on function rowhook._wildcards(text[]) is
  'The patterns with * that match one of these event types.';

create function rowhook._capture_webhook(p_result text, p_tenant text, p_patterns text)
returns text
language sql
immutable
parallel safe
begin atomic
  -- A disabled webhook counts for 30 days, so that its missed events can be replayed and nothing is
  -- captured for it forever. An active webhook has no disabled_at. Without the limit, the plan for
  -- any tenant may look more expensive than one for this tenant, and PostgreSQL would plan the query
  -- again in each statement.
  select rowhook._fill($sql$\
    select {result} from rowhook.webhook_configurations as w \
     where w.tenant_id = {tenant} \
       and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days' \
       and w.event_types && {patterns} \
     limit 1$sql$,
    'result',   p_result,
    'tenant',   p_tenant,
    'patterns', p_patterns);
end;

comment on function rowhook._capture_webhook(text, text, text) is
  'SQL query for a webhook of a tenant that wants one of the given event types.';

create function rowhook._capture_poll(p_result text, p_tenant text, p_patterns text)
returns text
language sql
immutable
parallel safe
begin atomic
  select rowhook._fill($sql$\
    select {result} from rowhook.webhook_polls as p \
     where p.tenant_id = {tenant} \
       and p.event_type = any ({patterns}) \
       and p.wanted_until > now() \
     limit 1$sql$,
    'result',   p_result,
    'tenant',   p_tenant,
    'patterns', p_patterns);
end;

comment on function rowhook._capture_poll(text, text, text) is
  'SQL query for a poll of a tenant for one of the given event types.';

-- 0019_portal.sql has the polls, and replaces this function.
create function rowhook._is_polled(p_source rowhook.webhook_sources)
returns boolean
language sql
stable
return false;

comment on function rowhook._is_polled(rowhook.webhook_sources) is
  'Whether anybody polls for an event of a source.';

create function rowhook._capture_wanted(
  p_source   rowhook.webhook_sources,
  p_tenant   text,
  p_patterns text
)
returns text
language sql
stable
begin atomic
  -- These are scalar subqueries, because the planner does not turn them into joins: a plan made for
  -- a bulk statement would read all webhooks in each later statement.
  select case
           when (p_source).capture <> 'subscribed' then 'true'
           when rowhook._is_polled(p_source)
             then format('coalesce((%s), (%s))',
                         rowhook._capture_webhook('true', p_tenant, p_patterns),
                         rowhook._capture_poll('true', p_tenant, p_patterns))
           else format('(%s)', rowhook._capture_webhook('true', p_tenant, p_patterns))
         end;
end;

comment on function rowhook._capture_wanted(rowhook.webhook_sources, text, text) is
  'SQL expression for whether any webhook, or anybody who polls, wants one of the given event '
  'types of a tenant.';

create function rowhook._capture_tenant(p_source rowhook.webhook_sources)
returns text
language sql
stable
begin atomic
  select case
           when (p_source).tenant_column is null
             then format('%L::text', (p_source).tenant_id)
           when (p_source).tenant_column::text = any ((p_source).exclude_columns)
             then 'null::text'
           when rowhook._is_virtual((p_source).relation, (p_source).tenant_column)
             then 'null::text'
           else rowhook._text_of((p_source).relation, (p_source).tenant_column,
                                 quote_ident((p_source).tenant_column))
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
set plan_cache_mode = force_generic_plan
begin atomic
  select rowhook._fill($sql$\
    (select side.tenant \
       from (select {missing}) as missing \
      cross join lateral (select {tenant} as tenant from {table} as r) as side)$sql$,
    'missing', case when (p_source).tenant_column is null then ''
                    else format('null::text as %I', (p_source).tenant_column)
               end,
    'tenant',  rowhook._capture_tenant(p_source),
    'table',   p_table);
end;

comment on function rowhook._capture_tenants(rowhook.webhook_sources, text) is
  'SQL subquery over a transition table: the tenants of the changed rows.';

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

-- One image of the changed rows has: the row as it is stored (image) and as it prints (whole), its
-- tenant, its requested columns by number (c1, c2 ...), its key as text and, if requested, its
-- position. The head of 0010_capture_functions.sql explains the nulls called missing.
create function rowhook._capture_image(
  p_source      rowhook.webhook_sources,
  p_table       text,
  p_numbers     int[],
  p_by_position boolean,
  p_thin        boolean
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_columns  name[]  := rowhook._captured_columns(p_source);
  v_foreign  name[]  := rowhook._captured_foreign(p_source);
  v_virtual  boolean := not p_thin and rowhook._has_virtual_columns(p_source.relation);
  v_named    boolean := not p_thin and (v_virtual or p_source.exclude_columns <> '{}');
  v_numbers  int[]   := p_numbers;
  v_missing  text;
  v_list     text;
  v_key      text;
  v_texts    text    := '';
  v_position text    := '';
  v_printed  text    := '';
begin
  -- A transition table contains nulls for virtual generated columns (PostgreSQL 18), so their
  -- expressions are inserted here, and these may name any column. For them the nulls have types,
  -- all of them built in. The cast to the column's own type (numeric(9,2), date) is not part of the
  -- output of pg_get_expr. A thin event does without these columns. A source that excludes columns
  -- prints a row of the captured columns, which are named here for the same reason.
  if v_named then
    v_numbers := array(select generate_series(1, cardinality(v_columns)));
    select format(' cross join lateral (select %s) as v',
                  string_agg(format('side.c%s as %I', c.number, c.name), ', ' order by c.number))
      into v_printed
      from unnest(v_columns) with ordinality as c (name, number);
  end if;

  -- The tenant is needed even if its column was not requested. It then has the number 0.
  select string_agg(format('null::%s as %I', e.type, c.name), ', ' order by c.number),
         string_agg(format(', %s as c%s', e.value, c.number), '' order by c.number)
           filter (where c.number > 0)
    into v_missing, v_list
    from (select u.name, u.number
            from unnest(v_columns) with ordinality as u (name, number)
           where u.number = any (v_numbers)
          union all
          select p_source.tenant_column, 0
           where p_source.tenant_column is not null
             and p_source.tenant_column <> all (
                   array(select v_columns[u.number] from unnest(v_numbers) as u (number)))
         ) as c (name, number)
    left join rowhook._attributes(p_source.relation) as n on n.name = c.name
    left join pg_attribute a on a.attrelid = p_source.relation and a.attnum = n.number
    left join pg_attrdef d   on d.adrelid = a.attrelid and d.adnum = a.attnum
   cross join lateral (
     select case when v_virtual and a.atttypid < 16384 then format_type(a.atttypid, null)
                 else 'text'
            end,
            case when a.attgenerated is distinct from 'v' then quote_ident(c.name)
                 when v_virtual then format('(%s)::%s', pg_get_expr(d.adbin, d.adrelid),
                                            format_type(a.atttypid, a.atttypmod))
                 else 'null::text'
            end
   ) as e (type, value);

  -- If a column of a composite key is gone, there is no key; otherwise unrelated rows would pair.
  select case count(*)
           when 0 then 'null::text'
           when 1 then rowhook._text_of(p_source.relation, min(c.name), 'side.c' || min(c.number))
                       || ' collate "C"'
           else format('case when num_nulls(%1$s) = 0 then row(%1$s)::text collate "C" end',
                       string_agg('side.c' || c.number, ', ' order by k.position))
         end
    into v_key
    from unnest(rowhook._captured_key(p_source)) with ordinality as k (name, position)
    join unnest(v_columns) with ordinality as c (name, number) on c.name = k.name;

  if cardinality(v_numbers) > rowhook._columns_max() then
    select format(', array[%s] as texts', string_agg(
             format(case when v_columns[u.number] = any (v_foreign)
                         then 'case when (rowhook._render(row(side.c%1$s))).problem is null'
                              ' then to_json(side.c%1$s)::text end'
                         else 'to_json(side.c%s)::text'
                    end, u.number),
             ', ' order by u.number))
      into v_texts
      from unnest(v_numbers) as u (number);
  end if;

  if p_by_position then
    v_position := ', case when (select count(*) from rowhook_old)'
                  ' = (select count(*) from rowhook_new)'
                  ' then row_number() over () end as position';
  end if;

  return rowhook._fill($sql$\
    (select side.*, {whole} as whole, {key} as key{texts}{position} \
       from (select {missing}) as missing \
      cross join lateral (\
        select (r.*)::record as image, {tenant} as tenant{list} from {table} as r\
      ) as side{printed})$sql$,
    'whole',    case when v_named then '(v.*)::record' else 'side.image' end,
    'key',      v_key,
    'texts',    v_texts,
    'position', v_position,
    'missing',  coalesce(v_missing, ''),
    'tenant',   rowhook._capture_tenant(p_source),
    'list',     coalesce(v_list, ''),
    'table',    p_table,
    'printed',  v_printed);
end
$$;

comment on function rowhook._capture_image(rowhook.webhook_sources, text, int[], boolean, boolean) is
  'SQL subquery over a transition table: the changed rows with tenant, key and columns.';

-- The rows of an INSERT have the alias n, those of a DELETE the alias o, see _capture_query. Only
-- the columns of the key and the columns that decide about derived events are needed.
create function rowhook._capture_rows(
  p_source rowhook.webhook_sources,
  p_alias  text,
  p_table  text,
  p_events text,
  p_thin   boolean
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_columns name[] := rowhook._captured_columns(p_source);
  v_keys    name[] := rowhook._captured_key(p_source);
  v_needed  int[]  := array(
    select c.number::int
      from unnest(v_columns) with ordinality as c (name, number)
     where c.name = any (v_keys) or p_source.derived ? c.name::text
     order by c.number);
  v_list    text;
begin
  select string_agg(format(', %s.c%s as k%s', p_alias, c.number, k.position), ''
                    order by k.position)
    into v_list
    from unnest(v_keys) with ordinality as k (name, position)
    join unnest(v_columns) with ordinality as c (name, number) on c.name = k.name;

  return rowhook._fill($sql$\
    select {r}.tenant as tenant_id, {events} as event_types, {r}.key as row_key, {r}.whole{keys} \
      from {image} as {r}$sql$,
    'r',      p_alias,
    'events', p_events,
    'keys',   coalesce(v_list, ''),
    'image',  rowhook._capture_image(p_source, p_table, v_needed, false, p_thin));
end
$$;

comment on function rowhook._capture_rows(rowhook.webhook_sources, text, text, text, boolean) is
  'SQL query for the changes of an INSERT or a DELETE.';

create function rowhook._capture_changed(p_columns name[], p_ignored text[], p_all boolean)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_counted int[] := array(
    select c.number
      from unnest(p_columns) with ordinality as c (name, number)
     where c.name <> all (p_ignored)
     order by c.number);
begin
  if p_all and cardinality(v_counted) = cardinality(p_columns) then
    return 'o.image operator(pg_catalog.*<>) n.image';
  end if;
  if v_counted = '{}' then
    return 'false';
  end if;
  if cardinality(p_columns) > rowhook._columns_max() then
    return rowhook._fill($sql$\
      exists (select from unnest(o.texts, n.texts) with ordinality as u (old, new, number) \
               where u.old is distinct from u.new and u.number = any ({counted}::int[]))$sql$,
      'counted', quote_literal(v_counted));
  end if;
  return (
    select rowhook._differ(string_agg('o.c' || c, ', ' order by c),
                           string_agg('n.c' || c, ', ' order by c))
      from unnest(v_counted) as c);
end
$$;

comment on function rowhook._capture_changed(name[], text[], boolean) is
  'SQL condition for whether an UPDATE of a row changed a captured column that is not ignored. '
  'p_all: the captured columns are all columns of the table.';

create function rowhook._capture_previous(p_columns name[])
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if cardinality(p_columns) > rowhook._columns_max() then
    return rowhook._fill($sql$\
      (select '{' || coalesce(string_agg(u.name || coalesce(u.old, 'null'), ',' \
                                         order by u.number), '') || '}' \
         from unnest({names}::text[], p.o_texts, p.n_texts) with ordinality \
              as u (name, old, new, number) \
        where u.old is distinct from u.new)$sql$,
      'names', (
        select quote_literal(array_agg(to_json(c.name::text) || ':' order by c.number))
          from unnest(p_columns) with ordinality as c (name, number)));
  end if;
  return rowhook._fill($sql$'{' || array_to_string(array[{list}]::text[], ',') || '}'$sql$,
    'list', (
      select coalesce(string_agg(
               format('case when %s then %L || coalesce(to_json(p.o%s)::text, ''null'') end',
                      rowhook._differ('p.o' || c.number, 'p.n' || c.number),
                      to_json(c.name::text) || ':',
                      c.number),
               ', ' order by c.number), '')
        from unnest(p_columns) with ordinality as c (name, number)));
end
$$;

comment on function rowhook._capture_previous(name[]) is
  'SQL expression for the old values of the columns that an UPDATE changed, as the text of a json '
  'object.';

-- A changed key or tenant is a delete and a create, so that neither tenant sees the other's data.
-- An image without a counterpart has no tenant, so the same rule applies. With p_repeated a row may
-- occur more than once, see _changed_by_keys: its key does not tell which image became which. See
-- also _capture_query.
create function rowhook._capture_pairs(
  p_source   rowhook.webhook_sources,
  p_repeated boolean,
  p_thin     boolean
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_columns  name[]  := rowhook._captured_columns(p_source);
  v_numbers  int[]   := array(select generate_series(1, cardinality(v_columns)));
  v_keys     name[]  := rowhook._captured_key(p_source);
  v_foreign  name[]  := rowhook._captured_foreign(p_source);
  v_wide     boolean := cardinality(v_columns) > rowhook._columns_max();
  v_family   boolean := exists (
    select from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
     where i.inhparent = p_source.relation and not c.relispartition);
  v_position boolean := v_keys = '{}' or v_family or p_repeated;
  v_moved    text    := 'o.tenant is distinct from n.tenant';
  v_problem  text    := 'null::text';
  v_previous text    := 'null::json';
  v_list     text;
  v_key      text;
begin
  if v_position and v_keys <> '{}' then
    v_moved := '(o.tenant is distinct from n.tenant or o.key is distinct from n.key)';
  end if;

  if not p_thin then
    v_previous := format('case when not p.moved and p.problem is null then (%s)::json end',
                         rowhook._capture_previous(v_columns));
  end if;

  -- The old values of columns whose type may raise an error are checked here, before they are
  -- printed.
  if v_foreign <> '{}' and not p_thin then
    select format('case when s.is_new and not (%s) then (rowhook._render(row(%s))).problem end',
                  v_moved,
                  string_agg(format('case when %s then o.c%s end',
                                    rowhook._differ('o.c' || c.number, 'n.c' || c.number),
                                    c.number),
                             ', ' order by c.number))
      into v_problem
      from unnest(v_columns) with ordinality as c (name, number)
     where c.name = any (v_foreign);
  end if;

  select string_agg(format(', case when p.is_new then p.n%1$s else p.o%1$s end as k%2$s',
                           c.number, k.position),
                    '' order by k.position)
    into v_key
    from unnest(v_keys) with ordinality as k (name, position)
    join unnest(v_columns) with ordinality as c (name, number) on c.name = k.name;

  select string_agg(format(', o.c%1$s as o%1$s, n.c%1$s as n%1$s', c.number), ''
                    order by c.number)
    into v_list
    from unnest(v_columns) with ordinality as c (name, number)
   where not v_wide or c.name = any (v_keys);

  -- Each pair produces its new image and, if the row moved, its old image first. OFFSET 0 makes
  -- PostgreSQL compute only once what is used more than once.
  return rowhook._fill($sql$\
                            select p.tenant_id, p.event_types, p.row_key, p.whole, p.problem, \
                                   {previous} as previous{key}
                              from (select case when s.is_new then n.tenant else o.tenant end as tenant_id,
                                           case when not s.is_new then {deleted} \
                                                when {moved} then {created} \
                                                else {updated} end as event_types,
                                           case when s.is_new then n.key else o.key end as row_key,
                                           case when s.is_new then n.whole else o.whole end as whole,
                                           {moved} as moved, s.is_new, {problem} as problem{list}
                                      from {old} as o full join {new} as n on {paired}
                                     cross join (values (false), (true)) as s (is_new)
                                     where case when {moved} then true \
                                                else s.is_new and {changed} end{order}
                                    offset 0) as p$sql$,
    'previous', v_previous,
    'key',      coalesce(v_key, ''),
    'deleted',  rowhook._capture_events(p_source, 'deleted'),
    'moved',    v_moved,
    'created',  rowhook._capture_events(p_source, 'created'),
    'updated',  rowhook._capture_events(p_source, 'updated'),
    'problem',  v_problem,
    'list',     coalesce(v_list, '')
                || case when v_wide then ', o.texts as o_texts, n.texts as n_texts' else '' end,
    'old',      rowhook._capture_image(p_source, 'rowhook_old', v_numbers, v_position, p_thin),
    'new',      rowhook._capture_image(p_source, 'rowhook_new', v_numbers, v_position, p_thin),
    'paired',   case when v_position then 'o.position = n.position' else 'o.key = n.key' end,
    'changed',  rowhook._capture_changed(v_columns, p_source.ignore_columns,
                                         p_source.exclude_columns = '{}'),
    -- Among inheriting tables, a key that one row left may belong to another row in the same
    -- statement. The create of that key comes after its delete. Otherwise, changes whose keys do
    -- not determine the order come in the order in which they were made.
    'order',    case when v_family and v_keys <> '{}' then ' order by s.is_new, o.position'
                     when p_repeated then ' order by o.position, s.is_new'
                     else ''
                end);
end
$$;

comment on function rowhook._capture_pairs(rowhook.webhook_sources, boolean, boolean) is
  'SQL query for the changes of an UPDATE, with old and new rows paired.';

-- p_changes is a query of (tenant_id, event_types, row_key, whole, k1, k2 ...), one row per change,
-- with the columns of the key as k1, k2 ...; for an UPDATE it also has previous and problem. With
-- p_problem, only the key is printed.
create function rowhook._capture_query(
  p_source   rowhook.webhook_sources,
  p_changes  text,
  p_possible text[],
  p_pairs    boolean,
  p_problem  text
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_foreign  name[]  := rowhook._captured_foreign(p_source);
  v_careful  boolean := v_foreign <> '{}' and p_problem is null;
  v_wanted   text    := rowhook._capture_wanted(p_source, 'e.tenant_id',
    format('(e.event_types || %L::text[])', rowhook._wildcards(p_possible)));
  v_which    text    := 'e.tenant_id is not null and e.event_types <> ''{}'' and ' || v_wanted;
  v_key      text;
  v_refusal  text;
begin
  select string_agg(
           format('%L, %s', k.name,
                  case when k.name = any (v_foreign)
                       then rowhook._text_of(p_source.relation, k.name, 'f.k' || k.position)
                       else 'f.k' || k.position
                  end),
           ', ' order by k.position)
    into v_key
    from unnest(rowhook._captured_key(p_source)) with ordinality as k (name, position);

  if p_problem is not null then
    return rowhook._fill($sql$\
      select {source}, rowhook._lane(f.tenant_id), f.tenant_id, f.event_types, f.row_key, \
             json_build_object({key}), null::json, {problem}::text \
        from (select e.* from ({changes}) as e where {which}) as f$sql$,
      'source',  p_source.id::text,
      'key',     coalesce(v_key, ''),
      'problem', quote_literal(p_problem),
      'changes', p_changes,
      'which',   v_which);
  end if;

  v_refusal := case when p_pairs then 'coalesce(e.problem, (e.printed).problem)'
                    else '(e.printed).problem'
               end;
  -- OFFSET 0 prevents the planner from evaluating row_to_json twice, once for the size and once for
  -- the row. pg_column_size comes first, since row_to_json fails at 1 GB; no type prints shorter
  -- than an eighth of its size. For the text itself, pg_column_size returns the bytes plus 4 for
  -- the header; octet_length would print the text again for each use of "fits".
  return rowhook._fill($sql$\
    select {source}, rowhook._lane(f.tenant_id), f.tenant_id, f.event_types, f.row_key,
           case when f.fits then f.data else json_build_object({key}) end, \
           case when f.fits then {previous} end, \
           case when not f.fits then {truncated} end
      from (select d.*, coalesce(pg_column_size(d.data) - 4{previous_size} <= {max_size}, false) as fits
              from (select e.*{unpacked}
                      from (select e.*, \
                                   case when pg_column_size(e.whole) <= {max_row_size}{printable} \
                                        then {printed} end as {name}
                              from ({changes}) as e
                             where {which}
                            offset 0) as e) as d) as f$sql$,
    'source',        p_source.id::text,
    'key',           coalesce(v_key, ''),
    'previous',      case when p_pairs then 'f.previous' else 'null::json' end,
    'truncated',     case when v_careful then 'coalesce(f.refusal, ''too_large'')'
                          else '''too_large'''
                     end,
    'previous_size', case when p_pairs then ' + coalesce(pg_column_size(d.previous) - 4, 0)'
                          else ''
                     end,
    'max_size',      p_source.max_payload_bytes::text,
    'unpacked',      case when v_careful then format(', (e.printed).data, %s as refusal', v_refusal)
                          else ''
                     end,
    'max_row_size',  least(p_source.max_payload_bytes * 8::bigint, 134217728)::text,
    'printable',     case when v_careful and p_pairs then ' and e.problem is null' else '' end,
    'printed',       case when v_careful then 'rowhook._render(e.whole)'
                          else 'row_to_json(e.whole)'
                     end,
    'name',          case when v_careful then 'printed' else 'data' end,
    'changes',       p_changes,
    'which',         v_which);
end
$$;

comment on function rowhook._capture_query(rowhook.webhook_sources, text, text[], boolean, text) is
  'SQL query for the rows that a capture function writes into the outbox for one kind of '
  'statement. With p_problem, every event is thin.';

create function rowhook._capture_queries(
  p_source    rowhook.webhook_sources,
  p_operation text,
  p_problem   text default null
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_possible text[]  := rowhook._capture_possible(p_source, p_operation);
  v_thin     boolean := p_problem is not null;
  v_changes  text[];
begin
  if p_operation = 'INSERT' then
    v_changes := array[rowhook._capture_rows(
      p_source, 'n', 'rowhook_new', rowhook._capture_events(p_source, 'created'), v_thin)];
  elsif p_operation = 'DELETE' then
    v_changes := array[rowhook._capture_rows(
      p_source, 'o', 'rowhook_old', rowhook._capture_events(p_source, 'deleted'), v_thin)];
  else
    v_changes := array[rowhook._capture_pairs(p_source, false, v_thin)];
    if rowhook._changed_by_keys(p_source.relation) then
      v_changes := v_changes || rowhook._capture_pairs(p_source, true, v_thin);
    end if;
  end if;
  return array(
    select rowhook._capture_query(
             p_source, c.changes, v_possible, p_operation = 'UPDATE', p_problem)
      from unnest(v_changes) with ordinality as c (changes, number)
     order by c.number);
end
$$;

comment on function rowhook._capture_queries(rowhook.webhook_sources, text, text) is
  'SQL queries for the outbox rows of one kind of statement: one query for a single change and, '
  'where it differs, a second one for several changes.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._fill(text, text[])
  to rowhook_daemon;

create or replace function rowhook.schema_version() returns int language sql stable parallel safe return 9;

reset role;
