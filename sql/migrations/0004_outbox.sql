-- rowhook 0004: the outbox, the append-only log that capture writes in the app's own transaction.
--
-- Each row contains its transaction's id (xid), so that the daemon can read the log in windows
-- between two snapshots: all rows that snapshot S2 sees and S1 did not see. Ids are assigned in one
-- order and committed in another. Therefore "id greater than the last one" would lose events, and
-- waiting for the oldest transaction would make everything wait for one long transaction. A window
-- loses nothing and waits for nobody.
--
-- The table is a ring of 8 list partitions, the slots. Each slot holds one day. Before the turn of
-- a slot comes again, the daemon recycles it with TRUNCATE. So retention leaves no dead rows, and a
-- transaction that takes a day causes no bloat. Detaching or dropping a partition would wait for
-- every writer of the parent; TRUNCATE of a slot that nobody writes waits for nobody.
--
-- A row whose event_types is empty is not an event. It says that the tenant's configuration changed
-- at this point of the log, so that an event is never matched with a configuration from before its
-- time.

set role rowhook_owner;

create sequence rowhook.webhook_outbox_id_seq as bigint;
comment on sequence rowhook.webhook_outbox_id_seq is
  'Ids of webhook_outbox. After a restore the sequence continues, and a new incarnation tells '
  'the ids apart.';

-- The function is inlined into the column's default. It uses date_part because extract computes in
-- numeric: date_part takes 0.5 us less for each row.
create function rowhook._slot()
returns smallint
language sql
volatile
return (floor(date_part('epoch', clock_timestamp()) / 86400)::bigint % 8)::smallint;

comment on function rowhook._slot() is
  'The outbox slot of this moment, 0 to 7: the day (UTC) modulo 8.';

create table rowhook.webhook_outbox (
  id              bigint      not null default nextval('rowhook.webhook_outbox_id_seq'),
  xid             xid8        not null default pg_current_xact_id(),
  occurred_at     timestamptz not null default clock_timestamp(),
  source_id       int,
  slot            smallint    not null default rowhook._slot(),
  lane            smallint    not null,
  truncated       text,
  tenant_id       text        not null,
  event_types     text[]      not null,
  row_key         text,
  data            json,
  previous        json,
  test_webhook_id uuid,
  primary key (id, slot)
) partition by list (slot);

comment on table rowhook.webhook_outbox is
  'The log of changes. Triggers and emit() write it in the app''s transaction, and the daemon '
  'reads it; it is a ring of 8 slots (partitions), one day each.';
comment on column rowhook.webhook_outbox.id is
  'Part of the event ids. Within one window of transactions, the order of ids is the order of '
  'the changes to a row.';
comment on column rowhook.webhook_outbox.xid is
  'The transaction that wrote the row. The daemon compares it with snapshots.';
comment on column rowhook.webhook_outbox.occurred_at is
  'When the change was captured, within its statement. It is the timestamp of the body.';
comment on column rowhook.webhook_outbox.source_id is
  'The watched table, see webhook_sources. Null: the row comes from emit(), a test or a change '
  'of configuration. Negative: it relays an inbound event, for the time that the number says.';
comment on column rowhook.webhook_outbox.slot is
  'The number of the partition that holds the row, 0 to 7: the day (UTC) modulo 8.';
comment on column rowhook.webhook_outbox.lane is 'Hash partition of the tenant, 0 to 15.';
comment on column rowhook.webhook_outbox.truncated is
  'Why data holds the key columns only; null: data is whole. too_large: data exceeded the '
  'source''s max_payload_bytes; otherwise the SQLSTATE and message of the error that printing '
  'the row raised.';
comment on column rowhook.webhook_outbox.tenant_id is 'The tenant that the event belongs to.';
comment on column rowhook.webhook_outbox.event_types is
  'The event types of this change. Empty: the tenant''s configuration changed here.';
