-- rowhook 0021: inbound webhooks: integration_events, one row for each webhook that somebody sent
-- to us, with a partition for each day; and inbound_sources, the senders that sign.
--
-- `rowhook serve` stores an event before it answers. The application takes it from the table in its
-- own time: 0022 has the functions. Receiving does not depend on the daemon: the default partition
-- takes the events of days that have no partition.

set role rowhook_owner;

-- The first 48 bits are the time (UUID version 7), so a row is found by its id in one partition.
create function rowhook._new_inbound_id(p_at timestamptz)
returns uuid
language sql
volatile
return (
  lpad(to_hex(floor(extract(epoch from p_at) * 1000)::bigint), 12, '0')
  || '7'
  || substr(gen_random_uuid()::text, 16))::uuid;

comment on function rowhook._new_inbound_id(timestamptz) is
  'A new id of integration_events: a UUID version 7 of that time.';

create function rowhook._inbound_at(p_id uuid)
returns timestamptz
language sql
immutable
return to_timestamp(
  ('x' || substr(replace(p_id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0::float8);

comment on function rowhook._inbound_at(uuid) is
  'The millisecond in which an inbound event was received, taken from its id.';

create table rowhook.integration_events (
  id              uuid        not null,
  tenant_id       text        not null,
  event_name      text        not null,
  source          text,
  payload         json        not null,
  headers         jsonb       not null default '{}',
  idempotency_key text,
  status          text        not null default 'received',
  attempts        int         not null default 0,
  error_message   text,
  received_at     timestamptz not null default now(),
  available_at    timestamptz not null default now(),
  processed_at    timestamptz,
  remote_ip       inet,
  hops            int         not null default 0,
  max_attempts    int         not null default 10,
  primary key (received_at, id),

  constraint integration_events_status_is_known
    check (status in ('received', 'processing', 'processed', 'failed')),
  constraint integration_events_event_name_is_valid
    check (event_name ~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$' and length(event_name) <= 120)
) partition by range (received_at);

comment on table rowhook.integration_events is
  'Inbound events: webhooks that others sent to us, one row each. The table is partitioned by day '
  '(UTC). A day is dropped after ROWHOOK_RETENTION_DAYS when none of its events waits, and after '
  '90 days in any case.';
comment on column rowhook.integration_events.id is 'The event: a UUID that begins with its time.';
comment on column rowhook.integration_events.tenant_id is 'The tenant that received the event.';
comment on column rowhook.integration_events.event_name is
  'Name of the event, such as lead.captured. Webhooks get it as inbound.lead.captured.';
comment on column rowhook.integration_events.source is
  'Name of the inbound source that signed the event; null: an API key sent it.';
comment on column rowhook.integration_events.payload is 'The JSON text, as it came.';
comment on column rowhook.integration_events.headers is
  'A few headers of the request, by their names in lower case. None of them is a credential.';
comment on column rowhook.integration_events.idempotency_key is
  'The sender''s own id of the request; null: it had none.';
comment on column rowhook.integration_events.status is
  'received: it waits. processing: a worker has claimed it. processed or failed: it is done.';
comment on column rowhook.integration_events.attempts is
  'How often it was claimed. A claim is named by this number.';
comment on column rowhook.integration_events.error_message is 'Why it failed last.';
comment on column rowhook.integration_events.received_at is 'When it was stored.';
comment on column rowhook.integration_events.available_at is
  'When it can be claimed. While it is claimed, the end of its lease.';
comment on column rowhook.integration_events.processed_at is 'When it was processed.';
comment on column rowhook.integration_events.remote_ip is 'The address that sent it.';
comment on column rowhook.integration_events.hops is
  'How often rowhook relayed it before: its header webhook-hops. 0: it does not come from rowhook.';
comment on column rowhook.integration_events.max_attempts is
  'It fails after this number of claims. retry_integration_event() adds 10.';
comment on constraint integration_events_pkey on rowhook.integration_events is
  'The key of a partitioned table must contain the column that the table is partitioned by.';
comment on constraint integration_events_status_is_known on rowhook.integration_events is
  'status is received, processing, processed or failed.';
comment on constraint integration_events_event_name_is_valid on rowhook.integration_events is
  'event_name is an event type such as lead.captured, of at most 120 characters.';

-- The default partition takes events of days without a partition.
create table rowhook.integration_events_default partition of rowhook.integration_events default;

comment on table rowhook.integration_events_default is
  'Inbound events of days whose partition could not be created yet. It is normally empty.';

create index integration_events_tenant_idx
  on rowhook.integration_events (tenant_id, received_at, id);
-- The events that wait, for claims: the tenants in the order of a hash, so that a claim can begin
-- at any of them.
create index integration_events_claim_idx
  on rowhook.integration_events (hashtextextended(tenant_id, 0), tenant_id, available_at, id)
  where status in ('received', 'processing');
create index integration_events_claim_by_name_idx
  on rowhook.integration_events (
    event_name, hashtextextended(tenant_id, 0), tenant_id, available_at, id)
  where status in ('received', 'processing');
create index integration_events_oldest_idx
  on rowhook.integration_events (received_at)
  where status in ('received', 'processing');
create index integration_events_failed_idx
  on rowhook.integration_events (received_at)
  where status = 'failed';

alter table rowhook.integration_events enable row level security, force row level security;
create policy owner_has_all on rowhook.integration_events to rowhook_owner
  using (true) with check (true);
create policy tenant_reads_own on rowhook.integration_events for select to rowhook_app
  using (tenant_id = (select rowhook.current_tenant()));
create policy tenant_updates_own on rowhook.integration_events for update to rowhook_app
  using (tenant_id = (select rowhook.current_tenant()))
  with check (tenant_id = (select rowhook.current_tenant()));

alter table rowhook.integration_events_default enable row level security, force row level security;
create policy owner_has_all on rowhook.integration_events_default to rowhook_owner
  using (true) with check (true);

grant select on rowhook.integration_events to rowhook_app;
grant update (status, error_message, processed_at) on rowhook.integration_events to rowhook_app;

-- An id has 24 random characters of 62. Whoever knows it may send to it, if the signature is right.
create function rowhook._new_source_id()
returns text
language sql
volatile
return 'src_' || substr(
  translate(
    encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64'),
    '+/=', ''),
  1, 24);

comment on function rowhook._new_source_id() is 'A new id of inbound_sources.';

create table rowhook.inbound_sources (
  id                         text        primary key default rowhook._new_source_id(),
  tenant_id                  text        not null,
  name                       text        not null,
  verification               text        not null,
  secret                     text        not null,
  previous_secret            text,
  previous_secret_expires_at timestamptz,
  signature_header           text,
  signature_algorithm        text,
  signature_encoding         text,
  event_name                 text,
  event_path                 text,
  event_header               text,
  allowed_ips                cidr[],
  created_at                 timestamptz not null default now(),
  updated_at                 timestamptz not null default now(),
  deleted_at                 timestamptz,

  constraint inbound_sources_id_is_random
    check (id ~ '^src_[A-Za-z0-9]{24}$'),
  constraint inbound_sources_tenant_id_is_not_empty
    check (tenant_id <> '' and octet_length(tenant_id) <= 512),
  constraint inbound_sources_name_is_valid
    check (name ~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$'
           and name !~ '^src_'
           and length(name) <= 100),
  constraint inbound_sources_verification_is_known
    check (verification in ('standard_webhooks', 'stripe', 'github', 'shopify', 'slack', 'hmac',
                            'api_key')),
  constraint inbound_sources_secret_has_length
    check (deleted_at is not null or octet_length(secret) between 8 and 512),
  constraint inbound_sources_signature_header_is_valid
    check (signature_header ~ '^[A-Za-z0-9-]{1,100}$'),
  constraint inbound_sources_signature_algorithm_is_known
    check (signature_algorithm in ('sha256', 'sha512', 'sha1')),
  constraint inbound_sources_signature_encoding_is_known
    check (signature_encoding in ('hex', 'base64')),
  constraint inbound_sources_event_name_is_valid
    check (event_name ~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$' and length(event_name) <= 120),
  constraint inbound_sources_event_path_has_length
    check (length(event_path) between 1 and 200),
  constraint inbound_sources_event_header_is_valid
    check (event_header ~ '^[A-Za-z0-9-]{1,100}$'),
  constraint inbound_sources_allowed_ips_not_empty
    check (cardinality(allowed_ips) between 1 and 100
           and array_ndims(allowed_ips) = 1
           and array_position(allowed_ips, null) is null)
);

comment on table rowhook.inbound_sources is
  'Senders of inbound webhooks, with their ways of signing.';
comment on column rowhook.inbound_sources.id is
  'Part of the address that the sender posts to: src_ and 24 random characters.';
comment on column rowhook.inbound_sources.tenant_id is 'The tenant that receives the events.';
comment on column rowhook.inbound_sources.name is
  'Name of the source, unique in its tenant: letters, digits, - and _, in parts joined by dots.';
comment on column rowhook.inbound_sources.verification is
  'How requests are verified: standard_webhooks, stripe, github, shopify, slack, hmac or api_key.';
comment on column rowhook.inbound_sources.secret is
  'The secret that the sender signs with, or sends. Only rowhook reads it.';
comment on column rowhook.inbound_sources.previous_secret is
  'The secret before the last rotation; it is accepted until previous_secret_expires_at.';
comment on column rowhook.inbound_sources.previous_secret_expires_at is
  'When the secret before the last rotation ends.';
comment on column rowhook.inbound_sources.signature_header is
  'The header with the signature (hmac) or with the key (api_key); null: x-signature or x-api-key.';
comment on column rowhook.inbound_sources.signature_algorithm is
  'With hmac: sha256, sha512 or sha1; null: sha256.';
comment on column rowhook.inbound_sources.signature_encoding is
  'With hmac: hex or base64; null: hex.';
comment on column rowhook.inbound_sources.event_name is 'Name of all events; null: it varies.';
comment on column rowhook.inbound_sources.event_path is
  'Where the body names its event, such as data.type; null: as the sender usually does.';
comment on column rowhook.inbound_sources.event_header is
  'The header that names the event; null: as the sender usually does.';
comment on column rowhook.inbound_sources.allowed_ips is
  'The addresses that may send; null: any.';
comment on column rowhook.inbound_sources.created_at is 'When the source was created.';
comment on column rowhook.inbound_sources.updated_at is 'When the source was last changed.';
comment on column rowhook.inbound_sources.deleted_at is
  'When the source was removed. Its address answers 410 since. Null: it was not removed.';
comment on constraint inbound_sources_pkey on rowhook.inbound_sources is 'A source has one row.';
comment on constraint inbound_sources_id_is_random on rowhook.inbound_sources is
  'id is src_ and 24 letters and digits.';
comment on constraint inbound_sources_tenant_id_is_not_empty on rowhook.inbound_sources is
  'tenant_id is 1 to 512 bytes.';
comment on constraint inbound_sources_name_is_valid on rowhook.inbound_sources is
  'name is 1 to 100 characters: letters, digits, - and _, in parts joined by dots, and does not '
  'begin with src_.';
comment on constraint inbound_sources_verification_is_known on rowhook.inbound_sources is
  'verification is standard_webhooks, stripe, github, shopify, slack, hmac or api_key.';
comment on constraint inbound_sources_secret_has_length on rowhook.inbound_sources is
  'secret is 8 to 512 bytes.';
comment on constraint inbound_sources_signature_header_is_valid on rowhook.inbound_sources is
  'signature_header is 1 to 100 letters, digits and hyphens.';
comment on constraint inbound_sources_signature_algorithm_is_known on rowhook.inbound_sources is
  'signature_algorithm is sha256, sha512 or sha1.';
comment on constraint inbound_sources_signature_encoding_is_known on rowhook.inbound_sources is
  'signature_encoding is hex or base64.';
comment on constraint inbound_sources_event_name_is_valid on rowhook.inbound_sources is
  'event_name is an event type such as lead.captured, of at most 120 characters.';
comment on constraint inbound_sources_event_path_has_length on rowhook.inbound_sources is
  'event_path is 1 to 200 characters.';
comment on constraint inbound_sources_event_header_is_valid on rowhook.inbound_sources is
  'event_header is 1 to 100 letters, digits and hyphens.';
comment on constraint inbound_sources_allowed_ips_not_empty on rowhook.inbound_sources is
  'allowed_ips lists 1 to 100 networks, or is null.';

create unique index inbound_sources_name_idx on rowhook.inbound_sources (tenant_id, name)
  where deleted_at is null;
create index inbound_sources_tenant_idx
  on rowhook.inbound_sources (tenant_id, created_at, id);

-- The API may write a secret and not read one, so the old secret is kept here.
create function rowhook._keep_inbound_secret()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  new.updated_at := now();
  if new.deleted_at is not null then
    new.secret := '';
    new.previous_secret := null;
  elsif new.secret is distinct from old.secret then
    new.previous_secret := old.secret;
  end if;
  return new;
end
$$;

comment on function rowhook._keep_inbound_secret() is
  'Trigger of inbound_sources: keeps the secret before a rotation, and forgets the secrets of a '
  'source that is removed.';

create trigger keep_inbound_secret
  before update on rowhook.inbound_sources
  for each row execute function rowhook._keep_inbound_secret();

alter table rowhook.inbound_sources enable row level security, force row level security;
create policy owner_has_all on rowhook.inbound_sources to rowhook_owner
  using (true) with check (true);
create policy tenant_reads_own on rowhook.inbound_sources for select to rowhook_app
  using (tenant_id = (select rowhook.current_tenant()));
create policy tenant_has_own on rowhook.inbound_sources to rowhook_api
  using (tenant_id = (select rowhook.current_tenant()))
  with check (tenant_id = (select rowhook.current_tenant()));
grant select (
    id, tenant_id, name, verification, signature_header, signature_algorithm, signature_encoding,
    event_name, event_path, event_header, allowed_ips, previous_secret_expires_at,
    created_at, updated_at, deleted_at)
  on rowhook.inbound_sources to rowhook_app;
grant insert (
    tenant_id, name, verification, secret, signature_header, signature_algorithm,
    signature_encoding, event_name, event_path, event_header, allowed_ips)
  on rowhook.inbound_sources to rowhook_api;
grant update (
    name, secret, previous_secret_expires_at, signature_header, signature_algorithm,
    signature_encoding, event_name, event_path, event_header, allowed_ips, deleted_at)
  on rowhook.inbound_sources to rowhook_api;

-- Workers claim from the default partition too, so many rows stay there: nobody waits for them to
-- be moved.
create function rowhook._make_inbound_partitions(p_days_ahead int default 7)
returns int
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
return rowhook._make_days(
  'integration_events', 'received_at', 'Inbound events', p_days_ahead, false);

comment on function rowhook._make_inbound_partitions(int) is
  'Creates the missing daily partitions of integration_events from yesterday to p_days_ahead days '
  'ahead, moves rows of integration_events_default into them, and returns how many were missing. '
  'The daemon calls it every minute.';

-- Idempotency keys live for 7 days and point to the event, so an event lives longer.
create function rowhook._drop_old_inbound(p_retention_days int)
returns int
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
set "TimeZone" = 'UTC'
set lock_timeout = '100ms'
as $$
declare
  v_partition record;
  v_waits     boolean;
  v_dropped   int  := 0;
  v_kept_from date := current_date - least(greatest(p_retention_days, 8), 90);
begin
  for v_partition in
    select c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') as day
      from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'rowhook.integration_events'::regclass
       and c.relname ~ '^integration_events_[0-9]{8}$'
       and to_date(right(c.relname, 8), 'YYYYMMDD') < v_kept_from
     order by c.relname
  loop
    -- Without the lock an event could be given back between the look and the drop.
    execute format('lock table rowhook.%I in share row exclusive mode', v_partition.relname);
    execute format(
      'select exists (select from rowhook.%I where status in (''received'', ''processing''))',
      v_partition.relname) into v_waits;
    continue when v_waits and v_partition.day >= current_date - 90;
    execute format('drop table rowhook.%I', v_partition.relname);
    v_dropped := v_dropped + 1;
  end loop;
  delete from rowhook.integration_events_default
   where received_at < v_kept_from::timestamptz
     and (status in ('processed', 'failed') or received_at < (current_date - 90)::timestamptz);
  return v_dropped;
end
$$;

comment on function rowhook._drop_old_inbound(int) is
  'Drops the partitions of integration_events that ended more than p_retention_days days ago (8 at '
  'least, 90 at most) and hold no event that waits, and those of more than 90 days. It returns how '
  'many. The daemon calls it every minute.';

-- A count reads at most 100000 entries of an index, so it is cheap whatever waits.
create function rowhook._inbound_state(
  out pending           int,
  out processing        int,
  out lease_ended       int,
  out failed_24h        int,
  out oldest_seconds    float8,
  out oldest_tenant_id  text,
  out oldest_event_name text,
  out oldest_attempts   int
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select w.pending, w.processing, w.lease_ended, f.failed,
         extract(epoch from clock_timestamp() - o.received_at)::float8,
         o.tenant_id, o.event_name, o.attempts
    from (select (count(*) filter (where e.status = 'received'))::int as pending,
                 (count(*) filter (where e.status = 'processing'
                                     and e.available_at > clock_timestamp()))::int as processing,
                 (count(*) filter (where e.status = 'processing'
                                     and e.available_at <= clock_timestamp()))::int as lease_ended
            from (select i.status, i.available_at
                    from rowhook.integration_events i
                   where i.status in ('received', 'processing')
                   order by i.received_at
                   limit 100000) as e) as w
   cross join (select count(*)::int as failed
                 from (select from rowhook.integration_events i
                        where i.status = 'failed'
                          and i.received_at > now() - interval '24 hours'
                        limit 100000) as e) as f
    left join (select i.received_at, i.tenant_id, i.event_name, i.attempts
                 from rowhook.integration_events i
                where i.status in ('received', 'processing')
                order by i.received_at
                limit 1) as o on true;
end;

comment on function rowhook._inbound_state() is
  'Inbound events that wait for a claim (pending), that a worker has (processing), whose claim has '
  'ended without an answer (lease_ended), and those of the last 24 hours that failed; and the '
  'oldest that is not finished. Counts end at 100000. Metrics, doctor and status show it.';

-- In a DO block, so that psql prints no result.
do $$
begin
  perform rowhook._make_inbound_partitions();
end
$$;

revoke execute on all functions in schema rowhook from public;
grant execute on function rowhook._new_source_id() to rowhook_api;
grant execute on function
  rowhook._make_inbound_partitions(int),
  rowhook._drop_old_inbound(int),
  rowhook._inbound_state()
  to rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 21;

reset role;
