-- rowhook 0007: what applications and tenants call: emit(), test(), replay().
--
-- Each is one public function with the caller's own rights, over one private function that does the work. A member of
-- rowhook_owner reaches every tenant through the row-level policies. Anybody else goes through the private _own
-- functions, which are SECURITY DEFINER and take the tenant from current_tenant() themselves: no argument can name
-- another one.

set role rowhook_owner;

-- Writes one event into the outbox. p_webhook_id marks a test for this one webhook.
create function rowhook._write_event(p_event text, p_data json, p_tenant_id text, p_webhook_id uuid)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  if p_event is null or p_event !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$' or length(p_event) > 128 then
    raise invalid_parameter_value using
      message = format('emit: %s is not an event type', coalesce(quote_literal(left(p_event, 128)), 'null')),
      hint = 'Event types look like message.sent: letters, digits, - and _, in parts joined by dots.';
  end if;
  if p_tenant_id is null or p_tenant_id = '' then
    raise invalid_parameter_value using
      message = 'emit: the event has no tenant',
      hint = 'Pass tenant_id, or set rowhook.tenant_id in this session.';
  end if;
  if octet_length(p_data::text) > 1048576 then
    raise program_limit_exceeded using
      message = format('emit: data of %s bytes is refused: at most 1048576', octet_length(p_data::text)),
      hint = 'Send a reference instead.';
  end if;
  insert into rowhook.webhook_outbox (lane, tenant_id, event_types, data, test_webhook_id)
  values (rowhook._lane(p_tenant_id), p_tenant_id, array[p_event], coalesce(p_data, 'null'), p_webhook_id)
  returning id into v_id;
  perform rowhook._ring();
  return v_id;
end
$$;

create function rowhook._emit_own(p_event text, p_data json, p_webhook_id uuid)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_webhook_id is not null and not exists (
       select from rowhook.webhook_configurations where id = p_webhook_id and tenant_id = rowhook.current_tenant()) then
    raise no_data_found using message = format('there is no webhook %s', p_webhook_id);
  end if;
  return rowhook._write_event(p_event, p_data, rowhook.current_tenant(), p_webhook_id);
end
$$;

-- Puts an event of the application itself (message.sent, payment.received) into the outbox, in this transaction.
create function rowhook.emit(event text, data json, tenant_id text default rowhook.current_tenant())
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_has_role(current_user, 'rowhook_owner', 'usage') then
    return rowhook._write_event(event, data, tenant_id, null);
  end if;
  if tenant_id is distinct from rowhook.current_tenant() then
    raise insufficient_privilege using
      message = 'emit: an event of another tenant is refused',
      hint = 'The tenant of this session is the setting rowhook.tenant_id.';
  end if;
  return rowhook._emit_own(event, data, null);
end
$$;

comment on function rowhook.emit(text, json, text) is
  'Puts an application event into the outbox, in this transaction: select rowhook.emit(''payment.received'', ''{"amount":10}'', ''tenant''). Returns the outbox id.';

-- Sends a sample of each event type that a webhook wants, to it alone, marked "test": true, active or not. Patterns are
-- filled in from the watched tables; 'webhook.test' when there is none. Returns how many were queued.
create function rowhook.test(webhook_id uuid)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_webhook record;
  v_type    text;
  v_count   bigint := 0;
begin
  select c.id, c.tenant_id, c.event_types into v_webhook
    from rowhook.webhook_configurations c where c.id = test.webhook_id;
  if not found then
    raise no_data_found using message = format('test: there is no webhook %s', webhook_id);
  end if;
  for v_type in
    select t.event_type from rowhook.webhook_event_types t
     where rowhook._patterns(array[t.event_type]) && v_webhook.event_types
    union
    select e from unnest(v_webhook.event_types) as e where e !~ '\*'
    union
    select 'webhook.test' where not exists (
      select from rowhook.webhook_event_types t where rowhook._patterns(array[t.event_type]) && v_webhook.event_types)
      and not exists (select from unnest(v_webhook.event_types) as e where e !~ '\*')
    order by 1
    limit 100
  loop
    if pg_has_role(current_user, 'rowhook_owner', 'usage') then
      perform rowhook._write_event(v_type, rowhook._sample(v_type), v_webhook.tenant_id, v_webhook.id);
    else
      perform rowhook._emit_own(v_type, rowhook._sample(v_type), v_webhook.id);
    end if;
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;

comment on function rowhook.test(uuid) is
  'Sends a sample of each event type the webhook wants, to it alone, marked "test": true. Returns how many were queued.';

