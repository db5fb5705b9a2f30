-- rowhook: the tenant of a session is the login that it connected with. No statement can change the
-- login, so this holds against tenants that send SQL of their own. It needs a login for each
-- tenant, and no pool that shares connections between them.
--
--   psql -v ON_ERROR_STOP=1 -1 -f session-user.sql
--
-- Run this file as a member of rowhook_owner. Then, for each tenant, run:
--
--   grant rowhook_app to acme_login;
--   insert into rowhook.tenant_logins values ('acme_login', 'acme');

set role rowhook_owner;

create table if not exists rowhook.tenant_logins (
  login     name primary key,
  tenant_id text not null,
  constraint tenant_logins_tenant_id_is_not_empty check (tenant_id <> '' and octet_length(tenant_id) <= 512)
);

comment on table rowhook.tenant_logins is
  'The tenant that each login belongs to, see current_tenant().';
comment on column rowhook.tenant_logins.login is 'Role that the tenant connects as.';
comment on column rowhook.tenant_logins.tenant_id is 'The tenant of the login.';
comment on constraint tenant_logins_pkey on rowhook.tenant_logins is
  'A login belongs to one tenant.';
comment on constraint tenant_logins_tenant_id_is_not_empty on rowhook.tenant_logins is
  'tenant_id is 1 to 512 bytes.';

alter table rowhook.tenant_logins enable row level security, force row level security;
drop policy if exists owner_has_all on rowhook.tenant_logins;
create policy owner_has_all on rowhook.tenant_logins to rowhook_owner using (true) with check (true);

-- The function uses session_user and not current_user, because rowhook's own functions run as
-- rowhook_owner when they call it. It is SECURITY DEFINER, because tenants must not read the table.
create or replace function rowhook.current_tenant()
returns text
language sql
stable
parallel safe
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select tenant_id from rowhook.tenant_logins where login = session_user;
end;

reset role;
