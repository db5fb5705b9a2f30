-- rowhook 0005: the tables that the daemon writes: webhook_logs (every attempt), webhook_deliveries
-- (only deliveries that did not finish at once), webhook_lanes (which daemon reads which part of
-- the outbox, and how far) and webhook_daemons (which daemons run).
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
  constraint webhook_deliveries_state_is_known   check (state in ('waiting', 'given_up')),
  -- waiting | has a time;  given_up | has none
  constraint webhook_deliveries_waiting_has_time check ((state = 'waiting') = (next_attempt_at is not null))
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
  'The watched table of the change; null: there is none.';
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
  'Format of the body, as of the first attempt: nested or flat.';
comment on column rowhook.webhook_deliveries.batch_id is
  'The batch that the delivery was sent in. The batch is retried as a whole, under the same id.';
comment on column rowhook.webhook_deliveries.data is
  'Copy of the payload after its outbox slot was recycled; null before that.';
comment on column rowhook.webhook_deliveries.previous is
  'Copy of the old values after their outbox slot was recycled; null before that.';
comment on column rowhook.webhook_deliveries.has_payload is
  'true: data and previous were copied here, because the outbox slot that held them was recycled.';
comment on constraint webhook_deliveries_pkey on rowhook.webhook_deliveries is
  'A delivery has at most one row.';
comment on constraint webhook_deliveries_state_is_known on rowhook.webhook_deliveries is
  'state is waiting or given_up.';
comment on constraint webhook_deliveries_waiting_has_time on rowhook.webhook_deliveries is
  'A waiting delivery has a next_attempt_at; a delivery that was given up has none.';

-- This index finds the deliveries that are due next for each webhook, with replayed ones apart.
-- Deliveries that were parked together come in the order of their events.
create index webhook_deliveries_due_idx     on rowhook.webhook_deliveries (lane, webhook_id, replayed, next_attempt_at, outbox_id, ordinal) where state = 'waiting';
-- The index contains the hash of the key, because an index entry holds at most 2.7 kB. A longer
-- key, such as bytea as text, would prevent the whole batch from being recorded.
create index webhook_deliveries_ordered_idx on rowhook.webhook_deliveries (webhook_id, hashtext(row_key), outbox_id, ordinal) where state = 'waiting' and ordered;
create index webhook_deliveries_parked_idx  on rowhook.webhook_deliveries using brin (parked_at);
create index webhook_deliveries_webhook_idx on rowhook.webhook_deliveries (webhook_id, state, occurred_at);
create index webhook_deliveries_outbox_idx  on rowhook.webhook_deliveries (outbox_id) where not has_payload;
create index webhook_deliveries_tenant_idx  on rowhook.webhook_deliveries (tenant_id, occurred_at);
create index webhook_deliveries_batch_idx   on rowhook.webhook_deliveries (batch_id) where batch_id is not null;

create sequence rowhook.webhook_logs_id_seq as bigint;
comment on sequence rowhook.webhook_logs_id_seq is 'Ids of webhook_logs.';

create table rowhook.webhook_logs (
  id               bigint      not null default nextval('rowhook.webhook_logs_id_seq'),
  attempted_at     timestamptz not null,
  tenant_id        text        not null,
  webhook_id       uuid        not null,
  delivery_id      uuid        not null,
  event_id         text        not null,
  event_type       text        not null,
  attempt          int         not null,
  status           text        not null,
  code             text        not null,
  response_status  int,
  response_body    text,
  response_headers jsonb,
  request_url      text        not null,
  request_headers  jsonb,
  remote_ip        inet,
  user_agent       text,
  duration_ms      int,
  next_attempt_at  timestamptz,
  error            text,
  lane             smallint    not null,
  request_method   text,
  organization     json,
  webhook_name     text,
  payload_format   text,
  primary key (attempted_at, id),
  constraint webhook_logs_status_is_known check (status in ('success', 'failed', 'skipped'))
) partition by range (attempted_at);

comment on table rowhook.webhook_logs is
  'Every attempt, one row each. The table is partitioned by day (UTC); days older than '
  'ROWHOOK_RETENTION_DAYS are dropped.';