-- A made-up row with the columns of the watched table that produces this event type.
create function rowhook._sample(p_event_type text)
returns json
language sql
stable
begin atomic
  select coalesce(json_object_agg(a.attname, case
           when a.atttypid = 'uuid'::regtype then to_json('00000000-0000-4000-8000-000000000000'::text)
           when a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float4'::regtype, 'float8'::regtype) then to_json(1)
           when a.atttypid = 'bool'::regtype then to_json(true)
           when a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype) then to_json('2025-01-01T00:00:00+00:00'::text)
           when a.atttypid = 'date'::regtype then to_json('2025-01-01'::text)
           when a.atttypid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype) then to_json('sample'::text)
           else 'null'::json end order by a.attnum), '{"message":"This is a test from rowhook."}')
    from pg_attribute a
   where a.attrelid = (select t.relation from rowhook.webhook_event_types t where t.event_type = p_event_type order by t.relation limit 1)
     and a.attnum > 0 and not a.attisdropped;
end;

-- Queues past deliveries of a webhook again, under the same webhook-id. p_tenant_id null: any tenant.
create function rowhook._replay(p_webhook_id uuid, p_since timestamptz, p_until timestamptz, p_only text, p_tenant_id text)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count bigint;
begin
  if not exists (select from rowhook.webhook_configurations c
                  where c.id = p_webhook_id and (p_tenant_id is null or c.tenant_id = p_tenant_id)) then
    raise no_data_found using message = format('replay: there is no webhook %s', p_webhook_id);
  end if;
  if p_only is distinct from 'failed' then
    raise invalid_parameter_value using
      message = format('replay: only => %L is refused', p_only),
      hint = 'It is ''failed'': deliveries whose attempts ran out.';
  end if;
  update rowhook.webhook_deliveries d
     set state = 'waiting', next_attempt_at = now(), attempt = 0
   where d.webhook_id = p_webhook_id and d.state = 'failed'
     and d.occurred_at >= coalesce(p_since, '-infinity') and d.occurred_at < coalesce(p_until, 'infinity');
  get diagnostics v_count = row_count;
  if v_count > 0 then
    -- tells the owner of the tenant's lane to look
    insert into rowhook.webhook_outbox (lane, tenant_id, event_types)
    select rowhook._lane(c.tenant_id), c.tenant_id, '{}' from rowhook.webhook_configurations c where c.id = p_webhook_id;
    perform rowhook._ring();
  end if;
  return v_count;
end
$$;

create function rowhook._replay_own(p_webhook_id uuid, p_since timestamptz, p_until timestamptz, p_only text)
returns bigint
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
return rowhook._replay(p_webhook_id, p_since, p_until, p_only, coalesce(rowhook.current_tenant(), ''));

-- Delivers again what failed for good: events of this webhook that happened in [since, until).
create function rowhook.replay(webhook_id uuid, since timestamptz, until timestamptz default null, "only" text default 'failed')
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_has_role(current_user, 'rowhook_owner', 'usage') then
    return rowhook._replay(webhook_id, since, until, "only", null);
  end if;
  return rowhook._replay_own(webhook_id, since, until, "only");
end
$$;

comment on function rowhook.replay(uuid, timestamptz, timestamptz, text) is
  'Queues failed deliveries of a webhook again, of events in [since, until), under the same webhook-id. Returns how many.';

-- The daemon disables a webhook that says 410, or has failed for days. Its tenant's other webhooks are told.
create function rowhook._disable_webhook(p_webhook_id uuid, p_reason text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_webhook record;
begin
  update rowhook.webhook_configurations
     set is_active = false, disabled_at = now(), disabled_reason = p_reason
   where id = p_webhook_id and is_active
  returning id, tenant_id, name, disabled_at into v_webhook;
  if found then
    perform rowhook._write_event('webhook.disabled',
      json_build_object('id', v_webhook.id, 'name', v_webhook.name, 'reason', p_reason, 'disabled_at', v_webhook.disabled_at),
      v_webhook.tenant_id, null);
  end if;
end
$$;

revoke execute on all functions in schema rowhook from public;
grant execute on function rowhook.emit(text, json, text), rowhook.test(uuid), rowhook.replay(uuid, timestamptz, timestamptz, text),
                          rowhook._emit_own(text, json, uuid), rowhook._replay_own(uuid, timestamptz, timestamptz, text),
                          rowhook._sample(text), rowhook._patterns(text[]), rowhook.schema_version()
   to rowhook_app;
grant execute on function rowhook.schema_version(), rowhook._disable_webhook(uuid, text) to rowhook_daemon;

create or replace function rowhook.schema_version() returns int language sql immutable parallel safe return 7;

reset role;
