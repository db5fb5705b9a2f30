-- rowhook: the tenant of a session comes from the claims of a verified JSON Web Token. PostgREST
-- and Supabase put them into the setting request.jwt.claims for each request: {"tenant_id":"acme"}
-- or {"app_metadata":{"tenant_id":"acme"}}.
--
--   psql -v ON_ERROR_STOP=1 -1 -f jwt-claims.sql
--
-- Run this file as a member of rowhook_owner. Grant rowhook_app to the role of signed-in users (in
-- Supabase: authenticated), never to the role of anonymous users (anon). Do not read user_metadata
-- here, because users can write it themselves.

set role rowhook_owner;

-- Without claims, or with a missing or empty tenant in them, there is no tenant. Claims that are
-- not valid JSON raise an error.
create or replace function rowhook.current_tenant()
returns text
language sql
stable
parallel safe
security invoker
return nullif(coalesce(
  nullif(current_setting('request.jwt.claims', true), '')::json ->> 'tenant_id',
  nullif(current_setting('request.jwt.claims', true), '')::json #>> '{app_metadata,tenant_id}'), '');

alter function rowhook.current_tenant() reset all;

reset role;
