-- rowhook 0017: what `rowhook serve` needs: api_keys, the functions that make and check them, and
-- what rowhook_api may read beyond rowhook_app.
--
-- A request of the API is one transaction. Its first statement takes the role rowhook_api and calls
-- _authenticate(), which finds the key by its hash and sets the tenant. Everything after that runs
-- under row-level security. No role can read a hash: a stolen dump contains no usable token.

set role rowhook_owner;

create table rowhook.api_keys (
  id                       uuid        primary key default gen_random_uuid(),
  tenant_id                text,
  name                     text        not null,
  prefix                   text        not null,
  hash                     bytea       not null,
  previous_hash            bytea,
  previous_hash_expires_at timestamptz,
  scopes                   text[]      not null default '{read,write}',
  allowed_ips              cidr[],
  created_at               timestamptz not null default now(),
  expires_at               timestamptz,
  revoked_at               timestamptz,
  last_used_at             timestamptz,

  constraint api_keys_tenant_id_is_not_empty
    check (tenant_id <> '' and octet_length(tenant_id) <= 512),
  constraint api_keys_name_is_not_empty
    check (name <> '' and length(name) <= 255),
  constraint api_keys_scopes_are_known
    check (cardinality(scopes) > 0
           and scopes <@ '{read,write,inbound,keys,operator}'::text[]
           and array_position(scopes, null) is null),
  constraint api_keys_operator_has_no_tenant
    check (('operator' = any (scopes)) = (tenant_id is null)),
  constraint api_keys_allowed_ips_not_empty
    check (cardinality(allowed_ips) between 1 and 100
           and array_ndims(allowed_ips) = 1
           and array_position(allowed_ips, null) is null),
  constraint api_keys_expires_after_its_start
    check (expires_at > created_at)
);

comment on table rowhook.api_keys is
  'Keys of the HTTP API. A key is stored as its SHA-256 and shown once, when it is made.';
comment on column rowhook.api_keys.id is 'The key. It stays the same when the key is rotated.';
comment on column rowhook.api_keys.tenant_id is
  'The organization that the key belongs to; null: it is a key of the operator.';
comment on column rowhook.api_keys.name is 'Name for people. 1 to 255 characters.';
comment on column rowhook.api_keys.prefix is
  'How the token begins, so that people can recognize it. It is too short to guess the rest.';
comment on column rowhook.api_keys.hash is 'SHA-256 of the token.';
comment on column rowhook.api_keys.previous_hash is
  'SHA-256 of the token before the last rotation; it is accepted until previous_hash_expires_at.';
comment on column rowhook.api_keys.previous_hash_expires_at is
  'When the token before the last rotation ends.';
comment on column rowhook.api_keys.scopes is
  'What the key may do: read, write, inbound (receive webhooks), keys (make keys), operator (every '
  'organization).';
comment on column rowhook.api_keys.allowed_ips is
  'The addresses that the key may be used from; null: any.';
comment on column rowhook.api_keys.created_at is 'When the key was made.';
comment on column rowhook.api_keys.expires_at is 'When the key ends; null: never.';
comment on column rowhook.api_keys.revoked_at is 'When the key was revoked; null: it was not.';
comment on column rowhook.api_keys.last_used_at is
  'When the key was last used, within a minute; null: never.';
comment on constraint api_keys_pkey on rowhook.api_keys is 'A key has one row.';
comment on constraint api_keys_tenant_id_is_not_empty on rowhook.api_keys is
  'tenant_id is 1 to 512 bytes, or null.';
comment on constraint api_keys_name_is_not_empty on rowhook.api_keys is
  'name is 1 to 255 characters.';
comment on constraint api_keys_scopes_are_known on rowhook.api_keys is
  'scopes lists at least one of read, write, inbound, keys and operator.';
comment on constraint api_keys_operator_has_no_tenant on rowhook.api_keys is
  'A key either has a tenant or the scope operator.';
comment on constraint api_keys_allowed_ips_not_empty on rowhook.api_keys is
  'allowed_ips lists 1 to 100 networks, or is null.';
comment on constraint api_keys_expires_after_its_start on rowhook.api_keys is
  'expires_at is later than created_at, or null.';

