-- rowhook 0019: portal links, sessions of the console, the interest of tools that poll, test URLs.
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
#variable_conflict use_column
begin
  update rowhook.api_sessions as s
     set hash = p_hash, link_expires_at = null
   where s.hash = p_link_hash
     and s.link_expires_at > now()
     and s.expires_at > now()
     and (s.key_id is null
          or exists (select from rowhook.api_keys k
                      where k.id = s.key_id and k.revoked_at is null))
  returning s.id, s.tenant_id, s.name, s.scopes, s.expires_at
       into session_id, tenant_id, name, scopes, expires_at;
  if found then
    perform set_config('rowhook.tenant_id', tenant_id, true);
    return next;
  end if;
end
$$;

comment on function rowhook._open_portal_link(bytea, bytea) is
  'Exchanges the token of a portal link for that of a session, once, and sets the tenant for this '
  'transaction. No row: there is no such link, or it has ended, or it was opened before.';

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

-- Who polls gets what the outbox holds, and capture writes only what somebody wants. So a poll says
-- what it wants. The capture function of a table looks here only while somebody polls for one of
-- its events: for all other tables, capture costs what it cost before.
create table rowhook.webhook_polls (
  tenant_id    text        not null,
  event_type   text        not null,
  wanted_until timestamptz not null,
  primary key (tenant_id, event_type)
);

comment on table rowhook.webhook_polls is
  'Events that tools poll for: capture writes them, although no webhook wants them. Written by '
  '_note_poll_own() only.';
comment on column rowhook.webhook_polls.tenant_id is 'The tenant that polls.';
comment on column rowhook.webhook_polls.event_type is
  'An event type that a watched table produces.';
comment on column rowhook.webhook_polls.wanted_until is '8 days after a poll.';
comment on constraint webhook_polls_pkey on rowhook.webhook_polls is
  'A tenant has one row for each event type.';

alter table rowhook.webhook_polls enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_polls to rowhook_owner
  using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_polls for select to rowhook_api
  using (tenant_id = (select rowhook.current_tenant()));
grant select on rowhook.webhook_polls to rowhook_api;

create or replace function rowhook._is_polled(p_source rowhook.webhook_sources)
returns boolean
language sql
stable
begin atomic
  select exists (
    select from rowhook.webhook_polls p
     where p.wanted_until > now()
       and p.event_type = any (rowhook._source_event_types(p_source)));
end;