comment on column rowhook.webhook_logs.id is 'Number of the attempt, counted over all webhooks.';
comment on column rowhook.webhook_logs.attempted_at is
  'When the attempt started, by the clock of the database.';
comment on column rowhook.webhook_logs.tenant_id is 'The tenant that the attempt belongs to.';
comment on column rowhook.webhook_logs.webhook_id is
  'The webhook that the attempt went to. It may have been deleted since.';
comment on column rowhook.webhook_logs.delivery_id is 'The delivery that the attempt belongs to.';
comment on column rowhook.webhook_logs.event_id is 'Event id, sent as webhook-id.';
comment on column rowhook.webhook_logs.event_type is 'Type of the event, such as deal.updated.';
comment on column rowhook.webhook_logs.attempt is
  'Number of the attempt within its delivery, from 1. For a skipped delivery, the number of '
  'attempts made before.';
comment on column rowhook.webhook_logs.status is
  'success: the receiver answered 2xx. failed: it did not. skipped: nothing was sent.';
comment on column rowhook.webhook_logs.code is
  'Why the attempt ended this way, from a closed list: delivered, http_error, timeout, '
  'connection_refused ...';
comment on column rowhook.webhook_logs.response_status is
  'HTTP status of the response; null: there was none.';
comment on column rowhook.webhook_logs.response_body is
  'The first 5,000 characters of the response body.';
comment on column rowhook.webhook_logs.response_headers is
  'Headers of the response; null: there was none.';
comment on column rowhook.webhook_logs.request_url is
  'URL of the request; the values of its query are masked.';
comment on column rowhook.webhook_logs.request_headers is
  'Headers of the request; secrets are masked.';
comment on column rowhook.webhook_logs.remote_ip is
  'Address that the daemon connected to; null: there was no connection.';
comment on column rowhook.webhook_logs.user_agent is
  'user-agent of the request: the version of rowhook that sent it.';
comment on column rowhook.webhook_logs.duration_ms is
  'Milliseconds from connecting to the end of the response.';
comment on column rowhook.webhook_logs.next_attempt_at is
  'When the delivery is retried; null: it is not retried.';
comment on column rowhook.webhook_logs.error is 'What went wrong, as a sentence; null on success.';
comment on column rowhook.webhook_logs.lane is 'Lane of the tenant, 0 to 15.';
comment on column rowhook.webhook_logs.request_method is 'POST, PUT or PATCH.';
comment on column rowhook.webhook_logs.organization is
  'The organization in the body. Together with webhook_name, payload_format and the event in the '
  'outbox it reproduces the same bytes.';
comment on column rowhook.webhook_logs.webhook_name is 'The webhook''s name in the body.';
comment on column rowhook.webhook_logs.payload_format is 'Format of the body: nested or flat.';
comment on constraint webhook_logs_pkey on rowhook.webhook_logs is
  'The key of a partitioned table must contain the column that the table is partitioned by.';
comment on constraint webhook_logs_status_is_known on rowhook.webhook_logs is
  'status is success, failed or skipped.';

alter sequence rowhook.webhook_logs_id_seq owned by rowhook.webhook_logs.id;

-- The default partition takes attempts of days without a partition. Sent requests must be recorded
-- even where something forbids DDL.
create table rowhook.webhook_logs_default partition of rowhook.webhook_logs default;

comment on table rowhook.webhook_logs_default is
  'Attempts of days whose partition could not be created yet. It is normally empty.';

create index webhook_logs_tenant_idx on rowhook.webhook_logs (tenant_id, attempted_at);
-- This index finds one row by its id and costs a write nothing, because ids are in the order of the
-- pages.
create index webhook_logs_id_idx     on rowhook.webhook_logs using brin (id) with (pages_per_range = 32, autosummarize = on);

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

