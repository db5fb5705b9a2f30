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
--     of the caller affects them. Settings that change how values print (TimeZone, DateStyle, ...)
--     are pinned too. Only two kinds of foreign code run in them: a user-defined cast to json for a
--     type, and the expressions of virtual generated columns. If these raise an error, the event
--     becomes thin (_render(), _capture_trial()), and the app's statement continues.
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
-- actions. The app's statement fails on a row that is, or prints as, more than 1 GB, on a json value
-- nested as deep as the stack allows, and on an enum whose first cast to json is created after
-- watch() and fails (docs/dba.md).

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
  v_otherwise text := 'return null;';
  v_trial     text := '';
  v_belongs   text := '';
  v_write     text;
begin
  if rowhook._capture_possible(p_source, p_operation) = '{}' then
    return 'return null;';
  end if;
  v_probes := rowhook._capture_probes(
    p_source, p_operation, rowhook._tenant_may_be_null(p_source));
  if cardinality(v_probes) > 1 then
    v_otherwise := rowhook._fill($sql$\
      v_wanted := {probe};
      if not v_wanted then
        return null;
      end if;$sql$,
      'probe', v_probes[2]);
  end if;

  -- A detached partition keeps its triggers until reconcile(), and the names of its columns may
  -- change places. Where columns are excluded, nothing of it is captured.
  if p_source.exclude_columns <> '{}'
     and exists (select from pg_class c where c.oid = p_source.relation and c.relkind = 'p') then
    v_belongs := rowhook._fill($sql$\
       and pg_partition_root(tg_relid) \
                  = (select s.relation from rowhook.webhook_sources as s where s.id = {source})$sql$,
      'source', p_source.id::text);
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
    if not v_wanted then
      {otherwise}
    end if;{trial}
    if v_wanted then
      {write}
    end if;$sql$,
    'source',    p_source.id::text,
    'layout',    quote_literal(rowhook._layout(p_source.id)),
    'belongs',   v_belongs,
    'probe',     v_probes[1],
    'otherwise', v_otherwise,
    'trial',     v_trial,
    'write',     v_write);
end
$$;

comment on function rowhook._capture_branch(rowhook.webhook_sources, text) is
  'PL/pgSQL for one kind of statement in a capture function: return at once if no tenant of the '
  'changed rows wants any event, otherwise write one outbox row per change.';

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
-- trigger's condition again in each statement, which takes 7 us.
create function rowhook._capture_body(p_source rowhook.webhook_sources)
returns text
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select rowhook._fill($body$
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
    {insert_branch}
  elsif tg_op = 'DELETE' then
    {delete_branch}
  else
    {update_branch}
  end if;
  if v_wanted is null then
    begin
      execute rowhook._wanted_now({source}, tg_relid, tg_op) into v_wanted;
      if not v_wanted then
        return null;
      end if;
      v_query := rowhook._capture_now({source}, tg_relid, tg_op);
      execute 'select count(t) from (' || v_query || ' offset 0) as t';
    exception
      when transaction_rollback then raise;
      when others or assert_failure then \
        v_query := rowhook._capture_now({source}, tg_relid, tg_op, rowhook._problem(sqlstate, sqlerrm));
    end;
    if v_query is null then
      return null;
    end if;
    execute '{insert} ' || v_query;
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0
     and pg_sequence_last_value('rowhook.doorbell'::regclass) = 2
     and pg_notification_queue_usage() < 0.5 then
    perform pg_notify('rowhook', '');
  end if;
  return null;
end
$body$,
    'source',        (p_source).id::text,
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
  -- Most of these settings change how values print: the output of row_to_json must not depend on
  -- the writer. With row_security off, as pg_restore sets it, our own policies would end the app's
  -- statement. With jit, a plan made for a bulk statement would be compiled again in each later
  -- small statement.
  execute format($sql$
    create or replace function rowhook.%I()
      returns trigger
      language plpgsql
      volatile
      security definer
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
