-- Removes rowhook from this database: all its triggers, functions, tables and rows. Events that
-- were captured and not yet delivered are lost. The watched tables keep their data.
--
--   psql -v ON_ERROR_STOP=1 -f uninstall.sql
--
-- Stop the daemons first. Run this file as a member of rowhook_owner that owns the watched tables.
-- Dropping their triggers locks each table for a moment. The file is one transaction, except where
-- the server's lock table has no room for all watched tables, or for all of rowhook's own, at once.
-- In that case each table is left in a transaction of its own; if one fails, run the file again.
-- Each role is dropped too, unless something else in this cluster still uses it, or the role that
-- runs this file may not drop it. A notice says which of the two it is.

set lock_timeout = '10s';
set statement_timeout = 0;
set search_path = pg_catalog;
-- Otherwise psql prints a notice for each object that goes with the schema.
set client_min_messages = warning;

-- A watched table takes five entries of the lock table: itself, three triggers, the function. Of
-- rowhook's own objects, a table takes some 25 with its types, defaults, constraints and indexes
-- (there is one for each day of the log), and a function one. The lock table is larger than v_room:
-- it has entries for the server's own processes, too.
do $$
declare
  v_schema    oid := to_regnamespace('rowhook');
  v_room      int := current_setting('max_locks_per_transaction')::int
                     * (current_setting('max_connections')::int
                        + current_setting('max_prepared_transactions')::int);
  v_tables    int;
  v_own       int;
  v_table     regclass;
  v_statement text;
begin
  select count(distinct t.tgrelid) into v_tables
    from pg_trigger t
    join pg_proc p on p.oid = t.tgfoid
   where p.pronamespace = v_schema
     and t.tgrelid not in (select oid from pg_class where relnamespace = v_schema);
  v_own := (select 25 * count(*) from pg_class
             where relnamespace = v_schema and relkind in ('r', 'p'))
           + (select count(*) from pg_proc where pronamespace = v_schema);
  if 5 * v_tables + v_own < v_room then
    return;
  end if;
  -- A transaction that began before this statement does not allow COMMIT here.
  if now() <> statement_timestamp() then
    raise exception 'uninstall: % watched tables and % partitions of the log are too many '
                    'for one transaction of this server',
      v_tables, (select count(*) from pg_inherits where inhparent = to_regclass('rowhook.webhook_logs'))
      using hint = 'Run this file with psql, without -1, BEGIN and COMMIT; '
                   'or raise max_locks_per_transaction.';
  end if;

  for v_table in
    select distinct t.tgrelid::regclass
      from pg_trigger t
      join pg_proc p on p.oid = t.tgfoid
     where p.pronamespace = v_schema
       and t.tgrelid not in (select oid from pg_class where relnamespace = v_schema)
  loop
    for v_statement in
      select format('drop trigger %I on %s', t.tgname, v_table)
        from pg_trigger t
        join pg_proc p on p.oid = t.tgfoid
       where p.pronamespace = v_schema
         and t.tgrelid = v_table
    loop
      execute v_statement;
    end loop;
    commit;
  end loop;
  for v_statement in
    select format('drop function %s', p.oid::regprocedure)
      from pg_proc p where p.pronamespace = v_schema and p.proname ~ '^_capture_[0-9]+$'
  loop
    execute v_statement;
    commit;
  end loop;
  if v_own < v_room then
    return;
  end if;

  -- Partitions come before their table. What depends on a table goes with it.
  for v_statement in
    select format('drop table if exists rowhook.%I cascade', relname)
      from pg_class
     where relnamespace = v_schema and relkind in ('r', 'p')
     order by relispartition desc, relname
  loop
    execute v_statement;
    commit;
  end loop;
  loop
    select format('drop routine %s cascade', p.oid::regprocedure) into v_statement
      from pg_proc p where p.pronamespace = v_schema order by p.oid desc limit 1;
    exit when not found;
    execute v_statement;
    commit;
  end loop;
end
$$;

drop schema if exists rowhook cascade;

reset client_min_messages;

do $$
declare
  v_role text;
begin
  foreach v_role in array
    '{rowhook_api,rowhook_app,rowhook_daemon,rowhook_owner,rowhook_worker}'::name[]
  loop
    continue when to_regrole(v_role) is null;
    begin
      execute format('drop role %I', v_role);
    exception
      when dependent_objects_still_exist then
        raise notice 'role % is kept: something else in this cluster uses it', v_role;
      when insufficient_privilege then
        -- This database has nothing of the role any more: what depends on it is elsewhere.
        if exists (select from pg_shdepend d
                    where d.refclassid = 'pg_authid'::regclass and d.refobjid = to_regrole(v_role)) then
          raise notice 'role % is kept: something else in this cluster uses it', v_role;
        else
          raise notice 'role % is kept: % may not drop it', v_role, current_user
            using hint = format('Let a DBA run: drop role %I', v_role);
        end if;
    end;
  end loop;
end
$$;

reset search_path;
reset statement_timeout;
reset lock_timeout;
