-- rowhook 0007: webhook_lanes (which daemon reads which part of the outbox, and how far) and
-- webhook_daemons (which daemons run). What depends on the positions of all lanes is here, too:
-- emptying an outbox slot that everybody has read, and continuing after a restore.

set role rowhook_owner;

create table rowhook.webhook_lanes (
  lane           smallint    primary key,
  epoch          bigint      not null default 0,
  owner          uuid,
  -- The position: everything that from_snapshot sees is done. While a large window is read in
  -- pages, to_snapshot is its end and done_id is the last id that is done.
  from_snapshot  pg_snapshot not null default pg_current_snapshot(),
  to_snapshot    pg_snapshot,
  done_id        bigint,
  position_at    timestamptz not null default now(),
  sequence_value bigint      not null default 0,

  constraint webhook_lanes_lane_in_range
    check (lane between 0 and 15),
  constraint webhook_lanes_page_has_end
    check ((to_snapshot is null) = (done_id is null))
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

-- Parking what one tenant wrote in a large statement costs more than sending it, and its lane must
-- not wait. So the position of the lane goes on, and the tenant is read by itself from its own.
create table rowhook.webhook_lagging_tenants (
  lane           smallint    not null,
  tenant_id      text        not null,
  from_snapshot  pg_snapshot not null,
  to_snapshot    pg_snapshot,
  done_id        bigint,
  position_at    timestamptz not null,
  sequence_value bigint      not null,

  constraint webhook_lagging_tenants_pkey
    primary key (lane, tenant_id),
  constraint webhook_lagging_tenants_page_has_end
    check ((to_snapshot is null) = (done_id is null))
) with (fillfactor = 20); -- updated once a second: HOT updates stay in the page

comment on table rowhook.webhook_lagging_tenants is
  'Tenants with more to deliver than their share of the daemon''s memory. Their lane goes on '
  'without them. Each is read from a position of its own until it has caught up.';
comment on column rowhook.webhook_lagging_tenants.lane is 'The lane of the tenant.';
comment on column rowhook.webhook_lagging_tenants.tenant_id is 'The tenant.';
comment on column rowhook.webhook_lagging_tenants.from_snapshot is
  'The position of the tenant, as webhook_lanes has it for a lane.';
comment on column rowhook.webhook_lagging_tenants.to_snapshot is
  'End of the window that is being read; null between two windows.';
comment on column rowhook.webhook_lagging_tenants.done_id is
  'The last outbox id within that window that is done; null between two windows.';
comment on column rowhook.webhook_lagging_tenants.position_at is
  'When the changes before the position were read.';
comment on column rowhook.webhook_lagging_tenants.sequence_value is
  'Last value of webhook_outbox_id_seq, read after the end of the window.';
comment on constraint webhook_lagging_tenants_pkey on rowhook.webhook_lagging_tenants is
  'A tenant has at most one position of its own.';
comment on constraint webhook_lagging_tenants_page_has_end on rowhook.webhook_lagging_tenants is
  'Inside of a window, to_snapshot (the end of the window) and done_id (the end of the page) are '
  'set; otherwise both are null.';

-- A daemon has one lease, and not one for each lane. A transaction that stays open for a day keeps
-- every row version that was replaced since, and every reader of the row must step over all of
-- them.
create table rowhook.webhook_daemons (
  id               uuid        primary key,
  name             text        not null,
  started_at       timestamptz not null default now(),
  lease_expires_at timestamptz not null,
  is_leaving       boolean     not null default false
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

alter table rowhook.webhook_lanes enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_lanes to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_lanes to rowhook_daemon
  using (true) with check (true);

alter table rowhook.webhook_lagging_tenants enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_lagging_tenants to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_lagging_tenants to rowhook_daemon
  using (true) with check (true);

alter table rowhook.webhook_daemons enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_daemons to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_daemons to rowhook_daemon
  using (true) with check (true);

grant select, update on rowhook.webhook_lanes to rowhook_daemon;
grant select, insert, update, delete on rowhook.webhook_lagging_tenants to rowhook_daemon;
grant select, insert, update, delete on rowhook.webhook_daemons to rowhook_daemon;
grant select on rowhook.webhook_lane_owners to rowhook_daemon;

-- The next slot is emptied only if every lane, and every tenant that lags, has read all of it.
-- Payloads that parked deliveries still need are copied to them first. The function waits for no
-- lock longer than a reader takes, and is called again soon. A slot that was not read completely
-- stays, and its turn passes: it takes new rows beside the old ones and is emptied a round later.
-- Unread rows are never dropped.
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
      where d.outbox_id = o.id
        and d.tenant_id = o.tenant_id
        and d.delivery_id in (
          select w.delivery_id
            from rowhook.webhook_deliveries w
           where not w.has_payload
             and (w.outbox_id, w.tenant_id) in (
                   select id, tenant_id from rowhook.webhook_outbox_%s)
             for update skip locked)', v_slot, v_slot);
  begin
    -- This lock stops writers. Readers look into every slot, and they continue while this slot is
    -- checked.
    execute format('lock table only rowhook.webhook_outbox_%s in share mode nowait', v_slot);
    execute format(
      'select exists (select from rowhook.webhook_outbox_%s o
                       join rowhook.webhook_lanes l on l.lane = o.lane
                       left join rowhook.webhook_lagging_tenants t
                         on (t.lane, t.tenant_id) = (o.lane, o.tenant_id)
                      where not pg_visible_in_snapshot(
                              o.xid, coalesce(t.from_snapshot, l.from_snapshot)))',
      v_slot) into v_unread;
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
                     where not d.has_payload
                       and (d.outbox_id, d.tenant_id) in (
                             select id, tenant_id from rowhook.webhook_outbox_%s))', v_slot)
    into v_uncopied;
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
           1 + (select max(sequence_value) from rowhook.webhook_lagging_tenants),
           1 + (select max(outbox_id) from rowhook.webhook_deliveries),
           1 + (select max(substring(event_id from '^evt_[^_]+_([0-9]+)_')::bigint)
                  from rowhook.webhook_logs
                 where attempted_at >= (select least(
                                          (select min(position_at) from rowhook.webhook_lanes),
                                          (select min(position_at) from rowhook.webhook_lagging_tenants)))
                                       - interval '1 minute')),
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
-- which of these deliveries were begun. A tenant that lags has its position compared like a lane,
-- and continues with its lane.
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
    or exists (select from rowhook.webhook_lanes
                where pg_snapshot_xmax(from_snapshot) > pg_snapshot_xmax(v_now));
  if not v_moved and v_was.timeline = v_timeline then
    return null;
  end if;

  perform rowhook._begin_incarnation();
  update rowhook.webhook_installation
     -- An identifier that the server no longer tells may be compared when it tells it again.
     set system_identifier = case when v_system = 0 and not v_moved then system_identifier
                                  else v_system end,
         timeline          = v_timeline,
         database_oid      = v_database,
         table_oid         = v_table;
  if not v_moved then
    return 'new timeline';
  end if;

  -- A move by logical replication copies the rows and not the sequence. Known ids must not be
  -- assigned again.
  perform setval('rowhook.webhook_outbox_id_seq', known.id)
     from (select greatest(
             (select max(id) from rowhook.webhook_outbox),
             (select max(starts_at_id) - 1 from rowhook.webhook_incarnations)) as id) as known
    where known.id > coalesce(pg_sequence_last_value('rowhook.webhook_outbox_id_seq'), 0);

  perform from rowhook.webhook_lanes order by lane for update;
  update rowhook.webhook_outbox o
     set xid = case
                 when o.id > p.sequence_value
                      or not pg_visible_in_snapshot(o.xid, p.from_snapshot)
                         and (p.to_snapshot is null
                              or o.id > p.done_id
                              or not pg_visible_in_snapshot(o.xid, p.to_snapshot))
                   then pg_current_xact_id()
                 else '3'
               end
    from (select lane, null as tenant_id, from_snapshot, to_snapshot, done_id, sequence_value
            from rowhook.webhook_lanes
          union all
          select lane, tenant_id, from_snapshot, to_snapshot, done_id, sequence_value
            from rowhook.webhook_lagging_tenants) as p
   where p.lane = o.lane
     and p.tenant_id is not distinct from (
           select t.tenant_id from rowhook.webhook_lagging_tenants t
            where (t.lane, t.tenant_id) = (o.lane, o.tenant_id));
  update rowhook.webhook_lanes
     set position_at    = least(position_at, (select min(t.position_at)
                                                from rowhook.webhook_lagging_tenants t
                                               where t.lane = webhook_lanes.lane));
  delete from rowhook.webhook_lagging_tenants;
  update rowhook.webhook_lanes
     set epoch          = epoch + 1,
         owner          = null,
         from_snapshot  = v_now,
         to_snapshot    = null,
         done_id        = null,
         sequence_value = coalesce(pg_sequence_last_value('rowhook.webhook_outbox_id_seq'), 0);
  return 'moved';
end
$$;

comment on function rowhook._notice_restore() is
  'Detects that this database was restored or moved to another cluster, and lets every lane '
  'continue with the undelivered changes. Returns moved, new timeline, or null.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._recycle_slot(),
  rowhook._notice_restore()
  to rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 7;

reset role;
