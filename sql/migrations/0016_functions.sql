-- rowhook 0016: the functions that applications and tenants call: emit(), test(), replay(),
-- replay_delivery() and delete_webhook(); and the tables idempotency_keys and webhook_replays.
--
-- Each is one public function with the caller's rights, over one private function that does the
-- work. A member of rowhook_owner reaches every tenant through the row-level policies. All other
-- callers go through the private _own functions, which are SECURITY DEFINER and take the tenant
-- from current_tenant() themselves: no argument can name another tenant.

set role rowhook_owner;

create function rowhook._write_event(p_event text, p_data json, p_tenant_id text, p_webhook_id uuid)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_id bigint;
begin
  if p_event is null
     or p_event !~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$'
     or length(p_event) > 128 then
    raise invalid_parameter_value using
      message = format('emit: %s is not an event type',
                       coalesce(quote_literal(left(p_event, 128)), 'null')),
      hint    = 'Event types look like message.sent: letters, digits, - and _, in parts joined by '
                'dots.';
  end if;
  if p_tenant_id is null or octet_length(p_tenant_id) not between 1 and 512 then
    raise invalid_parameter_value using
      message = case
                  when p_tenant_id <> '' then 'emit: a tenant of more than 512 bytes is refused'
                  else 'emit: the event has no tenant'
                end,
      hint    = 'Pass tenant_id, or set rowhook.tenant_id in this session.';
  end if;
  if octet_length(p_data::text) > 1048576 then
    raise program_limit_exceeded using
      message = format('emit: data of %s bytes is refused: the maximum is 1048576 bytes',
                       octet_length(p_data::text)),
      hint    = 'Send a reference to the data instead.';
  end if;
  insert into rowhook.webhook_outbox (lane, tenant_id, event_types, data, test_webhook_id)
  values (rowhook._lane(p_tenant_id), p_tenant_id, array[p_event], coalesce(p_data, 'null'),
          p_webhook_id)
  returning id into v_id;
  perform rowhook._ring();
  return v_id;
end
$$;

comment on function rowhook._write_event(text, json, text, uuid) is
  'Writes one application event, or a test for the one webhook p_webhook_id, into the outbox and '
  'returns its id.';

create function rowhook._emit_own(p_event text, p_data json, p_webhook_id uuid)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if p_webhook_id is not null
     and not exists (select from rowhook.webhook_configurations
                      where id = p_webhook_id and tenant_id = rowhook.current_tenant()) then
    raise no_data_found using
      message = format('test: there is no webhook %s', p_webhook_id);
  end if;
  return rowhook._write_event(p_event, p_data, rowhook.current_tenant(), p_webhook_id);
end
$$;

comment on function rowhook._emit_own(text, json, uuid) is
  'The part of emit() and test() for tenants: the tenant is that of the session.';

create function rowhook.emit(
  event     text,
  data      json,
  tenant_id text default rowhook.current_tenant()
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if pg_has_role(current_user, 'rowhook_owner', 'usage') then
    return rowhook._write_event(event, data, tenant_id, null);
  end if;
  if tenant_id is distinct from rowhook.current_tenant() then
    raise insufficient_privilege using
      message = 'emit: an event of another tenant is refused',
      hint    = 'Pass the tenant that rowhook.current_tenant() returns, or leave tenant_id out.';
  end if;
  return rowhook._emit_own(event, data, null);
end
$$;

comment on function rowhook.emit(text, json, text) is
  'Writes an event of the application into the outbox, in this transaction: select '
  'rowhook.emit(''payment.received'', ''{"amount":10}'', ''tenant''). Returns the outbox id.';

-- Patterns are expanded with the event types of the watched tables. If no event type matches, the
-- sample is a 'webhook.test' event.
create function rowhook.test(webhook_id uuid)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_webhook record;
  v_type    text;
  v_count   bigint := 0;
begin
  select c.id, c.tenant_id, c.event_types into v_webhook
    from rowhook.webhook_configurations c
   where c.id = test.webhook_id;
  if not found then
    raise no_data_found using
      message = format('test: there is no webhook %s', webhook_id);
  end if;
  for v_type in
    select t.event_type
      from rowhook.webhook_event_types t
     where rowhook._patterns(array[t.event_type]) && v_webhook.event_types
    union
    select e
      from unnest(v_webhook.event_types) as e
     where e !~ '[*]'
    union
    select 'webhook.test'
     where not exists (select from rowhook.webhook_event_types t
                        where rowhook._patterns(array[t.event_type]) && v_webhook.event_types)
       and not exists (select from unnest(v_webhook.event_types) as e where e !~ '[*]')
     order by 1
     limit 100
  loop
    if pg_has_role(current_user, 'rowhook_owner', 'usage') then
      perform rowhook._write_event(
        v_type, rowhook._sample(v_type, v_webhook.tenant_id), v_webhook.tenant_id, v_webhook.id);
    else
      perform rowhook._emit_own(
        v_type, rowhook._sample(v_type, v_webhook.tenant_id), v_webhook.id);
    end if;
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;

comment on function rowhook.test(uuid) is
  'Sends a sample of each event type that a webhook wants to this webhook only, marked "test": '
  'true, whether it is active or not. Returns how many were queued.';

create function rowhook._sample(p_event_type text, p_tenant_id text)
returns json
language sql
stable
begin atomic
  select coalesce(
           json_object_agg(
             a.attname,
             case
               when a.atttypid = 'uuid'::regtype
                 then to_json('00000000-0000-4000-8000-000000000000'::text)
               when a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype,
                                   'numeric'::regtype, 'float4'::regtype, 'float8'::regtype)
                 then to_json(1)
               when a.atttypid = 'bool'::regtype
                 then to_json(true)
               when a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype)
                 then to_json('2025-01-01T00:00:00+00:00'::text)
               when a.atttypid = 'date'::regtype
                 then to_json('2025-01-01'::text)
               when a.atttypid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype)
                 then to_json('sample'::text)
               else 'null'::json
             end order by a.attnum),
           '{"message":"This is a test from rowhook."}')
    from pg_attribute a
   where a.attrelid = (select t.relation
                         from rowhook.webhook_event_types t
                        where t.event_type = p_event_type
                        order by t.relation
                        limit 1)
     and a.attnum > 0
     and not a.attisdropped;
