/**
 * What each check constraint requires, for the tables that people write. For a broken constraint,
 * PostgreSQL prints the whole row with its secrets. rowhook prints these sentences instead.
 * test/cli/database.test.ts checks that the list is complete.
 */
export const RULES: Readonly<Record<string, string>> = {
  api_keys_allowed_ips_not_empty: 'allowed_ips must list 1 to 100 address ranges, or be null',
  api_keys_expires_after_its_start: 'expires_at must be a time in the future, or null',
  api_keys_name_is_not_empty: 'name must have 1 to 255 characters',
  api_keys_operator_has_no_tenant: 'scopes must list operator if there is no tenant_id, and only then',
  api_keys_scopes_are_known: 'scopes must list read, write, inbound, keys or operator',
  api_keys_tenant_id_is_not_empty: 'tenant_id must have 1 to 512 bytes',

  inbound_sources_allowed_ips_not_empty: 'allowed_ips must list 1 to 100 address ranges, or be null',
  inbound_sources_event_header_is_valid:
    'event_header must have 1 to 100 characters: letters, digits and hyphens, or be null',
  inbound_sources_event_name_is_valid:
    'event_name must have 1 to 120 characters: an event type such as lead.captured, or be null',
  inbound_sources_event_path_has_length: 'event_path must have 1 to 200 characters, or be null',
  inbound_sources_name_is_valid:
    'name must have 1 to 100 characters: letters, digits, - and _, in parts joined by dots, and not begin with src_',
  inbound_sources_secret_has_length: 'secret must have 8 to 512 bytes. Without a secret, rowhook creates one',
  inbound_sources_signature_algorithm_is_known: 'signature_algorithm must be sha256, sha512 or sha1',
  inbound_sources_signature_encoding_is_known: 'signature_encoding must be hex or base64',
  inbound_sources_signature_header_is_valid:
    'signature_header must have 1 to 100 characters: letters, digits and hyphens, or be null',
  inbound_sources_tenant_id_is_not_empty: 'tenant_id must have 1 to 512 bytes',
  inbound_sources_verification_is_known:
    'verification must be standard_webhooks, stripe, github, shopify, slack, hmac or api_key',

  webhook_configurations_allowed_ips_not_empty: 'allowed_ips must list 1 to 100 address ranges, or be null',
  webhook_configurations_auth_type_is_known: 'auth_type must be none, bearer, basic or api_key',
  webhook_configurations_http_method_is_known: 'http_method must be POST, PUT or PATCH',
  webhook_configurations_is_small_enough:
    'description must be so short that it and the other texts of the webhook have at most 64 kB together',
  webhook_configurations_max_in_flight_in_range: 'max_in_flight must be 1 to 1000 requests',
  webhook_configurations_name_is_not_empty: 'name must have 1 to 255 characters',
  webhook_configurations_payload_format_is_known:
    'payload_format must be nested, flat, cloudevents, slack, discord, teams or template',
  webhook_configurations_template_has_format:
    "payload_template must be set with payload_format 'template', and be null with any other",
  webhook_configurations_template_is_small_enough: 'payload_template must have 1 to 16384 bytes',
  webhook_configurations_content_type_has_template: "content_type must be null, unless payload_format is 'template'",
  webhook_configurations_content_type_is_valid:
    'content_type must be a media type, such as text/plain; charset=utf-8, or null',
  webhook_configurations_batch_or_template:
    'batch_max_events must be 1, unless payload_format is nested, flat or cloudevents',
  webhook_configurations_batch_max_events_in_range: 'batch_max_events must be 1 to 100 events',
  webhook_configurations_batch_max_wait_in_range: 'batch_max_wait_ms must be 0 to 5000 milliseconds',
  webhook_configurations_batch_or_ordering:
    "batch_max_events must be 1 with ordering 'row', because batches cannot keep that order",
  webhook_configurations_ordering_is_known: 'ordering must be none or row',
  webhook_configurations_rate_limit_in_range:
    'rate_limit_per_second must be 0.00001 (one request in 28 hours) to 100000, or null',
  webhook_configurations_retry_attempts_in_range: 'retry_attempts must be 0 to 20 retries',
  webhook_configurations_retry_delay_in_range: 'retry_delay_seconds must be 1 to 86400 seconds',
  webhook_configurations_retry_strategy_is_known: 'retry_strategy must be exponential or linear',
  webhook_configurations_secret_is_long_enough:
    'secret must have 16 to 512 bytes. Without a secret, rowhook creates one',
  webhook_configurations_tenant_id_is_not_empty: 'tenant_id must have 1 to 512 bytes',
  webhook_configurations_timeout_in_range: 'timeout_ms must be 1000 to 30000 milliseconds',
  webhook_configurations_url_is_http:
    'url must be http:// or https:// with a host, without user, password and spaces, and at most 2048 characters',

  webhook_installation_max_configuration_bytes_in_range:
    'max_configuration_bytes must be 65536 (64 kB) to 1073741824 (1 GB)',
  webhook_installation_max_webhooks_in_range: 'max_webhooks must be 0 to 1000000 webhooks',

  webhook_sources_capture_is_known: 'capture must be subscribed or all',
  webhook_sources_events_are_known: 'events must be a list of created, updated and deleted',
  webhook_sources_has_one_tenant: 'tenant_column or tenant_id must be set, but not both',
  webhook_sources_max_payload_in_range: 'max_payload_bytes must be 1024 to 134217728 bytes',
  webhook_sources_prefix_is_a_name: 'prefix must have 1 to 80 letters, digits, "_", "-" and ".", as in deal',

  webhook_tenants_id_is_not_empty: 'id must have 1 to 512 bytes',
  webhook_tenants_max_in_flight_in_range: 'max_in_flight must be 1 to 10000 requests',
  webhook_tenants_max_configuration_bytes_in_range:
    'max_configuration_bytes must be 65536 (64 kB) to 1073741824 (1 GB), or null',
  webhook_tenants_max_webhooks_in_range: 'max_webhooks must be 0 to 1000000 webhooks, or null',
  webhook_tenants_rate_limit_in_range:
    'rate_limit_per_second must be 0.00001 (one request in 28 hours) to 100000, or null',
};
