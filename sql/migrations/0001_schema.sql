-- rowhook 0001: the schema and its five roles.
--
-- rowhook_owner   NOLOGIN, owns every object of rowhook. A DBA who runs migrations, watch() or
--                 replay() for any tenant is a member of it.
-- rowhook_app     NOLOGIN, granted to the roles that an application connects with. It gives access
--                 to the webhooks and logs of the session's tenant, and to nothing else.
-- rowhook_daemon  NOLOGIN, granted to the login that the daemon connects with.
-- rowhook_api     NOLOGIN, a member of rowhook_app, granted to the login of `rowhook serve`. Each
--                 request takes this role, so row-level security holds whatever the login may do.
-- rowhook_worker  NOLOGIN, granted to workers that process the inbound events of all tenants. It
--                 may call the functions for that, and reads no table.
--
-- Roles belong to the whole cluster: another database may have created them already, so each role
-- is created only if it is missing. Nothing in these files needs a superuser, an extension, logical
-- replication or a server setting.
--
-- By hand: psql -v ON_ERROR_STOP=1 -1 -f each file of this folder, in order.

do $$
declare
  v_role    text;
  v_version int := current_setting('server_version_num')::int;
  v_grant   text := format('grant rowhook_owner to %I', current_user)
                    || case when v_version >= 160000 then ' with inherit true, set true' else '' end;
  v_create  text := case when has_database_privilege(current_database(), 'create') then ''
                         else format('grant create on database %I to %I; ',
                                     current_database(), current_user) end;
  -- In PostgreSQL 15 a login either inherits from all its roles or from none.
  v_remedy  text := v_create || v_grant
                    || case when v_version >= 160000 then ''
                            when (select rolinherit from pg_roles where rolname = current_user) then ''
                            else format('; alter role %I inherit', current_user) end;
  v_may_set text := case when v_version >= 160000 then 'set' else 'member' end;
  v_serves  boolean;
  v_api     text := 'grant rowhook_app to rowhook_api'
                    || case when v_version >= 160000 then ' with inherit true' else '' end;
begin
  if v_version < 150000 then
    raise exception 'rowhook needs PostgreSQL 15 or later, and this server has version %',
      current_setting('server_version')
      using hint = 'Upgrade the server, then run the migrations again. Nothing was changed.';
  end if;
  if pg_is_in_recovery() then
    raise exception 'rowhook cannot be installed on a hot standby: it is read-only'
      using hint = 'Connect to the primary.';
  end if;

  foreach v_role in array
    '{rowhook_owner,rowhook_app,rowhook_daemon,rowhook_api,rowhook_worker}'::name[]
  loop
    if to_regrole(v_role) is null then
      begin
        execute format('create role %I nologin', v_role);
      exception
        -- Another database of this cluster created the role at the same moment.
        when duplicate_object or unique_violation then null;
        when insufficient_privilege then
          raise exception 'role % does not exist, and % may not create roles', v_role, current_user
            using hint = format(
              'Let a DBA run: %s; %s; then run the migrations again.',
              (select string_agg(format('create role %I nologin', r), '; ' order by n)
                 from unnest('{rowhook_owner,rowhook_app,rowhook_daemon,rowhook_api,
                               rowhook_worker}'::name[])
                      with ordinality as u (r, n)
                where to_regrole(r::text) is null),
              v_api || '; ' || v_remedy);
      end;
    end if;
  end loop;

  -- From PostgreSQL 16 on, a grant may come without its privileges or without SET ROLE:
  -- createrole_self_grant makes one of each kind. A plain GRANT would leave these options as they
  -- are.
  if not pg_has_role('rowhook_owner', 'usage') or not pg_has_role('rowhook_owner', v_may_set) then
    begin
      execute v_grant;
    exception when insufficient_privilege then null;
    end;
  end if;
  if not pg_has_role('rowhook_api', 'rowhook_app', 'usage') then
    begin
      execute v_api;
    exception when insufficient_privilege then
      v_remedy := v_api || '; ' || v_remedy;
    end;
  end if;
  v_serves := not pg_has_role('rowhook_owner', 'member')
              and (pg_has_role('rowhook_daemon', 'member') or pg_has_role('rowhook_app', 'member'));
  if not pg_has_role('rowhook_owner', 'usage') or not pg_has_role('rowhook_owner', v_may_set) then
    raise exception '% is % rowhook_owner, %', current_user,
      case when pg_has_role('rowhook_owner', 'member') then 'a member of' else 'not a member of' end,
      case when not pg_has_role('rowhook_owner', 'member') then 'and may not become one'
           when pg_has_role('rowhook_owner', 'usage') then 'but may not SET ROLE to it'
           else 'but does not inherit its privileges' end
      using hint = case
        -- A DBA who follows the other hint would give such a login all rights on rowhook.
        when v_serves then 'This login delivers, serves or writes. Run the migrations as a member of rowhook_owner.'
        else format('Let a DBA run: %s; then run the migrations again.', v_remedy)
      end;
  end if;
  if not pg_has_role('rowhook_api', 'rowhook_app', 'usage') then
    raise exception 'rowhook_api is not a member of rowhook_app, and % may not change that',
      current_user
      using hint = format('Let a DBA run: %s; then run the migrations again.', v_create || v_api);
  end if;
  -- Comes last, so that the hints above ask a DBA for everything at once.
  if v_create <> '' then
    raise exception '% may not create schemas in the database %', current_user, current_database()
      using hint = format('Let a DBA run: %sthen run the migrations again.', v_create);
  end if;
end
$$;

create schema rowhook authorization rowhook_owner;

comment on schema rowhook is
  'rowhook: row changes become webhooks. https://www.npmjs.com/package/rowhook';

set role rowhook_owner;

grant usage on schema rowhook to rowhook_app, rowhook_daemon, rowhook_api, rowhook_worker;

-- After SET and RESET a setting is '', not null. The body is parsed once, here, so that nobody's
-- search_path can change its meaning.
create function rowhook.current_tenant()
returns text
language sql
stable
parallel safe
return nullif(current_setting('rowhook.tenant_id', true), '');

comment on function rowhook.current_tenant() is
  'The tenant of this session, from the setting rowhook.tenant_id; null when it is unset or '
  'empty. Replace this function to take the tenant from JWT claims or from the session user.';

revoke execute on function rowhook.current_tenant() from public;
grant execute on function rowhook.current_tenant() to rowhook_app, rowhook_daemon;

-- Each migration ends by replacing this function. `rowhook migrate` uses it to find out which files
-- a DBA has applied with psql.
create function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 1;

comment on function rowhook.schema_version() is
  'The number of the last migration that was applied. The daemon compares it with the number it '
  'was built for.';

reset role;