create table rowhook.webhook_lanes (
  lane              smallint    primary key,
  epoch             bigint      not null default 0,
  owner             uuid,
  -- The position: everything that from_snapshot sees is done. While a large window is read in
  -- pages, to_snapshot is its end and done_id is the last id that is done.
  from_snapshot     pg_snapshot not null default pg_current_snapshot(),
  to_snapshot       pg_snapshot,
  done_id           bigint,
  position_at       timestamptz not null default now(),
  sequence_value    bigint      not null default 0,
  constraint webhook_lanes_lane_in_range        check (lane between 0 and 15),
  constraint webhook_lanes_page_has_end         check ((to_snapshot is null) = (done_id is null))
) with (fillfactor = 20); -- updated once a second: HOT updates stay in the page

comment on table rowhook.webhook_lanes is
  'The 16 lanes: the daemon that owns each lane, the epoch that fences its writes, and its '
  'position in the outbox.';
comment on column rowhook.webhook_lanes.lane is
  'Number of the lane, 0 to 15. A fixed hash assigns tenants to lanes.';
comment on column rowhook.webhook_lanes.epoch is
  'Counter of owners. A write with an older epoch changes nothing.';
comment on column rowhook.webhook_lanes.owner is
  'The row of webhook_daemons that owns the lane while its lease lasts.';
comment on column rowhook.webhook_lanes.from_snapshot is
  'The position: every change that is visible in this snapshot was delivered, parked, or wanted '
  'by no webhook.';
comment on column rowhook.webhook_lanes.to_snapshot is
  'End of a large window that is being read in pages; null: no such window is being read.';
comment on column rowhook.webhook_lanes.done_id is
  'The last outbox id within that window that is done; null: no such window is being read.';
comment on column rowhook.webhook_lanes.position_at is
  'When the position was written. It may not cover attempts that were logged since.';
comment on column rowhook.webhook_lanes.sequence_value is
  'Last value of webhook_outbox_id_seq, read after from_snapshot was taken. Larger ids were '
  'written later.';
comment on constraint webhook_lanes_pkey on rowhook.webhook_lanes is 'One row for each lane.';
comment on constraint webhook_lanes_lane_in_range on rowhook.webhook_lanes is
  'There are 16 lanes, 0 to 15.';
comment on constraint webhook_lanes_page_has_end on rowhook.webhook_lanes is
  'While a large window is read in pages, to_snapshot (the end of the window) and done_id (the '
  'end of the page) are set; otherwise both are null.';

insert into rowhook.webhook_lanes (lane) select generate_series(0, 15);

-- A daemon has one lease, and not one for each lane. A transaction that stays open for a day keeps
-- every row version that was replaced since, and every reader of the row must step over all of
-- them.
create table rowhook.webhook_daemons (
  id                uuid        primary key,
  name              text        not null,
  started_at        timestamptz not null default now(),
  lease_expires_at  timestamptz not null,
  is_leaving        boolean     not null default false
) with (fillfactor = 20);

comment on table rowhook.webhook_daemons is
  'The daemons that run. Each renews its lease every 2 s, and owns its fair share of the lanes '
  'among the daemons that are not leaving.';
comment on column rowhook.webhook_daemons.id is 'Id that webhook_lanes.owner refers to.';
comment on column rowhook.webhook_daemons.name is 'Host and process of the daemon.';
comment on column rowhook.webhook_daemons.started_at is
  'When the daemon began this session with the database.';
comment on column rowhook.webhook_daemons.lease_expires_at is
  'The daemon owns its lanes until this time.';
comment on column rowhook.webhook_daemons.is_leaving is
  'true: the daemon is stopping. Its attempts end, and then its lanes go to the other daemons.';
comment on constraint webhook_daemons_pkey on rowhook.webhook_daemons is
  'A daemon has one row for each of its sessions.';

create view rowhook.webhook_lane_owners with (security_invoker = true) as
select l.lane, d.id as owner, d.name as owner_name, d.lease_expires_at
  from rowhook.webhook_lanes l
  join rowhook.webhook_daemons d on d.id = l.owner
   -- A lease that ends later was written before the clock was set back.
   and d.lease_expires_at between clock_timestamp() and clock_timestamp() + interval '1 minute';

comment on view rowhook.webhook_lane_owners is
  'The lanes that a daemon owns now. A lane without a row here is free.';
comment on column rowhook.webhook_lane_owners.lane is 'The lane, 0 to 15.';
comment on column rowhook.webhook_lane_owners.owner is
  'Id of the daemon that owns the lane, see webhook_daemons.';
