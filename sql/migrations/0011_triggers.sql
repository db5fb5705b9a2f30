-- rowhook 0011: the triggers of a watched table. They are created and dropped without making the
-- app's own statements wait. Tables that inherit from a watched table are sources of their own.

set role rowhook_owner;

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
  v_watched    regclass := (
    select s.relation from rowhook.webhook_sources s where s.id = p_source_id);
  v_function   regproc  := to_regproc('rowhook._capture_' || p_source_id);
  v_relations  regclass[];
  v_statements text[];
  v_forbidden  regclass;
begin
  select array_agg(m.relation order by m.number), array_agg(m.statements order by m.number)
    into v_relations, v_statements
    from (
      select r.relation, r.number, string_agg(
               rowhook._fill($sql$\
                 create or replace trigger {name} after {operation} on {table} \
                   referencing {images} \
                   for each statement execute function {function}()$sql$,
                 'name',      o.name,
                 'operation', o.operation,
                 'table',     r.relation::text,
                 'images',    o.images,
                 'function',  v_function::text),
               '; ' order by o.name) as statements
        from rowhook._capture_relations(v_watched) with ordinality as r (relation, number)
       cross join (values
         ('rowhook_insert', 'insert', 'new table as rowhook_new'),
         ('rowhook_update', 'update', 'old table as rowhook_old new table as rowhook_new'),
         ('rowhook_delete', 'delete', 'old table as rowhook_old')) as o (name, operation, images)
       where not exists (
               select from pg_trigger t
                where t.tgrelid = r.relation and t.tgname = o.name and t.tgfoid = v_function)
       group by r.relation, r.number
    ) as m;

  -- CREATE TRIGGER checks the privilege only after it has the lock. So the privilege is checked
  -- here: otherwise the app's writers would wait behind a statement that fails.
  select r into v_forbidden
    from unnest(v_relations) as r
   where not has_table_privilege(r, 'trigger')
   limit 1;
  if found then
    raise insufficient_privilege using
      message = format('watch: %I may not make triggers on table %s', current_user, v_forbidden),
      hint = (
        select format(case when pg_has_role(c.relowner, 'rowhook_owner', 'usage')
                           then 'Connect as its owner %I, or let the owner run: '
                           else 'Let its owner %I run: '
                      end || 'grant trigger on %s to %I;',
                      pg_get_userbyid(c.relowner), v_forbidden, current_user)
          from pg_class c
         where c.oid = v_forbidden);
  end if;
  perform rowhook._execute_with_locks(v_relations, v_statements);
  return query select r, 'attached' from unnest(v_relations) as r;

  v_relations := array(
    select distinct t.tgrelid::regclass
      from pg_trigger t
     where t.tgfoid = v_function
       and t.tgrelid not in (select * from rowhook._capture_relations(v_watched)));
  perform rowhook._detach(v_relations, array[p_source_id]);
  return query select r, 'detached' from unnest(v_relations) as r;
end
$$;

comment on function rowhook._attach(int) is
  'Creates the missing triggers of a source and drops those that do not belong (on a detached '
  'partition), and returns one line for each table that it changed. Waits for locks as '
  '_execute_with_locks() does.';

-- Each statement comes with the table that it locks. During a long wait, the app's own statements
-- would queue behind this session. A session that has waited 1 s for a lock (deadlock_timeout)
-- checks for a deadlock and ends its own transaction if it is in one. So one try waits 0.8 s at
-- most, for all tables together. Then it releases the locks that it has, because the transaction
-- that holds the next one may need them.
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
  v_left_ms  int;
  v_sessions numeric := current_setting('max_connections')::int
                        + current_setting('max_prepared_transactions')::int;
  v_room     numeric := current_setting('max_locks_per_transaction')::int * v_sessions;
  -- A table and its three triggers take four entries of the lock table.
  v_needed   numeric := 4 * coalesce(cardinality(p_relations), 0);
begin
  for v_try in 1 .. 8 loop
    v_until := clock_timestamp() + '0.8 s';
    begin
      for n in 1 .. coalesce(cardinality(p_relations), 0) loop
        v_relation := p_relations[n];
        v_left_ms  := extract(milliseconds from v_until - clock_timestamp());
        perform set_config('lock_timeout', greatest(1, v_left_ms)::text, true);
        execute p_statements[n];
      end loop;
      return;
    exception
      when lock_not_available then
        if v_try = 8 then
          raise lock_not_available using
            message = format('table %s is locked by a long transaction:'
                             ' no lock within %s tries of 0.8 s', v_relation, v_try),
            hint = 'End that transaction (see pg_stat_activity and pg_locks), then try again.'
                   ' The table is as it was.';
        end if;
      when out_of_memory then
        raise out_of_memory using
          message = format('there is no room in the lock table of the server for table %s'
                           ' besides those of this transaction', v_relation),
          detail = sqlerrm,
          hint = case
            when v_needed <= v_room then
              'Do it table by table, each in a transaction of its own;'
              ' or raise max_locks_per_transaction and restart the server.'
            else format('Its %s partitions are too many for one transaction of this server:'
                        ' set max_locks_per_transaction to %s or more, and restart the server.',
                        cardinality(p_relations) - 1, ceil(v_needed / v_sessions))
          end;
    end;
    perform pg_sleep(0.2 * v_try);
  end loop;
end
$$;