create unique index api_keys_hash_idx on rowhook.api_keys (hash);
create unique index api_keys_previous_hash_idx on rowhook.api_keys (previous_hash)
  where previous_hash is not null;
create index api_keys_tenant_idx on rowhook.api_keys (tenant_id, created_at);

alter table rowhook.api_keys enable row level security, force row level security;
create policy owner_has_all on rowhook.api_keys to rowhook_owner
  using (true) with check (true);
create policy tenant_reads_own on rowhook.api_keys for select to rowhook_api
  using (tenant_id = (select rowhook.current_tenant()));
grant select (
    id, tenant_id, name, prefix, scopes, allowed_ips,
    created_at, expires_at, revoked_at, last_used_at)
  on rowhook.api_keys to rowhook_api;

create view rowhook._tokens as
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
     and (k.expires_at is null or k.expires_at > now());

comment on view rowhook._tokens is
  'Every token that is valid now, by its hash. No role may read it, only functions of the owner.';
comment on column rowhook._tokens.hash is 'SHA-256 of the token.';
comment on column rowhook._tokens.key_id is 'The API key; null: the token is that of a session.';
comment on column rowhook._tokens.session_id is 'The session; null: the token is an API key.';
comment on column rowhook._tokens.tenant_id is 'The organization; null: every one.';
comment on column rowhook._tokens.name is 'Name for people.';
comment on column rowhook._tokens.scopes is 'What the token may do.';
comment on column rowhook._tokens.allowed_ips is
  'The addresses that the token may be used from; null: any.';
comment on column rowhook._tokens.expires_at is 'When the token ends; null: never.';

-- As _new_secret(): three random UUIDs hold more than 256 bits, and their hash has 32 bytes.
create function rowhook._new_api_token()
returns text
language sql
volatile
return 'rhk_' || rtrim(
  translate(
    encode(
      sha256(
        uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
        || uuid_send(gen_random_uuid())),
      'base64'),
    '+/', '-_'),
  '=');

comment on function rowhook._new_api_token() is
  'A new token: rhk_ and 32 random bytes in base64url.';