comment on column rowhook.webhook_lane_owners.owner_name is 'Host and process of that daemon.';
comment on column rowhook.webhook_lane_owners.lease_expires_at is
  'The daemon owns the lane until this time, unless it renews its lease.';

alter table rowhook.webhook_deliveries enable row level security, force row level security;
alter table rowhook.webhook_daemons    enable row level security, force row level security;
alter table rowhook.webhook_logs       enable row level security, force row level security;
alter table rowhook.webhook_logs_default enable row level security, force row level security;
alter table rowhook.webhook_health     enable row level security, force row level security;
alter table rowhook.webhook_lanes      enable row level security, force row level security;

create policy owner_has_all    on rowhook.webhook_deliveries to rowhook_owner  using (true) with check (true);
create policy daemon_has_all   on rowhook.webhook_deliveries to rowhook_daemon using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_deliveries for select to rowhook_app using (tenant_id = (select rowhook.current_tenant()));
create policy owner_has_all    on rowhook.webhook_logs to rowhook_owner  using (true) with check (true);
create policy daemon_has_all   on rowhook.webhook_logs to rowhook_daemon using (true) with check (true);
create policy owner_has_all    on rowhook.webhook_logs_default to rowhook_owner using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_logs for select to rowhook_app using (tenant_id = (select rowhook.current_tenant()));
create policy owner_has_all    on rowhook.webhook_health to rowhook_owner  using (true) with check (true);
create policy daemon_has_all   on rowhook.webhook_health to rowhook_daemon using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_health for select to rowhook_app using (exists (
  select from rowhook.webhook_configurations c where c.id = webhook_id and c.tenant_id = (select rowhook.current_tenant())));
create policy owner_has_all    on rowhook.webhook_lanes to rowhook_owner  using (true) with check (true);
create policy daemon_has_all   on rowhook.webhook_lanes to rowhook_daemon using (true) with check (true);
create policy owner_has_all    on rowhook.webhook_daemons to rowhook_owner  using (true) with check (true);
create policy daemon_has_all   on rowhook.webhook_daemons to rowhook_daemon using (true) with check (true);

grant select on rowhook.webhook_deliveries, rowhook.webhook_logs, rowhook.webhook_health to rowhook_app;
grant select, insert, update, delete on rowhook.webhook_deliveries, rowhook.webhook_health to rowhook_daemon;
grant select, insert on rowhook.webhook_logs to rowhook_daemon;
grant select, update on rowhook.webhook_lanes to rowhook_daemon;
grant select, insert, update, delete on rowhook.webhook_daemons to rowhook_daemon;
grant select on rowhook.webhook_lane_owners to rowhook_daemon;
grant usage, select on sequence rowhook.webhook_logs_id_seq to rowhook_daemon;

-- This is a view of the log and not a separate count, so whoever may read the rows may read their
-- sums. Where the log is large, query one tenant or webhook only.
create view rowhook.webhook_stats with (security_invoker = true) as
select tenant_id,
       webhook_id,
       date_trunc('hour', attempted_at, 'UTC')     as hour,
       count(*) filter (where status <> 'skipped') as attempts,
       count(*) filter (where status = 'success')  as successes,
       count(*) filter (where status = 'failed')   as failures,
       count(*) filter (where status = 'skipped')  as skipped,
       round(percentile_cont(0.50) within group (order by duration_ms) filter (where status <> 'skipped'))::int as p50_duration_ms,
       round(percentile_cont(0.95) within group (order by duration_ms) filter (where status <> 'skipped'))::int as p95_duration_ms
  from rowhook.webhook_logs
 group by tenant_id, webhook_id, date_trunc('hour', attempted_at, 'UTC');

comment on view rowhook.webhook_stats is
  'Per webhook and hour (UTC): attempts, successes, failures, deliveries that were skipped, and '
  'the median and 95th percentile of the durations in milliseconds.';
