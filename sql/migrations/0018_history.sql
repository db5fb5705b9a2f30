-- rowhook 0018: what `rowhook serve` reads beside the tables of 0017: the ids of events, and, for
-- operators, what there is of all organizations.

set role rowhook_owner;

-- Incarnations are part of every event id that a receiver gets, and they belong to no tenant.
create policy api_reads on rowhook.webhook_incarnations for select to rowhook_api
  using (true);
grant select on rowhook.webhook_incarnations to rowhook_api;

-- The key was checked when the request began. It is checked again here, because these functions
-- show all organizations, and row-level security does not stand behind them.
create function rowhook._require_operator(p_hash bytea)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if not exists (select from rowhook._tokens t
                  where t.hash = p_hash and 'operator' = any (t.scopes)) then
    raise insufficient_privilege using
      message = 'this needs a key of the operator';
  end if;
end
$$;

comment on function rowhook._require_operator(bytea) is
  'Raises unless p_hash is the hash of a valid token of the operator.';

create function rowhook._webhook_state(
  p_is_active       boolean,
  p_disabled_reason text,
  p_failures        int,
  p_open_until      timestamptz
)
returns text
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
set row_security = on
return
  case
    when p_is_active is null                                then 'deleted'
    when not p_is_active and p_disabled_reason is not null  then 'disabled'
    when not p_is_active                                    then 'off'
    when p_open_until is not null                           then 'circuit_open'
    when p_failures > 0                                     then 'failing'
    else                                                         'active'
  end;

comment on function rowhook._webhook_state(boolean, text, int, timestamptz) is
  'The state of a webhook as all lists show it: of its configuration, and of its row of '
  'webhook_health, if it has one.';

