-- rowhook 0005: webhook_deliveries (deliveries that did not finish at once) and webhook_health (the
-- circuit breaker of each webhook that fails).
--
-- A delivery that succeeds at once writes one log row and nothing else. A delivery gets a row in
-- webhook_deliveries when it is parked: its attempt failed, its webhook is full, slow or broken, or
-- the attempt takes so long that the lane's position should not wait for it. Then the position can
-- move on.
--
--      (in memory) --> delivered                        only a row in webhook_logs
--          | park
--          v
--       waiting --> delivered                           the row is deleted
--          ^  | attempts exhausted
--   replay |  v
--        given_up                                       kept until retention ends

set role rowhook_owner;

create table rowhook.webhook_deliveries (
  delivery_id     uuid        primary key,
  webhook_id      uuid        not null,
  outbox_id       bigint      not null,
  occurred_at     timestamptz not null,
  parked_at       timestamptz not null default now(),
  next_attempt_at timestamptz,
  source_id       int,
  attempt         int         not null default 0,
  lane            smallint    not null,
  ordinal         smallint    not null,
  attempted       boolean     not null default false,
  ordered         boolean     not null default false,
  truncated       text,
  test            boolean     not null default false,
  replayed        boolean     not null default false,
  state           text        not null default 'waiting',
  tenant_id       text        not null,
  event_id        text        not null,
  event_type      text        not null,
  row_key         text,
  last_code       text,
  organization    json        not null,
  webhook_name    text        not null,
  payload_format  text        not null default 'nested',
  batch_id        text,
  data            json,
  previous        json,
  has_payload     boolean     not null default false,
  body            bytea,
  content_type    text,

  constraint webhook_deliveries_state_is_known
    check (state in ('waiting', 'given_up')),
  -- waiting | has a time;  given_up | has none
  constraint webhook_deliveries_waiting_has_time
    check ((state = 'waiting') = (next_attempt_at is not null))
);

comment on table rowhook.webhook_deliveries is
  'Deliveries that did not finish at once. They wait for their next attempt, or were given up '
  'and can be replayed; a delivery that succeeded has no row here.';
comment on column rowhook.webhook_deliveries.delivery_id is
  'Name-based uuid of event_id and webhook_id. It is sent as X-Webhook-Delivery.';
comment on column rowhook.webhook_deliveries.webhook_id is 'The webhook that the delivery goes to.';
comment on column rowhook.webhook_deliveries.outbox_id is
  'The row of webhook_outbox that holds the payload, unless has_payload is true.';
comment on column rowhook.webhook_deliveries.occurred_at is 'When the change was captured.';
comment on column rowhook.webhook_deliveries.parked_at is 'When this row was written.';
comment on column rowhook.webhook_deliveries.next_attempt_at is
  'When the next attempt is due. infinity: the delivery waits behind an earlier one of its row '
  '(ordering row). Null: it was given up.';
comment on column rowhook.webhook_deliveries.source_id is
  'The watched table of the change; null: there is none. Negative: see webhook_outbox.';
comment on column rowhook.webhook_deliveries.attempt is
  'Number of attempts so far. A replay starts again at 0.';
comment on column rowhook.webhook_deliveries.lane is
  'Lane of the tenant, 0 to 15. The owner of the lane sends the delivery.';
comment on column rowhook.webhook_deliveries.ordinal is
  'Index of the event type among the event types of the change, counted from 0.';
comment on column rowhook.webhook_deliveries.attempted is
  'true: the delivery was attempted at least once. A delivery that was never attempted keeps '
  'later events of its webhook behind it.';
comment on column rowhook.webhook_deliveries.ordered is
  'true: the webhook has ordering row, or had it when the row was blocked. The earliest waiting '
  'delivery is the head of its row.';
comment on column rowhook.webhook_deliveries.truncated is
  'Why the payload has key columns only, as in webhook_outbox.';
comment on column rowhook.webhook_deliveries.test is 'true: the event is a test event.';
comment on column rowhook.webhook_deliveries.replayed is
  'true: a replay queued the delivery, and it goes out after new ones. The webhook''s filter is '
  'evaluated at its first attempt (until then last_code is null).';