comment on column rowhook.webhook_stats.tenant_id is 'The tenant of the webhook.';
comment on column rowhook.webhook_stats.webhook_id is 'The webhook.';
comment on column rowhook.webhook_stats.hour is 'Beginning of the hour (UTC).';
comment on column rowhook.webhook_stats.attempts is 'Requests that were sent or attempted.';
comment on column rowhook.webhook_stats.successes is 'Attempts that were answered 2xx.';
comment on column rowhook.webhook_stats.failures is 'Attempts that were not answered 2xx.';
comment on column rowhook.webhook_stats.skipped is
  'Deliveries that were never sent, such as deliveries of a disabled webhook.';
comment on column rowhook.webhook_stats.p50_duration_ms is
  'Median duration of the attempts, in milliseconds.';
comment on column rowhook.webhook_stats.p95_duration_ms is
  '95th percentile of the durations, in milliseconds.';

grant select on rowhook.webhook_stats to rowhook_app, rowhook_daemon;

-- Attaching a table that was created beforehand does not block writers of existing days; creating
-- it as a partition would.
--
-- Attaching locks webhook_logs_default, so a session that reads the whole log prevents it. The
-- function does not wait for such sessions, since it is called again in a minute and days are
-- created a week ahead. Rows that went to the default partition in the meantime move into the
-- partition of their day: one day in each call, the first one. If a day has many such rows, they
-- stay until today has a partition of its own; otherwise new rows for the default partition would
-- wait while they are moved.
create function rowhook._make_log_partitions(p_days_ahead int default 7)
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
  v_day     date;
  v_name    text;
  v_from    timestamptz;
  v_until   timestamptz;
  v_today   text := 'rowhook.webhook_logs_' || to_char(current_date, 'YYYYMMDD');
  v_by_default bigint;
  v_moves   int := 0;
  v_made    int := 0;
begin
  -- One daemon at a time. Anybody could take and keep an advisory lock, so a row is locked instead.
  perform from rowhook.webhook_installation for update;
  -- The days are an array, because a query that is still open would prevent truncating the table.
  foreach v_day in array array(
    select generate_series(current_date - 1, current_date + p_days_ahead, '1 day')::date
     union
    select min(attempted_at)::date from rowhook.webhook_logs_default where attempted_at < current_date
     order by 1)
  loop
    v_name := 'webhook_logs_' || to_char(v_day, 'YYYYMMDD');
    continue when v_day is null or to_regclass('rowhook.' || v_name) is not null;
    v_from := v_day::timestamptz;
    v_until := (v_day + 1)::timestamptz;
    lock table only rowhook.webhook_logs_default in access exclusive mode;
    select count(*) into v_by_default
      from (select from rowhook.webhook_logs_default where attempted_at >= v_from and attempted_at < v_until limit 10001) as r;
    continue when v_by_default > 0 and (v_moves > 0 or v_by_default > 10000 and to_regclass(v_today) is null);
    execute format('create table rowhook.%I (like rowhook.webhook_logs including defaults including constraints)', v_name);
    execute format('alter table rowhook.%I enable row level security, force row level security', v_name);
    execute format('create policy owner_has_all on rowhook.%I to rowhook_owner using (true) with check (true)', v_name);
    execute format('comment on table rowhook.%I is %L', v_name, format('Attempts of %s (UTC).', v_day));
    if v_by_default > 0 then
      execute format('insert into rowhook.%I select * from rowhook.webhook_logs_default where attempted_at >= $1 and attempted_at < $2', v_name)
        using v_from, v_until;
      delete from rowhook.webhook_logs_default where attempted_at >= v_from and attempted_at < v_until;
      if not exists (select from rowhook.webhook_logs_default) then
        truncate rowhook.webhook_logs_default;
      end if;
      v_moves := v_moves + 1;
    end if;
    execute format('alter table rowhook.webhook_logs attach partition rowhook.%I for values from (%L) to (%L)', v_name, v_from, v_until);
    v_made := v_made + 1;
  end loop;
  return v_made;
end
$$;

comment on function rowhook._make_log_partitions(int) is
  'Creates the missing daily partitions of webhook_logs from yesterday to p_days_ahead days '
  'ahead, moves rows of webhook_logs_default into them, and returns how many were missing. The '
  'daemon calls it every minute.';