end;

comment on function rowhook._sample(text, text) is
  'Made-up data of an event type for a tenant: of test(), of previews, and of tools that ask for a '
  'sample.';

create function rowhook._organization(p_tenant_id text)
returns json
language sql
stable
begin atomic
  select coalesce(
    (select '{"id":'    || to_json(t.id)
         || ',"name":'  || coalesce(to_json(t.name)::text, 'null')
         || ',"slug":'  || coalesce(to_json(t.slug)::text, 'null') || '}'
       from rowhook.webhook_tenants t
      where t.id = p_tenant_id and (t.name is not null or t.slug is not null)),
    '{"id":' || to_json(p_tenant_id) || '}')::json;
end;

comment on function rowhook._organization(text) is
  'The current organization object of a tenant''s webhook bodies, printed as payload/body.ts '
  'prints it.';

-- The webhook must want the event by type, and the event must not be waiting or given up. Events
-- that the lane has yet to read are left out, because the daemon will send them anyway. The body
-- uses the values of the last attempt, so that its bytes stay the same; an event that was never
-- sent uses the current values.
create function rowhook._replayable(
  p_webhook_id uuid,
  p_since      timestamptz,
  p_until      timestamptz,
  p_sent       boolean
)
returns table (
  delivery_id    uuid,
  webhook_id     uuid,
  outbox_id      bigint,
  occurred_at    timestamptz,
  source_id      int,
  lane           smallint,
  ordinal        smallint,
  truncated      text,
  tenant_id      text,
  event_id       text,
  event_type     text,
  row_key        text,
  organization   json,
  webhook_name   text,
  payload_format text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
-- The planner cannot know how many rows are joined here, and nested loops are cheap for few rows
-- only.
set enable_nestloop = off
set jit = off
as $$
declare
  v_webhook record;
  v_from    bigint := floor(extract(
    epoch from greatest(p_since, now() - interval '8 days') - interval '1 minute') / 86400);
  v_to      bigint := floor(extract(
    epoch from least(p_until, now()) + interval '1 minute') / 86400);
  v_slots   smallint[] := array(
    select distinct (day % 8)::smallint from generate_series(v_from, v_to) as day);
begin
  select c.id,
         c.tenant_id,
         c.name,
         c.event_types,
         c.payload_format,
         rowhook._lane(c.tenant_id)         as lane,
         rowhook._organization(c.tenant_id) as organization
    into v_webhook
    from rowhook.webhook_configurations c
   where c.id = p_webhook_id;
  return query
  -- Each id is computed once, because a call of the function that computes it takes 12
  -- microseconds.
  with incarnations as (
    select i.starts_at_id,
           lead(i.starts_at_id) over (order by i.starts_at_id) as ends_at_id,
           i.incarnation
      from rowhook.webhook_incarnations i
  ), wanted as materialized (
    select o.id,
           o.xid,
           o.occurred_at,
           o.source_id,
           o.truncated,
           o.row_key,
           (e.n - 1)::smallint as ordinal,
           e.event_type,
           'evt_' || i.incarnation || '_' || o.id || '_' || (e.n - 1) as event_id
      from rowhook.webhook_outbox o
     cross join lateral unnest(o.event_types) with ordinality as e (event_type, n)
      join incarnations i
        on o.id >= i.starts_at_id
       and (i.ends_at_id is null or o.id < i.ends_at_id)
     where o.slot = any (v_slots)
       and o.lane = v_webhook.lane
       and o.tenant_id = v_webhook.tenant_id
       and o.test_webhook_id is null
       and o.occurred_at >= p_since
       and o.occurred_at < p_until
       and exists (select from unnest(v_webhook.event_types) as w (pattern)
                    where e.event_type = w.pattern
                       or w.pattern = '*'
                       or (right(w.pattern, 2) = '.*'
                           and starts_with(e.event_type, left(w.pattern, -1))))
  ), delivery as materialized (
    select w.*, rowhook._delivery_id(w.event_id, v_webhook.id) as id_of_delivery
      from wanted w
  ), logged as materialized (
    select l.delivery_id,
           bool_or(l.status = 'success') as succeeded,
           min(l.organization::text)     as organization,
           min(l.webhook_name)           as webhook_name,
           coalesce(
             min(l.payload_format) filter (where l.status <> 'skipped'),
             min(l.payload_format))      as payload_format
      from rowhook.webhook_logs l
     where l.tenant_id = v_webhook.tenant_id
       and l.webhook_id = v_webhook.id
       and l.attempted_at >= p_since - interval '1 minute'
     group by l.delivery_id
  )
  select d.id_of_delivery,
         v_webhook.id,
         d.id,
         d.occurred_at,
         d.source_id,
         v_webhook.lane,
         d.ordinal,
         d.truncated,
         v_webhook.tenant_id,
         d.event_id,
         d.event_type,
         d.row_key,
         coalesce(logged.organization::json, v_webhook.organization),
         coalesce(logged.webhook_name, v_webhook.name),
         coalesce(logged.payload_format, v_webhook.payload_format)
    from delivery d
    join rowhook.webhook_lanes p on p.lane = v_webhook.lane
    left join rowhook.webhook_lagging_tenants t
      on (t.lane, t.tenant_id) = (v_webhook.lane, v_webhook.tenant_id)
    left join logged on logged.delivery_id = d.id_of_delivery
   where (logged.delivery_id is not null or pg_visible_in_snapshot(
                                               d.xid, coalesce(t.from_snapshot, p.from_snapshot)))
     and (p_sent or logged.succeeded is not true)
     and not exists (select from rowhook.webhook_deliveries w
                      where w.delivery_id = d.id_of_delivery);
end
$$;

comment on function rowhook._replayable(uuid, timestamptz, timestamptz, boolean) is
  'The events in [p_since, p_until) that replay() can send to a webhook: those that it never '
  'received and, with p_sent, also those that it received.';

create function rowhook._call_lane(p_tenant_id text, p_webhook_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  insert into rowhook.webhook_outbox (lane, tenant_id, event_types, data)
  values (rowhook._lane(p_tenant_id), p_tenant_id, '{}', json_build_array(p_webhook_id));
  perform rowhook._ring();
end
$$;

comment on function rowhook._call_lane(text, uuid) is
  'Tells the daemon that owns a tenant''s lane to check for waiting deliveries of a webhook.';

-- The events keep the webhook-id that they had or would have had. They wait as rows of
-- webhook_deliveries, so a replay survives the daemon, and they go out after new events. The daemon
-- evaluates the filter.
create function rowhook._replay(
  p_webhook_id uuid,
  p_since      timestamptz,
  p_until      timestamptz,
  p_only       text,
  p_dry_run    boolean,
  p_tenant_id  text
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_since     timestamptz := coalesce(p_since, '-infinity');
  v_until     timestamptz := coalesce(p_until, 'infinity');
  v_tenant_id text;
  v_given_up  bigint := 0;
  v_others    bigint := 0;
begin
  select c.tenant_id into v_tenant_id
    from rowhook.webhook_configurations c
   where c.id = p_webhook_id and (p_tenant_id is null or c.tenant_id = p_tenant_id);
  if not found then
    raise no_data_found using
      message = format('replay: there is no webhook %s', p_webhook_id);
  end if;
  if p_only is null or p_only not in ('given_up', 'missed', 'all') then
    raise invalid_parameter_value using
      message = format('replay: only => %L is refused', p_only),
      hint    = 'Pass ''given_up'' (all attempts failed), ''missed'' (never delivered, and not '
                'waiting) or ''all'' (every event of that time that the webhook wants).';
  end if;

  if p_dry_run then
    if p_only <> 'missed' then
      select count(*) into v_given_up
        from rowhook.webhook_deliveries d
       where d.webhook_id = p_webhook_id
         and d.state = 'given_up'
         and d.occurred_at >= v_since
         and d.occurred_at < v_until;
    end if;
    if p_only <> 'given_up' then
      select count(*) into v_others
        from rowhook._replayable(p_webhook_id, v_since, v_until, p_only = 'all');
    end if;
    return v_given_up + v_others;
  end if;

  if p_only <> 'given_up' then
    insert into rowhook.webhook_deliveries
      (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at,
       source_id, lane, ordinal, attempted, replayed, truncated,
       tenant_id, event_id, event_type, row_key,
       organization, webhook_name, payload_format)
    select r.delivery_id, r.webhook_id, r.outbox_id, r.occurred_at, now(),
           r.source_id, r.lane, r.ordinal, true, true, r.truncated,
           r.tenant_id, r.event_id, r.event_type, r.row_key,
           r.organization, r.webhook_name, r.payload_format
      from rowhook._replayable(p_webhook_id, v_since, v_until, p_only = 'all') as r
    on conflict (delivery_id) do nothing;
    get diagnostics v_others = row_count;
  end if;
  if p_only <> 'missed' then
    -- Their order is given up, because later events of their rows have already gone out.
    update rowhook.webhook_deliveries d
       set state           = 'waiting',
           next_attempt_at = now(),
           attempt         = 0,
           replayed        = true,
           ordered         = false,
           batch_id        = null
     where d.webhook_id = p_webhook_id
       and d.state = 'given_up'
       and d.occurred_at >= v_since
       and d.occurred_at < v_until;
    get diagnostics v_given_up = row_count;
  end if;
  if v_given_up + v_others > 0 then
    perform rowhook._call_lane(v_tenant_id, p_webhook_id);
  end if;
  return v_given_up + v_others;
end
$$;

comment on function rowhook._replay(uuid, timestamptz, timestamptz, text, boolean, text) is
  'The work of replay(), for a webhook of one tenant; p_tenant_id null: of any tenant.';

create function rowhook._replay_own(
  p_webhook_id uuid,
  p_since      timestamptz,
  p_until      timestamptz,
  p_only       text,
  p_dry_run    boolean
)
returns bigint
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
return rowhook._replay(
  p_webhook_id, p_since, p_until, p_only, p_dry_run, coalesce(rowhook.current_tenant(), ''));

comment on function rowhook._replay_own(uuid, timestamptz, timestamptz, text, boolean) is
  'The part of replay() for tenants: the tenant is that of the session.';

create function rowhook.replay(
  webhook_id uuid,
  since      timestamptz,
  until      timestamptz default null,
  "only"     text        default 'given_up',
  dry_run    boolean     default false
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if pg_has_role(current_user, 'rowhook_owner', 'usage') then
    return rowhook._replay(webhook_id, since, until, "only", dry_run, null);
  end if;
  return rowhook._replay_own(webhook_id, since, until, "only", dry_run);
end
$$;

comment on function rowhook.replay(uuid, timestamptz, timestamptz, text, boolean) is
  'Sends events in [since, until) to a webhook again, with the same webhook-id, after new ones: '
  '"only" => ''given_up'' (attempts ran out), ''missed'' (never delivered) or ''all''. Returns '
  'how many; dry_run only counts, and the filter is evaluated when they are sent.';

create function rowhook._replay_delivery(p_delivery_id uuid, p_tenant_id text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_tenant_id  text;
  v_webhook_id uuid;
  v_last       record;
begin
  -- A waiting batch is sent as a whole, so one of its deliveries takes the others along.
  with moved as (
    update rowhook.webhook_deliveries d
       set state           = 'waiting',
           next_attempt_at = now(),
           attempt         = case d.state when 'given_up' then 0 else d.attempt end,
           ordered         = d.ordered and d.state = 'waiting',
           batch_id        = case d.state when 'waiting' then d.batch_id end
     where (d.delivery_id = p_delivery_id
            or (d.state = 'waiting'
                and d.batch_id = (select b.batch_id
                                    from rowhook.webhook_deliveries b
                                   where b.delivery_id = p_delivery_id
                                     and b.state = 'waiting')))
       and (p_tenant_id is null or d.tenant_id = p_tenant_id)
       and d.next_attempt_at is distinct from 'infinity'
    returning d.tenant_id, d.webhook_id
  )
  select min(tenant_id), (array_agg(webhook_id))[1] into v_tenant_id, v_webhook_id from moved;

  if v_tenant_id is null then
    select h.delivery_id into v_last
      from rowhook.webhook_deliveries d
      join rowhook.webhook_deliveries h
        on h.webhook_id = d.webhook_id
       and hashtext(h.row_key) = hashtext(d.row_key)
       and h.row_key = d.row_key
       and h.source_id = d.source_id
       and h.state = 'waiting'
       and h.ordered
     where d.delivery_id = p_delivery_id
       and (p_tenant_id is null or d.tenant_id = p_tenant_id)
     order by h.outbox_id, h.ordinal
     limit 1;
    if found then
      raise object_not_in_prerequisite_state using
        message = format(
          'replay_delivery: delivery %s waits for an earlier delivery of its row (ordering row)',
          p_delivery_id),
        hint    = format(
          'Replay the earlier one. In SQL: select rowhook.replay_delivery(%L); '
          'in a shell: rowhook replay --delivery %1$s',
          v_last.delivery_id);
    end if;
    -- An older event has left the outbox, so older logs need not be read.
    select l.tenant_id, l.webhook_id, l.event_id, l.event_type,
           l.organization, l.webhook_name, l.payload_format
      into v_last
      from rowhook.webhook_logs l
      join rowhook.webhook_configurations c on c.id = l.webhook_id
     where l.delivery_id = p_delivery_id
       and l.attempted_at > now() - interval '9 days'
       and (p_tenant_id is null or l.tenant_id = p_tenant_id)
     -- The format of what was sent stays. What was skipped may get another template.
     order by l.status = 'skipped', l.attempted_at desc
     limit 1;
    if not found then
      raise no_data_found using
        message = format('replay_delivery: there is no delivery %s', p_delivery_id),
        hint    = 'webhook_logs shows the deliveries that were attempted. A delivery of a deleted '
                  'webhook, or of an event older than 7 days, cannot be replayed.';
    end if;
    insert into rowhook.webhook_deliveries
      (delivery_id, webhook_id, outbox_id, occurred_at, next_attempt_at,
       source_id, lane, ordinal, attempted, truncated, test,
       tenant_id, event_id, event_type, row_key,
       organization, webhook_name, payload_format)
    select p_delivery_id, v_last.webhook_id, o.id, o.occurred_at, now(),
           o.source_id, o.lane, split_part(v_last.event_id, '_', 4)::smallint, true, o.truncated,
           o.test_webhook_id is not null,
           o.tenant_id, v_last.event_id, v_last.event_type, o.row_key,
           v_last.organization, v_last.webhook_name, v_last.payload_format
      from rowhook.webhook_outbox o
     where o.id = split_part(v_last.event_id, '_', 3)::bigint
       -- After a restore, the id may have been assigned twice.
       and rowhook._event_id(o.id, split_part(v_last.event_id, '_', 4)::int) = v_last.event_id
    on conflict (delivery_id) do nothing;
    if not found then
      raise no_data_found using
        message = format('replay_delivery: event %s has left the outbox', v_last.event_id),
        hint    = 'The outbox keeps events for 7 days.';
    end if;
    v_tenant_id := v_last.tenant_id;
    v_webhook_id := v_last.webhook_id;
  end if;
  perform rowhook._call_lane(v_tenant_id, v_webhook_id);
end
$$;

comment on function rowhook._replay_delivery(uuid, text) is
  'The work of replay_delivery(), for a delivery of one tenant; p_tenant_id null: of any tenant.';

create function rowhook._replay_delivery_own(p_delivery_id uuid)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
return rowhook._replay_delivery(p_delivery_id, coalesce(rowhook.current_tenant(), ''));

comment on function rowhook._replay_delivery_own(uuid) is
  'The part of replay_delivery() for tenants: the tenant is that of the session.';

create function rowhook.replay_delivery(delivery_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if pg_has_role(current_user, 'rowhook_owner', 'usage') then
    perform rowhook._replay_delivery(delivery_id, null);
  else
    perform rowhook._replay_delivery_own(delivery_id);
  end if;
end
$$;

comment on function rowhook.replay_delivery(uuid) is
  'Sends one delivery again now, with the same webhook-id. The delivery may be given up, waiting '
  '(its whole batch is sent), skipped or successful.';

create function rowhook._delete_own(p_webhook_id uuid)
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  with deleted as (
    delete from rowhook.webhook_configurations
     where id = p_webhook_id and tenant_id = rowhook.current_tenant()
    returning id)
  select count(*) > 0 from deleted;
end;

comment on function rowhook._delete_own(uuid) is
  'The part of delete_webhook() for tenants: the tenant is that of the session.';

-- Tenants have no DELETE on the table, see 0003.
create function rowhook.delete_webhook(webhook_id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_deleted boolean;
begin
  if pg_has_role(current_user, 'rowhook_owner', 'usage') then
    delete from rowhook.webhook_configurations c where c.id = delete_webhook.webhook_id;
    v_deleted := found;
  else
    v_deleted := rowhook._delete_own(webhook_id);
  end if;
  if not v_deleted then
    raise no_data_found using
      message = format('delete_webhook: there is no webhook %s', webhook_id);
  end if;
end
$$;

comment on function rowhook.delete_webhook(uuid) is
  'Deletes a webhook and its unfinished deliveries. Its logs stay.';

create function rowhook._disable_webhook(p_webhook_id uuid, p_reason text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_webhook record;
begin
  -- The tenant may have locked the row in an open transaction, and the daemon never waits for a
  -- tenant: the next attempt calls this function again.
  perform set_config('rowhook.actor', 'rowhook', true);
  update rowhook.webhook_configurations
     set is_active       = false,
         disabled_at     = now(),
         disabled_reason = p_reason
   where id = (select id
                 from rowhook.webhook_configurations
                where id = p_webhook_id and is_active
                  for update skip locked)
  returning id, tenant_id, name, disabled_at into v_webhook;
  if found then
    perform rowhook._write_event(
      'webhook.disabled',
      json_build_object(
        'id', v_webhook.id,
        'name', v_webhook.name,
        'reason', p_reason,
        'disabled_at', v_webhook.disabled_at),
      v_webhook.tenant_id,
      null);
  end if;
end
$$;

comment on function rowhook._disable_webhook(uuid, text) is
  'Disables a webhook that answered 410 or has failed for days, and sends webhook.disabled to '
  'the other webhooks of its tenant.';

-- A request that comes twice with the same key is answered twice and done once. The key is written
-- in the transaction of what it stands for.
create table rowhook.idempotency_keys (
  tenant_id  text        not null,
  scope      text        not null,
  key        text        not null,
  hash       bytea       not null,
  answer     text        not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, scope, key),

  constraint idempotency_keys_key_in_range
    check (octet_length(key) between 1 and 512)
);

comment on table rowhook.idempotency_keys is
  'Keys of requests that must not be done twice, and what was answered. They are kept for 7 days.';
comment on column rowhook.idempotency_keys.tenant_id is 'The tenant of the request.';
comment on column rowhook.idempotency_keys.scope is
  'What the key stands for: events. Equal keys of two scopes are different.';
comment on column rowhook.idempotency_keys.key is 'The key, as the client chose it. 1 to 512 bytes.';
comment on column rowhook.idempotency_keys.hash is
  'SHA-256 of the request. The same key with another request is refused.';
comment on column rowhook.idempotency_keys.answer is 'Id of what the first request made.';
comment on column rowhook.idempotency_keys.created_at is 'When the first request came.';
comment on constraint idempotency_keys_pkey on rowhook.idempotency_keys is
  'A key stands for one request of its tenant and scope.';
comment on constraint idempotency_keys_key_in_range on rowhook.idempotency_keys is
  'key is 1 to 512 bytes.';

create index idempotency_keys_created_at_idx on rowhook.idempotency_keys (created_at);

alter table rowhook.idempotency_keys enable row level security, force row level security;
create policy owner_has_all on rowhook.idempotency_keys to rowhook_owner
  using (true) with check (true);

-- A second request with the key of one that is not committed yet waits for it.
create function rowhook._emit_once_own(
  p_event        text,
  p_data         json,
  p_key          text,
  p_hash         bytea,
  out event_id   text,
  out is_new     boolean,
  out is_another boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_tenant_id text := rowhook.current_tenant();
  v_found     record;
begin
  is_new := true;
  is_another := false;
  if p_key is not null then
    insert into rowhook.idempotency_keys (tenant_id, scope, key, hash, answer)
    values (v_tenant_id, 'events', p_key, p_hash, '')
    on conflict do nothing;
    if not found then
      select k.answer, k.hash into v_found
        from rowhook.idempotency_keys k
       where (k.tenant_id, k.scope, k.key) = (v_tenant_id, 'events', p_key);
      is_new := false;
      is_another := v_found.hash is distinct from p_hash;
      event_id := case when not is_another then v_found.answer end;
      return;
    end if;
  end if;
  event_id := rowhook._event_id(rowhook._write_event(p_event, p_data, v_tenant_id, null), 0);
  if p_key is not null then
    update rowhook.idempotency_keys k
       set answer = event_id
     where (k.tenant_id, k.scope, k.key) = (v_tenant_id, 'events', p_key);
  end if;
end
$$;

comment on function rowhook._emit_once_own(text, json, text, bytea) is
  'emit() for the tenant of the session, at most once for a key. event_id is that of the first '
  'request; is_another: the key belongs to a request with another hash, and nothing was written.';

-- Deliveries that a daemon still holds are moved by one statement. All others are sent again from
-- the log, one by one.
create function rowhook._retry_own(
  p_delivery_ids uuid[],
  out retried    int,
  out skipped    int
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_tenant_id text := coalesce(rowhook.current_tenant(), '');
  v_moved     uuid[];
  v_webhooks  uuid[];
  v_id        uuid;
begin
  -- A waiting batch is sent as a whole, so one of its deliveries takes the others along.
  with chosen as (
    select d.delivery_id
      from rowhook.webhook_deliveries d
     where d.delivery_id = any (p_delivery_ids)
     union
    select d.delivery_id
      from rowhook.webhook_deliveries d
     where d.batch_id in (select b.batch_id
                            from rowhook.webhook_deliveries b
                           where b.delivery_id = any (p_delivery_ids)
                             and b.state = 'waiting')
       and d.state = 'waiting'
  ), moved as (
    update rowhook.webhook_deliveries d
       set state           = 'waiting',
           next_attempt_at = now(),
           attempt         = case d.state when 'given_up' then 0 else d.attempt end,
           ordered         = d.ordered and d.state = 'waiting',
           batch_id        = case d.state when 'waiting' then d.batch_id end
      from chosen c
     where d.delivery_id = c.delivery_id
       and d.tenant_id = v_tenant_id
       and d.next_attempt_at is distinct from 'infinity'
    returning d.delivery_id, d.webhook_id
  )
  select coalesce(array_agg(m.delivery_id) filter (where m.delivery_id = any (p_delivery_ids)), '{}'),
         array_agg(distinct m.webhook_id)
    into v_moved, v_webhooks
    from moved m;
  retried := cardinality(v_moved);
  skipped := 0;
  perform rowhook._call_lane(v_tenant_id, w) from unnest(v_webhooks) as w;
  for v_id in
    select distinct i from unnest(p_delivery_ids) as i where i is not null and i <> all (v_moved)
  loop
    begin
      perform rowhook._replay_delivery(v_id, v_tenant_id);
      retried := retried + 1;
    exception when no_data_found or object_not_in_prerequisite_state then
      skipped := skipped + 1;
    end;
  end loop;
end
$$;

comment on function rowhook._retry_own(uuid[]) is
  'replay_delivery() for many deliveries of the tenant of the session. Deliveries that cannot be '
  'sent again are skipped.';

-- The last replay that was started through the API, so that its progress can be told.
create table rowhook.webhook_replays (
  webhook_id   uuid        primary key,
  tenant_id    text        not null,
  started_at   timestamptz not null default now(),
  since        timestamptz not null,
  until        timestamptz not null,
  "only"       text        not null,
  total        bigint      not null,
  cancelled_at timestamptz
);

comment on table rowhook.webhook_replays is
  'The last replay of each webhook that was started through the HTTP API.';
comment on column rowhook.webhook_replays.webhook_id is 'The webhook.';
comment on column rowhook.webhook_replays.tenant_id is 'The tenant of the webhook.';
comment on column rowhook.webhook_replays.started_at is 'When the replay was started.';
comment on column rowhook.webhook_replays.since is 'Events from this time on were replayed.';
comment on column rowhook.webhook_replays.until is 'Events before this time were replayed.';
comment on column rowhook.webhook_replays."only" is 'given_up, missed or all, as in replay().';
comment on column rowhook.webhook_replays.total is 'How many events were queued.';
comment on column rowhook.webhook_replays.cancelled_at is
  'When the rest of the replay was cancelled; null: it was not.';
comment on constraint webhook_replays_pkey on rowhook.webhook_replays is
  'A webhook has at most one row.';

alter table rowhook.webhook_replays enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_replays to rowhook_owner
  using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_replays for select to rowhook_app
  using (tenant_id = (select rowhook.current_tenant()));
grant select on rowhook.webhook_replays to rowhook_app;

create function rowhook._forget_replays()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  delete from rowhook.webhook_replays r using deleted where r.webhook_id = deleted.id;
  return null;
end
$$;

comment on function rowhook._forget_replays() is
  'Trigger of webhook_configurations: deletes the replay of a deleted webhook.';

create trigger forget_replays
  after delete on rowhook.webhook_configurations
  referencing old table as deleted
  for each statement execute function rowhook._forget_replays();

create function rowhook._replay_left(p_webhook_id uuid)
returns bigint
language sql
stable
begin atomic
  select count(*)
    from rowhook.webhook_deliveries d
   where d.webhook_id = p_webhook_id
     and d.state = 'waiting'
     and d.replayed
     and d.attempt = 0;
end;

comment on function rowhook._replay_left(uuid) is
  'How many deliveries of a replay wait for their first attempt.';

create function rowhook._start_replay_own(
  p_webhook_id uuid,
  p_since      timestamptz,
  p_until      timestamptz,
  p_only       text
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_tenant_id text := coalesce(rowhook.current_tenant(), '');
  v_total     bigint;
begin
  -- Of two at the same time, the second waits here and then finds the first one.
  insert into rowhook.webhook_replays as r (webhook_id, tenant_id, since, until, "only", total)
  select c.id, c.tenant_id, p_since, p_until, coalesce(p_only, ''), 0
    from rowhook.webhook_configurations c
   where c.id = p_webhook_id and c.tenant_id = v_tenant_id
  on conflict (webhook_id) do update
     set started_at   = now(),
         since        = excluded.since,
         until        = excluded.until,
         "only"       = excluded."only",
         cancelled_at = null;
  if rowhook._replay_left(p_webhook_id) > 0 then
    raise object_in_use using
      message = 'replay: another replay of this webhook is running',
      hint    = 'Wait until it has ended, or cancel it: DELETE the replay.';
  end if;
  v_total := rowhook._replay(p_webhook_id, p_since, p_until, p_only, false, v_tenant_id);
  update rowhook.webhook_replays set total = v_total where webhook_id = p_webhook_id;
  return v_total;
end
$$;

comment on function rowhook._start_replay_own(uuid, timestamptz, timestamptz, text) is
  'replay() for the tenant of the session, one at a time for each webhook. Returns how many events '
  'were queued.';

-- Deliveries that were given up before the replay are given up again, and the others never had a
-- row.
create function rowhook._cancel_replay_own(p_webhook_id uuid)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_tenant_id text := coalesce(rowhook.current_tenant(), '');
  v_restored  bigint;
  v_deleted   bigint;
begin
  update rowhook.webhook_deliveries d
     set state           = 'given_up',
         next_attempt_at = null,
         replayed        = false
   where d.delivery_id in (
     select w.delivery_id
       from rowhook.webhook_deliveries w
      where w.webhook_id = p_webhook_id and w.tenant_id = v_tenant_id
        and w.state = 'waiting' and w.replayed and w.attempt = 0 and w.last_code is not null
        for update skip locked);
  get diagnostics v_restored = row_count;
  delete from rowhook.webhook_deliveries d
   where d.delivery_id in (
     select w.delivery_id
       from rowhook.webhook_deliveries w
      where w.webhook_id = p_webhook_id and w.tenant_id = v_tenant_id
        and w.state = 'waiting' and w.replayed and w.attempt = 0 and w.last_code is null
        for update skip locked);
  get diagnostics v_deleted = row_count;
  if v_restored + v_deleted > 0 then
    update rowhook.webhook_replays r
       set cancelled_at = now()
     where r.webhook_id = p_webhook_id and r.tenant_id = v_tenant_id;
  end if;
  return v_restored + v_deleted;
end
$$;

comment on function rowhook._cancel_replay_own(uuid) is
  'Ends the replay of a webhook of the tenant of the session: what waits for its first attempt is '
  'not sent. Returns how many.';

-- The planner settings of the daemon's reads. Otherwise PostgreSQL would scan a full outbox.
create function rowhook._is_covered_own(p_snapshot pg_snapshot)
returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
set enable_seqscan = off
set jit = off
as $$
declare
  v_tenant_id text := coalesce(rowhook.current_tenant(), '');
  v_lane      smallint := rowhook._lane(v_tenant_id);
  v_from      pg_snapshot;
begin
  if not exists (select from rowhook.webhook_lane_owners o where o.lane = v_lane) then
    return true; -- no daemon will move the position
  end if;
  select coalesce(t.from_snapshot, l.from_snapshot) into v_from
    from rowhook.webhook_lanes l
    left join rowhook.webhook_lagging_tenants t on t.lane = l.lane and t.tenant_id = v_tenant_id
   where l.lane = v_lane;
  return not exists (
           select from rowhook.webhook_outbox o
            where o.lane = v_lane and o.tenant_id = v_tenant_id
              and pg_visible_in_snapshot(o.xid, p_snapshot)
              and o.xid >= pg_snapshot_xmax(v_from))
     and not exists (
           select from rowhook.webhook_outbox o
            where o.lane = v_lane and o.tenant_id = v_tenant_id
              and pg_visible_in_snapshot(o.xid, p_snapshot)
              and o.xid = any (array(select pg_snapshot_xip(v_from))));
end
$$;

comment on function rowhook._is_covered_own(pg_snapshot) is
  'Whether a daemon has read all events of the tenant of the session that p_snapshot sees, so that '
  'replay() takes all of them; true also while no daemon owns the lane.';

-- A table whose rows all belong to one tenant (watch(tenant_id => ...)) is visible to that tenant
-- only.
alter policy anyone_reads on rowhook.webhook_sources to rowhook_daemon;
create policy tenant_reads_own on rowhook.webhook_sources for select to rowhook_app
  using (tenant_id is null or tenant_id = (select rowhook.current_tenant()));

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook.emit(text, json, text),
  rowhook.test(uuid),
  rowhook.replay(uuid, timestamptz, timestamptz, text, boolean),
  rowhook.replay_delivery(uuid),
  rowhook.delete_webhook(uuid),
  rowhook._delete_own(uuid),
  rowhook._emit_own(text, json, uuid),
  rowhook._replay_own(uuid, timestamptz, timestamptz, text, boolean),
  rowhook._replay_delivery_own(uuid),
  rowhook._sample(text, text),
  rowhook._patterns(text[]),
  rowhook.schema_version()
  to rowhook_app;
grant execute on function
  rowhook.schema_version(),
  rowhook._disable_webhook(uuid, text)
  to rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 16;

reset role;