create function rowhook._organizations(p_hash bytea, p_after text, p_q text, p_limit int)
returns table (
  id                    text,
  name                  text,
  slug                  text,
  max_in_flight         int,
  rate_limit_per_second numeric,
  webhooks              int,
  active                int,
  failing               int,
  disabled              int,
  waiting               int,
  failed                int
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
#variable_conflict use_column
begin
  perform rowhook._require_operator(p_hash);
  return query
  select o.id, t.name, t.slug, t.max_in_flight, t.rate_limit_per_second,
         c.webhooks, c.active, c.failing, c.disabled, w.waiting, g.failed
    from (select a.id
            from (select tenant_id as id from rowhook.webhook_configurations
                   union
                  select k.id from rowhook.webhook_tenants k) as a
            left join rowhook.webhook_tenants n on n.id = a.id
           where (p_after is null or a.id > p_after)
             and (p_q is null
                  or strpos(lower(concat_ws(' ', a.id, n.name, n.slug)), lower(p_q)) > 0)
           order by a.id
           limit p_limit) as o
    left join rowhook.webhook_tenants t on t.id = o.id
   cross join lateral (
     select count(*)::int                                                       as webhooks,
            (count(*) filter (where c.is_active))::int                          as active,
            (count(*) filter (where s in ('failing', 'circuit_open')))::int     as failing,
            (count(*) filter (where s = 'disabled'))::int                       as disabled
       from rowhook.webhook_configurations c
       left join rowhook.webhook_health h on h.webhook_id = c.id
      cross join lateral rowhook._webhook_state(
        c.is_active, c.disabled_reason, h.failures, h.open_until) as s
      where c.tenant_id = o.id) as c
   cross join lateral (
     select count(*)::int as waiting
       from (select from rowhook.webhook_deliveries d
              where d.tenant_id = o.id and d.state = 'waiting' limit 10000) as l) as w
   cross join lateral (
     select count(*)::int as failed
       from (select from rowhook.webhook_deliveries d
              where d.tenant_id = o.id and d.state = 'given_up' limit 10000) as l) as g
   order by o.id;
end
$$;

comment on function rowhook._organizations(bytea, text, text, int) is
  'For a key of the operator: the organizations after p_after, by id, and how their webhooks do. '
  'Waiting and failed deliveries are counted up to 10000.';

create function rowhook._put_organization(
  p_hash                  bytea,
  p_id                    text,
  p_name                  text,
  p_slug                  text,
  p_max_in_flight         int,
  p_rate_limit_per_second numeric
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  perform rowhook._require_operator(p_hash);
  insert into rowhook.webhook_tenants as t (id, name, slug, max_in_flight, rate_limit_per_second)
  values (p_id, p_name, p_slug, p_max_in_flight, p_rate_limit_per_second)
  on conflict (id) do update
     set name                  = excluded.name,
         slug                  = excluded.slug,
         max_in_flight         = excluded.max_in_flight,
         rate_limit_per_second = excluded.rate_limit_per_second,
         updated_at            = now();
end
$$;

comment on function rowhook._put_organization(bytea, text, text, text, int, numeric) is
  'For a key of the operator: writes the name, the slug and the limits of an organization.';

-- Events that no position covers yet. A lane's position covers its tenants, except those that lag:
-- they have their own. At most 100,000 changes of one position are counted. The outbox is indexed
-- by transaction, and the planner must not scan all of it.
create function rowhook._lags()
returns table (
  lane      smallint,
  tenant_id text,
  events    bigint,
  oldest    timestamptz,
  is_cut    boolean
)
language sql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set enable_seqscan = off
begin atomic
  with positions as (
    select array_agg(l.lane) as lanes, null::text as tenant_id, l.done_id,
           l.from_snapshot::text as from_snapshot, l.to_snapshot::text as to_snapshot
      from rowhook.webhook_lanes l
     group by l.done_id, l.from_snapshot::text, l.to_snapshot::text
     union all
    (select array[t.lane], t.tenant_id, t.done_id, t.from_snapshot::text, t.to_snapshot::text
       from rowhook.webhook_lagging_tenants t
      order by coalesce(t.done_id, t.sequence_value)
      limit 20))
  select coalesce(u.lane, p.lanes[1]), p.tenant_id, coalesce(sum(cardinality(u.event_types)), 0),
         min(u.occurred_at),
         sum(count(u.lane)) over (
           partition by p.tenant_id, p.from_snapshot, p.to_snapshot, p.done_id) >= 100000
    from positions as p
    left join lateral (
           select o.lane, o.event_types, o.occurred_at
             from (select o.*
                     from rowhook.webhook_outbox o
                    where o.xid >= pg_snapshot_xmax(p.from_snapshot::pg_snapshot)
                    union all
                   select o.*
                     from rowhook.webhook_outbox o
                    where o.xid = any (array(select pg_snapshot_xip(p.from_snapshot::pg_snapshot)))
                  ) as o
            where o.lane = any (p.lanes)
              and o.event_types <> '{}'
              and (p.done_id is null
                   or o.id > p.done_id
                   or not pg_visible_in_snapshot(o.xid, p.to_snapshot::pg_snapshot))
              and case when p.tenant_id is null
                    then not exists (select from rowhook.webhook_lagging_tenants t
                                      where t.lane = o.lane and t.tenant_id = o.tenant_id)
                    else o.tenant_id = p.tenant_id
                  end
            limit 100000) as u on true
   group by u.lane, p.lanes, p.tenant_id, p.from_snapshot, p.to_snapshot, p.done_id;
end;

comment on function rowhook._lags() is
  'For each lane, and for each tenant that lags (the 20 furthest behind): events that its position '
  'does not cover, and the time of the oldest.';

create function rowhook._status_of_lanes()
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  with lags as materialized (select * from rowhook._lags())
  select json_agg(
           json_build_object(
             'lane', l.lane,
             'owner', o.owner_name,
             'lease_seconds', extract(epoch from o.lease_expires_at - clock_timestamp()),
             'position_age_seconds', extract(epoch from clock_timestamp() - l.position_at),
             'events', coalesce(g.events, 0),
             'oldest_seconds', extract(epoch from clock_timestamp() - g.oldest),
             'tenants_lagging', t.count,
             'lagging', g.lagging,
             'more', coalesce(g.is_cut, false) or t.count > json_array_length(g.lagging))
           order by l.lane)
    from rowhook.webhook_lanes l
    left join rowhook.webhook_lane_owners o using (lane)
   cross join lateral (
         select count(*) as count
           from rowhook.webhook_lagging_tenants t
          where t.lane = l.lane) as t
   cross join lateral (
         select sum(s.events)     as events,
                bool_or(s.is_cut) as is_cut,
                min(s.oldest)     as oldest,
                coalesce(
                  json_agg(json_build_object(
                    'tenant_id', s.tenant_id,
                    'events', s.events,
                    'oldest_seconds', extract(epoch from clock_timestamp() - s.oldest)))
                  filter (where s.tenant_id is not null), '[]') as lagging
           from lags as s
          where s.lane = l.lane) as g;
end;

comment on function rowhook._status_of_lanes() is 'The lanes of _status().';

create function rowhook._status_of_slots()
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select json_agg(
           json_build_object(
             'slot', n,
             'turn', case n
                       when t.slot then 'current'
                       when (t.slot + 1) % 8 then 'next'
                       else 'kept'
                     end,
             'oldest_seconds', extract(epoch from clock_timestamp() - (
               select o.occurred_at from rowhook.webhook_outbox o
                where o.slot = n order by o.id limit 1)),
             'newest_seconds', extract(epoch from clock_timestamp() - (
               select o.occurred_at from rowhook.webhook_outbox o
                where o.slot = n order by o.id desc limit 1)),
             'bytes', pg_total_relation_size(to_regclass('rowhook.webhook_outbox_' || n)))
           order by n)
    from generate_series(0, 7) as n
   cross join (
         select (floor(extract(epoch from clock_timestamp()) / 86400)::bigint % 8)::int as slot
         ) as t;
end;

comment on function rowhook._status_of_slots() is 'The slots of _status().';

create function rowhook._status_of_sources()
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select json_build_object(
           'watched', (select count(*) from rowhook.webhook_sources),
           'problems', coalesce(
             json_agg(
               json_build_object(
                 'table', p.name,
                 'what', p.what,
                 'fix', 'select * from rowhook.reconcile();')
               order by p.name, p.what),
             '[]'))
    from (select format('%I.%I', s.schema_name, s.table_name) as name, c as what
            from rowhook.webhook_sources s
           cross join lateral (
                 select rowhook._complaints(s)
                  union all
                 select 'the watched table was dropped'
                  where not exists (select from pg_class r where r.oid = s.relation)
                  union all
                 select format('%s lacks the trigger %s, or it is disabled',
                               r.oid::regclass, 'rowhook_' || o)
                   from rowhook._capture_relations(s.relation) as r (oid)
                  cross join unnest('{insert,update,delete}'::text[]) as o
                  where exists (select from pg_class t where t.oid = s.relation)
                    and not exists (
                          select from pg_trigger t
                           where t.tgrelid = r.oid
                             and t.tgname = 'rowhook_' || o
                             and t.tgenabled in ('O', 'A'))) as x (c)) as p;
end;

comment on function rowhook._status_of_sources() is
  'The watched tables of _status(), and what keeps some of them from being captured.';

create function rowhook._status_of_troubled()
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select coalesce(json_agg(t order by t.given_up desc, t.waiting desc, t.id), '[]')
    from (select i.id, c.tenant_id, n.name as tenant_name, c.name,
                 rowhook._webhook_state(
                   c.is_active, c.disabled_reason, h.failures, h.open_until)
                                                                     as state,
                 c.disabled_reason,
                 coalesce(u.waiting, 0)                              as waiting,
                 coalesce(u.given_up, 0)                             as given_up,
                 extract(epoch from clock_timestamp() - u.oldest)    as oldest_seconds,
                 case when h.webhook_id is null then null
                      when h.open_until is null then 'closed'
                      when h.open_until > clock_timestamp() then 'open'
                      else 'probing'
                 end                                                 as breaker,
                 h.failures,
                 greatest(extract(epoch from h.open_until - clock_timestamp()), 0)
                                                                     as opens_again_seconds
            from (select webhook_id as id from rowhook.webhook_deliveries
                   union
                  select webhook_id from rowhook.webhook_health
                   union
                  select id from rowhook.webhook_configurations
                   where not is_active and disabled_reason is not null) as i
            left join (select webhook_id,
                              count(*) filter (where state = 'waiting')         as waiting,
                              count(*) filter (where state = 'given_up')        as given_up,
                              min(occurred_at) filter (where state = 'waiting') as oldest
                         from rowhook.webhook_deliveries
                        group by webhook_id) as u on u.webhook_id = i.id
            left join rowhook.webhook_configurations c on c.id = i.id
            left join rowhook.webhook_tenants n on n.id = c.tenant_id
            left join rowhook.webhook_health h on h.webhook_id = i.id
           order by u.given_up desc nulls last, u.waiting desc nulls last, i.id
           limit 100) as t;
end;

comment on function rowhook._status_of_troubled() is
  'The webhooks of _status(): with deliveries that wait or were given up, with failures, or '
  'disabled by rowhook. The 100 worst.';

create function rowhook._status(p_hash bytea)
returns json
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  perform rowhook._require_operator(p_hash);
  return (
    select json_build_object(
      'at', clock_timestamp(),
      'database', current_database(),
      'server', current_setting('server_version'),
      'schema_version', rowhook.schema_version(),
      'environment', (select environment from rowhook.webhook_installation),
      'oldest_undelivered_seconds', (
        select max((e ->> 'oldest_seconds')::float8) from json_array_elements(l.lanes) as e),
      'oldest_waiting_seconds', d.oldest,
      'waiting', d.waiting,
      'given_up', d.given_up,
      'breakers_open', (select count(*) from rowhook.webhook_health where open_until is not null),
      'webhooks', (
        select json_build_object(
                 'active', count(*) filter (where is_active),
                 'off', count(*) filter (where not is_active and disabled_reason is null),
                 'disabled', count(*) filter (where not is_active and disabled_reason is not null))
          from rowhook.webhook_configurations),
      'daemons', (
        select coalesce(
                 json_agg(
                   json_build_object(
                     'name', w.name,
                     'started_at', w.started_at,
                     'lanes', (select count(*) from rowhook.webhook_lane_owners o
                                where o.owner = w.id))
                   order by w.started_at),
                 '[]')
          from rowhook.webhook_daemons w
         where w.lease_expires_at > clock_timestamp()),
      'lanes', l.lanes,
      'troubled', rowhook._status_of_troubled(),
      'inbound', (select to_json(i) from rowhook._inbound_state() as i),
      'slots', rowhook._status_of_slots(),
      'sources', rowhook._status_of_sources())
      from (select count(*) filter (where state = 'waiting')  as waiting,
                   count(*) filter (where state = 'given_up') as given_up,
                   extract(epoch from clock_timestamp() - min(occurred_at)
                           filter (where state = 'waiting'))  as oldest
              from rowhook.webhook_deliveries) as d,
           rowhook._status_of_lanes() as l (lanes));
end
$$;

comment on function rowhook._status(bytea) is
  'For a key of the operator: what `rowhook status --json` prints.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._event_id(bigint, int),
  rowhook._delivery_id(text, uuid),
  rowhook._lane(text),
  rowhook._organization(text),
  rowhook._organizations(bytea, text, text, int),
  rowhook._put_organization(bytea, text, text, text, int, numeric),
  rowhook._status(bytea),
  rowhook._webhook_state(boolean, text, int, timestamptz),
  rowhook._emit_once_own(text, json, text, bytea),
  rowhook._retry_own(uuid[]),
  rowhook._replay_left(uuid),
  rowhook._start_replay_own(uuid, timestamptz, timestamptz, text),
  rowhook._cancel_replay_own(uuid),
  rowhook._is_covered_own(pg_snapshot)
  to rowhook_api;
grant execute on function rowhook._webhook_state(boolean, text, int, timestamptz)
  to rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 18;

reset role;
