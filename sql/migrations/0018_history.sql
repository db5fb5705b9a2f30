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
            (count(*) filter (where c.is_active and h.failures > 0))::int       as failing,
            (count(*) filter (where not c.is_active
                                and c.disabled_reason is not null))::int        as disabled
       from rowhook.webhook_configurations c
       left join rowhook.webhook_health h on h.webhook_id = c.id
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
      'schema_version', rowhook.schema_version(),
      'environment', (select environment from rowhook.webhook_installation),
      'waiting', d.waiting,
      'given_up', d.given_up,
      'oldest_waiting_seconds', d.oldest,
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
      'lanes', (
        select json_agg(
                 json_build_object(
                   'lane', l.lane,
                   'owner', o.owner_name,
                   'lease_seconds', extract(epoch from o.lease_expires_at - clock_timestamp()),
                   'position_age_seconds', extract(epoch from clock_timestamp() - l.position_at),
                   'tenants_lagging', (select count(*) from rowhook.webhook_lagging_tenants t
                                       where t.lane = l.lane))
                 order by l.lane)
          from rowhook.webhook_lanes l
          left join rowhook.webhook_lane_owners o using (lane)),
      'troubled', (
        select coalesce(json_agg(t), '[]')
          from (select c.id, c.tenant_id, c.name, c.disabled_reason,
                       case when c.is_active then 'active'
                            when c.disabled_reason is null then 'off'
                            else 'disabled' end as state,
                       h.failures,
                       h.open_until
                  from rowhook.webhook_configurations c
                  left join rowhook.webhook_health h on h.webhook_id = c.id
                 where h.webhook_id is not null
                    or (not c.is_active and c.disabled_reason is not null)
                 order by h.failures desc nulls last, c.id
                 limit 100) as t))
      from (select count(*) filter (where state = 'waiting')  as waiting,
                   count(*) filter (where state = 'given_up') as given_up,
                   extract(epoch from clock_timestamp() - min(occurred_at)
                           filter (where state = 'waiting'))  as oldest
              from rowhook.webhook_deliveries) as d);
end
$$;

comment on function rowhook._status(bytea) is
  'For a key of the operator: daemons, lanes, what waits, and the webhooks that fail.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._event_id(bigint, int),
  rowhook._delivery_id(text, uuid),
  rowhook._lane(text),
  rowhook._organization(text),
  rowhook._organizations(bytea, text, text, int),
  rowhook._put_organization(bytea, text, text, text, int, numeric),
  rowhook._status(bytea),
  rowhook._emit_once_own(text, json, text, bytea),
  rowhook._retry_own(uuid[]),
  rowhook._replay_left(uuid),
  rowhook._start_replay_own(uuid, timestamptz, timestamptz, text),
  rowhook._cancel_replay_own(uuid),
  rowhook._is_covered_own(pg_snapshot)
  to rowhook_api;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 18;

reset role;
