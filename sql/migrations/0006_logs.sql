-- rowhook 0006: webhook_logs, one row for each attempt, with a partition for each day;
-- webhook_stats, its sums per hour; webhook_minutes, its counts per minute; and webhook_templates,
-- the texts that made the bodies.

set role rowhook_owner;

create sequence rowhook.webhook_logs_id_seq as bigint;
comment on sequence rowhook.webhook_logs_id_seq is 'Ids of webhook_logs.';

-- Headers are json: as jsonb a row takes PostgreSQL 20 us instead of 17.
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
  response_headers json,
  request_url      text        not null,
  request_headers  json,
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

  constraint webhook_logs_status_is_known
    check (status in ('success', 'failed', 'skipped'))
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
  'Headers of the response, in their order; null: there was none. For the operators of jsonb, cast '
  'it.';
comment on column rowhook.webhook_logs.request_url is
  'URL of the request; the values of its query are masked.';
comment on column rowhook.webhook_logs.request_headers is
  'Headers of the request, in their order; secrets are masked.';
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
comment on column rowhook.webhook_logs.payload_format is
  'Format of the body, such as nested; with the hash of the template that made the body, and a '
  'digest of the body: template:5f2c...:91ab...';
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

create index webhook_logs_tenant_idx
  on rowhook.webhook_logs (tenant_id, attempted_at);
-- These indexes return the attempts of a webhook in the order of their time, so that a page of them
-- is quick in a log of any size.
create index webhook_logs_webhook_idx
  on rowhook.webhook_logs (webhook_id, attempted_at, id);
create index webhook_logs_unsuccessful_idx
  on rowhook.webhook_logs (webhook_id, attempted_at, id)
  where status <> 'success';
create index webhook_logs_delivery_idx
  on rowhook.webhook_logs (delivery_id);
-- This index finds one row by its id and costs a write nothing, because ids are in the order of the
-- pages.
create index webhook_logs_id_idx
  on rowhook.webhook_logs using brin (id)
  with (pages_per_range = 32, autosummarize = on);

-- A replay of a delivery sends the bytes that were sent before, so the template that made them is
-- kept, whatever its webhook has now.
create table rowhook.webhook_templates (
  tenant_id    text        not null,
  hash         text        not null,
  template     text        not null,
  content_type text        not null,
  used_at      timestamptz not null default now(),
  primary key (tenant_id, hash)
);

comment on table rowhook.webhook_templates is
  'Texts of templates that made bodies, as long as the log names them.';
comment on column rowhook.webhook_templates.tenant_id is 'The tenant of the webhooks that used it.';
comment on column rowhook.webhook_templates.hash is
  'What payload_format of webhook_logs and webhook_deliveries has behind its first colon.';
comment on column rowhook.webhook_templates.template is
  'The text, as payload_template was, or as rowhook brings it for a chat.';
comment on column rowhook.webhook_templates.content_type is 'The content-type of the output.';
comment on column rowhook.webhook_templates.used_at is
  'When it was used last; a daemon writes this once an hour at most.';
comment on constraint webhook_templates_pkey on rowhook.webhook_templates is
  'A tenant has a template once.';

create index webhook_templates_used_at_idx on rowhook.webhook_templates (used_at);

alter table rowhook.webhook_templates enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_templates to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_templates to rowhook_daemon
  using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_templates for select to rowhook_app
  using (tenant_id = (select rowhook.current_tenant()));

grant select on rowhook.webhook_templates to rowhook_app;
grant select, insert, update on rowhook.webhook_templates to rowhook_daemon;

alter table rowhook.webhook_logs enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_logs to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_logs to rowhook_daemon
  using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_logs for select to rowhook_app
  using (tenant_id = (select rowhook.current_tenant()));

alter table rowhook.webhook_logs_default enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_logs_default to rowhook_owner
  using (true) with check (true);

grant select on rowhook.webhook_logs to rowhook_app;
grant select, insert on rowhook.webhook_logs to rowhook_daemon;
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
       round(percentile_cont(0.50) within group (order by duration_ms)
             filter (where status <> 'skipped'))::int as p50_duration_ms,
       round(percentile_cont(0.95) within group (order by duration_ms)
             filter (where status <> 'skipped'))::int as p95_duration_ms
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

-- Nobody who asks for counts reads the log: it has a row for each attempt. RECORD counts in memory
-- and writes here every few seconds. A row is updated some ten times within its minute, so its page
-- has room for the new versions.
create table rowhook.webhook_minutes (
  webhook_id      uuid        not null,
  minute          timestamptz not null,
  tenant_id       text        not null,
  success         int         not null,
  failed          int         not null,
  skipped         int         not null,
  durations       int[]       not null,
  last_attempt_at timestamptz,
  primary key (webhook_id, minute),

  constraint webhook_minutes_durations_has_its_buckets
    check (cardinality(durations) = 28)
) with (fillfactor = 50);

