-- rowhook 0010: capture functions. watch(table) registers a source. It writes one static PL/pgSQL
-- function for the table, and three AFTER ... FOR EACH STATEMENT triggers that call it with
-- transition tables (0011_triggers.sql). test/golden/capture-deals.sql shows such a function.
--
-- The function is generated and static, so its plans are cached and its columns are checked once.
-- The triggers fire per statement, because 100,000 rows in one statement must not cost 100,000
-- calls. A transition table also follows the columns of its table, whereas NEW of a row-level
-- trigger fails in a session that ran the trigger before the type of a column changed.
--
-- The generated functions run inside the app's own statements. Therefore:
--   * They are SECURITY DEFINER, owned by rowhook_owner, with a pinned search_path, so no setting
--     of the caller affects them. _pin() pins the settings that change how values print (TimeZone,
--     DateStyle, ...), and only in a session that has others. Only two kinds of foreign code run in
--     them: a user-defined cast to json for a type, and the expressions of virtual generated
--     columns. If these raise an error, the event becomes thin (_render(), _capture_trial()), and
--     the app's statement continues.
--   * The payload is json text made by row_to_json. jsonb would abort the app's statement on
--     "\u0000", drop duplicate keys and change their order. An oversized payload becomes a thin
--     event (key columns only) instead of an error.
--   * A table that was altered later must not break the app's statements, nor its events. A
--     function first checks whether the table has the columns and the key that it was written for
--     (_layout(), which costs nothing). If not, _capture_now() writes a query for this one
--     statement, and follows renamed columns by their number. That takes milliseconds, until
--     reconcile() rewrites the function. If that query fails, all events of the statement are thin.
--   * A detached partition keeps its triggers until reconcile(), and is altered independently.
--     Columns are therefore named inside a subquery beside a one-row table of nulls with the same
--     names. SQL resolves a name in the innermost scope that has it, so a dropped column reads as
--     null. Outside of the subquery, columns have numbers, so that no column name conflicts with
--     one of ours. Operators of a column's own type are not used: values are compared by their
--     images, keys by their text.
--   * A statement that changed one row has a path of its own, which reads the row into a record,
--     see _one_row_branch(). It writes the same bytes in half the time. What it does not expect,
--     such as a column that is gone, is left to the queries (test/capture/one-row.test.ts).
--   * A zero-row statement, or one whose tenants want nothing, returns before anything else
--     happens.
--   * Nothing writes in an EXCEPTION block, which would take a transaction id for each statement.
--     Such blocks contain only reads. If writing to the outbox fails (a full disk, a missing
--     partition), the app's statement fails: a change without its event would be worse.
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
-- actions. The app's statement fails on a row that is, or prints as, more than 1 GB, on a json value
-- nested as deep as the stack allows, and on an enum whose first cast to json is created after
-- watch() and fails (docs/dba/tables.md).

set role rowhook_owner;

create function rowhook._tenant_may_be_null(p_source rowhook.webhook_sources)
returns boolean
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select exists (
    select from pg_attribute a
     where a.attrelid = (p_source).relation
       and a.attname = (p_source).tenant_column
       and not a.attnotnull);
end;

comment on function rowhook._tenant_may_be_null(rowhook.webhook_sources) is
  'Whether a row of a source may have no tenant.';

