-- rowhook 0022: what `rowhook serve` calls to store an inbound event, and what applications call
-- to process it: claim_integration_events(), complete_integration_event(),
-- fail_integration_event() and retry_integration_event().
--
-- A claim is a lease. Whoever claims an event has it for that time. An event whose lease ends waits
-- again, with the number of its claims in attempts, so an answer to an earlier claim can be told
-- from one to a later claim. Members of rowhook_worker claim for all tenants, and rowhook_app for
-- the tenant of the session.

set role rowhook_owner;

-- The planner leaves out the other days only if it knows the id.
create function rowhook._first_inbound(p_id uuid)
returns table (
  id          uuid,
  event_name  text,
  payload     json,
  status      text,
  received_at timestamptz
)
language plpgsql
stable
strict
set search_path = pg_catalog, pg_temp
set row_security = on
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
begin
  return query
  select e.id, e.event_name, e.payload, e.status, e.received_at
    from rowhook.integration_events e
   where e.id = p_id
     and e.received_at >= rowhook._inbound_at(p_id) - interval '1 ms'
     and e.received_at <= rowhook._inbound_at(p_id) + interval '2 ms';
end
$$;

comment on function rowhook._first_inbound(uuid) is 'An inbound event, as a sender gets it again.';

-- One statement stores the requests that came while the one before it ran. Its setup costs more
-- than a row does, and they share one flush.
--
-- Senders and requests are arrays. A sender is a key, or a tenant whose token is verified, or a
-- source whose signature is; a request names its sender by its place. Requests that have a key in
-- common must not come together. Keys are inserted in their order, so that two such statements
-- wait for each other in one direction only.
create function rowhook._receive(
  p_key_hashes    bytea[],
  p_organizations text[],
  p_tenant_ids    text[],
  p_source_ids    text[],
  p_addresses     inet[],
  p_senders       int[],
  p_event_names   text[],
  p_payloads      json[],
  p_headers       jsonb[],
  p_hashes        bytea[],
  p_hops          int[],
  p_keys          text[],
  p_keys_of       int[]
)
returns table (
  verdict     text,
  key_id      uuid,
  tenant_id   text,
  id          uuid,
  event_name  text,
  payload     json,
  status      text,
  received_at timestamptz,
  is_new      boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
set lock_timeout = '2s'
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_at       timestamptz := clock_timestamp();
  v_ids      uuid[];
  v_tenants  text[];
  v_sources  text[];
  v_scopes   text[];
  v_verdicts text[];
  v_key_ids  uuid[];
  v_inserted int;
  v_firsts   uuid[];
  v_wanted   int[];
begin
  -- What was answered must survive a crash, whatever the login of the API prefers.
  if current_setting('synchronous_commit') = 'off' then
    perform set_config('synchronous_commit', 'on', true);
  end if;

  -- A source is looked for again: it may have been removed since the request was verified.
  select array_agg(case when a.verdict is null then a.tenant_id end order by a.n),
         array_agg(a.source order by a.n),
         array_agg('inbound' || coalesce(':' || a.source_id, '') order by a.n),
         array_agg(a.verdict order by a.n),
         array_agg(a.key_id order by a.n)
    into v_tenants, v_sources, v_scopes, v_verdicts, v_key_ids
    from (
      select s.n, s.source_id, i.name as source, t.key_id,
             coalesce(t.target, i.tenant_id, s.tenant_id) as tenant_id,
             case
               when coalesce(t.key_id, t.session_id) is not null then t.verdict
               when s.key_hash is not null then 'unknown'
               when s.source_id is not null and i.id is null then 'unknown'
             end as verdict
        from unnest(p_key_hashes, p_organizations, p_tenant_ids, p_source_ids, p_addresses)
             with ordinality as s (key_hash, organization, tenant_id, source_id, address, n)
        left join lateral rowhook._token_for(s.key_hash, s.address, s.organization, '{inbound}')
                  as t on true
        left join rowhook.inbound_sources i on i.id = s.source_id and i.deleted_at is null
    ) as a;
  v_ids := array(
    select rowhook._new_inbound_id(v_at) from generate_series(1, cardinality(p_senders)));

  -- A request with the key of one that is not committed yet waits for it.
  insert into rowhook.idempotency_keys (tenant_id, scope, key, hash, answer)
  select v_tenants[s.sender], v_scopes[s.sender], k.key, p_hashes[k.n], v_ids[k.n]::text
    from unnest(p_keys, p_keys_of) as k (key, n)
   cross join lateral (select p_senders[k.n] as sender) as s
   where v_tenants[s.sender] is not null
   order by 1, 2, 3
  on conflict do nothing;
  get diagnostics v_inserted = row_count;
  if v_inserted < cardinality(p_keys) then
    select array_agg(f.first order by r.n) into v_firsts
      from generate_series(1, cardinality(p_senders)) as r (n)
      left join (
        select distinct on (k.n) k.n, i.answer::uuid as first
          from unnest(p_keys, p_keys_of) with ordinality as k (key, n, place)
          join rowhook.idempotency_keys i
            on (i.tenant_id, i.scope, i.key)
               = (v_tenants[p_senders[k.n]], v_scopes[p_senders[k.n]], k.key)
         where i.answer <> v_ids[k.n]::text
         order by k.n, k.place
      ) as f on f.n = r.n;
    -- Not every id is signed. With a recorded body, a new one could be taken from a later event.
    delete from rowhook.idempotency_keys i
     using unnest(p_keys, p_keys_of) as k (key, n)
     where (i.tenant_id, i.scope, i.key)
           = (v_tenants[p_senders[k.n]], v_scopes[p_senders[k.n]], k.key)
       and i.answer = v_ids[k.n]::text
       and v_firsts[k.n] is not null;
  end if;

  -- Times that follow each other: events are listed and claimed in the order of their requests.
  insert into rowhook.integration_events
    (id, tenant_id, event_name, source, payload, headers, idempotency_key, received_at,
     available_at, remote_ip, hops)
  select v_ids[r.n], v_tenants[r.sender], r.event_name, v_sources[r.sender], r.payload, r.headers,
         p_keys[array_position(p_keys_of, r.n::int)], t.at, t.at, p_addresses[r.sender], r.hops
    from unnest(p_senders, p_event_names, p_payloads, p_headers, p_hops)
         with ordinality as r (sender, event_name, payload, headers, hops, n)
   cross join lateral (select v_at + (r.n - 1) * interval '1 microsecond' as at) as t
   where v_tenants[r.sender] is not null and v_firsts[r.n] is null;

  -- As capture does: a disabled webhook counts for 30 days.
  select array_agg(r.n order by r.n) into v_wanted
    from (
      select v_tenants[r.sender] as tenant_id, r.event_name, 'inbound.' || r.event_name as type,
             array_agg(r.n::int) as ns
        from unnest(p_senders, p_event_names) with ordinality as r (sender, event_name, n)
       where v_tenants[r.sender] is not null and v_firsts[r.n] is null
       group by v_tenants[r.sender], r.event_name
    ) as e
   cross join lateral unnest(e.ns) as r (n)
   where exists (select from rowhook.webhook_configurations w
                  where w.tenant_id = e.tenant_id
                    and coalesce(w.disabled_at, 'infinity') > now() - interval '30 days'
                    and w.event_types && rowhook._patterns(array[e.type]))
      or exists (select from rowhook.webhook_polls p
                  where p.tenant_id = e.tenant_id and p.event_type = e.type
                    and p.wanted_until > now());
  if v_wanted is not null then
    insert into rowhook.webhook_outbox (lane, tenant_id, source_id, event_types, data)
    select rowhook._lane(v_tenants[r.sender]), v_tenants[r.sender], -(r.hops + 1),
           array['inbound.' || r.event_name], r.payload
      from unnest(p_senders, p_event_names, p_payloads, p_hops)
           with ordinality as r (sender, event_name, payload, hops, n)
     where r.n = any (v_wanted)
     order by r.n;
    perform rowhook._ring();
  end if;

  return query
  select v_verdicts[r.sender], v_key_ids[r.sender], v_tenants[r.sender],
         case when r.is_new then v_ids[r.n] else f.id end,
         case when r.is_new then p_event_names[r.n] else f.event_name end,
         f.payload,
         case when r.is_new then 'received' else f.status end,
         case when r.is_new then v_at + (r.n - 1) * interval '1 microsecond' else f.received_at end,
         r.is_new
    from (select s.n, s.sender, v_tenants[s.sender] is not null and v_firsts[s.n] is null as is_new
            from unnest(p_senders) with ordinality as s (sender, n)) as r
    left join lateral rowhook._first_inbound(v_firsts[r.n]) as f on true
   order by r.n;
end
$$;

comment on function rowhook._receive(
  bytea[], text[], text[], text[], inet[], int[], text[], json[], jsonb[], bytea[], int[], text[],
  int[]) is
  'Checks the senders of inbound events, stores the events, each once for its keys, and relays '
  'them as inbound.<name> where a webhook wants it. It returns a row for each: the event, or the '
  'first one of the same key (payload only of the latter), or why not (verdict): unknown, '
  'organization, scope.';

-- A name without an id is that of the newest source: a removed one is found where no other is.
create function rowhook._inbound_source(
  p_id        text,
  p_tenant_id text,
  p_name      text,
  p_address   inet
)
returns table (
  id                  text,
  tenant_id           text,
  name                text,
  verification        text,
  secrets             text[],
  signature_header    text,
  signature_algorithm text,
  signature_encoding  text,
  event_name          text,
  event_path          text,
  event_header        text,
  is_removed          boolean,
  is_allowed          boolean
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select s.id, s.tenant_id, s.name, s.verification,
         array[s.secret] || case when s.previous_secret_expires_at > clock_timestamp()
                                 then s.previous_secret end,
         s.signature_header, s.signature_algorithm, s.signature_encoding,
         s.event_name, s.event_path, s.event_header,
         s.deleted_at is not null,
         s.allowed_ips is null or p_address <<= any (s.allowed_ips)
    from rowhook.inbound_sources s
   where case when p_id is null then s.tenant_id = p_tenant_id and s.name = p_name
              else s.id = p_id end
   order by s.deleted_at is not null, s.created_at desc
   limit 1;
end;

comment on function rowhook._inbound_source(text, text, text, inet) is
  'What the API needs to verify a request of an inbound source, with its secrets; by id, or by '
  'tenant and name.';

create function rowhook._sees_all_inbound()
returns boolean
language sql
stable
return pg_has_role(current_user, 'rowhook_owner', 'usage')
       or pg_has_role(current_user, 'rowhook_worker', 'usage');

comment on function rowhook._sees_all_inbound() is
  'Whether the caller processes inbound events of all tenants.';

-- Where a claim looks: up to 20 tenants from a random one on, for each name.
create function rowhook._inbound_turns(p_tenant_id text, p_event_names text[], p_now timestamptz)
returns table (tenant_id text, event_name text)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_name  text;
  v_start bigint := hashtextextended(gen_random_uuid()::text, 0);
  v_from  bigint;
  v_after text;
  v_turns int;
  v_next  record;
begin
  foreach v_name in array coalesce(p_event_names, array[null::text]) loop
    if p_tenant_id is not null then
      return query select p_tenant_id, v_name;
      continue;
    end if;
    v_from := v_start;
    v_after := '';
    v_turns := 0;
    loop
      if v_name is null then
        select hashtextextended(e.tenant_id, 0) as hash, e.tenant_id into v_next
          from rowhook.integration_events e
         where e.status in ('received', 'processing') and e.available_at <= p_now
           and (hashtextextended(e.tenant_id, 0), e.tenant_id) > (v_from, v_after)
         order by hashtextextended(e.tenant_id, 0), e.tenant_id
         limit 1;
      else
        select hashtextextended(e.tenant_id, 0) as hash, e.tenant_id into v_next
          from rowhook.integration_events e
         where e.status in ('received', 'processing') and e.available_at <= p_now
           and e.event_name = v_name
           and (hashtextextended(e.tenant_id, 0), e.tenant_id) > (v_from, v_after)
         order by hashtextextended(e.tenant_id, 0), e.tenant_id
         limit 1;
      end if;
      if not found then
        -- Behind the last tenant comes the first one, once.
        exit when v_start is null;
        v_from := -9223372036854775808;
        v_after := '';
        v_start := null;
        continue;
      end if;
      return query select v_next.tenant_id, v_name;
      v_turns := v_turns + 1;
      exit when v_turns = 20;
      v_from := v_next.hash;
      v_after := v_next.tenant_id;
    end loop;
    v_start := hashtextextended(gen_random_uuid()::text, 0);
  end loop;
end
$$;

comment on function rowhook._inbound_turns(text, text[], timestamptz) is
  'Tenants that have events to claim, up to 20 for each name, from a random one on. A tenant may '
  'be named twice.';

create function rowhook._claim_inbound(
  p_tenant_id   text,
  p_event_names text[],
  p_max_count   int,
  p_lease       interval
)
returns setof rowhook.integration_events
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
set enable_seqscan = off
set jit = off
as $$
declare
  v_now   timestamptz := clock_timestamp();
  v_left  int         := p_max_count;
  v_turns int;
  v_got   int;
  v_all   boolean     := false;
  v_turn  record;
  v_event rowhook.integration_events;
begin
  if p_max_count is null or p_max_count not between 1 and 1000 then
    raise invalid_parameter_value using
      message = format('claim_integration_events: max_count %L is refused', p_max_count),
      hint    = 'Pass 1 to 1000.';
  end if;
  if p_lease is null or p_lease < '1 second' or p_lease > '1 day' then
    raise invalid_parameter_value using
      message = format('claim_integration_events: lease %L is refused', p_lease),
      hint    = 'Pass an interval of 1 second to 1 day.';
  end if;
  if cardinality(p_event_names) > 100 or array_position(p_event_names, null) is not null then
    raise invalid_parameter_value using
      message = 'claim_integration_events: event_names is refused',
      hint    = 'Pass up to 100 names, or null for all.';
  end if;

  -- First everyone gets a share, then the rest goes to whoever has more.
  loop
    v_got := 0;
    v_turns := null;
    for v_turn in
      select t.tenant_id, t.event_name, count(*) over () as turns
        from (select distinct i.tenant_id, i.event_name
                from rowhook._inbound_turns(p_tenant_id, p_event_names, v_now) as i) as t
       order by random()
    loop
      v_turns := coalesce(v_turns, v_turn.turns);
      for v_event in
        update rowhook.integration_events e
           set status        = case when e.attempts < e.max_attempts then 'processing'
                                    else 'failed' end,
               attempts      = e.attempts + (e.attempts < e.max_attempts)::int,
               available_at  = case when e.attempts < e.max_attempts then v_now + p_lease
                                    else e.available_at end,
               error_message = case when e.attempts < e.max_attempts then e.error_message
                                    else 'its last lease ended, and no attempt is left' end
          from (select w.id, w.received_at
                  from rowhook.integration_events w
                 where w.status in ('received', 'processing') and w.available_at <= v_now
                   and hashtextextended(w.tenant_id, 0) = hashtextextended(v_turn.tenant_id, 0)
                   and w.tenant_id = v_turn.tenant_id
                   and (v_turn.event_name is null or w.event_name = v_turn.event_name)
                 order by w.available_at, w.id
                 limit case when v_all then v_left else ceil(v_left::float8 / v_turns)::int end
                   for update skip locked) as d
         where e.id = d.id and e.received_at = d.received_at
        returning e.*
      loop
        v_got := v_got + 1;
        if v_event.status = 'processing' then
          v_left := v_left - 1;
          return next v_event;
        end if;
      end loop;
      v_turns := greatest(v_turns - 1, 1);
      exit when v_left = 0;
    end loop;
    exit when v_left = 0 or v_got = 0;
    v_all := true;
  end loop;
end
$$;

comment on function rowhook._claim_inbound(text, text[], int, interval) is
  'Claims inbound events of a tenant, or of all (null), which take turns.';

create function rowhook._claim_inbound_own(
  p_event_names text[],
  p_max_count   int,
  p_lease       interval
)
returns setof rowhook.integration_events
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
begin atomic
  select c.*
    from rowhook._claim_inbound(
           coalesce(rowhook.current_tenant(), ''), p_event_names, p_max_count, p_lease) as c;
end;

comment on function rowhook._claim_inbound_own(text[], int, interval) is
  'The part of claim_integration_events() for tenants: the tenant is that of the session.';

create function rowhook.claim_integration_events(
  event_names text[]   default null,
  max_count   int      default 10,
  lease       interval default '1 minute'
)
returns setof rowhook.integration_events
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if rowhook._sees_all_inbound() then
    return query select * from rowhook._claim_inbound(null, event_names, max_count, lease);
  else
    return query select * from rowhook._claim_inbound_own(event_names, max_count, lease);
  end if;
end
$$;

comment on function rowhook.claim_integration_events(text[], int, interval) is
  'Claims inbound events for the time of the lease: select * from '
  'rowhook.claim_integration_events(''{lead.captured}'', 10, ''1 minute''). An event that is '
  'neither completed nor failed in this time can be claimed again.';

-- The row of one event, locked. Whoever names the attempt of another claim is refused.
create function rowhook._inbound_event(p_tenant_id text, p_id uuid, p_attempts int)
returns rowhook.integration_events
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
set plan_cache_mode = force_custom_plan
as $$
declare
  v_event rowhook.integration_events;
begin
  select e.* into v_event
    from rowhook.integration_events e
   where e.id = p_id
     and e.received_at >= rowhook._inbound_at(p_id) - interval '1 ms'
     and e.received_at <= rowhook._inbound_at(p_id) + interval '2 ms'
     and (p_tenant_id is null or e.tenant_id = p_tenant_id)
     for update;
  if not found then
    raise no_data_found using
      message = format('integration_events: there is no event %s', p_id);
  end if;
  if p_attempts is not null and p_attempts <> v_event.attempts then
    raise object_not_in_prerequisite_state using
      message = format('integration_events: attempt %s of event %s is over', p_attempts, p_id),
      hint    = 'Its lease ended, and the event was claimed again. Leave it to that claim.';
  end if;
  return v_event;
end
$$;

comment on function rowhook._inbound_event(text, uuid, int) is
  'Locks an inbound event of a tenant, or of any (null), and returns it. Raises if p_attempts is '
  'not its present number of claims.';

create function rowhook._complete_inbound(p_tenant_id text, p_id uuid, p_attempts int)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_event rowhook.integration_events := rowhook._inbound_event(p_tenant_id, p_id, p_attempts);
begin
  if v_event.status = 'failed' then
    raise object_not_in_prerequisite_state using
      message = format('integration_events: event %s has failed', p_id),
      hint    = 'Call rowhook.retry_integration_event() first.';
  end if;
  -- A worker whose connection was cut off asks again.
  if v_event.status <> 'processed' then
    update rowhook.integration_events e
       set status        = 'processed',
           processed_at  = clock_timestamp(),
           error_message = null
     where e.id = v_event.id and e.received_at = v_event.received_at;
  end if;
end
$$;

comment on function rowhook._complete_inbound(text, uuid, int) is
  'complete_integration_event() for a tenant, or for any (null).';

create function rowhook._fail_inbound(
  p_tenant_id text,
  p_id        uuid,
  p_error     text,
  p_retry_in  interval,
  p_attempts  int
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_event rowhook.integration_events := rowhook._inbound_event(p_tenant_id, p_id, p_attempts);
  v_again boolean := p_retry_in is not null and v_event.attempts < v_event.max_attempts;
begin
  if p_retry_in < '0' or p_retry_in > '30 days' then
    raise invalid_parameter_value using
      message = format('fail_integration_event: retry_in %L is refused', p_retry_in),
      hint    = 'Pass an interval of 0 to 30 days, or null for no further attempt.';
  end if;
  if v_event.status = 'processed' then
    raise object_not_in_prerequisite_state using
      message = format('integration_events: event %s was processed', p_id),
      hint    = 'Call rowhook.retry_integration_event() to process it again.';
  end if;
  update rowhook.integration_events e
     set status        = case when v_again then 'received' else 'failed' end,
         available_at  = case when v_again then clock_timestamp() + p_retry_in
                              else e.available_at end,
         error_message = left(p_error, 5000)
   where e.id = v_event.id and e.received_at = v_event.received_at;
end
$$;

comment on function rowhook._fail_inbound(text, uuid, text, interval, int) is
  'fail_integration_event() for a tenant, or for any (null).';

create function rowhook._retry_inbound(p_tenant_id text, p_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_event rowhook.integration_events := rowhook._inbound_event(p_tenant_id, p_id, null);
begin
  if v_event.status = 'processing' and v_event.available_at > clock_timestamp() then
    raise object_not_in_prerequisite_state using
      message = format('integration_events: event %s is being processed', p_id),
      hint    = 'Wait until its lease has ended.';
  end if;
  update rowhook.integration_events e
     set status        = 'received',
         available_at  = clock_timestamp(),
         processed_at  = null,
         max_attempts  = e.attempts + 10
   where e.id = v_event.id and e.received_at = v_event.received_at;
end
$$;

comment on function rowhook._retry_inbound(text, uuid) is
  'retry_integration_event() for a tenant, or for any (null).';

create function rowhook._complete_inbound_own(p_id uuid, p_attempts int)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
return rowhook._complete_inbound(coalesce(rowhook.current_tenant(), ''), p_id, p_attempts);

comment on function rowhook._complete_inbound_own(uuid, int) is
  'The part of complete_integration_event() for tenants.';

create function rowhook._fail_inbound_own(
  p_id       uuid,
  p_error    text,
  p_retry_in interval,
  p_attempts int
)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
return rowhook._fail_inbound(
  coalesce(rowhook.current_tenant(), ''), p_id, p_error, p_retry_in, p_attempts);

comment on function rowhook._fail_inbound_own(uuid, text, interval, int) is
  'The part of fail_integration_event() for tenants.';

create function rowhook._retry_inbound_own(p_id uuid)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
return rowhook._retry_inbound(coalesce(rowhook.current_tenant(), ''), p_id);

comment on function rowhook._retry_inbound_own(uuid) is
  'The part of retry_integration_event() for tenants.';

create function rowhook.complete_integration_event(id uuid, attempts int default null)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if rowhook._sees_all_inbound() then
    perform rowhook._complete_inbound(null, id, attempts);
  else
    perform rowhook._complete_inbound_own(id, attempts);
  end if;
end
$$;

comment on function rowhook.complete_integration_event(uuid, int) is
  'Marks an inbound event as processed. With attempts, as the claim returned it, only if nobody '
  'has claimed the event since.';

create function rowhook.fail_integration_event(
  id       uuid,
  error    text,
  retry_in interval default null,
  attempts int      default null
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if rowhook._sees_all_inbound() then
    perform rowhook._fail_inbound(null, id, error, retry_in, attempts);
  else
    perform rowhook._fail_inbound_own(id, error, retry_in, attempts);
  end if;
end
$$;

comment on function rowhook.fail_integration_event(uuid, text, interval, int) is
  'Says why an inbound event was not processed. With retry_in it can be claimed again after that '
  'time, 10 times at most. Without, it has failed.';

create function rowhook.retry_integration_event(id uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if rowhook._sees_all_inbound() then
    perform rowhook._retry_inbound(null, id);
  else
    perform rowhook._retry_inbound_own(id);
  end if;
end
$$;

comment on function rowhook.retry_integration_event(uuid) is
  'Lets an inbound event be claimed again, whether it has failed or was processed, up to 10 times '
  'more.';

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._receive(
    bytea[], text[], text[], text[], inet[], int[], text[], json[], jsonb[], bytea[], int[], text[],
    int[]),
  rowhook._inbound_source(text, text, text, inet)
  to rowhook_api;
grant execute on function
  rowhook.claim_integration_events(text[], int, interval),
  rowhook.complete_integration_event(uuid, int),
  rowhook.fail_integration_event(uuid, text, interval, int),
  rowhook.retry_integration_event(uuid),
  rowhook._sees_all_inbound()
  to rowhook_app, rowhook_worker;
grant execute on function
  rowhook._claim_inbound_own(text[], int, interval),
  rowhook._complete_inbound_own(uuid, int),
  rowhook._fail_inbound_own(uuid, text, interval, int),
  rowhook._retry_inbound_own(uuid)
  to rowhook_app;
grant execute on function
  rowhook._claim_inbound(text, text[], int, interval),
  rowhook._complete_inbound(text, uuid, int),
  rowhook._fail_inbound(text, uuid, text, interval, int),
  rowhook._retry_inbound(text, uuid)
  to rowhook_worker;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 22;

reset role;