comment on column rowhook.webhook_outbox.row_key is
  'Primary key of the changed row as text. Deliveries of one row start in the order of its '
  'changes.';
comment on column rowhook.webhook_outbox.data is
  'The row as row_to_json prints it; after a DELETE, the deleted row. If event_types is empty: a '
  'list of the ids of the webhooks that changed, or null for all webhooks of the tenant.';
comment on column rowhook.webhook_outbox.previous is
  'Old values of the columns that an UPDATE changed.';
comment on column rowhook.webhook_outbox.test_webhook_id is
  'Set for a test event, which goes to this webhook only, whether it is active or not.';
comment on constraint webhook_outbox_pkey on rowhook.webhook_outbox is
  'An id exists once in each slot.';

alter sequence rowhook.webhook_outbox_id_seq owned by rowhook.webhook_outbox.id;

-- This index finds a window: all rows from snapshot S1's xmax on, and the rows of transactions that
-- were still running in S1.
create index webhook_outbox_xid_idx on rowhook.webhook_outbox (xid, id);

alter table rowhook.webhook_outbox enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_outbox to rowhook_owner
  using (true) with check (true);
create policy daemon_reads on rowhook.webhook_outbox for select to rowhook_daemon
  using (true);
grant select on rowhook.webhook_outbox to rowhook_daemon;

