-- rowhook: the tenant of a session comes from the claims of a verified JSON Web Token, which
-- PostgREST and Supabase put into the setting request.jwt.claims for each request:
-- {"tenant_id":"acme"} or {"app_metadata":{"tenant_id":"acme"}}.
--
--   psql -v ON_ERROR_STOP=1 -1 -f jwt-claims.sql
--
-- Run it as a member of rowhook_owner. Grant rowhook_app to the role of signed-in users (in
-- Supabase: authenticated), never to that of strangers (anon). Do not read user_metadata here:
-- users write that themselves.

set role rowhook_owner;

-- Without claims, without a tenant in them, or with an empty one there is no tenant. What is no
-- JSON is an error.
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