comment on function rowhook._execute_with_locks(regclass[], text[]) is
  'Runs statements that create or drop triggers and lock tables, all or none. It waits 0.8 s for '
  'the locks, up to eight times, so that nobody queues behind it for long or meets a deadlock.';

-- Membership alone does not help a role that does not inherit privileges.
create function rowhook._grant_statement(p_role name)
returns text
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select case
           when r.rolinherit and not pg_has_role(p_role, 'member')
             then format('grant %I to %I;', p_role, r.rolname)
           when current_setting('server_version_num')::int >= 160000
             then format('grant %I to %I with inherit true;', p_role, r.rolname)
           else format('grant %I to %I; alter role %2$I inherit;', p_role, r.rolname)
         end
    from pg_roles r
   where r.rolname = current_user;
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
  v_forbidden regclass;
  v_owner     name;
begin
  -- The privilege is checked before anything is locked, as in _attach().
  select c.oid, pg_get_userbyid(c.relowner) into v_forbidden, v_owner
    from pg_class c
   where c.oid = any (p_relations)
     and not pg_has_role(c.relowner, 'usage')
     and exists (
       select from pg_trigger t
         join unnest(p_source_ids) as id on t.tgfoid = to_regproc('rowhook._capture_' || id)
        where t.tgrelid = c.oid)
   limit 1;
  if found then
    raise insufficient_privilege using
      message = format('unwatch: %I may not drop the triggers of table %s, whose owner is %I',
                       current_user, v_forbidden, v_owner),
      -- Nobody can be granted a role that is a member of his own, and nobody should be granted a
      -- superuser, who counts as a member of all. Such an owner can drop the triggers himself.
      hint = case
        when pg_has_role(v_owner, current_user, 'member')
          then (
            select format('Let the owner %I run first: %s', v_owner, string_agg(
                     format('drop trigger %I on %s;', t.tgname, c.oid::regclass),
                     ' ' order by c.oid, t.tgname))
              from pg_trigger t
              join pg_class c on c.oid = t.tgrelid
             where c.oid = any (p_relations)
               and pg_get_userbyid(c.relowner) = v_owner
               and t.tgfoid in (
                     select to_regproc('rowhook._capture_' || id) from unnest(p_source_ids) as id))
        else format('Connect as a login that is a member of both %I and rowhook_owner,'
                    ' or run first: %s', v_owner, rowhook._grant_statement(v_owner))
      end;
  end if;
  perform rowhook._execute_with_locks(array_agg(d.relation order by d.number),
                                      array_agg(d.statements order by d.number))
     from (
       select r.relation, r.number, string_agg(
                format('drop trigger %I on %s', t.tgname, r.relation),
                '; ' order by t.tgname) as statements
         from unnest(p_relations) with ordinality as r (relation, number)
         join pg_trigger t on t.tgrelid = r.relation
        where t.tgfoid in (
                select to_regproc('rowhook._capture_' || id) from unnest(p_source_ids) as id)
        group by r.relation, r.number
     ) as d;
end
$$;

comment on function rowhook._detach(regclass[], int[]) is
  'Drops the triggers of the given sources from the given tables, in their order.';

-- The tables are those that have the triggers now. They come in the order of their sources, and
-- roots come before their partitions.
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
           order by min(s.number),
                    (select count(*) from pg_partition_ancestors(t.tgrelid)),
                    t.tgrelid),
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
-- its own, with the settings of its parent. A table that somebody watched separately keeps its own
-- settings.
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
     where i.inhparent = p_source.relation
       and c.relkind = 'r'
       and c.relpersistence <> 't'
       and not c.relispartition
     order by i.inhrelid
  loop
    continue when v_known and (p_only_new or v_parent is distinct from p_source.id);
    perform rowhook.watch(
      v_child,
      prefix            => p_source.prefix,
      tenant_column     => p_source.tenant_column::text,
      derived           => p_source.derived,
      ignore_columns    => p_source.ignore_columns,
      capture           => p_source.capture,
      max_payload_bytes => p_source.max_payload_bytes,
      events            => p_source.events,
      tenant_id         => p_source.tenant_id,
      exclude_columns   => rowhook._columns_among(v_child, p_source.exclude_columns),
      include_columns   => rowhook._columns_among(v_child, p_source.include_columns),
      describe          => p_source.describe);
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

-- PostgreSQL cannot collect the changes of a foreign table, and refuses each UPDATE or DELETE that
-- would have to collect them.
create function rowhook._foreign_member(p_relation regclass)
returns regclass
language sql
stable
set plan_cache_mode = force_generic_plan
begin atomic
  select c.oid
    from (
      select relation from rowhook._partitions(p_relation)
       union
      select inhrelid from pg_inherits where inhparent = p_relation
    ) as t (relid)
    join pg_class c on c.oid = t.relid
   where c.relkind = 'f'
   limit 1;
end;

comment on function rowhook._foreign_member(regclass) is
  'A foreign table among the partitions or children of a table; null when there is none.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._attach(int), rowhook._execute_with_locks(regclass[], text[]),
  rowhook._grant_statement(name), rowhook._detach(regclass[], int[]),
  rowhook._remove_sources(int[]), rowhook._forget_source(int),
  rowhook._watch_children(rowhook.webhook_sources, boolean), rowhook._foreign_member(regclass)
  to rowhook_daemon;

create or replace function rowhook.schema_version() returns int language sql stable parallel safe return 11;

reset role;