comment on column rowhook.webhook_deliveries.state is
  'waiting: the delivery waits for its next attempt. given_up: its attempts ran out; it is kept '
  'until retention ends or it is replayed.';
comment on column rowhook.webhook_deliveries.tenant_id is
  'The tenant that the delivery belongs to.';
comment on column rowhook.webhook_deliveries.event_id is 'Event id, sent as webhook-id.';
comment on column rowhook.webhook_deliveries.event_type is
  'Type of the event, such as deal.updated.';
comment on column rowhook.webhook_deliveries.row_key is
  'Primary key of the changed row as text; null: the delivery has no order to keep.';
comment on column rowhook.webhook_deliveries.last_code is
  'Outcome of the last attempt, as webhook_logs.code; null: there was no attempt.';
comment on column rowhook.webhook_deliveries.organization is
  'The organization in the body, as of the first attempt. Every attempt sends the same bytes.';
comment on column rowhook.webhook_deliveries.webhook_name is
  'The webhook''s name in the body, as of the first attempt.';
comment on column rowhook.webhook_deliveries.payload_format is
  'Format of the body, as of the first attempt, such as nested; with the hash of the template that '
  'made the body, and a digest of the body: template:5f2c...:91ab...';
comment on column rowhook.webhook_deliveries.batch_id is
  'The batch that the delivery was sent in. The batch is retried as a whole, under the same id.';
comment on column rowhook.webhook_deliveries.data is
  'Copy of the payload after its outbox slot was recycled; null before that.';
comment on column rowhook.webhook_deliveries.previous is
  'Copy of the old values after their outbox slot was recycled; null before that.';
comment on column rowhook.webhook_deliveries.has_payload is
  'true: data and previous were copied here, because the outbox slot that held them was recycled.';
comment on column rowhook.webhook_deliveries.body is
  'The body that a template made at the first attempt; null: none did, or not yet. Every attempt '
  'sends these bytes.';
comment on column rowhook.webhook_deliveries.content_type is 'content-type of body.';
comment on constraint webhook_deliveries_pkey on rowhook.webhook_deliveries is
  'A delivery has at most one row.';
comment on constraint webhook_deliveries_state_is_known on rowhook.webhook_deliveries is
  'state is waiting or given_up.';
comment on constraint webhook_deliveries_waiting_has_time on rowhook.webhook_deliveries is
  'A waiting delivery has a next_attempt_at; a delivery that was given up has none.';

-- This index finds the deliveries that are due next for each webhook, with replayed ones apart.
-- Deliveries that were parked together come in the order of their events.
create index webhook_deliveries_due_idx
  on rowhook.webhook_deliveries
     (lane, webhook_id, replayed, next_attempt_at, outbox_id, ordinal)
  where state = 'waiting';
-- The index contains the hash of the key, because an index entry holds at most 2.7 kB. A longer
-- key, such as bytea as text, would prevent the whole batch from being recorded.
create index webhook_deliveries_ordered_idx
  on rowhook.webhook_deliveries (webhook_id, hashtext(row_key), outbox_id, ordinal)
  where state = 'waiting' and ordered;
create index webhook_deliveries_parked_idx
  on rowhook.webhook_deliveries using brin (parked_at);
create index webhook_deliveries_webhook_idx
  on rowhook.webhook_deliveries (webhook_id, state, occurred_at);
create index webhook_deliveries_outbox_idx
  on rowhook.webhook_deliveries (outbox_id)
  where not has_payload;
create index webhook_deliveries_tenant_idx
  on rowhook.webhook_deliveries (tenant_id, occurred_at);
create index webhook_deliveries_batch_idx
  on rowhook.webhook_deliveries (batch_id)
  where batch_id is not null;

create table rowhook.webhook_health (
  webhook_id    uuid        primary key,
  lane          smallint    not null,
  failures      int         not null,
  failing_since timestamptz not null,
  open_until    timestamptz,
  openings      int         not null default 0,
  updated_at    timestamptz not null default now()
);