create function rowhook._log_days_ahead()
returns int
language sql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set "TimeZone" = 'UTC'
begin atomic
  select coalesce(min(n) - 1, 60)::int from generate_series(1, 60) as n
   where to_regclass('rowhook.webhook_logs_' || to_char(current_date + n, 'YYYYMMDD')) is null;
end;

comment on function rowhook._log_days_ahead() is
  'How many days from tomorrow on have a partition of webhook_logs, without a gap; normally 7. '
  'The metrics and the doctor show it.';

create function rowhook._drop_old_logs(p_retention_days int)
returns int
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
set "TimeZone" = 'UTC'
-- An open transaction that has read the log makes the DROP wait, and writers of logs wait behind
-- the DROP.
set lock_timeout = '100ms'
as $$
declare
  v_partition record;
  v_dropped   int := 0;
begin
  for v_partition in
    select c.oid, c.relname
      from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'rowhook.webhook_logs'::regclass
       and c.relname ~ '^webhook_logs_[0-9]{8}$'
       and to_date(right(c.relname, 8), 'YYYYMMDD') < current_date - p_retention_days
     order by c.relname
  loop
    execute format('drop table rowhook.%I', v_partition.relname);
    v_dropped := v_dropped + 1;
  end loop;
  return v_dropped;
end
$$;

comment on function rowhook._drop_old_logs(int) is
  'Drops the partitions of webhook_logs that ended more than p_retention_days days ago, and '
  'returns how many. The daemon calls it every minute.';

-- Retention deletes these rows one by one. This is a function of its own so that it continues where
-- something forbids dropping tables.
create function rowhook._delete_old_rows(p_retention_days int)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
set "TimeZone" = 'UTC'
as $$
declare
  v_logs       bigint;
  v_deliveries bigint;
begin
  delete from rowhook.webhook_logs_default where attempted_at < (current_date - p_retention_days)::timestamptz;
  get diagnostics v_logs = row_count;
  delete from rowhook.webhook_deliveries
   where delivery_id in (
     select delivery_id from rowhook.webhook_deliveries
      where state = 'given_up' and occurred_at < now() - make_interval(days => p_retention_days)
        for update skip locked);
  get diagnostics v_deliveries = row_count;
  return v_logs + v_deliveries;
end
$$;

comment on function rowhook._delete_old_rows(int) is
  'Deletes given-up deliveries and rows of webhook_logs_default that are older than '
  'p_retention_days days, and returns how many. The daemon calls it every minute.';