create function rowhook._insert_api_key(
  p_name        text,
  p_scopes      text[],
  p_tenant_id   text,
  p_allowed_ips cidr[],
  p_expires_at  timestamptz,
  out id        uuid,
  out token     text
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  token := rowhook._new_api_token();
  insert into rowhook.api_keys as k
    (tenant_id, name, prefix, hash, scopes, allowed_ips, expires_at)
  values
    (p_tenant_id, p_name, left(token, 10), sha256(convert_to(token, 'UTF8')),
     coalesce(p_scopes, '{read,write}'), p_allowed_ips, p_expires_at)
  returning k.id into id;
end
$$;

comment on function rowhook._insert_api_key(text, text[], text, cidr[], timestamptz) is
  'Makes a key and returns its id and, this once, its token.';

create function rowhook.create_api_key(
  name       text,
  scopes     text[]      default '{read,write}',
  tenant_id  text        default null,
  expires_at timestamptz default null
)
returns text
language sql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select k.token
    from rowhook._insert_api_key(
           create_api_key.name, create_api_key.scopes, create_api_key.tenant_id, null,
           create_api_key.expires_at) as k;
end;

comment on function rowhook.create_api_key(text, text[], text, timestamptz) is
  'Makes a key of the HTTP API and returns its token, this once. A key of the operator has no '
  'tenant and the scope operator. For rowhook_owner only.';

create function rowhook._gives_more(
  p_scopes          text[],
  p_allowed_ips     cidr[],
  p_expires_at      timestamptz,
  p_scopes_max      text[],
  p_allowed_ips_max cidr[],
  p_expires_max     timestamptz
)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select (p_scopes <@ p_scopes_max) is not true
         or (p_expires_max is not null and coalesce(p_expires_at, 'infinity') > p_expires_max)
         or (p_allowed_ips_max is not null
             and (p_allowed_ips is null
                  or exists (select from unnest(p_allowed_ips) as a
                              where not a <<= any (p_allowed_ips_max))));
end;

comment on function rowhook._gives_more(
  text[], cidr[], timestamptz, text[], cidr[], timestamptz) is
  'Whether a key has scopes, addresses or an end beyond those of another. Null: no scope is known to '
  'be allowed, any address, no end.';

-- Nobody may give more than they have: p_scopes_max, p_allowed_ips_max and p_expires_max are those of
-- the caller.
create function rowhook._create_api_key_own(
  p_name            text,
  p_scopes          text[],
  p_allowed_ips     cidr[],
  p_expires_at      timestamptz,
  p_scopes_max      text[],
  p_allowed_ips_max cidr[],
  p_expires_max     timestamptz,
  out id            uuid,
  out token         text
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_allowed_ips cidr[]      := coalesce(p_allowed_ips, p_allowed_ips_max);
  v_expires_at  timestamptz := coalesce(p_expires_at, p_expires_max);
begin
  if rowhook.current_tenant() is null
     or 'operator' = any (p_scopes)
     or rowhook._gives_more(
          p_scopes, v_allowed_ips, v_expires_at, p_scopes_max, p_allowed_ips_max, p_expires_max) then
    raise insufficient_privilege using
      message = 'api_keys: a key cannot give more than it has',
      hint    = 'Give scopes and addresses of the key that makes it, and no later end.';
  end if;
  select k.id, k.token into id, token
    from rowhook._insert_api_key(
           p_name, p_scopes, rowhook.current_tenant(), v_allowed_ips, v_expires_at) as k;
end
$$;

comment on function rowhook._create_api_key_own(
  text, text[], cidr[], timestamptz, text[], cidr[], timestamptz) is
  'The part of the API that makes keys: the tenant is that of the session, and the key gets no '
  'more than its maker has.';

create function rowhook._rotate_api_key(
  p_id              uuid,
  p_overlap         interval,
  p_tenant_id       text,
  p_scopes_max      text[],
  p_allowed_ips_max cidr[],
  p_expires_max     timestamptz
)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_token text := rowhook._new_api_token();
  v_key   record;
begin
  if p_overlap is null or p_overlap < '0' or p_overlap > '7 days' then
    raise invalid_parameter_value using
      message = format('api_keys: overlap %L is refused', p_overlap),
      hint    = 'Pass an interval of 0 to 7 days.';
  end if;
  select k.scopes, k.allowed_ips, k.expires_at into v_key
    from rowhook.api_keys k
   where k.id = p_id and k.revoked_at is null
     and (p_tenant_id is null or k.tenant_id = p_tenant_id)
     for update;
  if not found then
    raise no_data_found using
      message = format('api_keys: there is no key %s, or it was revoked', p_id);
  end if;
  if rowhook._gives_more(
       v_key.scopes, v_key.allowed_ips, v_key.expires_at,
       p_scopes_max, p_allowed_ips_max, p_expires_max) then
    raise insufficient_privilege using
      message = 'api_keys: a key cannot give more than it has',
      hint    = 'Give scopes and addresses of the key that makes it, and no later end.';
  end if;
  update rowhook.api_keys k
     set previous_hash            = case when p_overlap > '0' then k.hash end,
         previous_hash_expires_at = case when p_overlap > '0' then now() + p_overlap end,
         hash                     = sha256(convert_to(v_token, 'UTF8')),
         prefix                   = left(v_token, 10)
   where k.id = p_id;
  return v_token;
end
$$;

comment on function rowhook._rotate_api_key(
  uuid, interval, text, text[], cidr[], timestamptz) is
  'Gives a key a new token and returns it, this once. The old token ends after p_overlap.';

create function rowhook._rotate_api_key_own(
  p_id              uuid,
  p_overlap         interval,
  p_scopes_max      text[],
  p_allowed_ips_max cidr[],
  p_expires_max     timestamptz
)
returns text
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
return rowhook._rotate_api_key(
  p_id, p_overlap, coalesce(rowhook.current_tenant(), ''), coalesce(p_scopes_max, '{}'),
  p_allowed_ips_max, p_expires_max);

comment on function rowhook._rotate_api_key_own(
  uuid, interval, text[], cidr[], timestamptz) is
  'The part of _rotate_api_key() for the API: the tenant is that of the session.';

create function rowhook._revoke_api_key(p_id uuid, p_tenant_id text)
returns boolean
language sql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  with revoked as (
    update rowhook.api_keys k
       set revoked_at = coalesce(k.revoked_at, now())
     where k.id = p_id and (p_tenant_id is null or k.tenant_id = p_tenant_id)
    returning k.id)
  select count(*) > 0 from revoked;
end;

comment on function rowhook._revoke_api_key(uuid, text) is
  'Ends a key for good. Returns whether there is such a key.';

create function rowhook._revoke_api_key_own(p_id uuid)
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
return rowhook._revoke_api_key(p_id, coalesce(rowhook.current_tenant(), ''));

comment on function rowhook._revoke_api_key_own(uuid) is
  'The part of _revoke_api_key() for the API: the tenant is that of the session.';

-- No row means that there is no such key: unknown, expired, revoked, and from a wrong address are
-- the same to whoever asks. verdict is null, or says what an existing key lacks here: organization
-- or scope. Only without a verdict is the tenant set.
create function rowhook._token_for(
  p_hash         bytea,
  p_address      inet,
  p_organization text,
  p_scopes       text[]
)
returns table (
  key_id      uuid,
  session_id  uuid,
  tenant_id   text,
  name        text,
  scopes      text[],
  allowed_ips cidr[],
  expires_at  timestamptz,
  target      text,
  verdict     text
)
language sql
stable
begin atomic
  select t.key_id, t.session_id, t.tenant_id, t.name, t.scopes, t.allowed_ips, t.expires_at,
         o.target,
         case
           when p_organization is not null and o.target is null then 'organization'
           when not t.scopes && p_scopes then 'scope'
         end
    from rowhook._tokens t
   cross join lateral (
     select case
              when p_organization is null or p_organization = 'me' then t.tenant_id
              when t.tenant_id is null and octet_length(p_organization) between 1 and 512
                then p_organization
              when t.tenant_id = p_organization then t.tenant_id
            end as target
   ) as o
   where t.hash = p_hash
     and (t.allowed_ips is null or p_address <<= any (t.allowed_ips));
end;

comment on function rowhook._token_for(bytea, inet, text, text[]) is
  'The token with this hash, the organization that it is used for (target), and why it may not do '
  'that: organization or scope (verdict). No row: there is no such token.';

create function rowhook._authenticate(
  p_hash         bytea,
  p_address      inet,
  p_organization text,
  p_scopes       text[]
)
returns table (
  key_id      uuid,
  session_id  uuid,
  tenant_id   text,
  name        text,
  scopes      text[],
  allowed_ips cidr[],
  expires_at  timestamptz,
  target      text,
  verdict     text
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
#variable_conflict use_column
begin
  select t.key_id, t.session_id, t.tenant_id, t.name, t.scopes, t.allowed_ips, t.expires_at,
         t.target, t.verdict
    into key_id, session_id, tenant_id, name, scopes, allowed_ips, expires_at, target, verdict
    from rowhook._token_for(p_hash, p_address, p_organization, p_scopes) as t;
  if not found then
    return;
  end if;
  -- webhook_changes says who it was.
  perform set_config(
    'rowhook.actor',
    case when session_id is null then 'API key ' || name || ' (' || key_id || ')'
         else 'session of ' || name || ' (' || session_id || ')' end,
    true);
  perform set_config(
    'rowhook.tenant_id', case when verdict is null then coalesce(target, '') else '' end, true);
  return next;
end
$$;

comment on function rowhook._authenticate(bytea, inet, text, text[]) is
  'Finds a key by the hash of its token, checks it, and sets the tenant for this transaction. The '
  'organization may be me, for the one of the key, or null.';

create function rowhook._note_api_keys_used(p_ids uuid[])
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  update rowhook.api_keys
     set last_used_at = now()
   where id in (select k.id
                  from rowhook.api_keys k
                 where k.id = any (p_ids)
                   and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute')
                   for update skip locked);
end;

comment on function rowhook._note_api_keys_used(uuid[]) is
  'Sets last_used_at of keys, once a minute at most. It never waits for a row.';

-- The API reads the events of its tenant. An app has no need to.
create policy tenant_reads_own on rowhook.webhook_outbox for select to rowhook_api
  using (tenant_id = (select rowhook.current_tenant()));
grant select on rowhook.webhook_outbox to rowhook_api;

create function rowhook._public_auth(p_webhook_ids uuid[])
returns table (webhook_id uuid, auth_config jsonb)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select c.id,
         (select coalesce(jsonb_object_agg(
                   a.key,
                   case when a.key in ('username', 'header_name') then a.value end), '{}')
            from jsonb_each(c.auth_config) as a)
    from rowhook.webhook_configurations c
   where c.id = any (p_webhook_ids) and c.tenant_id = rowhook.current_tenant();
end;

comment on function rowhook._public_auth(uuid[]) is
  'auth_config of webhooks of this tenant: username and header_name, and null for every secret.';

-- All rules that a row breaks, where _broken_rule() names the first. A row with the defaults of the
-- table, for a webhook that is to be created.
do $$
begin
  execute format(
    'create function rowhook._broken_rules(p_row rowhook.webhook_configurations)
     returns text[] language sql immutable
     begin atomic
       select array_remove(array[%s], null) from (select (p_row).*) as t;
     end',
    (select string_agg(rule, ', ' order by is_check, name)
       from (select attname::text as name,
                    false         as is_check,
                    format('case when %I is null then %L end', attname, attname) as rule
               from pg_attribute
              where attrelid = 'rowhook.webhook_configurations'::regclass
                and attnum > 0
                and attnotnull
             union all
             select conname,
                    true,
                    format('case when not (%s) then %L end', pg_get_expr(conbin, conrelid), conname)
               from pg_constraint
              where conrelid = 'rowhook.webhook_configurations'::regclass
                and contype = 'c') as r));
  execute format(
    'create function rowhook._new_webhook()
     returns rowhook.webhook_configurations language sql volatile
     begin atomic
       select row(%s)::rowhook.webhook_configurations;
     end',
    (select string_agg(coalesce(pg_get_expr(d.adbin, d.adrelid), 'null'), ', ' order by a.attnum)
       from pg_attribute a
       left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = 'rowhook.webhook_configurations'::regclass
        and a.attnum > 0
        and not a.attisdropped));
end
$$;

comment on function rowhook._broken_rules(rowhook.webhook_configurations) is
  'The not-null columns and check constraints that a row violates.';
comment on function rowhook._new_webhook() is
  'A row of webhook_configurations that holds the defaults only.';

create function rowhook._webhook_problems(p_webhook_id uuid, p_changes jsonb)
returns table (rule text, field text, message text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_old rowhook.webhook_configurations;
  v_new rowhook.webhook_configurations;
begin
  if p_webhook_id is null then
    v_old := rowhook._new_webhook();
  else
    select * into v_old
      from rowhook.webhook_configurations c
     where c.id = p_webhook_id and c.tenant_id = rowhook.current_tenant();
    if not found then
      return;
    end if;
  end if;
  v_new := jsonb_populate_record(v_old, p_changes);
  v_new.auth_config := rowhook._kept_auth(v_old.auth_config, v_new.auth_config);
  return query
    select r, null, null from unnest(rowhook._broken_rules(v_new)) as r
     where r <> all ('{event_types,headers,auth_config}'::text[])
    union all
    select p.*
      from (values
        (null, 'event_types', rowhook._event_types_problem(v_new.event_types)),
        (null, 'filter', rowhook._filter_problem(v_new.filter)),
        (null, 'payload_template', rowhook._template_problem(v_new.payload_template)),
        (null, 'headers', rowhook._headers_problem(v_new.headers)),
        (null, 'auth_config', rowhook._auth_problem(v_new.auth_type, v_new.auth_config))
      ) as p (rule, field, message)
     where p.message is not null;
end
$$;

comment on function rowhook._webhook_problems(uuid, jsonb) is
  'Everything that is wrong with a change of a webhook of this tenant, or of a new one (null), at '
  'once: a rule of the table, or a column and a phrase.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._authenticate(bytea, inet, text, text[]),
  rowhook._create_api_key_own(text, text[], cidr[], timestamptz, text[], cidr[], timestamptz),
  rowhook._rotate_api_key_own(uuid, interval, text[], cidr[], timestamptz),
  rowhook._revoke_api_key_own(uuid),
  rowhook._note_api_keys_used(uuid[]),
  rowhook._public_auth(uuid[]),
  rowhook._webhook_problems(uuid, jsonb)
  to rowhook_api;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 17;

reset role;
