-- rowhook 0003: the tables that describe tenants (webhook_tenants) and where their events go
-- (webhook_configurations), and who changed that (webhook_changes).
--
-- Tenants write their webhooks themselves, so the table refuses rows that could not be delivered,
-- with a sentence that names the column, the value and the remedy. Plain rules are named check
-- constraints. Rules that need an explanation (filter, headers, auth_config) raise their errors in
-- one BEFORE trigger. rowhook_app can write secrets (secret, previous_secret, auth_config) but
-- cannot read them back.

set role rowhook_owner;

-- gen_random_uuid() uses the server's strong random source, 122 bits a call. Three calls hashed
-- with sha256 yield 256 bits, without the extension pgcrypto.
create function rowhook._new_secret()
returns text
language sql
volatile
return 'whsec_' || encode(
  sha256(
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
  'base64');

comment on function rowhook._new_secret() is
  'A new signing secret: whsec_ and 32 random bytes in base64.';

-- This function is immutable so that it is inlined.
create function rowhook._lane(p_tenant_id text)
returns smallint
language sql
immutable
strict
parallel safe
return (hashtext(p_tenant_id) & 15)::smallint;

comment on function rowhook._lane(text) is 'The lane of a tenant, 0 to 15: a fixed hash.';

-- In a database with another encoding, such as SQL_ASCII, text may contain bytes that a client with
-- the encoding UTF-8, such as the daemon, cannot read. Configurations are read by everybody, so
-- such bytes are refused here. The message does not contain the row's values.
create function rowhook._refuse_unreadable(p_table text, p_row text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  perform convert_to(p_row, 'UTF8');
exception when character_not_in_repertoire or untranslatable_character then
  raise check_violation using
    message = format(
      '%s: the row contains bytes that cannot be converted to UTF-8. '
      'Write it through a client whose client_encoding is UTF8.',
      p_table),
    schema = 'rowhook', table = p_table;
end
$$;

comment on function rowhook._refuse_unreadable(text, text) is
  'Refuses a row whose text cannot be converted to UTF-8. A client with the encoding UTF-8 could '
  'not read it.';

create table rowhook.webhook_tenants (
  id                      text        primary key,
  name                    text,
  slug                    text,
  max_in_flight           int,
  rate_limit_per_second   numeric,
  max_webhooks            int,
  max_configuration_bytes int,
  created_at              timestamptz not null default now(),
  updated_at              timestamptz not null default now(),

  constraint webhook_tenants_id_is_not_empty
    check (id <> '' and octet_length(id) <= 512),
  constraint webhook_tenants_max_in_flight_in_range
    check (max_in_flight between 1 and 10000),
  constraint webhook_tenants_rate_limit_in_range
    check (rate_limit_per_second between 0.00001 and 100000),
  constraint webhook_tenants_max_webhooks_in_range
    check (max_webhooks between 0 and 1000000),
  constraint webhook_tenants_max_configuration_bytes_in_range
    check (max_configuration_bytes between 65536 and 1073741824)
);

comment on table rowhook.webhook_tenants is
  'Name, slug and limits of a tenant. Name and slug become the organization of each webhook '
  'body. A row is optional.';
comment on column rowhook.webhook_tenants.id is
  'The tenant, as tenant_id names it in other tables. 1 to 512 bytes.';
comment on column rowhook.webhook_tenants.name is 'Name of the organization in each webhook body.';
comment on column rowhook.webhook_tenants.slug is
  'Short name of the organization in each webhook body.';
comment on column rowhook.webhook_tenants.max_in_flight is
  'Maximum number of requests at the same time over all webhooks of the tenant. Null: only the '
  'limits of the webhooks apply.';
comment on column rowhook.webhook_tenants.rate_limit_per_second is
  'Maximum number of requests a second over all webhooks of the tenant; null: no limit.';
comment on column rowhook.webhook_tenants.max_webhooks is
  'Maximum number of webhooks of the tenant; null: webhook_installation.max_webhooks applies.';
comment on column rowhook.webhook_tenants.max_configuration_bytes is
  'Maximum number of bytes that the webhooks of the tenant take in the daemon''s memory; null: '
  'webhook_installation.max_configuration_bytes applies.';
comment on column rowhook.webhook_tenants.created_at is 'When the row was written.';
comment on column rowhook.webhook_tenants.updated_at is
  'When the row was last changed, if the client that changed it set this column.';
comment on constraint webhook_tenants_pkey on rowhook.webhook_tenants is 'One row for each tenant.';
comment on constraint webhook_tenants_id_is_not_empty on rowhook.webhook_tenants is
  'id is 1 to 512 bytes.';
comment on constraint webhook_tenants_max_in_flight_in_range on rowhook.webhook_tenants is
  'max_in_flight is 1 to 10000 requests, or null.';
comment on constraint webhook_tenants_rate_limit_in_range on rowhook.webhook_tenants is
  'rate_limit_per_second is 0.00001 (one request in 28 hours) to 100000, or null.';
comment on constraint webhook_tenants_max_webhooks_in_range on rowhook.webhook_tenants is
  'max_webhooks is 0 to 1000000 webhooks, or null.';
comment on constraint webhook_tenants_max_configuration_bytes_in_range
  on rowhook.webhook_tenants is
  'max_configuration_bytes is 64 kB to 1 GB, or null.';

-- The daemon learns of a changed tenant by its id. After a change of the id, nothing would tell the
-- daemon that the old id is gone.
create function rowhook._keep_tenant_id()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  raise check_violation using
    message = format(
      'webhook_tenants.id: the id of tenant %L cannot be changed, because its webhooks and '
      'events keep it. Delete the row, and insert one for %L.',
      old.id, new.id),
    schema  = 'rowhook',
    table   = 'webhook_tenants',
    column  = 'id';
end
$$;

comment on function rowhook._keep_tenant_id() is
  'Trigger of webhook_tenants: refuses to change an id.';

create trigger keep_id before update on rowhook.webhook_tenants
  for each row when (new.id is distinct from old.id) execute function rowhook._keep_tenant_id();

create function rowhook._check_tenant()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  perform rowhook._refuse_unreadable('webhook_tenants', new::text);
  return new;
end
$$;

comment on function rowhook._check_tenant() is
  'Trigger of webhook_tenants: refuses text that the daemon could not read.';

create trigger check_tenant before insert or update on rowhook.webhook_tenants
  for each row when (getdatabaseencoding() <> 'UTF8') execute function rowhook._check_tenant();

create table rowhook.webhook_configurations (
  id                         uuid        primary key default gen_random_uuid(),
  tenant_id                  text        not null default rowhook.current_tenant(),
  name                       text        not null,
  description                text,
  url                        text        not null,
  http_method                text        not null default 'POST',
  event_types                text[]      not null,
  filter                     jsonb,
  headers                    jsonb       not null default '{}',
  auth_type                  text        not null default 'none',
  auth_config                jsonb       not null default '{}',
  secret                     text        not null default rowhook._new_secret(),
  previous_secret            text,
  previous_secret_expires_at timestamptz,
  is_active                  boolean     not null default true,
  retry_enabled              boolean     not null default true,
  retry_attempts             int         not null default 7,
  retry_strategy             text        not null default 'exponential',
  retry_delay_seconds        int         not null default 60,
  timeout_ms                 int         not null default 10000,
  max_in_flight              int         not null default 8,
  rate_limit_per_second      numeric,
  ordering                   text        not null default 'none',
  payload_format             text        not null default 'nested',
  payload_template           text,
  content_type               text,
  batch_max_events           int         not null default 1,
  batch_max_wait_ms          int         not null default 1000,
  allowed_ips                cidr[],
  disabled_reason            text,
  disabled_at                timestamptz,
  created_at                 timestamptz not null default now(),
  updated_at                 timestamptz not null default now(),

  constraint webhook_configurations_tenant_id_is_not_empty
    check (tenant_id <> '' and octet_length(tenant_id) <= 512),
  constraint webhook_configurations_name_is_not_empty
    check (name <> '' and length(name) <= 255),
  -- The daemon decides at each attempt which host and port it may connect to, because that depends
  -- on the operator's settings.
  constraint webhook_configurations_url_is_http
    check (url ~* '^https?://[^/?#@[:space:][:cntrl:]]+([/?#][^[:space:][:cntrl:]]*)?$'
           and length(url) <= 2048),
  constraint webhook_configurations_http_method_is_known
    check (http_method in ('POST', 'PUT', 'PATCH')),
  constraint webhook_configurations_auth_type_is_known
    check (auth_type in ('none', 'bearer', 'basic', 'api_key')),
  constraint webhook_configurations_secret_is_long_enough
    check (octet_length(secret) between 16 and 512),
  constraint webhook_configurations_retry_attempts_in_range
    check (retry_attempts between 0 and 20),
  constraint webhook_configurations_retry_strategy_is_known
    check (retry_strategy in ('exponential', 'linear')),
  constraint webhook_configurations_retry_delay_in_range
    check (retry_delay_seconds between 1 and 86400),
  constraint webhook_configurations_timeout_in_range
    check (timeout_ms between 1000 and 30000),
  constraint webhook_configurations_max_in_flight_in_range
    check (max_in_flight between 1 and 1000),
  constraint webhook_configurations_rate_limit_in_range
    check (rate_limit_per_second between 0.00001 and 100000),
  constraint webhook_configurations_ordering_is_known
    check (ordering in ('none', 'row')),
  constraint webhook_configurations_payload_format_is_known
    check (payload_format in (
      'nested', 'flat', 'cloudevents', 'slack', 'discord', 'teams', 'template')),
  -- template | has a template;  any other format | has none
  constraint webhook_configurations_template_has_format
    check ((payload_format = 'template') = (payload_template is not null)),
  constraint webhook_configurations_template_is_small_enough
    check (octet_length(payload_template) between 1 and 16384),
  constraint webhook_configurations_content_type_has_template
    check (content_type is null or payload_format = 'template'),
  constraint webhook_configurations_content_type_is_valid
    check (content_type
             ~ '^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9-]+=[A-Za-z0-9_.-]+)*$'
           and length(content_type) <= 255),
  constraint webhook_configurations_batch_or_template
    check (batch_max_events = 1 or payload_format in ('nested', 'flat', 'cloudevents')),
  constraint webhook_configurations_batch_max_events_in_range
    check (batch_max_events between 1 and 100),
  constraint webhook_configurations_batch_max_wait_in_range
    check (batch_max_wait_ms between 0 and 5000),
  constraint webhook_configurations_batch_or_ordering
    check (batch_max_events = 1 or ordering = 'none'),
  constraint webhook_configurations_allowed_ips_not_empty
    check (cardinality(allowed_ips) between 1 and 100
           and array_ndims(allowed_ips) = 1
           and array_position(allowed_ips, null) is null),
  -- The daemon keeps configurations in memory. All other texts have bounds of their own.
  constraint webhook_configurations_is_small_enough
    check (octet_length(name) + octet_length(url) + coalesce(octet_length(description), 0)
           + octet_length(event_types::text) + coalesce(octet_length(filter::text), 0)
           + octet_length(headers::text) + octet_length(auth_config::text)
           + coalesce(octet_length(payload_template), 0) <= 65536)
);

comment on table rowhook.webhook_configurations is
  'Webhooks: which events of one tenant are sent where. An insert needs tenant_id, name, url and '
  'event_types only.';
comment on column rowhook.webhook_configurations.id is
  'The webhook. rowhook generates the id; it never changes.';
comment on column rowhook.webhook_configurations.tenant_id is
  'The tenant whose events the webhook receives; it never changes. Default: the tenant of the '
  'session.';
comment on column rowhook.webhook_configurations.name is
  'Name for people, also sent as metadata.webhook_name in each body. 1 to 255 characters.';
comment on column rowhook.webhook_configurations.description is
  'Description for people; rowhook does not read it.';
comment on column rowhook.webhook_configurations.url is
  'URL that requests are sent to: http or https, at most 2048 characters, without user and '
  'password. The daemon decides which addresses it may connect to.';
comment on column rowhook.webhook_configurations.http_method is 'POST, PUT or PATCH.';
comment on column rowhook.webhook_configurations.event_types is
  'Event types that the webhook receives: exact (deal.updated), by prefix (deal.*) or all (*).';
comment on column rowhook.webhook_configurations.filter is
  'Conditions on the row, e.g. {"data.stage":"won","data.value":{"$gt":10000}}; null sends every '
  'event.';
comment on column rowhook.webhook_configurations.headers is
  'Additional request headers, {"X-Team":"sales"}: at most 50, and 16 kB in total. content-type '
  'and other headers that rowhook or HTTP itself sets are refused; values are masked in logs.';
comment on column rowhook.webhook_configurations.auth_type is
  'none, bearer, basic or api_key. auth_config holds the credentials.';
comment on column rowhook.webhook_configurations.auth_config is
  'bearer {"token"}, basic {"username","password"}, api_key {"header_name","header_value"}. '
  'In an update, null for a key keeps its value. Write-only for rowhook_app.';
comment on column rowhook.webhook_configurations.secret is
  'Signing secret. For whsec_..., the Standard Webhooks key is the base64-decoded rest; for any '
  'other secret it is its UTF-8 bytes. Write-only for rowhook_app.';
comment on column rowhook.webhook_configurations.previous_secret is
  'The secret before the last rotation. It also signs (in webhook-signature only), until '
  'previous_secret_expires_at. rowhook_app cannot read it.';
comment on column rowhook.webhook_configurations.previous_secret_expires_at is
  'When the previous secret stops signing, at most 7 days ahead; null: there is no previous '
  'secret.';
comment on column rowhook.webhook_configurations.is_active is
  'false: nothing is sent to the webhook. Its events are captured for 30 days after disabled_at '
  'and can be replayed once is_active is true again.';
comment on column rowhook.webhook_configurations.retry_enabled is
  'false: a delivery has one attempt only.';
comment on column rowhook.webhook_configurations.retry_attempts is
  'How often a delivery is retried after its first attempt has failed, 0 to 20.';
comment on column rowhook.webhook_configurations.retry_strategy is
  'exponential: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, each plus or minus 20 percent. linear: '
  'retry_delay_seconds x 1, 2, 3 ...';
comment on column rowhook.webhook_configurations.retry_delay_seconds is
  'Number of seconds that the linear schedule multiplies by 1, 2, 3 ...';
comment on column rowhook.webhook_configurations.timeout_ms is
  'Milliseconds for a whole attempt. Status and headers of the response must arrive within this '
  'time; after it, no more of the body is read.';
comment on column rowhook.webhook_configurations.max_in_flight is
  'Maximum number of requests to the webhook at the same time, 1 to 1000.';
comment on column rowhook.webhook_configurations.rate_limit_per_second is
  'Maximum number of requests to the webhook a second; null: no limit.';
comment on column rowhook.webhook_configurations.ordering is
  'none: later deliveries of the same row overtake a delivery that waits for its next attempt. '
  'row: they wait behind it.';
comment on column rowhook.webhook_configurations.payload_format is
  'nested: the row is under data. flat: the row''s fields are on the top level beside '
  'webhook_event, for tools that cannot map nested fields; a field that is named like a field of '
  'rowhook gets the prefix data_. cloudevents: CloudEvents 1.0. slack, discord and teams: messages '
  'of these chats. template: what payload_template makes.';
comment on column rowhook.webhook_configurations.payload_template is
  'Liquid template of the body, at most 16 kB, for payload_format template; else null. It reads '
  'the fields of a nested body, as in {"id": {{ data.id | json }}}.';
comment on column rowhook.webhook_configurations.content_type is
  'content-type of what payload_template makes; null: application/json. If it is JSON, the output '
  'must be JSON.';
comment on column rowhook.webhook_configurations.batch_max_events is
  'Above 1, a request carries {"id","batch":[...]} with at most this many events and about 4 MiB '
  'of payload. It is sent when the batch is full or after batch_max_wait_ms.';
comment on column rowhook.webhook_configurations.batch_max_wait_ms is
  'Milliseconds that a batch waits for more events, 0 to 5000.';
comment on column rowhook.webhook_configurations.allowed_ips is
  'If set, the url may resolve to these networks only, within what the daemon allows.';
comment on column rowhook.webhook_configurations.disabled_reason is
  'Why rowhook disabled the webhook. Null: it is active, or somebody switched it off by hand.';
comment on column rowhook.webhook_configurations.disabled_at is
  'When the webhook was switched off, by rowhook (disabled_reason says why) or by hand; null: it '
  'is active. Its events are captured for 30 more days.';
comment on column rowhook.webhook_configurations.created_at is 'When the webhook was created.';
comment on column rowhook.webhook_configurations.updated_at is
  'When the webhook was last changed, by rowhook or by anybody else.';
comment on constraint webhook_configurations_pkey on rowhook.webhook_configurations is
  'A webhook has one row.';
comment on constraint webhook_configurations_tenant_id_is_not_empty
  on rowhook.webhook_configurations is
  'tenant_id is 1 to 512 bytes.';
comment on constraint webhook_configurations_name_is_not_empty on rowhook.webhook_configurations is
  'name is 1 to 255 characters.';
comment on constraint webhook_configurations_url_is_http on rowhook.webhook_configurations is
  'url is an http or https URL of at most 2048 characters, without user and password.';
comment on constraint webhook_configurations_http_method_is_known
  on rowhook.webhook_configurations is
  'http_method is POST, PUT or PATCH.';
comment on constraint webhook_configurations_auth_type_is_known on rowhook.webhook_configurations is
  'auth_type is none, bearer, basic or api_key.';
comment on constraint webhook_configurations_secret_is_long_enough
  on rowhook.webhook_configurations is
  'secret is 16 to 512 bytes.';
comment on constraint webhook_configurations_retry_attempts_in_range
  on rowhook.webhook_configurations is
  'retry_attempts is 0 to 20.';
comment on constraint webhook_configurations_retry_strategy_is_known
  on rowhook.webhook_configurations is
  'retry_strategy is exponential or linear.';
comment on constraint webhook_configurations_retry_delay_in_range
  on rowhook.webhook_configurations is
  'retry_delay_seconds is 1 second to a day.';
comment on constraint webhook_configurations_timeout_in_range on rowhook.webhook_configurations is
  'timeout_ms is 1 to 30 seconds.';
comment on constraint webhook_configurations_max_in_flight_in_range
  on rowhook.webhook_configurations is
  'max_in_flight is 1 to 1000 requests.';
comment on constraint webhook_configurations_rate_limit_in_range
  on rowhook.webhook_configurations is
  'rate_limit_per_second is 0.00001 (one request in 28 hours) to 100000, or null.';
comment on constraint webhook_configurations_ordering_is_known on rowhook.webhook_configurations is
  'ordering is none or row.';
comment on constraint webhook_configurations_payload_format_is_known
  on rowhook.webhook_configurations is
  'payload_format is nested, flat, cloudevents, slack, discord, teams or template.';
comment on constraint webhook_configurations_template_has_format
  on rowhook.webhook_configurations is
  'payload_template is set with payload_format template, and only then.';
comment on constraint webhook_configurations_template_is_small_enough
  on rowhook.webhook_configurations is
  'payload_template is 1 to 16384 bytes.';
comment on constraint webhook_configurations_content_type_has_template
  on rowhook.webhook_configurations is
  'content_type is set with payload_format template only.';
comment on constraint webhook_configurations_content_type_is_valid
  on rowhook.webhook_configurations is
  'content_type is a media type, such as text/plain; charset=utf-8.';
comment on constraint webhook_configurations_batch_or_template
  on rowhook.webhook_configurations is
  'Batches have payload_format nested, flat or cloudevents.';
comment on constraint webhook_configurations_batch_max_events_in_range
  on rowhook.webhook_configurations is
  'batch_max_events is 1 to 100.';
comment on constraint webhook_configurations_batch_max_wait_in_range
  on rowhook.webhook_configurations is
  'batch_max_wait_ms is 0 to 5000.';
comment on constraint webhook_configurations_batch_or_ordering on rowhook.webhook_configurations is
  'Batches and ordering row exclude each other: a batch is retried as a whole, so it cannot hold '
  'back single rows.';
comment on constraint webhook_configurations_allowed_ips_not_empty
  on rowhook.webhook_configurations is
  'allowed_ips lists 1 to 100 networks, or is null.';
comment on constraint webhook_configurations_is_small_enough on rowhook.webhook_configurations is
  'name, url, description, event_types, filter, headers, auth_config and payload_template have at '
  'most 64 kB together.';

-- Each captured statement looks into this index once. A disabled webhook captures for 30 more days,
-- so that its missed events can be replayed. One range contains these webhooks and the active ones;
-- webhooks that have been disabled for longer are not even looked at.
create index webhook_configurations_capture_idx
  on rowhook.webhook_configurations (tenant_id, coalesce(disabled_at, 'infinity'));

create index webhook_configurations_tenant_idx
  on rowhook.webhook_configurations (tenant_id, created_at);

-- The functions below are checked under the caller's settings, and standard_conforming_strings =
-- off removes backslashes from literals: '\.' would match any character. Therefore no pattern here
-- contains a backslash.

create function rowhook._event_types_problem(p_event_types text[])
returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_type text;
begin
  if coalesce(cardinality(p_event_types), 0) not between 1 and 100
     or array_ndims(p_event_types) <> 1 then
    return 'must list 1 to 100 event types, for example {deal.updated}, {deal.*} or {*}';
  end if;
  foreach v_type in array p_event_types loop
    if v_type is null
       or v_type !~ '^([*]|[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+)*([.][*])?)$'
       or length(v_type) > 128 then
      return format('%s is not an event type; write deal.updated, deal.* or *',
                    coalesce(quote_literal(left(v_type, 128)), 'null'));
    end if;
  end loop;
  return null;
end
$$;

comment on function rowhook._event_types_problem(text[]) is
  'A phrase that says why event_types is refused; null when it is valid.';

-- Valid headers are an object of strings. Their names are HTTP tokens, except those that rowhook or
-- HTTP itself must set. A message quotes a name only if it is a valid name: "X-Key: abc" as a name
-- would show the value, and auth_config passes its header_name to this function, too.
create function rowhook._headers_problem(p_headers jsonb)
returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_name  text;
  v_value jsonb;
begin
  if jsonb_typeof(p_headers) is distinct from 'object' then
    return 'must be an object of strings, for example {"X-Team":"sales"}';
  end if;
  if (select count(*) from jsonb_object_keys(p_headers)) > 50
     or octet_length(p_headers::text) > 16384 then
    return 'may hold at most 50 headers and 16 kB';
  end if;
  for v_name, v_value in select key, value from jsonb_each(p_headers) loop
    if v_name !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]{1,100}$' then
      return 'has a name that is not a header name; write a name of 1 to 100 letters, digits and '
             'hyphens, and the header''s value as the value';
    end if;
    if lower(v_name) = any (
         '{webhook-id,webhook-timestamp,webhook-signature,webhook-hops,'
         'x-webhook-event,x-webhook-timestamp,x-webhook-signature,x-webhook-delivery,'
         'content-type,content-length,content-encoding,user-agent,host,accept-encoding,'
         'connection,keep-alive,proxy-authenticate,proxy-authorization,proxy-connection,'
         'te,trailer,transfer-encoding,upgrade,expect,http2-settings,'
         'traceparent,tracestate}'::text[]) then
      return format('%s is set by rowhook or by HTTP itself; choose another name',
                    quote_literal(v_name));
    end if;
    -- Tabs and visible ASCII are the characters that all receivers read in the same way.
    if jsonb_typeof(v_value) <> 'string' or v_value #>> '{}' !~ ('^[ -~' || chr(9) || ']*$') then
      return format('the value of %s must be a string of visible ASCII characters on one line',
                    quote_literal(v_name));
    end if;
  end loop;
  select min(key) into v_name
    from jsonb_object_keys(p_headers) as key
   group by lower(key)
  having count(*) > 1
   limit 1;
  if found then
    return format('%s appears twice; upper and lower case are the same in header names',
                  quote_literal(v_name));
  end if;
  return null;
end
$$;

comment on function rowhook._headers_problem(jsonb) is
  'A phrase that says why headers is refused; null when it is valid.';

-- A template is checked as far as its structure goes. What the library refuses beyond that, the API
-- and the command line refuse, and a delivery is skipped as template_failed. Whatever the library
-- accepts is accepted here. test/payload/templates.test.ts compares the two lists of names with
-- the library's.
create function rowhook._template_problem(p_template text)
returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_tags constant text[] :=
    '{#,assign,break,capture,case,comment,continue,cycle,decrement,echo,for,if,increment,liquid,raw,'
    'tablerow,unless,else,elsif,when}';
  v_filters constant text[] :=
    '{abs,append,array_to_sentence_string,at_least,at_most,base64_decode,base64_encode,capitalize,'
    'ceil,cgi_escape,compact,concat,date,date_to_long_string,date_to_rfc822,date_to_string,'
    'date_to_xmlschema,default,divided_by,downcase,escape,escape_once,fields,find,find_exp,'
    'find_index,find_index_exp,first,floor,group_by,group_by_exp,has,has_exp,hmac_sha256,inspect,'
    'join,json,jsonify,last,lstrip,map,markdown_escape,minus,modulo,newline_to_br,'
    'normalize_whitespace,number_of_words,plus,pop,prepend,push,raw,reject,reject_exp,remove,'
    'remove_first,remove_last,replace,replace_first,replace_last,reverse,round,rstrip,sha256,shift,'
    'size,slack_escape,slice,slugify,sort,sort_natural,split,squish,strip,strip_html,'
    'strip_newlines,sum,times,to_integer,truncate,truncatewords,uniq,unshift,upcase,uri_escape,'
    'url_decode,url_encode,where,where_exp,xml_escape}';
  -- A text in quotes, in which a backslash escapes the next character. See above for chr(92).
  v_slash  constant text := repeat(chr(92), 2);
  v_quoted constant text :=
    '"(?:[^"' || v_slash || ']|' || v_slash || '.)*"|'
    '''(?:[^''' || v_slash || ']|' || v_slash || '.)*''';
  v_blocks constant text[] := '{if,unless,for,case,capture,tablerow}';
  v_open    text[] := '{}'; -- the blocks that are open, the innermost last
  v_open_at int[]  := '{}';
  v_at      int    := 1;    -- where the rest begins
  v_rest    text   := p_template;
  v_offset  int;
  v_begin   int;
  v_name    text;
  v_content text;
  v_problem text;
begin
  if octet_length(p_template) > 16384 then
    return null; -- a constraint says so
  end if;
  loop
    -- The next output or tag.
    v_offset := length(substring(v_rest from '^(.*?)[{][{%]'));
    exit when v_offset is null;
    v_begin := v_at + v_offset;
    v_rest := substr(v_rest, v_offset + 1);
    if starts_with(v_rest, '{{') then
      v_name := null;
      -- A text in quotes may have braces.
      v_content := substring(v_rest from
        '^[{][{](?:' || v_quoted || '|[^"''}]|[}](?![}]))*[}][}]');
      if v_content is null then
        v_content := substring(v_rest from '^[{][{].*?[}][}]');
      end if;
      if v_content is null then
        v_problem := '{{ is not closed; write }} behind it';
      end if;
    else
      v_content := substring(v_rest from '^[{]%.*?%[}]');
      v_name := substring(v_content from '^[{]%-?[[:space:]]*([[:alnum:]_-]+|#)');
      if v_content is null then
        v_problem := '{% is not closed; write %} behind it';
      elsif v_open[cardinality(v_open)] is distinct from 'comment' or v_name = 'endcomment' then
        v_name := regexp_replace(coalesce(v_name, ''), '-$', '');
        if starts_with(v_name, 'end') then
          if v_open[cardinality(v_open)] is distinct from substr(v_name, 4) then
            v_problem := format('{%% %s %%} has no beginning that it closes', left(v_name, 40));
          end if;
          v_open    := v_open[:cardinality(v_open) - 1];
          v_open_at := v_open_at[:cardinality(v_open_at) - 1];
        elsif v_name <> all (v_tags) then
          v_problem := format('%L is not a tag that a template may use', left(v_name, 40));
        elsif v_name in ('else', 'elsif', 'when')
              and not coalesce(case v_name
                when 'else'  then v_open[cardinality(v_open)] in ('if', 'unless', 'case', 'for')
                when 'elsif' then v_open[cardinality(v_open)] in ('if', 'unless')
                when 'when'  then v_open[cardinality(v_open)] = 'case'
              end, false) then
          v_problem := format('{%% %s %%} does not belong to any block', v_name);
        elsif v_name = any (v_blocks) or v_name = 'comment' then
          v_open    := v_open || v_name;
          v_open_at := v_open_at || v_begin;
        end if;
      end if;
      if v_name = 'raw' and v_problem is null then
        v_content := substring(v_rest from '^.*?[{]%-?[[:space:]]*endraw[[:space:]]*-?%[}]');
        if v_content is null then
          v_problem := '{% raw %} is not closed; write {% endraw %} behind it';
        end if;
      end if;
    end if;
    if v_problem is null
       and v_open[cardinality(v_open)] is distinct from 'comment'
       and (v_name is null or v_name in ('assign', 'echo', 'if', 'elsif', 'unless')) then
      -- Texts in quotes may have a | of their own.
      select format('%L is not a filter', left(f.name[1], 40)) into v_problem
        from regexp_matches(
               regexp_replace(v_content, v_quoted, '', 'g'),
               '[|][[:space:]]*([[:alnum:]_-]*[[:alnum:]_])',
               'g') as f (name)
       where f.name[1] <> all (v_filters)
       limit 1;
    end if;
    exit when v_problem is not null;
    v_at := v_begin + length(v_content);
    v_rest := substr(v_rest, length(v_content) + 1);
  end loop;
  if v_problem is null and cardinality(v_open) > 0 then
    v_name    := v_open[cardinality(v_open)];
    v_begin   := v_open_at[cardinality(v_open_at)];
    v_problem := format('{%% %s %%} is not closed; write {%% end%1$s %%} behind it', v_name);
  end if;
  if v_problem is null then
    return null;
  end if;
  v_rest := left(p_template, v_begin - 1);
  return format(
    '%s (line %s, column %s)',
    v_problem,
    1 + length(v_rest) - length(replace(v_rest, chr(10), '')),
    1 + length(substring(v_rest from '[^' || chr(10) || ']*$')));
end
$$;

comment on function rowhook._template_problem(text) is
  'A phrase that says why payload_template is refused, with line and column; null when its '
  'structure is valid.';

create function rowhook._auth_problem(p_auth_type text, p_auth_config jsonb)
returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_keys text[] := case p_auth_type
    when 'none'    then '{}'
    when 'bearer'  then '{token}'
    when 'basic'   then '{password,username}'
    when 'api_key' then '{header_name,header_value}'
  end::text[];
  v_problem text;
begin
  if v_keys is null then
    return null; -- an unknown auth_type has its own constraint
  end if;
  if p_auth_type = 'none' and p_auth_config is distinct from '{}' then
    return 'must be {} when auth_type is ''none''; set both columns in one statement';
  end if;
  if jsonb_typeof(p_auth_config) is distinct from 'object'
     or (select coalesce(array_agg(key order by key collate "C"), '{}')
           from jsonb_object_keys(p_auth_config) as key) <> v_keys
     or exists (select from jsonb_each(p_auth_config) where jsonb_typeof(value) <> 'string') then
    return format('must have exactly the keys (%s) for auth_type %s, and strings as values',
                  array_to_string(v_keys, ', '), quote_literal(p_auth_type));
  end if;
  -- The values are secrets, so no message contains them.
  if exists (select from jsonb_each_text(p_auth_config)
              where value !~ '^[ -~]*$' or length(value) > 4096)
     and p_auth_type <> 'basic' then
    return 'must have values of at most 4096 visible ASCII characters on one line';
  end if;
  if exists (select from jsonb_each_text(p_auth_config) where length(value) > 4096) then
    return 'must have a username and a password of at most 4096 characters each';
  end if;
  if p_auth_type = 'basic'
     and (p_auth_config ->> 'username' ~ '[:[:cntrl:]]'
          or p_auth_config ->> 'password' ~ '[[:cntrl:]]') then
    return 'must have a username without a colon, and no control characters';
  end if;
  if p_auth_type = 'api_key' then
    v_problem := rowhook._headers_problem(jsonb_build_object(p_auth_config ->> 'header_name', ''));
    if v_problem is not null then
      return 'header_name: ' || v_problem;
    end if;
  end if;
  return null;
end
$$;

comment on function rowhook._auth_problem(text, jsonb) is
  'A phrase that says why auth_config is refused for an auth_type, without its values; null when '
  'it is valid.';

-- Whoever changes auth_config without knowing its secrets writes null for them.
create function rowhook._kept_auth(p_old jsonb, p_new jsonb)
returns jsonb
language sql
immutable
parallel safe
begin atomic
  select case
           when jsonb_typeof(p_new) = 'object' and jsonb_typeof(p_old) = 'object'
             then p_new || coalesce(
               (select jsonb_object_agg(n.key, p_old -> n.key)
                  from jsonb_each(p_new) as n
                 where n.value = 'null' and p_old ? n.key),
               '{}')
           else p_new
         end;
end;

comment on function rowhook._kept_auth(jsonb, jsonb) is
  'auth_config as it is stored: null for a key that the row already has keeps the old value.';

-- PostgreSQL prints a failing row with its secrets to users who bypass row-level security, and into
-- the server's log. (It does not print the row to other users.) So for such users the trigger calls
-- this function first. The function is generated from the catalog, because a list written by hand
-- would get out of step: whoever adds a constraint to the table must generate this function again.
do $$
begin
  execute format(
    'create function rowhook._broken_rule(p_row rowhook.webhook_configurations)
     returns text language sql immutable
     begin atomic
       select case %s end from (select (p_row).*) as t;
     end',
    (select string_agg(rule, ' ' order by is_check, name)
       from (select attname::text as name,
                    false         as is_check,
                    format('when %I is null then %L', attname, attname) as rule
               from pg_attribute
              where attrelid = 'rowhook.webhook_configurations'::regclass
                and attnum > 0
                and attnotnull
             union all
             select conname,
                    true,
                    format('when not (%s) then %L', pg_get_expr(conbin, conrelid), conname)
               from pg_constraint
              where conrelid = 'rowhook.webhook_configurations'::regclass
                and contype = 'c') as r));
end
$$;

comment on function rowhook._broken_rule(rowhook.webhook_configurations) is
  'The first not-null column or check constraint that a row violates; null when there is none. '
  'It is called before PostgreSQL checks, so that errors need not print secrets.';

create function rowhook._check_configuration()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_problem text;
begin
  if getdatabaseencoding() <> 'UTF8' then
    perform rowhook._refuse_unreadable('webhook_configurations', new::text);
  end if;
  if tg_op = 'UPDATE' then
    new.auth_config := rowhook._kept_auth(old.auth_config, new.auth_config);
  end if;
  if not row_security_active(tg_relid) then
    v_problem := rowhook._broken_rule(new);
    if starts_with(v_problem, 'webhook_configurations_') then
      raise check_violation using
        message    = format('webhook_configurations: the row violates the constraint %I',
                            v_problem),
        constraint = v_problem,
        schema     = 'rowhook',
        table      = 'webhook_configurations';
    elsif v_problem is not null then
      raise not_null_violation using
        message = format('webhook_configurations.%s: null is refused', v_problem),
        schema  = 'rowhook',
        table   = 'webhook_configurations',
        column  = v_problem;
    end if;
  end if;
  v_problem := rowhook._event_types_problem(new.event_types);
  if v_problem is not null then
    raise check_violation using
      message    = 'webhook_configurations.event_types: ' || v_problem || '.',
      constraint = 'webhook_configurations_event_types_are_valid',
      schema     = 'rowhook',
      table      = 'webhook_configurations',
      column     = 'event_types';
  end if;
  v_problem := rowhook._filter_problem(new.filter);
  if v_problem is not null then
    raise check_violation using
      message    = 'webhook_configurations.' || v_problem,
      constraint = 'webhook_configurations_filter_is_valid',
      schema     = 'rowhook',
      table      = 'webhook_configurations',
      column     = 'filter';
  end if;
  if new.payload_template is not null
     and (tg_op = 'INSERT' or new.payload_template is distinct from old.payload_template) then
    v_problem := rowhook._template_problem(new.payload_template);
    if v_problem is not null then
      raise check_violation using
        message    = 'webhook_configurations.payload_template: ' || v_problem || '.',
        constraint = 'webhook_configurations_template_is_valid',
        schema     = 'rowhook',
        table      = 'webhook_configurations',
        column     = 'payload_template';
    end if;
  end if;
  v_problem := rowhook._headers_problem(new.headers);
  if v_problem is not null then
    raise check_violation using
      message    = 'webhook_configurations.headers: ' || v_problem || '.',
      constraint = 'webhook_configurations_headers_are_valid',
      schema     = 'rowhook',
      table      = 'webhook_configurations',
      column     = 'headers';
  end if;
  v_problem := rowhook._auth_problem(new.auth_type, new.auth_config);
  if v_problem is not null then
    raise check_violation using
      message    = 'webhook_configurations.auth_config: ' || v_problem || '.',
      constraint = 'webhook_configurations_auth_config_is_valid',
      schema     = 'rowhook',
      table      = 'webhook_configurations',
      column     = 'auth_config';
  end if;
  select key into v_problem
    from jsonb_object_keys(new.headers) as key
   where lower(key) = case new.auth_type
                        when 'api_key' then lower(new.auth_config ->> 'header_name')
                        when 'none'    then null
                        else 'authorization'
                      end;
  if found then
    raise check_violation using
      message    = format(
        'webhook_configurations.headers: %L is set by auth_type %L. Remove it from headers.',
        v_problem, new.auth_type),
      constraint = 'webhook_configurations_headers_are_valid',
      schema     = 'rowhook',
      table      = 'webhook_configurations',
      column     = 'headers';
  end if;
  if new.secret ~ '^whsec_' and (
       length(new.secret) % 4 <> 2 -- 'whsec_' has 6 characters, base64 comes in fours
       or substr(new.secret, 7) !~ '^[A-Za-z0-9+/]+={0,2}$'
       or octet_length(decode(substr(new.secret, 7), 'base64')) not between 24 and 64) then
    raise check_violation using
      message    = 'webhook_configurations.secret: whsec_ must be followed by 24 to 64 bytes in '
                   'base64. Leave the column out, and rowhook generates a secret.',
      constraint = 'webhook_configurations_secret_is_valid',
      schema     = 'rowhook',
      table      = 'webhook_configurations',
      column     = 'secret';
  end if;

  if tg_op = 'UPDATE' then
    if new.tenant_id <> old.tenant_id or new.id <> old.id then
      raise check_violation using
        message    = 'webhook_configurations.tenant_id: a webhook stays with its tenant and keeps '
                     'its id. Create another webhook instead.',
        constraint = 'webhook_configurations_tenant_stays',
        schema     = 'rowhook',
        table      = 'webhook_configurations',
        column     = 'tenant_id';
    end if;
    -- A new secret with an end date for the old one is a rotation: both secrets sign until that
    -- date.
    if new.secret <> old.secret then
      new.previous_secret := case when new.previous_secret_expires_at > now() then old.secret end;
    end if;
    new.updated_at := now();
  end if;
  -- disabled_at is null exactly while the webhook is active, regardless of who switches it and how.
  if new.is_active then
    new.disabled_reason := null;
    new.disabled_at := null;
  else
    new.disabled_at := coalesce(new.disabled_at, now());
  end if;
  if new.previous_secret is null or new.previous_secret_expires_at is null then
    new.previous_secret := null;
    new.previous_secret_expires_at := null;
  elsif new.previous_secret_expires_at > now() + '7 days' then
    raise check_violation using
      message    = 'webhook_configurations.previous_secret_expires_at: the previous secret may '
                   'sign for at most 7 more days. Set an earlier time.',
      constraint = 'webhook_configurations_overlap_in_range',
      schema     = 'rowhook',
      table      = 'webhook_configurations',
      column     = 'previous_secret_expires_at';
  end if;
  return new;
end
$$;

comment on function rowhook._check_configuration() is
  'Trigger of webhook_configurations: refuses a row that could not be delivered, with a sentence '
  'that says why, and rotates secrets.';

create trigger check_configuration
  before insert or update on rowhook.webhook_configurations
  for each row execute function rowhook._check_configuration();

create function rowhook.rotate_secret(webhook_id uuid, overlap interval default '24 hours')
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_secret text := rowhook._new_secret();
begin
  if overlap is null or overlap < '0' or overlap > '7 days' then
    raise invalid_parameter_value using
      message = format('rotate_secret: overlap %L is refused', overlap),
      hint    = 'Pass an interval of 0 to 7 days.';
  end if;
  update rowhook.webhook_configurations c
     set secret                     = v_secret,
         previous_secret_expires_at = now() + overlap
   where c.id = rotate_secret.webhook_id;
  if not found then
    raise no_data_found using
      message = format('rotate_secret: there is no webhook %s', webhook_id);
  end if;
  return v_secret;
end
$$;

comment on function rowhook.rotate_secret(uuid, interval) is
  'Gives a webhook a new signing secret and returns it, this once. In webhook-signature both '
  'secrets sign until now + overlap (0 to 7 days), newest first; X-Webhook-Signature uses the '
  'new secret at once.';

-- Who changed which setting. The setting rowhook.actor names the person or key behind a login that
-- many share, such as that of `rowhook serve`. Whoever may run SQL may set it, so the login is kept
-- as well.
create table rowhook.webhook_changes (
  id           bigint      generated always as identity primary key,
  changed_at   timestamptz not null default now(),
  tenant_id    text        not null,
  webhook_id   uuid        not null,
  webhook_name text        not null,
  action       text        not null,
  changed_by   text        not null default coalesce(
                 nullif(left(current_setting('rowhook.actor', true), 512), ''), session_user),
  login        text        not null default session_user,
  changes      jsonb       not null default '{}',

  constraint webhook_changes_action_is_known
    check (action in ('created', 'changed', 'deleted'))
);

comment on table rowhook.webhook_changes is
  'Who created, changed or deleted which webhook, and which settings. Secrets are masked. Rows are '
  'kept for a year.';
comment on column rowhook.webhook_changes.id is 'Number of the change.';
comment on column rowhook.webhook_changes.changed_at is
  'When the transaction of the change began.';
comment on column rowhook.webhook_changes.tenant_id is 'The tenant of the webhook.';
comment on column rowhook.webhook_changes.webhook_id is
  'The webhook. It may have been deleted since.';
comment on column rowhook.webhook_changes.webhook_name is 'Name of the webhook at that time.';
comment on column rowhook.webhook_changes.action is 'created, changed or deleted.';
comment on column rowhook.webhook_changes.changed_by is
  'The setting rowhook.actor of the session, such as the name of an API key; without it, the login.';
comment on column rowhook.webhook_changes.login is 'The role that the session logged in with.';
comment on column rowhook.webhook_changes.changes is
  'The changed columns: {"timeout_ms":{"old":10000,"new":5000}}. Secrets, header values and the '
  'query of the url are masked.';
comment on sequence rowhook.webhook_changes_id_seq is 'Ids of webhook_changes.';
comment on constraint webhook_changes_pkey on rowhook.webhook_changes is 'A change has one row.';
comment on constraint webhook_changes_action_is_known on rowhook.webhook_changes is
  'action is created, changed or deleted.';

create index webhook_changes_tenant_idx on rowhook.webhook_changes (tenant_id, changed_at, id);
create index webhook_changes_changed_at_idx on rowhook.webhook_changes (changed_at);

create function rowhook._masked(p_column text, p_value jsonb)
returns jsonb
language sql
immutable
parallel safe
begin atomic
  select case
           when p_value is null or p_value = 'null' then p_value
           when p_column in ('secret', 'previous_secret') then '"***"'
           when p_column = 'url' and p_value #>> '{}' ~ '[?#]'
             then to_jsonb(substring(p_value #>> '{}' from '^[^?#]*') || '?***')
           when p_column in ('headers', 'auth_config') and jsonb_typeof(p_value) = 'object' then (
             select coalesce(
                      jsonb_object_agg(
                        key,
                        case
                          when p_column = 'auth_config' and key in ('username', 'header_name')
                            then value
                          else '"***"'
                        end),
                      '{}')
               from jsonb_each(p_value))
           else p_value
         end;
end;

comment on function rowhook._masked(text, jsonb) is
  'The value of a column of webhook_configurations, for people who may not see its secrets.';

create function rowhook._log_change()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  if tg_op = 'INSERT' then
    insert into rowhook.webhook_changes (tenant_id, webhook_id, webhook_name, action)
    select tenant_id, id, name, 'created' from is_now;
  elsif tg_op = 'DELETE' then
    insert into rowhook.webhook_changes (tenant_id, webhook_id, webhook_name, action)
    select tenant_id, id, name, 'deleted' from was;
  else
    insert into rowhook.webhook_changes (tenant_id, webhook_id, webhook_name, action, changes)
    select n.tenant_id, n.id, n.name, 'changed', d.changes
      from was o
      join is_now n using (id)
     cross join lateral (
       select jsonb_object_agg(
                b.key,
                jsonb_build_object(
                  'old', rowhook._masked(b.key, a.value), 'new', rowhook._masked(b.key, b.value)))
                as changes
         from jsonb_each(to_jsonb(o)) as a
         join jsonb_each(to_jsonb(n)) as b using (key)
        where a.value <> b.value
          and b.key <> all ('{updated_at,disabled_at,previous_secret}')) as d
     where d.changes is not null;
  end if;
  return null;
end
$$;

comment on function rowhook._log_change() is
  'Trigger of webhook_configurations: writes a row of webhook_changes for each webhook that was '
  'created, changed or deleted.';

create trigger log_change_insert
  after insert on rowhook.webhook_configurations
  referencing new table as is_now
  for each statement execute function rowhook._log_change();
create trigger log_change_update
  after update on rowhook.webhook_configurations
  referencing old table as was new table as is_now
  for each statement execute function rowhook._log_change();
create trigger log_change_delete
  after delete on rowhook.webhook_configurations
  referencing old table as was
  for each statement execute function rowhook._log_change();

-- Tenants see and change their own rows. The policies of owner and daemon allow all rows. FORCE
-- applies the policies to the table's owner, too.
--
-- rowhook_app does not have these privileges:
--   select (secret, ...)  Secrets are written, never read: no RETURNING, WHERE, ON CONFLICT or
--                         MERGE may show them.
--   insert (id)           A primary key is unique over all tenants: "already exists" would reveal
--                         the row of another tenant.
--   delete                A role with DELETE may also LOCK TABLE ... IN ACCESS EXCLUSIVE MODE, and
--                         so stop the daemon and all writes of the app to watched tables.
--                         delete_webhook() takes a row lock only.
--   update (tenant_id)    A webhook stays with its tenant.
alter table rowhook.webhook_tenants        enable row level security, force row level security;
alter table rowhook.webhook_configurations enable row level security, force row level security;

create policy owner_has_all on rowhook.webhook_tenants to rowhook_owner
  using (true) with check (true);
create policy daemon_reads on rowhook.webhook_tenants for select to rowhook_daemon
  using (true);
create policy tenant_reads_own on rowhook.webhook_tenants for select to rowhook_app
  using (id = (select rowhook.current_tenant()));

create policy owner_has_all on rowhook.webhook_configurations to rowhook_owner
  using (true) with check (true);
create policy daemon_has_all on rowhook.webhook_configurations to rowhook_daemon
  using (true) with check (true);
create policy tenant_has_own on rowhook.webhook_configurations to rowhook_app
  using      (tenant_id = (select rowhook.current_tenant()))
  with check (tenant_id = (select rowhook.current_tenant()));

alter table rowhook.webhook_changes enable row level security, force row level security;
create policy owner_has_all on rowhook.webhook_changes to rowhook_owner
  using (true) with check (true);
create policy tenant_reads_own on rowhook.webhook_changes for select to rowhook_app
  using (tenant_id = (select rowhook.current_tenant()));

grant select on rowhook.webhook_changes to rowhook_app;

grant select on rowhook.webhook_tenants to rowhook_app, rowhook_daemon;

grant select on rowhook.webhook_configurations to rowhook_daemon;

grant select (
    id, tenant_id, name, description,
    url, http_method, event_types, filter, headers, auth_type,
    previous_secret_expires_at,
    is_active, retry_enabled, retry_attempts, retry_strategy, retry_delay_seconds, timeout_ms,
    max_in_flight, rate_limit_per_second, ordering,
    payload_format, payload_template, content_type,
    batch_max_events, batch_max_wait_ms, allowed_ips,
    disabled_reason, disabled_at, created_at, updated_at)
  on rowhook.webhook_configurations
  to rowhook_app;
grant insert (
    tenant_id, name, description,
    url, http_method, event_types, filter, headers, auth_type, auth_config,
    secret,
    is_active, retry_enabled, retry_attempts, retry_strategy, retry_delay_seconds, timeout_ms,
    max_in_flight, rate_limit_per_second, ordering,
    payload_format, payload_template, content_type,
    batch_max_events, batch_max_wait_ms, allowed_ips)
  on rowhook.webhook_configurations
  to rowhook_app;
grant update (
    name, description,
    url, http_method, event_types, filter, headers, auth_type, auth_config,
    secret, previous_secret_expires_at,
    is_active, retry_enabled, retry_attempts, retry_strategy, retry_delay_seconds, timeout_ms,
    max_in_flight, rate_limit_per_second, ordering,
    payload_format, payload_template, content_type,
    batch_max_events, batch_max_wait_ms, allowed_ips)
  on rowhook.webhook_configurations
  to rowhook_app;

-- Some applications ask for every column: RETURNING *, SELECT *, and the statements that ORMs build
-- from a model. A view is needed, because RETURNING requires SELECT on the column, and SELECT would
-- let the role read the secret forever. In the view, secret and auth_config read as null, and a
-- statement that writes them returns what it wrote, this once. The view runs with the rights and
-- the policies of its caller.
create view rowhook.webhooks with (security_invoker = true) as
select id, tenant_id, name, description,
       url, http_method, event_types, filter, headers, auth_type,
       null::jsonb as auth_config,
       null::text  as secret,
       previous_secret_expires_at,
       is_active, retry_enabled, retry_attempts, retry_strategy, retry_delay_seconds, timeout_ms,
       max_in_flight, rate_limit_per_second, ordering,
       payload_format, payload_template, content_type,
       batch_max_events, batch_max_wait_ms, allowed_ips,
       disabled_reason, disabled_at, created_at, updated_at
  from rowhook.webhook_configurations;

comment on view rowhook.webhooks is
  'The webhooks of webhook_configurations for applications and ORMs: every column can be '
  'selected and returned. secret and auth_config are null, except in RETURNING of the statement '
  'that writes them.';

-- The view gets the comments and defaults of the table, except defaults of columns that only
-- rowhook sets and of the two columns that read as null.
do $$
declare
  v_column record;
begin
  for v_column in
    select a.attname,
           pg_get_expr(d.adbin, d.adrelid) as value,
           col_description(a.attrelid, a.attnum) as comment
      from pg_attribute a
      left join pg_attrdef d
        on d.adrelid = a.attrelid
       and d.adnum = a.attnum
       and a.attname not in ('id', 'secret', 'auth_config', 'created_at', 'updated_at')
     where a.attrelid = 'rowhook.webhook_configurations'::regclass
       and a.attnum > 0
       and a.attname <> 'previous_secret'
  loop
    execute format('comment on column rowhook.webhooks.%I is %L',
                   v_column.attname, v_column.comment);
    if v_column.value is not null then
      execute format('alter view rowhook.webhooks alter column %I set default %s',
                     v_column.attname, v_column.value);
    end if;
  end loop;
end
$$;

comment on column rowhook.webhooks.secret is
  'Signing secret, as in webhook_configurations; null when it is read. When it is written as '
  'null, INSERT makes a new secret and UPDATE keeps the stored one.';
comment on column rowhook.webhooks.auth_config is
  'Credentials for auth_type, as in webhook_configurations; null when it is read. When it is '
  'written as null, INSERT stores {} and UPDATE keeps the stored value.';

-- ORMs write whole rows, so an UPDATE sets only the columns that differ from the row that it found.
-- Changes that somebody else made in the meantime are kept, and a null secret keeps the stored
-- secret. Columns that only rowhook sets (created_at, updated_at, disabled_reason, disabled_at) are
-- ignored, because ORMs maintain their own timestamps.
create function rowhook._write_webhook()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
declare
  v_id      uuid  := old.id;
  v_secret  text  := new.secret;
  v_auth    jsonb := new.auth_config;
  v_changed name[];
  v_count   bigint;
begin
  if tg_op = 'DELETE' then
    begin
      perform rowhook.delete_webhook(old.id);
      return old;
    exception when no_data_found then
      return null; -- somebody deleted it meanwhile
    end;
  end if;

  if new.id is distinct from old.id
     or (tg_op = 'UPDATE' and new.tenant_id is distinct from old.tenant_id) then
    raise check_violation using
      message = case tg_op
                  when 'INSERT' then
                    'webhooks.id: rowhook generates the id. Leave the column out, and read it '
                    'with RETURNING.'
                  else
                    'webhooks.tenant_id: a webhook stays with its tenant and keeps its id. Create '
                    'another webhook instead.'
                end,
      schema  = 'rowhook',
      table   = 'webhooks',
      column  = case tg_op when 'INSERT' then 'id' else 'tenant_id' end;
  end if;

  -- Row-level security refuses these rows as well, with a message that does not name the tenant.
  if tg_op = 'INSERT'
     and (new.tenant_id = rowhook.current_tenant()) is not true
     and row_security_active('rowhook.webhook_configurations')
     and not pg_has_role(current_user, 'rowhook_owner', 'usage') then
    if rowhook.current_tenant() is null then
      raise insufficient_privilege using
        message = 'webhooks.tenant_id: this session has no tenant',
        hint    = 'Name it in the same transaction: set local rowhook.tenant_id = ''<tenant>''.';
    end if;
    raise insufficient_privilege using
      message = 'webhooks.tenant_id: a webhook of another tenant is refused',
      hint    = 'Pass the tenant that rowhook.current_tenant() returns, or leave tenant_id out.';
  end if;

  if tg_op = 'INSERT' then
    v_secret := coalesce(v_secret, rowhook._new_secret());
    insert into rowhook.webhook_configurations
      (tenant_id, name, description,
       url, http_method, event_types, filter, headers,
       auth_type, auth_config, secret,
       is_active, retry_enabled, retry_attempts, retry_strategy,
       retry_delay_seconds, timeout_ms,
       max_in_flight, rate_limit_per_second, ordering,
       payload_format, payload_template, content_type,
       batch_max_events, batch_max_wait_ms, allowed_ips)
    values
      (new.tenant_id, new.name, new.description,
       new.url, new.http_method, new.event_types, new.filter, new.headers,
       new.auth_type, coalesce(v_auth, '{}'), v_secret,
       new.is_active, new.retry_enabled, new.retry_attempts, new.retry_strategy,
       new.retry_delay_seconds, new.timeout_ms,
       new.max_in_flight, new.rate_limit_per_second, new.ordering,
       new.payload_format, new.payload_template, new.content_type,
       new.batch_max_events, new.batch_max_wait_ms, new.allowed_ips)
    returning id into v_id;
  else
    -- old.secret and old.auth_config are null.
    select array_agg(key) into v_changed
      from jsonb_each(to_jsonb(new)) as n
     where n.value is distinct from to_jsonb(old) -> n.key
       and n.key <> all ('{created_at,updated_at,disabled_reason,disabled_at}');
    if v_changed is not null then
      execute format(
        'update rowhook.webhook_configurations set %s where id = $2',
        (select string_agg(format('%1$I = ($1).%1$I', c), ', ') from unnest(v_changed) as c))
        using new, old.id;
      get diagnostics v_count = row_count;
      if v_count = 0 then
        return null; -- somebody deleted it meanwhile
      end if;
    end if;
  end if;

  -- Return the row as it is stored now, with the secrets that this statement wrote.
  select * into new from rowhook.webhooks as w where w.id = v_id;
  new.secret := v_secret;
  new.auth_config := v_auth;
  return new;
end
$$;

comment on function rowhook._write_webhook() is
  'Trigger of the view webhooks: writes the row of webhook_configurations with the rights of the '
  'caller. It returns a secret only to the statement that writes it.';

create trigger write_webhook
  instead of insert or update or delete on rowhook.webhooks
  for each row execute function rowhook._write_webhook();

-- LOCK TABLE on a security_invoker view requires the same privilege on the table below it, so
-- granting DELETE on the view is safe.
grant select, insert, update, delete on rowhook.webhooks to rowhook_app;

revoke execute on all functions in schema rowhook from public;
grant execute on function rowhook.rotate_secret(uuid, interval) to rowhook_app, rowhook_daemon;
-- The defaults and the trigger above call these functions with the rights of the writer.
grant execute on function
  rowhook._new_secret(),
  rowhook._event_types_problem(text[]),
  rowhook._headers_problem(jsonb),
  rowhook._auth_problem(text, jsonb),
  rowhook._kept_auth(jsonb, jsonb),
  rowhook._filter_problem(jsonb),
  rowhook._template_problem(text),
  rowhook._broken_rule(rowhook.webhook_configurations),
  rowhook._refuse_unreadable(text, text)
  to rowhook_app, rowhook_daemon;

create or replace function rowhook.schema_version()
returns int
language sql
stable
parallel safe
return 3;

reset role;