do $$
begin
  for v_slot in 0 .. 7 loop
    execute format(
      'create table rowhook.webhook_outbox_%s partition of rowhook.webhook_outbox
         for values in (%s)', v_slot, v_slot);
    execute format(
      'alter table rowhook.webhook_outbox_%s
         enable row level security, force row level security', v_slot);
    execute format(
      'create policy owner_has_all on rowhook.webhook_outbox_%s to rowhook_owner
         using (true) with check (true)', v_slot);
    execute format('comment on table rowhook.webhook_outbox_%s is %L', v_slot, format(
      'Slot %s of the outbox: the days whose number since 1970 (UTC) leaves %1$s when divided '
      'by 8.', v_slot));
  end loop;
end
$$;

-- Capture notifies only while the doorbell says that all daemons sleep, because NOTIFY takes a lock
-- of the whole cluster until the commit is flushed. The doorbell is a sequence because a sequence
-- is not subject to MVCC: a repeatable-read writer reads its current value. Only daemons set it.
create sequence rowhook.doorbell as smallint minvalue 1 maxvalue 2 cycle;
comment on sequence rowhook.doorbell is
  '1: a daemon is awake and polls. 2: all daemons sleep, so capture notifies the channel rowhook.';

-- In a DO block, so that psql prints no result.
do $$
begin
  perform setval('rowhook.doorbell', 1);
end
$$;

grant select on sequence rowhook.webhook_outbox_id_seq to rowhook_daemon;
grant select, update on sequence rowhook.doorbell to rowhook_daemon;

-- An incarnation is random and names one range of outbox ids. After a restore a new incarnation
-- begins, because the ids that follow may have been used before. The event id contains the
-- incarnation.
create table rowhook.webhook_incarnations (
  starts_at_id bigint      primary key,
  incarnation  text        not null,
  created_at   timestamptz not null default now()
);

comment on table rowhook.webhook_incarnations is
  'The random incarnation that is part of the event ids from starts_at_id on. A restore begins a '
  'new incarnation.';
comment on column rowhook.webhook_incarnations.starts_at_id is
  'The first id of webhook_outbox that belongs to the incarnation.';
comment on column rowhook.webhook_incarnations.incarnation is
  '8 random hexadecimal digits, part of each event id.';
comment on column rowhook.webhook_incarnations.created_at is 'When the incarnation began.';
comment on constraint webhook_incarnations_pkey on rowhook.webhook_incarnations is
  'At most one incarnation begins at an id.';

insert into rowhook.webhook_incarnations (starts_at_id, incarnation)
values (1, substr(replace(gen_random_uuid()::text, '-', ''), 1, 8));

-- A managed service may refuse the functions that identify the cluster. Amazon Aurora, for example,
-- has no WAL functions unless wal_level is logical, and pg_control_checkpoint() is one of them. In
-- that case the server's start time replaces the timeline: a promoted standby is another server,
-- and point-in-time recovery starts the server again. A mere restart then begins a new incarnation
-- of event ids as well, which does no harm; so does revoking or granting these functions. Without
-- the cluster's identifier, a restore is still noticed by the oids and by positions from the
-- future. Where not even the start time is told, a promotion stays unnoticed.
create function rowhook._timeline()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_timeline text;
begin
  begin
    v_timeline := substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);
  exception when others then null;
  end;
  if v_timeline is null then
    v_timeline := 'start ' || (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint;
  end if;
  return coalesce(v_timeline, 'unknown');
exception
  when others then
    return 'unknown';
end
$$;

comment on function rowhook._timeline() is
  'The timeline of this cluster. Where the server does not tell it, the time when the server was '
  'started; unknown where it tells neither.';

create function rowhook._system_identifier()
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  return coalesce((select system_identifier from pg_control_system()), 0);
exception
  when others then
    return 0;
end
$$;

comment on function rowhook._system_identifier() is
  'The system identifier of this cluster; 0 where the server does not tell it.';

create table rowhook.webhook_installation (
  is_only_row             boolean primary key default true,
  environment             text,
  recorded_at             timestamptz,
  system_identifier       bigint  not null,
  timeline                text    not null,
  database_oid            oid     not null,
  table_oid               oid     not null,
  max_webhooks            int     not null default 1000,
  max_configuration_bytes int     not null default 8388608,
  constraint webhook_installation_is_one_row check (is_only_row),
  constraint webhook_installation_max_webhooks_in_range
    check (max_webhooks between 0 and 1000000),
  constraint webhook_installation_max_configuration_bytes_in_range
    check (max_configuration_bytes between 65536 and 1073741824)
);

comment on table rowhook.webhook_installation is
  'One row: the ROWHOOK_ENVIRONMENT that daemons must name, once it was recorded, so that a '
  'clone stays silent. It also holds the cluster, timeline and oids of this database, so that a '
  'restore is noticed, also into the same cluster, and the bounds for every tenant.';
comment on column rowhook.webhook_installation.is_only_row is
  'Always true: the table has one row.';
comment on column rowhook.webhook_installation.environment is
  'The ROWHOOK_ENVIRONMENT that every daemon must name; null: none was recorded yet. The command '
  'rowhook adopt changes it.';
comment on column rowhook.webhook_installation.recorded_at is 'When environment was recorded.';
comment on column rowhook.webhook_installation.system_identifier is
  'The cluster of this database when a daemon last checked, see pg_control_system(); 0 where the '
  'server does not tell it.';
comment on column rowhook.webhook_installation.timeline is
  'Timeline of that cluster, the first 8 digits of its WAL file names. Where the server does not '
  'tell it, the time when the server was started.';
comment on column rowhook.webhook_installation.database_oid is
  'Oid of this database in that cluster. A copy in the same cluster has another oid.';
comment on column rowhook.webhook_installation.table_oid is
  'Oid of this table in that cluster. A table that was restored from a dump has another oid.';
comment on column rowhook.webhook_installation.max_webhooks is
  'Maximum number of webhooks of each tenant, unless webhook_tenants.max_webhooks names another '
  'number for it.';
comment on column rowhook.webhook_installation.max_configuration_bytes is
  'Maximum number of bytes that the webhooks of a tenant take in the daemon''s memory, unless '
  'webhook_tenants.max_configuration_bytes names another number for it. Webhooks above it are not '
  'used, and reported.';
comment on constraint webhook_installation_max_configuration_bytes_in_range
  on rowhook.webhook_installation is
  'max_configuration_bytes is 64 kB to 1 GB.';
comment on constraint webhook_installation_max_webhooks_in_range on rowhook.webhook_installation is
  'max_webhooks is 0 to 1000000 webhooks.';
comment on constraint webhook_installation_pkey on rowhook.webhook_installation is
  'Together with webhook_installation_is_one_row it limits the table to one row.';
comment on constraint webhook_installation_is_one_row on rowhook.webhook_installation is
  'is_only_row is true, so the primary key allows one row.';

insert into rowhook.webhook_installation (system_identifier, timeline, database_oid, table_oid)
select rowhook._system_identifier(),
       rowhook._timeline(),
       oid,
       'rowhook.webhook_installation'::regclass
  from pg_database
 where datname = current_database();

alter table rowhook.webhook_incarnations enable row level security, force row level security;
alter table rowhook.webhook_installation enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_incarnations to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_incarnations to rowhook_daemon
  using (true) with check (true);
create policy owner_has_all on rowhook.webhook_installation to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_installation to rowhook_daemon
  using (true) with check (true);
grant select, insert on rowhook.webhook_incarnations to rowhook_daemon;
grant select, update on rowhook.webhook_installation to rowhook_daemon;

create function rowhook._event_id(p_outbox_id bigint, p_ordinal int)
returns text
language sql
stable
begin atomic
  select 'evt_' || i.incarnation || '_' || p_outbox_id || '_' || p_ordinal
    from rowhook.webhook_incarnations i
   where i.starts_at_id <= p_outbox_id
   order by i.starts_at_id desc
   limit 1;
end;

comment on function rowhook._event_id(bigint, int) is
  'The event id of an outbox id and the ordinal of its event type: evt_<incarnation>_<outbox '
  'id>_<ordinal>. It stays the same on every retry, restart and replay.';

-- The id is known before any row of the delivery exists, and a replay has the same one.
-- payload/ids.ts computes the same id.
create function rowhook._delivery_id(p_event_id text, p_webhook_id uuid)
returns uuid
language sql
immutable
strict
parallel safe
begin atomic
  select (lpad(to_hex(split_part(p_event_id, '_', 3)::bigint & 281474976710655), 12, '0')
          || encode(
               set_byte(
                 set_byte(substr(h, 7, 10), 0, (get_byte(h, 6) & 15) | 128),
                 2, (get_byte(h, 8) & 63) | 128),
               'hex'))::uuid
    from (values (sha256(convert_to(p_event_id || ':' || p_webhook_id, 'UTF8')))) as t (h);
end;

comment on function rowhook._delivery_id(text, uuid) is
  'The delivery id of an event id and a webhook: a name-based uuid (version 8, RFC 9562). It '
  'begins with 48 bits of the outbox id, so that new ids stand at the end of an index.';

create function rowhook._ring()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if pg_sequence_last_value('rowhook.doorbell'::regclass) = 2
     and pg_notification_queue_usage() < 0.5 then
    perform pg_notify('rowhook', '');
  end if;
end
$$;

comment on function rowhook._ring() is
  'Notifies the channel rowhook if every daemon sleeps. Called at the end of every function that '
  'writes outbox rows. While the server''s queue of notifications is half full it notifies nobody, '
  'because with a full queue the COMMIT would fail; the daemon then polls.';

-- The change becomes part of the log of its tenant, so that it is in order with the tenant's
-- events.
create function rowhook._capture_configuration()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if tg_relid = 'rowhook.webhook_tenants'::regclass then
    insert into rowhook.webhook_outbox (lane, tenant_id, event_types)
    select rowhook._lane(c.id), c.id, '{}'
      from changed c;
  else
    -- The daemon reads the named webhooks again, or all of the tenant.
    insert into rowhook.webhook_outbox (lane, tenant_id, event_types, data)
    select rowhook._lane(c.tenant_id),
           c.tenant_id,
           '{}',
           case when count(*) <= 100 then json_agg(c.id) end
      from changed c
     group by c.tenant_id;
  end if;
  if found then
    perform rowhook._ring();
  end if;
  return null;
end
$$;

comment on function rowhook._capture_configuration() is
  'Trigger of webhook_configurations and webhook_tenants: writes an outbox row for each tenant '
  'whose configuration changed.';

create trigger capture_insert
  after insert on rowhook.webhook_configurations
  referencing new table as changed
  for each statement execute function rowhook._capture_configuration();
create trigger capture_update
  after update on rowhook.webhook_configurations
  referencing new table as changed
  for each statement execute function rowhook._capture_configuration();
create trigger capture_delete
  after delete on rowhook.webhook_configurations
  referencing old table as changed
  for each statement execute function rowhook._capture_configuration();
create trigger capture_insert
  after insert on rowhook.webhook_tenants
  referencing new table as changed
  for each statement execute function rowhook._capture_configuration();
create trigger capture_update
  after update on rowhook.webhook_tenants
  referencing new table as changed
  for each statement execute function rowhook._capture_configuration();
create trigger capture_delete
  after delete on rowhook.webhook_tenants
  referencing old table as changed
  for each statement execute function rowhook._capture_configuration();

-- Transactions that insert webhooks for the same tenant wait for each other, so that they count each
-- other's rows. A row of the tenant itself is locked, because anybody could take and keep an
-- advisory lock. The first webhooks of a tenant, and inserts for several tenants, lock nothing. So
-- transactions that run at the same time may exceed the bound, each by the few rows that need no
-- lock. If no webhook of the tenant is committed yet, there is no row to lock, and each of them may
-- insert up to the bound. The daemon's own bounds hold in any case.
create function rowhook._bound_webhooks()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
-- The count reads an index up to the bound, however many webhooks there are.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  c_unlocked constant int := 20;
  v_tenants  text[];
  v_crowded  record;
begin
  -- A data-only restore, see docs/dba/backup.md.
  if current_setting('rowhook.mute', true) = 'on'
     and pg_has_role(session_user, 'rowhook_owner', 'usage') then
    return null;
  end if;
  select array_agg(distinct tenant_id) into v_tenants from inserted;
  if cardinality(v_tenants) = 1
     and (select count(*)
            from (select
                    from rowhook.webhook_configurations c
                   where c.tenant_id = v_tenants[1]
                   limit c_unlocked + 1) as counted) > c_unlocked then
    perform
       from rowhook.webhook_configurations c
      where c.tenant_id = v_tenants[1]
      order by c.created_at
      limit 1
        for no key update;
  end if;
  select t.id, m.max_webhooks
    into v_crowded
    from unnest(v_tenants) as t (id)
   cross join lateral (
     select coalesce(
              (select k.max_webhooks from rowhook.webhook_tenants k where k.id = t.id),
              (select i.max_webhooks from rowhook.webhook_installation i),
              1000) as max_webhooks) as m
   where exists (
     select
       from rowhook.webhook_configurations c
      where c.tenant_id = t.id
     offset m.max_webhooks)
   limit 1;
  if found then
    raise check_violation using
      message    = format(
        'webhook_configurations: tenant %L may have at most %s webhooks. Delete webhooks that it '
        'does not use. An operator can allow more: for this tenant in webhook_tenants, for '
        'every tenant in webhook_installation, column max_webhooks.',
        v_crowded.id, v_crowded.max_webhooks),
      constraint = 'webhook_configurations_are_few_enough',
      schema     = 'rowhook',
      table      = 'webhook_configurations';
  end if;
  return null;
end
$$;

comment on function rowhook._bound_webhooks() is
  'Trigger of webhook_configurations: refuses more webhooks than a tenant may have. A row that '
  'is there already can always be changed.';

create trigger bound_webhooks
  after insert on rowhook.webhook_configurations
  referencing new table as inserted
  for each statement execute function rowhook._bound_webhooks();

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._ring(),
  rowhook._event_id(bigint, int),
  rowhook._delivery_id(text, uuid),
  rowhook._lane(text)
  to rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 4;

reset role;
