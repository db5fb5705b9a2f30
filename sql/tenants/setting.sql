-- rowhook: the tenant of a session is the setting rowhook.tenant_id, as after installation. This
-- file reverts session-user.sql or jwt-claims.sql.
--
--   psql -v ON_ERROR_STOP=1 -1 -f setting.sql

set role rowhook_owner;

create or replace function rowhook.current_tenant()
returns text
language sql
stable
parallel safe
security invoker
return nullif(current_setting('rowhook.tenant_id', true), '');

alter function rowhook.current_tenant() reset all;

reset role;