comment on table rowhook.webhook_minutes is
  'Counts of the attempts in webhook_logs, per webhook and minute. The daemon writes them every few '
  'seconds, and deletes rows older than ROWHOOK_RETENTION_DAYS.';
comment on column rowhook.webhook_minutes.webhook_id is
  'The webhook. It may have been deleted since.';
comment on column rowhook.webhook_minutes.minute is 'Beginning of the minute.';
comment on column rowhook.webhook_minutes.tenant_id is 'The tenant of the webhook.';
comment on column rowhook.webhook_minutes.success is 'Attempts that were answered 2xx.';
comment on column rowhook.webhook_minutes.failed is 'Attempts that were not answered 2xx.';
comment on column rowhook.webhook_minutes.skipped is 'Deliveries for which nothing was sent.';
comment on column rowhook.webhook_minutes.durations is
  'How many attempts took up to 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, '
  '700, 1000, 1500, 2000, 3000, 5000, 7000, 10000, 15000, 20000 and 30000 ms, and longer.';
comment on column rowhook.webhook_minutes.last_attempt_at is
  'When the last attempt of the minute started; null: nothing was sent.';
comment on constraint webhook_minutes_pkey on rowhook.webhook_minutes is
  'A webhook has one row for each minute.';
comment on constraint webhook_minutes_durations_has_its_buckets on rowhook.webhook_minutes is
  'durations has 28 counts.';

create index webhook_minutes_minute_idx on rowhook.webhook_minutes (minute);

create table rowhook.webhook_counted_logs (
  lane   smallint primary key,
  log_id bigint   not null
);

comment on table rowhook.webhook_counted_logs is
  'How far the attempts of each lane are counted in webhook_minutes. The next owner of the lane '
  'counts the rest from webhook_logs, so a crash loses no counts.';
comment on column rowhook.webhook_counted_logs.lane is 'The lane, 0 to 15.';
comment on column rowhook.webhook_counted_logs.log_id is
  'All rows of webhook_logs of this lane up to this id are counted.';
comment on constraint webhook_counted_logs_pkey on rowhook.webhook_counted_logs is
  'A lane has at most one row.';

alter table rowhook.webhook_minutes      enable row level security, force row level security;
alter table rowhook.webhook_counted_logs enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_minutes to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_minutes to rowhook_daemon
  using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_minutes for select to rowhook_app
  using (tenant_id = (select rowhook.current_tenant()));
create policy owner_has_all on rowhook.webhook_counted_logs to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_counted_logs to rowhook_daemon
  using (true) with check (true);

grant select on rowhook.webhook_minutes to rowhook_app;
grant select, insert, update
  on rowhook.webhook_minutes, rowhook.webhook_counted_logs
  to rowhook_daemon;

-- Attaching a table that was created beforehand does not block writers of existing days; creating
-- it as a partition would.
--
-- Attaching locks the default partition, so a session that reads the whole table prevents it. The
-- function does not wait for such sessions, since it is called again in a minute and days are
-- created a week ahead. Rows that went to the default partition in the meantime move into the
-- partition of their day: one day in each call, the first one. If a day has many such rows, they
-- stay until today has a partition of its own; otherwise new rows for the default partition would
-- wait while they are moved. Where readers must not wait either (p_moves_many is false), they stay.
create function rowhook._make_days(
  p_table       name,
  p_time_column name,
  p_what        text,
  p_days_ahead  int,
  p_moves_many  boolean
)
returns int
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
set "TimeZone" = 'UTC'
set lock_timeout = '100ms'
as $$
declare
  v_default    text := p_table || '_default';
  v_today      text := format('rowhook.%I', p_table || to_char(current_date, '_YYYYMMDD'));
  v_days       date[];
  v_day        date;
  v_name       text;
  v_from       timestamptz;
  v_until      timestamptz;
  v_by_default bigint;
  v_moves      int := 0;
  v_made       int := 0;
