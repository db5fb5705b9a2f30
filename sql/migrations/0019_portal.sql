-- rowhook 0019: portal links, and sessions of the console.
--
-- A portal link opens the console for one organization. Its token is exchanged once for the token
-- of a session. Somebody who has an API key gets a session with it. The API generates the tokens
-- and passes their SHA-256: no statement holds a token.

set role rowhook_owner;

create table rowhook.api_sessions (
  id              uuid        primary key default gen_random_uuid(),
  tenant_id       text,
  key_id          uuid        references rowhook.api_keys on delete cascade,
  name            text        not null,
  hash            bytea       not null,
  link_expires_at timestamptz,
  scopes          text[]      not null,
  allowed_ips     cidr[],
  created_at      timestamptz not null default now(),
  expires_at      timestamptz not null,

  constraint api_sessions_last_a_day_at_most
    check (expires_at > created_at and expires_at <= created_at + interval '24 hours'),
  constraint api_sessions_operator_has_no_tenant
    check (('operator' = any (scopes)) = (tenant_id is null))
);

comment on table rowhook.api_sessions is
  'Portal links that were not opened yet, and sessions of the console. A row is deleted when it '
  'has ended. No role may read it.';
comment on column rowhook.api_sessions.id is 'The session. A portal link has it, too.';
comment on column rowhook.api_sessions.tenant_id is
  'The organization that the session is for; null: every one, the session of an operator.';
comment on column rowhook.api_sessions.key_id is
  'The API key that made it. The session ends when the key is revoked. Null: a token of the '
  'application, or the command line, made it.';
comment on column rowhook.api_sessions.name is 'Who made it, for people.';
comment on column rowhook.api_sessions.hash is
  'SHA-256 of the token: of the link until it is opened, of the session from then on.';
comment on column rowhook.api_sessions.link_expires_at is
  'Until when the link can be opened; null: it was, or there was none.';
comment on column rowhook.api_sessions.scopes is 'What the session may do, as for an API key.';
comment on column rowhook.api_sessions.allowed_ips is
  'The addresses that the session may be used from; null: any.';
comment on column rowhook.api_sessions.created_at is 'When the link or the session was made.';
comment on column rowhook.api_sessions.expires_at is 'When the session ends.';
comment on constraint api_sessions_pkey on rowhook.api_sessions is 'A session has one row.';
comment on constraint api_sessions_key_id_fkey on rowhook.api_sessions is
  'A session does not outlive the key that made it.';
comment on constraint api_sessions_last_a_day_at_most on rowhook.api_sessions is
  'expires_at is later than created_at, by 24 hours at most.';
comment on constraint api_sessions_operator_has_no_tenant on rowhook.api_sessions is
  'A session either has a tenant or the scope operator.';

create unique index api_sessions_hash_idx on rowhook.api_sessions (hash);
create index api_sessions_key_id_idx on rowhook.api_sessions (key_id);

alter table rowhook.api_sessions enable row level security, force row level security;
create policy owner_has_all on rowhook.api_sessions to rowhook_owner
  using (true) with check (true);

create or replace view rowhook._tokens as
  select k.hash, k.id as key_id, null::uuid as session_id, k.tenant_id, k.name, k.scopes,
         k.allowed_ips, k.expires_at
    from rowhook.api_keys k
   where k.revoked_at is null
     and (k.expires_at is null or k.expires_at > now())
   union all
  select k.previous_hash, k.id, null, k.tenant_id, k.name, k.scopes,
         k.allowed_ips, k.expires_at
    from rowhook.api_keys k
   where k.previous_hash_expires_at > now()
     and k.revoked_at is null
     and (k.expires_at is null or k.expires_at > now())
   union all
  select s.hash, null, s.id, s.tenant_id, s.name, s.scopes,
         s.allowed_ips, s.expires_at
    from rowhook.api_sessions s
   where s.link_expires_at is null
     and s.expires_at > now()
     and (s.key_id is null
          or exists (select from rowhook.api_keys k
                      where k.id = s.key_id and k.revoked_at is null));

