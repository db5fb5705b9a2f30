-- Removes rowhook from this database: every trigger, function, table and row of it. What it has captured and not yet
-- delivered is lost; the tables it watched keep their data.
--
--   psql -v ON_ERROR_STOP=1 -1 -f uninstall.sql
--
-- Run it as a member of rowhook_owner that owns the watched tables (dropping their triggers locks each of them for a
-- moment). The roles go too, unless another database of this cluster, or a login, still depends on them.

set lock_timeout = '10s';

drop schema if exists rowhook cascade;

do $$
declare
  v_role text;
begin
  foreach v_role in array array['rowhook_app', 'rowhook_daemon', 'rowhook_owner'] loop
    continue when to_regrole(v_role) is null;
    begin
      execute format('drop role %I', v_role);
    exception when dependent_objects_still_exist or insufficient_privilege then
      raise notice 'role % is kept: something else in this cluster uses it', v_role;
    end;
  end loop;
end
$$;

reset lock_timeout;