-- Two writers of one function would end in an error, so each locks the row of the source.
create function rowhook._note_poll_own(p_event_type text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_tenant_id text := rowhook.current_tenant();
  v_id        int;
begin
  -- An event that no table produces is one of emit(), which always writes.
  if v_tenant_id is null
     or not exists (select from rowhook.webhook_event_types t
                     where t.event_type = p_event_type) then
    return;
  end if;
  insert into rowhook.webhook_polls as p (tenant_id, event_type, wanted_until)
  values (v_tenant_id, p_event_type, now() + interval '8 days')
  on conflict (tenant_id, event_type) do update set wanted_until = excluded.wanted_until;
  for v_id in
    select s.id
      from rowhook.webhook_sources s
     where p_event_type = any (rowhook._source_event_types(s))
     order by s.id
       for update
  loop
    perform rowhook._write_capture(v_id);
  end loop;
end
$$;

comment on function rowhook._note_poll_own(text) is
  'Notes for the tenant of the session that it polls for an event type, for 8 days, and has '
  'capture write these events.';

create function rowhook._forget_polls()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_event_types text[];
  v_id          int;
begin
  with gone as (
    delete from rowhook.webhook_polls where wanted_until < now() returning event_type)
  select array_agg(distinct event_type) into v_event_types from gone;
  if v_event_types is null then
    return;
  end if;
  for v_id in
    select s.id
      from rowhook.webhook_sources s
     where v_event_types && rowhook._source_event_types(s)
     order by s.id
       for update skip locked
  loop
    perform rowhook._write_capture(v_id);
  end loop;
end
$$;

comment on function rowhook._forget_polls() is
  'Deletes what nobody has polled for 8 days. Capture no longer looks for it.';

-- Whoever has no receiver yet tries a webhook on a URL of ours. What arrives is shown for an hour.
create table rowhook.test_urls (
  id         text        primary key,
  tenant_id  text        not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '1 hour',

  constraint test_urls_id_is_valid
    check (id ~ '^tst_[A-Za-z0-9]{24}$')
);

comment on table rowhook.test_urls is
  'Addresses of the API that show what is sent to them. They end after an hour.';
comment on column rowhook.test_urls.id is
  'tst_ and 24 random characters. Whoever knows it may send; only its organization reads.';
comment on column rowhook.test_urls.tenant_id is 'The organization that made it.';
comment on column rowhook.test_urls.created_at is 'When it was made.';
comment on column rowhook.test_urls.expires_at is
  'When it ends. Its row and requests are deleted then.';
comment on constraint test_urls_pkey on rowhook.test_urls is 'A test URL has one row.';
comment on constraint test_urls_id_is_valid on rowhook.test_urls is
  'id is tst_ and 24 letters or digits.';

create index test_urls_tenant_id_idx on rowhook.test_urls (tenant_id);

create table rowhook.test_requests (
  id          bigint      primary key generated always as identity,
  test_url_id text        not null references rowhook.test_urls on delete cascade,
  tenant_id   text        not null,
  received_at timestamptz not null default clock_timestamp(),
  method      text        not null,
  headers     jsonb       not null,
  body        text        not null,
  body_bytes  int         not null,
  remote_ip   inet
);

comment on table rowhook.test_requests is
  'What arrived at test URLs: the newest 50 of each. Written by _keep_test_request() only.';
comment on column rowhook.test_requests.id is 'In the order of arrival.';
comment on sequence rowhook.test_requests_id_seq is 'Source of test_requests.id.';
comment on column rowhook.test_requests.test_url_id is 'Where it arrived.';
comment on column rowhook.test_requests.tenant_id is 'The organization of the test URL.';
comment on column rowhook.test_requests.received_at is 'When it arrived.';
comment on column rowhook.test_requests.method is 'POST, PUT or PATCH.';
comment on column rowhook.test_requests.headers is 'Its headers.';
comment on column rowhook.test_requests.body is 'How its body begins, as text.';
comment on column rowhook.test_requests.body_bytes is 'The length of the whole body.';
comment on column rowhook.test_requests.remote_ip is 'The address that sent it.';
comment on constraint test_requests_pkey on rowhook.test_requests is 'A request has one row.';
comment on constraint test_requests_test_url_id_fkey on rowhook.test_requests is
  'Requests are deleted together with their test URL.';

create index test_requests_test_url_id_idx on rowhook.test_requests (test_url_id, id);

alter table rowhook.test_urls enable row level security, force row level security;
alter table rowhook.test_requests enable row level security, force row level security;
create policy owner_has_all on rowhook.test_urls to rowhook_owner
  using (true) with check (true);
create policy owner_has_all on rowhook.test_requests to rowhook_owner
  using (true) with check (true);
create policy tenant_has_own on rowhook.test_urls to rowhook_api
  using (tenant_id = (select rowhook.current_tenant()))
  with check (tenant_id = (select rowhook.current_tenant()));
create policy tenant_reads_own on rowhook.test_requests for select to rowhook_api
  using (tenant_id = (select rowhook.current_tenant()));
grant select, insert (id, tenant_id) on rowhook.test_urls to rowhook_api;
grant select on rowhook.test_requests to rowhook_api;

create function rowhook._keep_test_request(
  p_test_url_id text,
  p_method      text,
  p_headers     jsonb,
  p_body        text,
  p_body_bytes  int,
  p_remote_ip   inet
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
set lock_timeout = '2s'
as $$
begin
  insert into rowhook.test_requests (
    test_url_id, tenant_id, method, headers, body, body_bytes, remote_ip)
  select u.id, u.tenant_id, p_method, p_headers, p_body, p_body_bytes, p_remote_ip
    from rowhook.test_urls u
   where u.id = p_test_url_id and u.expires_at > now();
  if not found then
    return false;
  end if;
  delete from rowhook.test_requests r
   where r.test_url_id = p_test_url_id
     and r.id <= (select o.id
                    from rowhook.test_requests o
                   where o.test_url_id = p_test_url_id
                   order by o.id desc
                  offset 50
                   limit 1);
  return true;
end
$$;

comment on function rowhook._keep_test_request(text, text, jsonb, text, int, inet) is
  'Keeps a request to a test URL, the newest 50 of each. It returns false if there is no such URL, '
  'or if it has ended.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._note_poll_own(text),
  rowhook._keep_test_request(text, text, jsonb, text, int, inet),
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
