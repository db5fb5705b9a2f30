-- rowhook 0020: the catalog: every event type with a description, a JSON Schema (2020-12) of its
-- data, and a sample. Those of watched tables are computed from the columns as they are at the
-- moment of the query, so nothing here can be out of date. Excluded columns appear nowhere. Samples
-- are made up from types and names; no row is read.

set role rowhook_owner;

create table rowhook.event_definitions (
  id          uuid        primary key default gen_random_uuid(),
  event_type  text        not null,
  tenant_id   text,
  description text,
  schema      json,
  sample      json,
  created_at  timestamptz not null default now(),
  updated_at  timestamptz not null default now(),
  constraint event_definitions_is_unique
    unique nulls not distinct (event_type, tenant_id),
  constraint event_definitions_event_type_is_a_name
    check (event_type ~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$' and length(event_type) <= 128),
  constraint event_definitions_schema_is_an_object
    check (json_typeof(schema) = 'object'),
  constraint event_definitions_is_small_enough
    check (octet_length(concat(description, schema, sample)) <= 262144)
);

comment on table rowhook.event_definitions is
  'What define_event_type() says about event types, mostly those of emit().';
comment on column rowhook.event_definitions.id is 'The definition.';
comment on column rowhook.event_definitions.event_type is 'The event type, such as payment.received.';
comment on column rowhook.event_definitions.tenant_id is
  'The one tenant that sees the definition; null: all tenants see it.';
comment on column rowhook.event_definitions.description is 'What the event says.';
comment on column rowhook.event_definitions.schema is 'JSON Schema of the event''s data.';
comment on column rowhook.event_definitions.sample is 'An example of the event''s data.';
comment on column rowhook.event_definitions.created_at is 'When the event type was first defined.';
comment on column rowhook.event_definitions.updated_at is 'When the definition last changed.';
comment on constraint event_definitions_pkey on rowhook.event_definitions is
  'A definition has one row.';
comment on constraint event_definitions_is_unique on rowhook.event_definitions is
  'An event type has one definition for all tenants, and one for each tenant.';
comment on constraint event_definitions_event_type_is_a_name on rowhook.event_definitions is
  'event_type consists of letters, digits, _, -, and dots between them, at most 128 characters.';
comment on constraint event_definitions_schema_is_an_object on rowhook.event_definitions is
  'schema is a JSON object.';
comment on constraint event_definitions_is_small_enough on rowhook.event_definitions is
  'A definition has at most 256 kB.';

alter table rowhook.event_definitions enable row level security, force row level security;
create policy owner_has_all on rowhook.event_definitions
  to rowhook_owner using (true) with check (true);
create policy daemon_reads on rowhook.event_definitions
  for select to rowhook_daemon using (true);
create policy tenant_reads on rowhook.event_definitions
  for select to rowhook_app using (tenant_id is null or tenant_id = rowhook.current_tenant());
grant select on rowhook.event_definitions to rowhook_app, rowhook_daemon;

-- The source of one tenant is nobody else's business.
drop policy anyone_reads on rowhook.webhook_sources;
create policy daemon_reads on rowhook.webhook_sources
  for select to rowhook_daemon using (true);
create policy tenant_reads on rowhook.webhook_sources
  for select to rowhook_app using (tenant_id is null or tenant_id = rowhook.current_tenant());

-- Which JSON row_to_json() prints for a type. A type with a cast to json prints what the cast
-- returns, which nobody knows. JSON has no numbers for NaN and the infinities, so they come as
-- strings. numeric(p, s) has no infinities.
create function rowhook._type_schema(
  p_type     oid,
  p_typmod   int,
  p_dims     int,
  p_nullable boolean,
  p_describe boolean,
  p_depth    int
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_type   pg_type;
  v_schema jsonb;
  v_labels jsonb;
begin
  select * into v_type from pg_type where oid = p_type;
  if not found or p_depth > 8 then
    return '{}';
  end if;
  if v_type.typtype = 'd' then
    v_schema := rowhook._type_schema(
      v_type.typbasetype, v_type.typtypmod, v_type.typndims,
      p_nullable and not v_type.typnotnull, p_describe, p_depth + 1);
    p_nullable := false;
  elsif p_type >= 16384 and exists (
          select from pg_cast c
           where c.castsource = p_type and c.casttarget = 'json'::regtype and c.castmethod = 'f') then
    return '{}';
  elsif v_type.typsubscript = 'array_subscript_handler'::regproc then
    v_schema := rowhook._type_schema(v_type.typelem, p_typmod, 0, true, p_describe, p_depth + 1);
    for n in 1 .. greatest(p_dims, 1) loop
      v_schema := jsonb_build_object('type', 'array', 'items', v_schema);
    end loop;
  elsif v_type.typtype = 'e' then
    select jsonb_agg(e.enumlabel order by e.enumsortorder) into v_labels
      from pg_enum e
     where e.enumtypid = p_type;
    v_schema := jsonb_build_object('type', 'string', 'enum', coalesce(v_labels, '[]'));
  elsif v_type.typtype = 'c' then
    select jsonb_build_object(
             'type', 'object',
             'properties', coalesce(jsonb_object_agg(a.attname, rowhook._type_schema(
               a.atttypid, a.atttypmod, a.attndims, true, p_describe, p_depth + 1)), '{}'))
      into v_schema
      from pg_attribute a
     where a.attrelid = v_type.typrelid and a.attnum > 0 and not a.attisdropped;
  else
    v_schema := case
      when p_type in ('json'::regtype, 'jsonb'::regtype) then '{}'
      when p_type = 'bool'::regtype then '{"type":"boolean"}'
      when p_type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then '{"type":"integer"}'
      when p_type in ('float4'::regtype, 'float8'::regtype, 'numeric'::regtype)
        then jsonb_build_object('anyOf', jsonb_build_array(
               '{"type":"number"}'::jsonb,
               case
                 when p_type = 'numeric'::regtype and p_typmod > 4 then '{"enum":["NaN"]}'::jsonb
                 else '{"enum":["NaN","Infinity","-Infinity"]}'::jsonb
               end))
      when p_type = 'uuid'::regtype then '{"type":"string","format":"uuid"}'
      when p_type = 'date'::regtype then '{"type":"string","format":"date"}'
      when p_type = 'timestamptz'::regtype then '{"type":"string","format":"date-time"}'
      when p_type in ('varchar'::regtype, 'bpchar'::regtype) and p_typmod > 4
        then jsonb_build_object('type', 'string', 'maxLength', p_typmod - 4)
      else '{"type":"string"}'
    end;
  end if;
  if p_nullable and v_schema ? 'anyOf' then
    v_schema := jsonb_set(v_schema, '{anyOf}', (v_schema -> 'anyOf') || '{"type":"null"}');
  elsif p_nullable and v_schema ? 'type' and jsonb_typeof(v_schema -> 'type') = 'string' then
    v_schema := v_schema || jsonb_build_object('type', jsonb_build_array(v_schema -> 'type', 'null'));
    if v_schema ? 'enum' then
      v_schema := v_schema || jsonb_build_object('enum', (v_schema -> 'enum') || 'null');
    end if;
  end if;
  if p_describe and obj_description(p_type, 'pg_type') is not null and p_type >= 16384 then
    v_schema := v_schema || jsonb_build_object('description', obj_description(p_type, 'pg_type'));
  end if;
  return v_schema;
end
$$;

comment on function rowhook._type_schema(oid, int, int, boolean, boolean, int) is
  'JSON Schema of the values of a type as capture prints them.';

create function rowhook._type_sample(
  p_type   oid,
  p_typmod int,
  p_dims   int,
  p_name   text,
  p_depth  int
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_type   pg_type;
  v_text   text;
  v_sample jsonb;
begin
  select * into v_type from pg_type where oid = p_type;
  if not found or p_depth > 8 then
    return 'null';
  end if;
  if v_type.typtype = 'd' then
    return rowhook._type_sample(
      v_type.typbasetype, v_type.typtypmod, v_type.typndims, p_name, p_depth + 1);
  elsif p_type >= 16384 and exists (
          select from pg_cast c
           where c.castsource = p_type and c.casttarget = 'json'::regtype and c.castmethod = 'f') then
    return '{}';
  elsif v_type.typsubscript = 'array_subscript_handler'::regproc then
    v_sample := rowhook._type_sample(v_type.typelem, p_typmod, 0, p_name, p_depth + 1);
    for n in 1 .. greatest(p_dims, 1) loop
      v_sample := jsonb_build_array(v_sample);
    end loop;
    return v_sample;
  elsif v_type.typtype = 'e' then
    return coalesce((
      select to_jsonb(e.enumlabel::text)
        from pg_enum e
       where e.enumtypid = p_type
       order by e.enumsortorder
       limit 1), 'null');
  elsif v_type.typtype = 'c' then
    return (
      select coalesce(jsonb_object_agg(a.attname, rowhook._type_sample(
               a.atttypid, a.atttypmod, a.attndims, a.attname, p_depth + 1)), '{}')
        from pg_attribute a
       where a.attrelid = v_type.typrelid and a.attnum > 0 and not a.attisdropped);
  end if;
  case
    when p_type in ('json'::regtype, 'jsonb'::regtype) then
      return '{"key":"value"}';
    when p_type = 'bool'::regtype then
      return 'true';
    when p_type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then
      return case when p_name = 'id' then '42' else '7' end;
    when p_type in ('float4'::regtype, 'float8'::regtype, 'numeric'::regtype) then
      -- numeric(p,s) has p - s digits before the point.
      return case when p_type = 'numeric'::regtype and p_typmod > 4
                       and ((p_typmod - 4) >> 16) - ((p_typmod - 4) & 2047) < 4
                    then '0'
                  else '1250.5'
             end;
    else
      null;
  end case;
  v_text := case
    when p_type = 'uuid'::regtype then '7b1c2f7e-4c7d-4a57-9f0e-2d0b8e1f6a11'
    when p_type = 'date'::regtype then '2026-01-15'
    when p_type = 'timestamptz'::regtype then '2026-01-15T09:30:00+00:00'
    when p_type = 'timestamp'::regtype then '2026-01-15T09:30:00'
    when p_type = 'time'::regtype then '09:30:00'
    when p_type = 'timetz'::regtype then '09:30:00+00'
    when p_type = 'interval'::regtype then '1 day'
    when p_type = 'inet'::regtype then '192.0.2.10'
    when p_type = 'cidr'::regtype then '192.0.2.0/24'
    when p_type = 'bytea'::regtype then E'\\x68656c6c6f'
    when p_name ~* 'e_?mail' then 'ada@example.com'
    when p_name ~* 'phone|mobile' then '+1 555 0100'
    when p_name ~* '(url|website|link)' then 'https://example.com/'
    when p_name ~* 'first_?name' then 'Ada'
    when p_name ~* 'last_?name' then 'Lovelace'
    when p_name ~* 'currency' then 'EUR'
    when p_name ~* 'country' then 'DE'
    when p_name ~* '(^|_)name' then 'Ada Lovelace'
    when p_name ~* '_id$' then replace(regexp_replace(p_name, '_id$', '', 'i'), ' ', '_') || '_1'
    else 'sample'
  end;
  if p_type in ('varchar'::regtype, 'bpchar'::regtype) and p_typmod > 4 then
    v_text := left(v_text, p_typmod - 4);
  end if;
  return to_jsonb(v_text);
end
$$;

comment on function rowhook._type_sample(oid, int, int, text, int) is
  'A made-up value of a type, as capture would print it.';

-- As the settings of the source apply to the table at this moment, see _followed(). Where columns
-- are excluded, a new column is captured, and shown, after reconcile().
create function rowhook._shown_columns(p_source rowhook.webhook_sources)
returns table (number smallint, name name)
language sql
stable
begin atomic
  select a.number, a.name
    from rowhook._attributes((p_source).relation) as a
   cross join lateral (select rowhook._excluded(p_source)) as e (columns)
   where a.name::text <> all (e.columns)
     and ((p_source).exclude_columns = '{}'
          or a.number <= (p_source).newest_column
          or (p_source).numbered_relation is distinct from (p_source).relation::oid);
end;

comment on function rowhook._shown_columns(rowhook.webhook_sources) is
  'The columns of a source that are captured now.';

-- row_to_json() prints every column, so all are required. Only a thin event, "truncated": true,
-- has the columns of the key alone.
create function rowhook._source_schema(p_source rowhook.webhook_sources)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
  v_comment    text := obj_description(p_source.relation, 'pg_class');
  v_properties json;
  v_required   json;
begin
  select json_object_agg(c.name, c.schema order by c.number), json_agg(c.name order by c.number)
    into v_properties, v_required
    from (
      select s.number, s.name,
             t.schema || case
               when p_source.describe and col_description(p_source.relation, s.number) is not null
                 then jsonb_build_object('description', col_description(p_source.relation, s.number))
               else '{}'
             end as schema
        from rowhook._shown_columns(p_source) as s
        join pg_attribute a on a.attrelid = p_source.relation and a.attnum = s.number
       cross join lateral (
         select rowhook._type_schema(
                  a.atttypid, a.atttypmod, a.attndims, not a.attnotnull, p_source.describe, 0)
       ) as t (schema)
      offset 0
    ) as c;
  return concat(
    '{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",',
    case when p_source.describe then '"description":' || to_json(v_comment)::text || ',' end,
    '"properties":', coalesce(v_properties, '{}'), ',"required":', coalesce(v_required, '[]'),
    '}')::json;
end
$$;

comment on function rowhook._source_schema(rowhook.webhook_sources) is
  'JSON Schema of the rows of a watched table, made from its columns as they are now.';

-- PL/pgSQL keeps the plan: test() calls this function for each event type.
create function rowhook._source_sample(p_source rowhook.webhook_sources)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set jit = off
set plan_cache_mode = force_generic_plan
set max_parallel_workers_per_gather = 0
as $$
begin
  return (
    select coalesce(
             json_object_agg(
               s.name,
               rowhook._type_sample(a.atttypid, a.atttypmod, a.attndims, s.name, 0)
               order by s.number),
             '{}')
      from rowhook._shown_columns(p_source) as s
      join pg_attribute a on a.attrelid = p_source.relation and a.attnum = s.number);
end
$$;

comment on function rowhook._source_sample(rowhook.webhook_sources) is
  'A made-up row of a watched table.';

create function rowhook._event_description(p_source rowhook.webhook_sources, p_event_type text)
returns text
language sql
stable
begin atomic
  with names (suffix, table_name) as (
    select substr(p_event_type, length((p_source).prefix) + 2), (p_source).table_name
  )
  select case
           when n.suffix = 'created' and 'created' = any ((p_source).events)
             then format('A row of %s was created.', n.table_name)
           when n.suffix = 'updated' and 'updated' = any ((p_source).events)
             then format('A row of %s was updated.', n.table_name)
           when n.suffix = 'deleted' and 'deleted' = any ((p_source).events)
             then format('A row of %s was deleted.', n.table_name)
           else (
             select string_agg(
                      case jsonb_typeof(d.value)
                        when 'string' then format('%s of a row of %s changed.', d.key, n.table_name)
                        else format('%s of a row of %s became %s.', d.key, n.table_name,
                                    (select string_agg(v.key, ' or ' order by v.key)
                                       from jsonb_each_text(
                                         case jsonb_typeof(d.value)
                                           when 'object' then d.value else '{}' end) as v
                                      where v.value = n.suffix))
                      end, ' ' order by d.key)
               from jsonb_each((p_source).derived) as d
              where d.value #>> '{}' = n.suffix
                 or jsonb_typeof(d.value) = 'object'
                    and exists (
                          select from jsonb_each_text(
                            case jsonb_typeof(d.value) when 'object' then d.value else '{}' end) as v
                           where v.value = n.suffix))
         end
    from names as n;
end;

comment on function rowhook._event_description(rowhook.webhook_sources, text) is
  'What an event type of a watched table says.';

create function rowhook._own_events()
returns table (event_type text, description text, schema json, sample json)
language sql
immutable
parallel safe
begin atomic
  select v.event_type,
         v.description,
         ('{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",' || v.schema
          || '}')::json,
         v.sample::json
    from (values
      ('webhook.disabled',
       'rowhook disabled another webhook of the organization, which answered 410 or failed for days.',
       '"properties":{"id":{"type":"string","format":"uuid"},"name":{"type":"string"},'
       '"reason":{"type":"string"},"disabled_at":{"type":"string","format":"date-time"}},'
       '"required":["id","name","reason","disabled_at"]',
       '{"id":"7b1c2f7e-4c7d-4a57-9f0e-2d0b8e1f6a11","name":"Orders to the warehouse",'
       '"reason":"the endpoint answered 410 Gone","disabled_at":"2026-01-15T09:30:00+00:00"}'),
      ('webhook.failing',
       'The circuit breaker of a webhook opened for the first time since it last answered. Written '
       'where another webhook asks for webhook.failing or webhook.* by name.',
       '"properties":{"id":{"type":"string","format":"uuid"},"name":{"type":"string"},'
       '"failures":{"type":"integer"},"failing_since":{"type":"string","format":"date-time"}},'
       '"required":["id","name","failures","failing_since"]',
       '{"id":"7b1c2f7e-4c7d-4a57-9f0e-2d0b8e1f6a11","name":"Orders to the warehouse",'
       '"failures":10,"failing_since":"2026-01-15T09:30:00+00:00"}'),
      ('webhook.test',
       'A test of a webhook for which no other event type is known. Only that webhook gets it.',
       '"properties":{"message":{"type":"string"}},"required":["message"]',
       '{"message":"This is a test from rowhook."}')
    ) as v (event_type, description, schema, sample);
end;

comment on function rowhook._own_events() is 'The event types that rowhook itself produces.';

-- Two tables may produce the same event type; its data are then those of either.
create view rowhook.event_types with (security_invoker = true) as
with sources as materialized (
  select s.id,
         s as source,
         rowhook._source_schema(s) as schema,
         rowhook._source_sample(s) as sample
    from rowhook.webhook_sources s
   where exists (select from pg_class c where c.oid = s.relation)
), produced as (
  select e.event_type,
         (array_agg(rowhook._event_description(s.source, e.event_type) order by s.id))[1]
           as description,
         case count(distinct s.schema::text)
           when 1 then (array_agg(s.schema order by s.id))[1]
           else json_build_object(
             '$schema', 'https://json-schema.org/draft/2020-12/schema',
             'anyOf',   json_agg(s.schema order by s.id))
         end as schema,
         (array_agg(s.sample order by s.id))[1] as sample
    from sources s
   cross join lateral unnest(rowhook._source_event_types(s.source)) as e (event_type)
   group by e.event_type
  union all
  select * from rowhook._own_events()
), defined as (
  select distinct on (d.event_type) d.*
    from rowhook.event_definitions d
   order by d.event_type, d.tenant_id is not distinct from rowhook.current_tenant() desc, d.tenant_id
)
select coalesce(d.event_type, p.event_type)   as event_type,
       coalesce(d.description, p.description) as description,
       coalesce(d.schema, p.schema, '{}')     as schema,
       coalesce(d.sample, p.sample)           as sample
  from produced p
  full join defined d on d.event_type = p.event_type;

comment on view rowhook.event_types is
  'The catalog: every event type that is known, with a JSON Schema and a sample of its data. A '
  'tenant sees those of sources, and of definitions, that it may see.';
comment on column rowhook.event_types.event_type is
  'What a webhook may ask for, such as deal.updated.';
comment on column rowhook.event_types.description is 'What the event says; null: unknown.';
comment on column rowhook.event_types.schema is
  'JSON Schema (2020-12) of data in the body. {}: data may be anything.';
comment on column rowhook.event_types.sample is 'Made-up data; null: unknown.';
grant select on rowhook.event_types to rowhook_app, rowhook_daemon;

create function rowhook.define_event_type(
  event_type  text,
  description text default null,
  schema      json default null,
  sample      json default null,
  tenant_id   text default null
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
#variable_conflict use_column
begin
  if define_event_type.event_type is null
     or define_event_type.event_type !~ '^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*$'
     or length(define_event_type.event_type) > 128 then
    raise invalid_parameter_value using
      message = format('define_event_type: event type %L is refused',
                       left(define_event_type.event_type, 140)),
      hint    = 'Pass an event type such as payment.received: letters, digits, - and _, in parts '
                'with dots between them, 128 characters at most.';
  end if;
  if json_typeof(define_event_type.schema) <> 'object' then
    raise invalid_parameter_value using
      message = 'define_event_type: schema is not a JSON object',
      hint    = 'Pass a JSON Schema such as {"type":"object"}, or null if none is known.';
  end if;
  if num_nonnulls(
       define_event_type.description, define_event_type.schema, define_event_type.sample) = 0 then
    delete from rowhook.event_definitions d
     where d.event_type = define_event_type.event_type
       and d.tenant_id is not distinct from define_event_type.tenant_id;
    return;
  end if;
  insert into rowhook.event_definitions as d (event_type, tenant_id, description, schema, sample)
  values (define_event_type.event_type, define_event_type.tenant_id, define_event_type.description,
          define_event_type.schema, define_event_type.sample)
  on conflict on constraint event_definitions_is_unique do update
     set description = excluded.description,
         schema      = excluded.schema,
         sample      = excluded.sample,
         updated_at  = now();
end
$$;

comment on function rowhook.define_event_type(text, text, json, json, text) is
  'Describes an event type for the catalog, mostly one of emit(); another call replaces the '
  'definition, and one with the name alone removes it. tenant_id: only this tenant sees it.';

-- The view would compute the whole catalog for each of the samples that test() sends. The owner sees
-- the definitions and sources of all tenants, so the tenant is a parameter.
create or replace function rowhook._sample(p_event_type text, p_tenant_id text)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
set jit = off
set plan_cache_mode = force_generic_plan
set max_parallel_workers_per_gather = 0
as $$
declare
  v_sample json;
  v_source rowhook.webhook_sources;
begin
  select d.sample into v_sample
    from rowhook.event_definitions d
   where d.event_type = p_event_type
     and d.sample is not null
     and (d.tenant_id is null or d.tenant_id = p_tenant_id)
   order by d.tenant_id
   limit 1;
  if found then
    return v_sample;
  end if;
  select s.* into v_source
    from rowhook.webhook_sources s
   where p_event_type = any (rowhook._source_event_types(s))
     and (s.tenant_id is null or s.tenant_id = p_tenant_id)
   order by s.id
   limit 1;
  if found then
    return rowhook._source_sample(v_source);
  end if;
  select o.sample into v_sample from rowhook._own_events() as o where o.event_type = p_event_type;
  return coalesce(v_sample, '{"message":"This is a test from rowhook."}');
end
$$;

-- RECORD writes the health of a webhook, and this event with it. A webhook is disabled only after
-- days of failures, so this event always comes before webhook.disabled. Where nobody asks for it by
-- name, nothing is written: the events of a failing webhook that wants * should not grow.
create function rowhook._tell_failing()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
set "TimeZone" = 'UTC'
as $$
declare
  v_webhook record;
begin
  select c.tenant_id, c.name into v_webhook
    from rowhook.webhook_configurations c
   where c.id = new.webhook_id
     and exists (
           select from rowhook.webhook_configurations w
            where w.tenant_id = c.tenant_id
              and w.id <> c.id
              and w.is_active
              and w.event_types && '{webhook.failing,webhook.*}'::text[]);
  if found then
    perform rowhook._write_event(
      'webhook.failing',
      json_build_object(
        'id', new.webhook_id,
        'name', v_webhook.name,
        'failures', new.failures,
        'failing_since', new.failing_since),
      v_webhook.tenant_id,
      null);
  end if;
  return null;
end
$$;

comment on function rowhook._tell_failing() is
  'Trigger of webhook_health: sends webhook.failing to the tenant when the breaker of a webhook '
  'opens for the first time since its last success.';

create trigger tell_failing_at_once
  after insert on rowhook.webhook_health
  for each row when (new.openings > 0)
  execute function rowhook._tell_failing();
create trigger tell_failing
  after update on rowhook.webhook_health
  for each row when (old.openings = 0 and new.openings > 0)
  execute function rowhook._tell_failing();

revoke execute on all functions in schema rowhook from public;
grant execute on function
  rowhook._attributes(oid), rowhook._columns(oid), rowhook._key_columns(oid),
  rowhook._is_credential(text, oid), rowhook._excluded(rowhook.webhook_sources),
  rowhook._shown_columns(rowhook.webhook_sources),
  rowhook._type_schema(oid, int, int, boolean, boolean, int),
  rowhook._type_sample(oid, int, int, text, int),
  rowhook._source_schema(rowhook.webhook_sources),
  rowhook._source_sample(rowhook.webhook_sources),
  rowhook._event_description(rowhook.webhook_sources, text),
  rowhook._own_events()
  to rowhook_app, rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 20;

reset role;