-- There is one expression for each transition table: a single expression would set up both tables,
-- even where the first one decides. The first expression also counts the rows without a tenant.
create function rowhook._capture_probes(
  p_source    rowhook.webhook_sources,
  p_operation text,
  p_counted   boolean
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_possible text[] := rowhook._capture_possible(p_source, p_operation);
  v_patterns text   := quote_literal(v_possible || rowhook._wildcards(v_possible)) || '::text[]';
  v_wanted   text   := rowhook._capture_wanted(p_source, 'i.tenant', v_patterns);
  v_first    text   := v_wanted;
  v_tables   text[] := case p_operation
                         when 'INSERT' then '{rowhook_new}'
                         when 'DELETE' then '{rowhook_old}'
                         else '{rowhook_new,rowhook_old}'
                       end;
begin
  if p_counted then
    v_first := rowhook._fill($sql$\
      case when i.tenant is null then nextval('rowhook.rows_without_tenant') < 0 \
           else {wanted} end$sql$,
      'wanted', v_wanted);
  end if;
  return array(
    select format('exists (select from %s as i where %s)',
                  rowhook._capture_tenants(p_source, t.name),
                  case t.number when 1 then v_first else v_wanted end)
      from unnest(v_tables) with ordinality as t (name, number)
     order by t.number);
end
$$;

comment on function rowhook._capture_probes(rowhook.webhook_sources, text, boolean) is
  'SQL expressions for whether any tenant of the changed rows wants any of the events, one for '
  'each transition table.';

create function rowhook._capture_insert()
returns text
language sql
immutable
parallel safe
return 'insert into rowhook.webhook_outbox'
       ' (source_id, lane, tenant_id, event_types, row_key, data, previous, truncated)';

comment on function rowhook._capture_insert() is
  'The head of the INSERT statement that a capture function runs.';

-- The block only reads, so its subtransaction takes no transaction id.
create function rowhook._capture_trial(p_query text)
returns text
language sql
immutable
parallel safe
return rowhook._fill($sql$\
      begin
        perform count(t) from ({query} offset 0) as t;
      exception
        when transaction_rollback then raise;
        when others or assert_failure then v_wanted := null;
      end;$sql$,
  'query', p_query);

comment on function rowhook._capture_trial(text) is
  'PL/pgSQL that runs a query without writing, and sets v_wanted to null if it fails.';

-- A detached partition keeps its triggers until reconcile(), and the names of its columns may
-- change places. Where columns are excluded, nothing of it is captured.
create function rowhook._belongs(p_source rowhook.webhook_sources)
returns text
language sql
stable
begin atomic
  select case
           when (p_source).exclude_columns <> '{}'
                and exists (select from pg_class c
                             where c.oid = (p_source).relation and c.relkind = 'p')
             then ' ' || rowhook._fill($sql$\
               and pg_partition_root(tg_relid) \
                   = (select s.relation from rowhook.webhook_sources as s \
                       where s.id = {source})$sql$,
               'source', (p_source).id::text)
           else ''
         end;
end;

comment on function rowhook._belongs(rowhook.webhook_sources) is
  'SQL condition for whether the table of a statement is still a partition of the watched table; '
  'nothing where that does not matter.';

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
  v_queries   text[];
  v_probes    text[];
  v_otherwise text := 'exit capture when not v_wanted;';
  v_trial     text := '';
  v_write     text;
begin
  if rowhook._capture_possible(p_source, p_operation) = '{}' then
    return 'exit capture;';
  end if;
  v_probes := rowhook._capture_probes(
    p_source, p_operation, rowhook._tenant_may_be_null(p_source));
  if cardinality(v_probes) > 1 then
    v_otherwise := rowhook._fill($sql$\
      if not v_wanted then
        v_wanted := {probe};
      end if;
      exit capture when not v_wanted;$sql$,
      'probe', v_probes[2]);
  end if;

  v_queries := rowhook._capture_queries(p_source, p_operation);
  if rowhook._has_virtual_columns(p_source.relation) then
    v_trial := rowhook._fill($sql$
      if v_wanted then
        {trial}
      end if;$sql$,
      'trial', rowhook._capture_trial(v_queries[cardinality(v_queries)]));
  end if;
  v_write := rowhook._capture_insert() || ' ' || v_queries[1] || ';';
  if cardinality(v_queries) > 1 then
    v_write := rowhook._fill($sql$\
      if exists (select from rowhook_new offset 1) then {insert} {several}; else {one} end if;$sql$,
      'insert',  rowhook._capture_insert(),
      'several', v_queries[2],
      'one',     v_write);
  end if;

  return rowhook._fill($sql$\
    v_wanted := case when rowhook._layout({source}) = {layout}{belongs} then {probe} end;
      {otherwise}
      v_settings := coalesce(v_settings, rowhook._pin());{trial}
      if v_wanted then
        {write}
      end if;$sql$,
    'source',    p_source.id::text,
    'layout',    quote_literal(rowhook._layout(p_source.id)),
    'belongs',   rowhook._belongs(p_source),
    'probe',     v_probes[1],
    'otherwise', v_otherwise,
    'trial',     v_trial,
    'write',     v_write);
end
$$;

comment on function rowhook._capture_branch(rowhook.webhook_sources, text) is
  'PL/pgSQL for one kind of statement in a capture function: return at once if no tenant of the '
  'changed rows wants any event, otherwise write one outbox row per change.';

-- What capture writes must not depend on the settings of the writer. The head of a capture function
-- does not name these: eight SET clauses take 11 us in each statement, whether it writes or not.
create function rowhook._pin()
returns text[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  c_pinned constant text[] := array[
    'TimeZone',              'UTC',
    'DateStyle',             'ISO, YMD',
    'IntervalStyle',         'postgres',
    'bytea_output',          'hex',
    'extra_float_digits',    '1',
    'lc_monetary',           'C',
    'quote_all_identifiers', 'off'];
  v_before text[] := '{}';
  v_value  text;
begin
  for n in 1 .. cardinality(c_pinned) by 2 loop
    v_value := current_setting(c_pinned[n]);
    if v_value <> c_pinned[n + 1] then
      v_before := v_before || array[c_pinned[n], v_value];
      perform set_config(c_pinned[n], c_pinned[n + 1], true);
    end if;
  end loop;
  return v_before;
end
$$;

comment on function rowhook._pin() is
  'Sets the settings that capture depends on, and returns those that it changed as name, value, '
  'name, value ... If the statement fails, its transaction or savepoint takes them back.';

create function rowhook._unpin(p_before text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  for n in 1 .. cardinality(p_before) by 2 loop
    perform set_config(p_before[n], p_before[n + 1], true);
  end loop;
end
$$;

comment on function rowhook._unpin(text[]) is 'Takes back what _pin() has changed.';

-- The key prints as text, where dates follow DateStyle. In json they do not.
create function rowhook._unpinned(p_source rowhook.webhook_sources, p_columns name[], p_text name[])
returns text
language sql
stable
begin atomic
  with used as (
    select case
             when t.typtype = 'e' then 'text'::regtype::oid
             when t.typtype = 'd' then t.typbasetype
             when t.typsubscript = 'array_subscript_handler'::regproc then t.typelem
             else t.oid
           end as type,
           a.name = any (p_text) as is_text
      from rowhook._attributes((p_source).relation) as a
      join pg_type t on t.oid = a.type
     where a.name = any (p_columns)
  ), settings (number, types, is_text, condition) as (
    values
      (1, '{timestamptz}'::regtype[], null,
          $sql$current_setting('TimeZone') not in ('UTC', 'Etc/UTC', 'GMT')$sql$),
      (2, '{date,timestamp,timestamptz}', true,
          $sql$current_setting('DateStyle') not like 'ISO%'$sql$),
      (3, '{interval}', null, $sql$current_setting('IntervalStyle') <> 'postgres'$sql$),
      (4, '{bytea}', null, $sql$current_setting('bytea_output') <> 'hex'$sql$),
      (5, '{real,double precision}', null, $sql$current_setting('extra_float_digits') <> '1'$sql$),
      (6, '{money}', null, $sql$current_setting('lc_monetary') <> 'C'$sql$),
      -- A type that is not listed may print under any of them.
      (7, '{}', null, 'true')
  ), free (types) as (
    select '{boolean,smallint,int,bigint,numeric,text,varchar,bpchar,name,uuid,json,jsonb,time,'
           'timetz,date,timestamp,inet,cidr,macaddr}'::regtype[]
  )
  select string_agg(s.condition, ' or ' order by s.number)
    from settings as s
   cross join free as f
   where exists (
           select from used as u
            where u.type = any (s.types) and (s.is_text is null or u.is_text)
               or s.number = 7 and u.type <> all (f.types)
                  and not exists (select from settings as x where u.type = any (x.types)));
end;

comment on function rowhook._unpinned(rowhook.webhook_sources, name[], name[]) is
  'SQL condition for whether the session prints some columns otherwise than _pin(); null if no '
  'setting changes how they print. The columns p_text are printed as text too.';

create function rowhook._tenant_prints_alike(p_source rowhook.webhook_sources)
returns boolean
language sql
stable
begin atomic
  select (p_source).tenant_column is null
         or rowhook._unpinned(p_source, array[(p_source).tenant_column],
                              array[(p_source).tenant_column]) is null;
end;

comment on function rowhook._tenant_prints_alike(rowhook.webhook_sources) is
  'Whether no setting changes the text of the tenant, so that it is read before _pin() is called.';

-- A statement that changed one row takes a path of its own: the row is read into a record, and
-- plain PL/pgSQL prints it. That takes half the time of the queries below, which the executor sets
-- up in each statement.
--
-- The queries do all that this path cannot: several rows, a row that moves to another tenant or
-- key, a table that was altered. They are also the only path where a type or a virtual column may
-- raise an error, and for a table with a great number of columns.
create function rowhook._has_one_row_path(p_source rowhook.webhook_sources)
returns boolean
language sql
stable
begin atomic
  select rowhook._captured_foreign(p_source) = '{}'
         and not rowhook._has_virtual_columns((p_source).relation)
         and cardinality(rowhook._captured_columns(p_source))
               between 1 and rowhook._columns_max()
         and ((p_source).tenant_column is null
              or (p_source).tenant_column = any (rowhook._captured_columns(p_source)))
         and rowhook._tenant_prints_alike(p_source);
end;

comment on function rowhook._has_one_row_path(rowhook.webhook_sources) is
  'Whether the capture function of a source has a path for statements of one row.';

-- _layout() is part of the plan, so it costs nothing here. If it differs, no row is found.
create function rowhook._one_row_read(
  p_source    rowhook.webhook_sources,
  p_operation text,
  p_columns   name[],
  p_keys      name[]
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_list text := '*';
  v_read text;
begin
  if p_source.exclude_columns <> '{}' then
    v_list := (select string_agg(quote_ident(c.name), ', ' order by c.number)
                 from unnest(p_columns) with ordinality as c (name, number));
  end if;
  v_read := rowhook._fill($sql$\
    select {list} into strict {image} from {table} \
      where rowhook._layout({source}) = {layout}{belongs};$sql$,
    'list',    v_list,
    'image',   case p_operation when 'DELETE' then 'v_old' else 'v_new' end,
    'table',   case p_operation when 'DELETE' then 'rowhook_old' else 'rowhook_new' end,
    'source',  p_source.id::text,
    'layout',  quote_literal(rowhook._layout(p_source.id)),
    'belongs', rowhook._belongs(p_source));
  if p_operation = 'UPDATE' then
    v_read := rowhook._fill($sql$\
        {read}
        select {list} into strict v_old from rowhook_old;
        exit one_row when {moved};$sql$,
      'read',  v_read,
      'list',  v_list,
      'moved', (select coalesce(string_agg(rowhook._differ_in(a.name, a.type), ' or '
                                           order by m.number), 'false')
                  from unnest(p_source.tenant_column || p_keys) with ordinality as m (name, number)
                  join rowhook._attributes(p_source.relation) as a on a.name = m.name));
  end if;
  return v_read;
end
$$;

comment on function rowhook._one_row_read(rowhook.webhook_sources, text, name[], name[]) is
  'PL/pgSQL that reads the images of a changed row, and leaves the one-row path if the row moved '
  'to another tenant or key.';

create function rowhook._one_row_key(
  p_source rowhook.webhook_sources,
  p_keys   name[],
  p_image  text
)
returns text
language sql
stable
begin atomic
  select case count(*)
           when 0 then 'null'
           when 1 then rowhook._text_of((p_source).relation, min(k.name),
                                        format('%s.%I', p_image, min(k.name)))
           else format('row(%s)::text',
                       string_agg(format('%s.%I', p_image, k.name), ', ' order by k.position))
         end
    from unnest(p_keys) with ordinality as k (name, position);
end;

comment on function rowhook._one_row_key(rowhook.webhook_sources, name[], text) is
  'PL/pgSQL expression for the key of a row as text.';

create function rowhook._one_row_changed(p_source rowhook.webhook_sources, p_columns name[])
returns text
language sql
stable
begin atomic
  select coalesce(
           'array_to_string(array['
             || string_agg(
                  E'\n          '
                    || format('case when %s then %L || coalesce(to_json(v_old.%I)::text, ''null'') end',
                              rowhook._differ_in(a.name, a.type),
                              to_json(a.name::text) || ':',
                              a.name),
                  ',' order by a.number)
             || $sql$]::text[], ',')$sql$,
           $sql$''$sql$)
    from rowhook._attributes((p_source).relation) as a
   where a.name = any (p_columns);
end;

comment on function rowhook._one_row_changed(rowhook.webhook_sources, name[]) is
  'PL/pgSQL expression for the old values of those of some columns that an UPDATE changed, as the '
  'inner part of a JSON object.';

-- Statements and not conditions: of the 17 us of an INSERT that no webhook wants, a scalar subquery
-- took 3 more to set up.
create function rowhook._one_row_query(
  p_source   rowhook.webhook_sources,
  p_certain  text[],
  p_patterns text
)
returns text
language sql
stable
begin atomic
  select rowhook._capture_webhook(
           coalesce('w.event_types && ' || c.literal, 'true') || ' into v_wanted',
           'v_tenant', p_patterns)
         || ';'
         || case when rowhook._is_polled(p_source) then rowhook._fill($sql$
        if v_wanted is null then
          {poll};
        end if;$sql$,
              'poll', rowhook._capture_poll(
                        coalesce('p.event_type = any (' || c.literal || ')', 'true')
                          || ' into v_wanted',
                        'v_tenant', p_patterns))
            else ''
            end
    from (select quote_literal(p_certain) || '::text[]') as c (literal);
end;

comment on function rowhook._one_row_query(rowhook.webhook_sources, text[], text) is
  'PL/pgSQL that sets v_wanted if a webhook or a poll matches the patterns: to whether it also '
  'matches p_certain, or to true without p_certain; otherwise to null.';

-- force_generic_plan: see _capture_events.
--
-- Most statements interest no webhook. So the first query asks for a webhook that wants any event
-- that such a statement may produce, before the two images of an UPDATE are compared. If that
-- webhook does not want the event in any case, a second query asks with the event types.
create function rowhook._one_row_wanted(
  p_source           rowhook.webhook_sources,
  p_kind             text,
  out of_any_type    text,
  out of_these_types text
)
returns record
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set plan_cache_mode = force_generic_plan
as $$
declare
  v_type     text   := p_source.prefix || '.' || p_kind;
  v_certain  text[] := rowhook._wildcards(array[v_type]);
  v_possible text[] := array(
    select distinct r.event_type
      from rowhook._capture_rules(p_source, true) as r
     where r.operation = p_kind
     order by 1);
  v_wild     text[] := rowhook._wildcards(v_possible);
begin
  of_any_type := '';
  of_these_types := '';
  if p_source.capture <> 'subscribed' then
    return;
  end if;
  if p_kind = any (p_source.events) then
    v_certain := v_type || v_certain;
  end if;
  if v_possible || v_wild <@ v_certain then
    v_certain := null;
  else
    of_these_types := rowhook._fill($sql$
        if not v_wanted then
          {query}
          exit capture when v_wanted is null;
        end if;$sql$,
      'query', rowhook._one_row_query(p_source, null, format('(v_types || %L::text[])', v_wild)));
  end if;
  of_any_type := rowhook._fill($sql$
        {query}
        if v_wanted is null then
          return null;
        end if;$sql$,
    'query', rowhook._one_row_query(p_source, v_certain,
                                    quote_literal(v_possible || v_wild) || '::text[]'));
end
$$;

comment on function rowhook._one_row_wanted(rowhook.webhook_sources, text) is
  'PL/pgSQL that leaves if nobody wants an event of a kind of change: of_any_type before the event '
  'types are known, of_these_types for those in v_types.';

-- v_old and v_new are the images of one row that stayed what it was. Where v_data is set at the end,
-- all variables of the outbox row are set.
create function rowhook._one_row_branch(p_source rowhook.webhook_sources, p_operation text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_kind      text   := case p_operation when 'INSERT' then 'created'
                                         when 'DELETE' then 'deleted'
                                         else 'updated'
                        end;
  v_image     text   := case p_operation when 'DELETE' then 'v_old' else 'v_new' end;
  v_columns   name[] := rowhook._captured_columns(p_source);
  v_keys      name[] := rowhook._captured_key(p_source);
  -- The columns that an UPDATE may have changed: _one_row_read leaves if the others did.
  v_others    name[] := array(
    select c.name
      from unnest(v_columns) with ordinality as c (name, number)
     where c.name <> all (v_keys)
       and c.name is distinct from p_source.tenant_column
     order by c.number);
  v_no_tenant text   := '';
  v_changed   text   := '';
  v_empty     text   := '';
  v_pin       text   := rowhook._unpinned(p_source, v_columns, v_keys);
  v_wanted    record := rowhook._one_row_wanted(p_source, v_kind);
begin
  if rowhook._capture_possible(p_source, p_operation) = '{}' then
    return 'exit capture;';
  end if;
  if rowhook._tenant_may_be_null(p_source) then
    v_no_tenant := $sql$
        if v_tenant is null then
          perform nextval('rowhook.rows_without_tenant');
          return null;
        end if;$sql$;
  -- The query for webhooks finds none for null.
  elsif p_source.capture <> 'subscribed' then
    v_no_tenant := E'\n        exit capture when v_tenant is null;';
  end if;
  if v_kind <> all (p_source.events) then
    v_empty := E'\n        exit capture when v_types = ''{}'';';
  end if;
  if v_pin is not null then
    v_pin := rowhook._fill($sql$
        if {unpinned} then
          v_settings := rowhook._pin();
        end if;$sql$,
      'unpinned', v_pin);
  end if;
  if p_operation = 'UPDATE' then
    v_changed := rowhook._fill($sql$
        v_changed := {changed};
        exit capture when v_changed = {ignored};$sql$,
      'changed', rowhook._one_row_changed(p_source, v_others),
      'ignored', rowhook._one_row_changed(p_source, array(
                   select o from unnest(v_others) as o where o = any (p_source.ignore_columns))));
  end if;
  return rowhook._fill($sql$\
        {read}
        v_tenant := {tenant};{no_tenant}{wanted}{pin}{changed}
        v_types := {types};{empty}{wanted_types}
        v_key := {key};
        v_data := case when pg_column_size({image}) <= {max_row_size} then row_to_json({image}) end;{previous}
        if (pg_column_size(v_data){previous_size} <= {max_size}) is not true then
          v_data := json_build_object({thin});
          v_previous := null;
          v_truncated := 'too_large';
        end if;$sql$,
    'read',          rowhook._one_row_read(p_source, p_operation, v_columns, v_keys),
    'tenant',        case when p_source.tenant_column is null
                          then format('%L::text', p_source.tenant_id)
                          else rowhook._text_of(p_source.relation, p_source.tenant_column,
                                                format('%s.%I', v_image, p_source.tenant_column))
                     end,
    'no_tenant',     v_no_tenant,
    'wanted',        v_wanted.of_any_type,
    'pin',           coalesce(v_pin, ''),
    'changed',       v_changed,
    'types',         rowhook._capture_events(p_source, v_kind, true),
    'empty',         v_empty,
    'wanted_types',  v_wanted.of_these_types,
    'key',           rowhook._one_row_key(p_source, v_keys, v_image),
    'image',         v_image,
    'max_row_size',  least(p_source.max_payload_bytes * 8::bigint, 134217728)::text,
    'previous',      case p_operation when 'UPDATE'
                          then E'\n        v_previous := (''{'' || v_changed || ''}'')::json;'
                          else ''
                     end,
    'previous_size', case p_operation when 'UPDATE' then ' + pg_column_size(v_previous)' else '' end,
    -- A value takes 4 bytes for its length.
    'max_size',      (p_source.max_payload_bytes
                      + case p_operation when 'UPDATE' then 8 else 4 end::bigint)::text,
    'thin',          (select coalesce(string_agg(format('%L, %s.%I', k.name, v_image, k.name), ', '
                                                 order by k.position), '')
                        from unnest(v_keys) with ordinality as k (name, position)));
end
$$;

comment on function rowhook._one_row_branch(rowhook.webhook_sources, text) is
  'PL/pgSQL for one kind of statement that changed one row: leave at once if no webhook wants an '
  'event of it, otherwise set the variables of its outbox row.';

-- The block only reads, so its subtransaction takes no transaction id. The errors that it catches
-- are those of a statement that did not change exactly one row, or of a table whose columns are not
-- those that this session, or this function, has seen before.
create function rowhook._one_row(p_source rowhook.webhook_sources)
returns text
language sql
stable
begin atomic
  select case when rowhook._has_one_row_path(p_source) then rowhook._fill($sql$
    <<one_row>>
    begin
      if tg_op = 'INSERT' then
        {insert_branch}
      elsif tg_op = 'DELETE' then
        {delete_branch}
      else
        {update_branch}
      end if;
    exception
      when no_data_found or too_many_rows or undefined_column or undefined_function \
           or ambiguous_function or datatype_mismatch then
        v_data := null;
        v_settings := null;
    end;
    if v_data is not null then
      {insert}
      values ({source}, rowhook._lane(v_tenant), v_tenant, v_types, v_key, v_data, v_previous, \
              v_truncated);
      get diagnostics v_written = row_count;
      exit capture;
    end if;$sql$,
      'insert_branch', rowhook._one_row_branch(p_source, 'INSERT'),
      'delete_branch', rowhook._one_row_branch(p_source, 'DELETE'),
      'update_branch', rowhook._one_row_branch(p_source, 'UPDATE'),
      'insert',        rowhook._capture_insert(),
      'source',        (p_source).id::text)
    else '' end;
end;

comment on function rowhook._one_row(rowhook.webhook_sources) is
  'PL/pgSQL for a statement that changed one row; nothing for a source without such a path.';

create function rowhook._source_now(p_source_id int, p_relation oid, p_operation text)
returns rowhook.webhook_sources
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_before rowhook.webhook_sources;
  v_source rowhook.webhook_sources;
begin
  select * into v_before from rowhook.webhook_sources where id = p_source_id;
  if not found then
    return null;
  end if;
  v_source := rowhook._followed(v_before);
  -- Where columns were excluded, a new column waits for reconcile(). In a restored table all columns
  -- are new, so this rule cannot apply to it. A partition has the columns of its root.
  if v_source.exclude_columns <> '{}' then
    if p_relation not in (select rowhook._capture_relations(v_source.relation)) then
      return null;
    end if;
    v_source.exclude_columns := v_source.exclude_columns || array(
      select p.name::text
        from rowhook._attributes(p_relation) as p
       where not exists (
               select from rowhook._attributes(v_source.relation) as a
                where a.name = p.name
                  and (v_before.exclude_columns = '{}'
                       or a.number <= v_before.newest_column
                       or v_before.numbered_relation is distinct from v_source.relation::oid)));
  end if;
  v_source.relation := p_relation;
  if v_source.tenant_column is not null
     and v_source.tenant_column <> all (rowhook._captured_columns(v_source))
     or rowhook._capture_possible(v_source, p_operation) = '{}' then
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
set plan_cache_mode = force_generic_plan
as $$
declare
  v_source rowhook.webhook_sources := rowhook._source_now(p_source_id, p_relation, p_operation);
begin
  if v_source.id is null then
    return 'select false';
  end if;
  return 'select '
         || array_to_string(rowhook._capture_probes(v_source, p_operation, false), ' or ');
end
$$;

comment on function rowhook._wanted_now(int, oid, text) is
  'SQL query for whether any webhook wants an event of a statement, for a table that has changed '
  'since its capture function was written.';

create function rowhook._capture_now(
  p_source_id int,
  p_relation  oid,
  p_operation text,
  p_problem   text default null
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set plan_cache_mode = force_generic_plan
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
-- trigger's condition again in each statement, which takes 7 us. Each transaction sets up its
-- expressions anew, all of their parts. So the parts of the last condition are conditions of their
-- own, and what most statements do not reach is not set up: 1 us less.
create function rowhook._capture_body(p_source rowhook.webhook_sources)
returns text
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select rowhook._fill($body$
#variable_conflict use_column
declare
  v_old       record;
  v_new       record;
  v_tenant    text;
  v_types     text[];
  v_key       text;
  v_data      json;
  v_previous  json;
  v_truncated text;
  v_changed   text;
  v_wanted    boolean;
  v_query     text;
  v_written   bigint;
  v_settings  text[];
begin
  if current_setting('rowhook.mute', true) = 'on' then
    return null;
  end if;
  <<capture>>
  begin{one_row}{pin}
    if tg_op = 'INSERT' then
      {insert_branch}
    elsif tg_op = 'DELETE' then
      {delete_branch}
    else
      {update_branch}
    end if;
    if v_wanted is null then
      begin
        execute rowhook._wanted_now({source}, tg_relid, tg_op) into v_wanted;
        exit capture when not v_wanted;
        v_query := rowhook._capture_now({source}, tg_relid, tg_op);
        execute 'select count(t) from (' || v_query || ' offset 0) as t';
      exception
        when transaction_rollback then raise;
        when others or assert_failure then \
          v_query := rowhook._capture_now({source}, tg_relid, tg_op, rowhook._problem(sqlstate, sqlerrm));
      end;
      exit capture when v_query is null;
      execute '{insert} ' || v_query;
    end if;
    get diagnostics v_written = row_count;
  end;
  if v_settings is not null then
    perform rowhook._unpin(v_settings);
  end if;
  if v_written > 0 then
    if pg_sequence_last_value('rowhook.doorbell'::regclass) = 2 then
      if pg_notification_queue_usage() < 0.5 then
        perform pg_notify('rowhook', '');
      end if;
    end if;
  end if;
  return null;
end
$body$,
    'source',        (p_source).id::text,
    'one_row',       rowhook._one_row(p_source),
    'pin',           case when rowhook._tenant_prints_alike(p_source) then ''
                          else E'\n    v_settings := rowhook._pin();'
                     end,
    'insert_branch', rowhook._capture_branch(p_source, 'INSERT'),
    'delete_branch', rowhook._capture_branch(p_source, 'DELETE'),
    'update_branch', rowhook._capture_branch(p_source, 'UPDATE'),
    'insert',        rowhook._capture_insert());
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
set plan_cache_mode = force_generic_plan
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
       set tenant_column     = v_source.tenant_column,
           ignore_columns    = v_source.ignore_columns,
           exclude_columns   = v_source.exclude_columns,
           include_columns   = v_source.include_columns,
           derived           = v_source.derived,
           column_numbers    = v_source.column_numbers,
           numbered_relation = v_source.numbered_relation,
           newest_column     = v_source.newest_column
     where s.id = p_source_id;
  end if;
  v_body := rowhook._capture_body(v_source);
  if exists (
       select from pg_proc
        where oid = to_regproc('rowhook.' || v_name) and prosrc = v_body) then
    return false;
  end if;
  -- With row_security off, as pg_restore sets it, our own policies would end the app's statement.
  -- With jit, a plan made for a bulk statement would be compiled again in each later small
  -- statement; and where a setting makes plans dear, each new session would compile for a second.
  -- The settings that change how values print are pinned by _pin().
  execute format($sql$
    create or replace function rowhook.%I()
      returns trigger
      language plpgsql
      volatile
      security definer
      set search_path = pg_catalog, pg_temp
      set row_security = on
      set jit = off
      as %L$sql$, v_name, v_body);
  execute format('revoke execute on function rowhook.%I() from public', v_name);
  execute format('comment on function rowhook.%I() is %L', v_name,
                 'Capture of ' || v_source.relation || ', written by rowhook.watch().');
  return true;
end
$$;

comment on function rowhook._write_capture(int) is
  'Writes the capture function of a source, rowhook._capture_<id>, unless it exists in exactly '
  'this form. Returns whether it wrote the function.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._tenant_may_be_null(rowhook.webhook_sources), rowhook._write_capture(int)
  to rowhook_daemon;

create or replace function rowhook.schema_version() returns int language sql stable parallel safe return 10;

reset role;