comment on table rowhook.webhook_health is
  'Failing webhooks. A row exists from the first failed attempt after a success until the next '
  'success; a healthy webhook has no row.';
comment on column rowhook.webhook_health.webhook_id is 'The webhook that fails.';
comment on column rowhook.webhook_health.lane is 'Lane of the webhook''s tenant, 0 to 15.';
comment on column rowhook.webhook_health.failures is 'Failed attempts since the last success.';
comment on column rowhook.webhook_health.failing_since is
  'When the first attempt after the last success failed.';
comment on column rowhook.webhook_health.open_until is
  'The circuit breaker is open until this time; then one attempt probes the webhook. Null: the '
  'breaker is closed.';
comment on column rowhook.webhook_health.openings is
  'How often the breaker opened since the last success. Each time it stays open twice as long.';
comment on column rowhook.webhook_health.updated_at is 'When a daemon wrote the row.';
comment on constraint webhook_health_pkey on rowhook.webhook_health is
  'A webhook has at most one row.';

create index webhook_health_lane_idx on rowhook.webhook_health (lane);

alter table rowhook.webhook_deliveries enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_deliveries to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_deliveries to rowhook_daemon
  using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_deliveries for select to rowhook_app
  using (tenant_id = (select rowhook.current_tenant()));

alter table rowhook.webhook_health enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_health to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_health to rowhook_daemon
  using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_health for select to rowhook_app
  using (exists (
    select from rowhook.webhook_configurations c
     where c.id = webhook_id and c.tenant_id = (select rowhook.current_tenant())));

grant select
  on rowhook.webhook_deliveries, rowhook.webhook_health
  to rowhook_app;
grant select, insert, update, delete
  on rowhook.webhook_deliveries, rowhook.webhook_health
  to rowhook_daemon;

create function rowhook._forget_deliveries()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  delete from rowhook.webhook_deliveries d using deleted where d.webhook_id = deleted.id;
  delete from rowhook.webhook_health h using deleted where h.webhook_id = deleted.id;
  return null;
end
$$;

comment on function rowhook._forget_deliveries() is
  'Trigger of webhook_configurations: deletes the unfinished deliveries and the health of a '
  'deleted webhook. Its logs stay.';

create trigger forget_deliveries
  after delete on rowhook.webhook_configurations
  referencing old table as deleted
  for each statement execute function rowhook._forget_deliveries();

-- A user who enables a webhook, or changes where or how it is sent, wants an attempt now. So the
-- breaker closes and the failures are forgotten. What an enabled webhook has waiting is due at
-- once; what waits behind another delivery of its row still does.
create function rowhook._forget_health()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  delete from rowhook.webhook_health h
   using was join is_now using (id)
   where h.webhook_id = is_now.id
     and (was.url, was.is_active, was.headers,
          was.auth_type, was.auth_config, was.secret, was.timeout_ms)
         is distinct from
         (is_now.url, is_now.is_active, is_now.headers,
          is_now.auth_type, is_now.auth_config, is_now.secret, is_now.timeout_ms);
  if exists (select from was join is_now using (id) where is_now.is_active and not was.is_active)
  then
    update rowhook.webhook_deliveries d
       set next_attempt_at = now()
      from was join is_now using (id)
     where is_now.is_active
       and not was.is_active
       and d.lane = rowhook._lane(is_now.tenant_id)
       and d.webhook_id = is_now.id
       and d.state = 'waiting'
       and d.next_attempt_at > now()
       and d.next_attempt_at < 'infinity';
  end if;
  return null;
end
$$;

comment on function rowhook._forget_health() is
  'Trigger of webhook_configurations: closes the circuit breaker of a webhook that was changed '
  'or enabled, and makes what an enabled webhook has waiting due.';

create trigger forget_health
  after update on rowhook.webhook_configurations
  referencing old table as was new table as is_now
  for each statement execute function rowhook._forget_health();

revoke execute on all functions in schema rowhook from public;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 5;

reset role;