create function rowhook._holds(p_characters bytea[])
returns boolean[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_character bytea;
  v_held      boolean[] := '{}';
begin
  foreach v_character in array p_characters loop
    begin
      perform convert_from(v_character, 'UTF8');
      v_held := v_held || true;
    exception when untranslatable_character or character_not_in_repertoire then
      v_held := v_held || false;
    end;
  end loop;
  return v_held;
end
$$;

comment on function rowhook._holds(bytea[]) is
  'Which characters, each given as UTF-8, the encoding of this database can store. The daemon '
  'replaces the others before it logs them.';

-- The next slot is emptied only if every lane has read all of it. Payloads that parked deliveries
-- still need are copied to them first. The function waits for no lock longer than a reader takes,
-- and is called again soon. A slot that was not read completely stays, and its turn passes: it
-- takes new rows beside the old ones and is emptied a round later. Unread rows are never dropped.
create function rowhook._recycle_slot()
returns smallint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
-- A busy daemon reads all the time. It must not wait because somebody holds a slot for longer.
set lock_timeout = '50ms'
as $$
declare
  v_slot     smallint := ((rowhook._slot() + 1) % 8)::smallint;
  v_any      boolean;
  v_unread   boolean;
  v_uncopied boolean;
begin
  execute format('select exists (select from rowhook.webhook_outbox_%s)', v_slot) into v_any;
  if not v_any then
    return null;
  end if;
  -- A session that holds the slot now will probably still hold it at the end, so check this before
  -- reading millions of rows.
  begin
    execute format('lock table only rowhook.webhook_outbox_%s in access exclusive mode', v_slot);
    raise exception 'free' using errcode = 'RH001'; -- lets go of it again
  exception
    when lock_not_available then
      return null;
    when sqlstate 'RH001' then
      null;
  end;
  -- A replay in an open transaction may have locked some of these rows.
  execute format(
    'update rowhook.webhook_deliveries d
        set data = o.data, previous = o.previous, has_payload = true
       from rowhook.webhook_outbox_%s o
      where d.outbox_id = o.id and d.tenant_id = o.tenant_id
        and d.delivery_id in (
          select w.delivery_id from rowhook.webhook_deliveries w
           where not w.has_payload and (w.outbox_id, w.tenant_id) in (select id, tenant_id from rowhook.webhook_outbox_%s) for update skip locked)', v_slot, v_slot);
  begin
    -- This lock stops writers. Readers look into every slot, and they continue while this slot is
    -- checked.
    execute format('lock table only rowhook.webhook_outbox_%s in share mode nowait', v_slot);
    execute format(
      'select exists (select from rowhook.webhook_outbox_%s o join rowhook.webhook_lanes l on l.lane = o.lane
                       where not pg_visible_in_snapshot(o.xid, l.from_snapshot))', v_slot) into v_unread;
    -- The turn of the slot may have come in the meantime. In that case writers wait for this lock.
    if v_unread or v_slot <> (rowhook._slot() + 1) % 8 then
      return null;
    end if;
    execute format('lock table only rowhook.webhook_outbox_%s in access exclusive mode', v_slot);
  exception when lock_not_available then
    return null;
  end;
  -- Check again after the last reader, because that reader may have been a replay.
  execute format(
    'select exists (select from rowhook.webhook_deliveries d
                     where not d.has_payload and (d.outbox_id, d.tenant_id) in (select id, tenant_id from rowhook.webhook_outbox_%s))', v_slot) into v_uncopied;
  if v_uncopied then
    return null;
  end if;
  execute format('truncate only rowhook.webhook_outbox_%s', v_slot);
  return v_slot;
end
$$;

comment on function rowhook._recycle_slot() is
  'Empties tomorrow''s outbox slot with TRUNCATE, once every lane has read it, and returns the '
  'slot; null if it did nothing. The daemon calls it every minute.';

-- The following outbox ids may have been assigned before, or elsewhere, for other events. The
-- incarnation starts after the last id that certainly belongs to this history: an id that a
-- position, a log row or a parked delivery contains. So events that were delivered or parked since
-- the last position are still recognised by their ids.
create function rowhook._begin_incarnation()
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
  insert into rowhook.webhook_incarnations (starts_at_id, incarnation)
  select greatest(
           (select max(starts_at_id) from rowhook.webhook_incarnations),
           1 + (select max(sequence_value) from rowhook.webhook_lanes),
           1 + (select max(outbox_id) from rowhook.webhook_deliveries),
           1 + (select max(substring(event_id from '^evt_[^_]+_([0-9]+)_')::bigint) from rowhook.webhook_logs
                 where attempted_at >= (select min(position_at) from rowhook.webhook_lanes) - interval '1 minute')),
         substr(replace(gen_random_uuid()::text, '-', ''), 1, 8)
  on conflict (starts_at_id) do update set incarnation = excluded.incarnation;
$$;

comment on function rowhook._begin_incarnation() is
  'Begins a new incarnation of event ids after the last id that is known to be older. '
  '_notice_restore() and rowhook adopt call it.';

-- After a restore from a dump, or a move to another cluster, transaction ids start anew. Positions
-- and the xids in the outbox then mean nothing: a reader that trusted them would be silent forever,
-- or send everything again. The old values, compared with each other, still tell which rows were
-- undelivered. Those rows get the id of this transaction, all others get an id older than any
-- transaction, and every lane continues from now. position_at is kept: the log after that time says
-- which of these deliveries were begun.
--
-- Another timeline of the same cluster (a promoted standby, point-in-time recovery) keeps the
-- transaction ids, but outbox ids may be assigned a second time. So in both cases a new incarnation
-- begins, and event ids stay unique.
--
-- 'moved' and 'new timeline' are the two cases; null means that nothing happened.
create function rowhook._notice_restore()
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  -- The snapshot is taken before this transaction has an id. A later snapshot may treat that id as
  -- done, since a snapshot never lists its own transaction as running, and with the id all rows
  -- that are stamped with it.
  v_now      pg_snapshot := pg_current_snapshot();
  v_system   bigint := rowhook._system_identifier();
  v_database oid    := (select oid from pg_database where datname = current_database());
  v_table    oid    := 'rowhook.webhook_installation'::regclass;
  v_timeline text;
  v_was      rowhook.webhook_installation;
  v_moved    boolean;
begin
  select * into v_was from rowhook.webhook_installation for update;
  v_timeline := rowhook._timeline();
  v_moved := (v_was.database_oid, v_was.table_oid) <> (v_database, v_table)
    or v_was.system_identifier <> v_system and 0 not in (v_was.system_identifier, v_system)
    or exists (select from rowhook.webhook_lanes where pg_snapshot_xmax(from_snapshot) > pg_snapshot_xmax(v_now));
  if not v_moved and v_was.timeline = v_timeline then
    return null;
  end if;

  perform rowhook._begin_incarnation();
  update rowhook.webhook_installation
     set system_identifier = v_system, timeline = v_timeline, database_oid = v_database, table_oid = v_table;
  if not v_moved then
    return 'new timeline';
  end if;

  -- A move by logical replication copies the rows and not the sequence. Known ids must not be
  -- assigned again.
  perform setval('rowhook.webhook_outbox_id_seq', known.id)
     from (select greatest((select max(id) from rowhook.webhook_outbox), (select max(starts_at_id) - 1 from rowhook.webhook_incarnations)) as id) as known
    where known.id > coalesce(pg_sequence_last_value('rowhook.webhook_outbox_id_seq'), 0);

  perform from rowhook.webhook_lanes order by lane for update;
  update rowhook.webhook_outbox o
     set xid = case when o.id > l.sequence_value
                      or not pg_visible_in_snapshot(o.xid, l.from_snapshot)
                         and (l.to_snapshot is null or o.id > l.done_id or not pg_visible_in_snapshot(o.xid, l.to_snapshot))
                    then pg_current_xact_id() else '3' end
    from rowhook.webhook_lanes l
   where l.lane = o.lane;
  update rowhook.webhook_lanes
     set epoch = epoch + 1, owner = null,
         from_snapshot = v_now, to_snapshot = null, done_id = null,
         sequence_value = coalesce(pg_sequence_last_value('rowhook.webhook_outbox_id_seq'), 0);
  return 'moved';
end
$$;

comment on function rowhook._notice_restore() is
  'Detects that this database was restored or moved to another cluster, and lets every lane '
  'continue with the undelivered changes. Returns moved, new timeline, or null.';

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

create trigger forget_deliveries after delete on rowhook.webhook_configurations
  referencing old table as deleted for each statement execute function rowhook._forget_deliveries();

-- A user who enables a webhook, or changes where or how it is sent, wants an attempt now. So the
-- breaker closes and the failures are forgotten.
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
     and (was.url, was.is_active, was.headers, was.auth_type, was.auth_config, was.secret, was.timeout_ms)
         is distinct from (is_now.url, is_now.is_active, is_now.headers, is_now.auth_type, is_now.auth_config, is_now.secret, is_now.timeout_ms);
  return null;
end
$$;

comment on function rowhook._forget_health() is
  'Trigger of webhook_configurations: closes the circuit breaker of a webhook that was changed '
  'or enabled.';

create trigger forget_health after update on rowhook.webhook_configurations
  referencing old table as was new table as is_now for each statement execute function rowhook._forget_health();

select rowhook._make_log_partitions();

revoke execute on all functions in schema rowhook from public;
grant execute on function rowhook._make_log_partitions(int), rowhook._drop_old_logs(int), rowhook._delete_old_rows(int),
                          rowhook._log_days_ahead(), rowhook._recycle_slot(),
                          rowhook._notice_restore(), rowhook._holds(bytea[]) to rowhook_daemon;

create or replace function rowhook.schema_version() returns int language sql stable parallel safe return 5;

reset role;