create function rowhook._insert_portal_link(
  p_tenant_id  text,
  p_key_id     uuid,
  p_name       text,
  p_hash       bytea,
  p_scopes     text[],
  p_expires_at timestamptz
)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  insert into rowhook.api_sessions
    (tenant_id, key_id, name, hash, link_expires_at, scopes, expires_at)
  values
    (p_tenant_id, p_key_id, p_name, p_hash, least(now() + interval '5 minutes', p_expires_at),
     p_scopes, p_expires_at);
end;

comment on function rowhook._insert_portal_link(text, uuid, text, bytea, text[], timestamptz) is
  'Makes a portal link. p_hash is the SHA-256 of its token, which is valid for 5 minutes.';

create function rowhook._create_portal_link_own(
  p_key_id      uuid,
  p_name        text,
  p_hash        bytea,
  p_scopes      text[],
  p_seconds     int,
  p_scopes_max  text[],
  p_expires_max timestamptz
)
returns timestamptz
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_expires_at timestamptz := least(now() + make_interval(secs => p_seconds), p_expires_max);
begin
  if rowhook.current_tenant() is null
     or cardinality(p_scopes) = 0
     or not p_scopes <@ '{read,write,inbound}'::text[]
     or rowhook._gives_more(p_scopes, null, v_expires_at, p_scopes_max, null, p_expires_max) then
    raise insufficient_privilege using
      message = 'portal link: a token cannot give more than it has',
      hint    = 'Make the link with a token that has the scope read.';
  end if;
  perform rowhook._insert_portal_link(
    rowhook.current_tenant(), p_key_id, p_name, p_hash, p_scopes, v_expires_at);
  return v_expires_at;
end
$$;

comment on function rowhook._create_portal_link_own(
  uuid, text, bytea, text[], int, text[], timestamptz) is
  'The part of the API that makes portal links: the tenant is that of the session, and the link '
  'gives no more than its maker has, and no keys. Returns when its session ends.';

-- The row is updated where it still has the hash of the link, so the first request alone gets it.
create function rowhook._open_portal_link(p_link_hash bytea, p_hash bytea)
returns table (
  session_id uuid,
  tenant_id  text,
  name       text,
  scopes     text[],
  expires_at timestamptz
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  return query
  update rowhook.api_sessions as s
     set hash = p_hash, link_expires_at = null
   where s.hash = p_link_hash
     and s.link_expires_at > now()
     and s.expires_at > now()
     and (s.key_id is null
          or exists (select from rowhook.api_keys k
                      where k.id = s.key_id and k.revoked_at is null))
  returning s.id, s.tenant_id, s.name, s.scopes, s.expires_at;
end
$$;

comment on function rowhook._open_portal_link(bytea, bytea) is
  'Exchanges the token of a portal link for that of a session, once. No row: there is no such '
  'link, or it has ended, or it was opened before.';

create function rowhook._sign_in(p_key_hash bytea, p_hash bytea, p_seconds int)
returns timestamptz
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  insert into rowhook.api_sessions
    (tenant_id, key_id, name, hash, scopes, allowed_ips, expires_at)
  select t.tenant_id, t.key_id, t.name, p_hash, t.scopes, t.allowed_ips,
         least(now() + make_interval(secs => p_seconds), t.expires_at)
    from rowhook._tokens t
   where t.hash = p_key_hash and t.session_id is null
  returning expires_at;
end;

comment on function rowhook._sign_in(bytea, bytea, int) is
  'Makes a session that may do what the API key may, from the same addresses, and returns when it '
  'ends: no later than the key. A session makes no further one.';

create function rowhook._end_session(p_hash bytea)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  delete from rowhook.api_sessions where hash = p_hash and link_expires_at is null;
end;

comment on function rowhook._end_session(bytea) is 'Ends the session with this token.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._create_portal_link_own(uuid, text, bytea, text[], int, text[], timestamptz),
  rowhook._open_portal_link(bytea, bytea),
  rowhook._sign_in(bytea, bytea, int),
  rowhook._end_session(bytea)
  to rowhook_api;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 19;

reset role;