begin
  -- One daemon at a time. Anybody could take and keep an advisory lock, so a row is locked instead.
  perform from rowhook.webhook_installation for update;
  -- The days are an array, because a query that is still open would prevent truncating the table.
  execute format(
    'select array(
       select generate_series(current_date - 1, current_date + $1, ''1 day'')::date
        union
       select min(%1$I)::date from rowhook.%2$I where %1$I < current_date
        order by 1)', p_time_column, v_default)
    into v_days using p_days_ahead;
  foreach v_day in array v_days loop
    v_name := p_table || to_char(v_day, '_YYYYMMDD');
    continue when v_day is null or to_regclass(format('rowhook.%I', v_name)) is not null;
    v_from := v_day::timestamptz;
    v_until := (v_day + 1)::timestamptz;
    execute format('lock table only rowhook.%I in access exclusive mode', v_default);
    execute format(
      'select count(*)
         from (select from rowhook.%2$I where %1$I >= $1 and %1$I < $2 limit 10001) as r',
      p_time_column, v_default)
      into v_by_default using v_from, v_until;
    continue when v_by_default > 0
              and (v_moves > 0
                   or v_by_default > 10000
                      and (not p_moves_many or to_regclass(v_today) is null));
    execute format(
      'create table rowhook.%I (like rowhook.%I including defaults including constraints)',
      v_name, p_table);
    execute format(
      'alter table rowhook.%I enable row level security, force row level security', v_name);
    execute format(
      'create policy owner_has_all on rowhook.%I to rowhook_owner
         using (true) with check (true)', v_name);
    execute format(
      'comment on table rowhook.%I is %L', v_name, format('%s of %s (UTC).', p_what, v_day));
    if v_by_default > 0 then
      perform rowhook._move_day(v_default, p_time_column, v_name, v_from, v_until);
      v_moves := v_moves + 1;
    end if;
    execute format(
      'alter table rowhook.%I attach partition rowhook.%I for values from (%L) to (%L)',
      p_table, v_name, v_from, v_until);
    v_made := v_made + 1;
  end loop;
  return v_made;
end
$$;

comment on function rowhook._make_days(name, name, text, int, boolean) is
  'Creates the missing daily partitions of a table from yesterday to p_days_ahead days ahead, moves '
  'rows of its default partition into them, and returns how many were missing.';

create function rowhook._move_day(
  p_default     name,
  p_time_column name,
  p_day         name,
  p_from        timestamptz,
  p_until       timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_is_empty boolean;
begin
  execute format(
    'insert into rowhook.%3$I select * from rowhook.%2$I where %1$I >= $1 and %1$I < $2',
    p_time_column, p_default, p_day)
    using p_from, p_until;
  execute format(
    'delete from rowhook.%2$I where %1$I >= $1 and %1$I < $2', p_time_column, p_default)
    using p_from, p_until;
  execute format('select not exists (select from rowhook.%I)', p_default) into v_is_empty;
  if v_is_empty then
    execute format('truncate rowhook.%I', p_default);
  end if;
end
$$;

comment on function rowhook._move_day(name, name, name, timestamptz, timestamptz) is
  'Moves the rows of a day from a default partition into a table that is not attached yet.';

create function rowhook._make_log_partitions(p_days_ahead int default 7)
returns int
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
return rowhook._make_days('webhook_logs', 'attempted_at', 'Attempts', p_days_ahead, true);

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
  select coalesce(min(n) - 1, 60)::int
    from generate_series(1, 60) as n
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
  v_minutes    bigint;
  v_changes    bigint;
begin
  delete from rowhook.webhook_logs_default
   where attempted_at < (current_date - p_retention_days)::timestamptz;
  get diagnostics v_logs = row_count;
  delete from rowhook.webhook_deliveries
   where delivery_id in (
     select delivery_id from rowhook.webhook_deliveries
      where state = 'given_up'
        and occurred_at < now() - make_interval(days => p_retention_days)
        for update skip locked);
  get diagnostics v_deliveries = row_count;
  delete from rowhook.webhook_minutes
   where minute < now() - make_interval(days => p_retention_days);
  get diagnostics v_minutes = row_count;
  delete from rowhook.webhook_changes where changed_at < now() - interval '1 year';
  get diagnostics v_changes = row_count;
  delete from rowhook.idempotency_keys where created_at < now() - interval '7 days';
  delete from rowhook.api_sessions where expires_at < now() or link_expires_at < now();
  delete from rowhook.test_urls where expires_at < now();
  perform rowhook._forget_polls();
  -- Log rows name templates. A daemon notes a use within an hour, and the log drops whole days.
  delete from rowhook.webhook_templates
   where used_at < now() - make_interval(days => p_retention_days + 2);
  return v_logs + v_deliveries + v_minutes + v_changes;
end
$$;

comment on function rowhook._delete_old_rows(int) is
  'Deletes given-up deliveries, and rows of webhook_logs_default and webhook_minutes, that are '
  'older than p_retention_days days, rows of webhook_changes older than a year, and '
  'idempotency_keys of 7 days, api_sessions, test_urls and webhook_polls that have ended, and '
  'templates that no log row names any more. It returns how many. The daemon calls it every minute.';

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

-- In a DO block, so that psql prints no result.
do $$
begin
  perform rowhook._make_log_partitions();
end
$$;

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._make_log_partitions(int),
  rowhook._log_days_ahead(),
  rowhook._drop_old_logs(int),
  rowhook._delete_old_rows(int),
  rowhook._holds(bytea[])
  to rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 6;

reset role;
