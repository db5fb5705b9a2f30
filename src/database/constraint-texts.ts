/**
 * A sentence for each check constraint of the tables that people write. For a broken constraint,
 * PostgreSQL prints the whole row with its secrets. rowhook prints these sentences instead.
 * test/cli/database.test.ts checks that the list is complete.
 */
export const RULES: Readonly<Record<string, string>> = {
  webhook_configurations_allowed_ips_not_empty: 'allowed_ips lists 1 to 100 ranges, or is null',
  webhook_configurations_auth_type_is_known: 'auth_type is none, bearer, basic or api_key',
  webhook_configurations_http_method_is_known: 'http_method is POST, PUT or PATCH',
  webhook_configurations_max_in_flight_in_range: 'max_in_flight is 1 to 1000 requests',
  webhook_configurations_name_is_not_empty: 'name is 1 to 255 characters long',
  webhook_configurations_payload_format_is_known: 'payload_format is nested or flat',
  webhook_configurations_batch_max_events_in_range: 'batch_max_events is 1 to 100',
  webhook_configurations_batch_max_wait_in_range: 'batch_max_wait_ms is 0 to 5000',
  webhook_configurations_batch_or_ordering: "batches and ordering 'row' exclude each other: set batch_max_events to 1",
  webhook_configurations_ordering_is_known: 'ordering is none or row',
  webhook_configurations_rate_limit_in_range:
    'rate_limit_per_second is 0.00001 (one request in 28 hours) to 100000, or null',
  webhook_configurations_retry_attempts_in_range: 'retry_attempts is 0 to 20',
  webhook_configurations_retry_delay_in_range: 'retry_delay_seconds is 1 to 86400',
  webhook_configurations_retry_strategy_is_known: 'retry_strategy is exponential or linear',
  webhook_configurations_secret_is_long_enough: 'secret is 16 to 512 bytes long; leave it out, and rowhook makes one',
  webhook_configurations_tenant_id_is_not_empty: 'tenant_id is 1 to 512 bytes long',
  webhook_configurations_timeout_in_range: 'timeout_ms is 1000 to 30000 milliseconds',
  webhook_configurations_url_is_http:
    'url is http:// or https:// with a host and without a user, password or spaces, up to 2048 characters',

  webhook_sources_capture_is_known: 'capture is subscribed or all',
  webhook_sources_events_are_known: 'events are some of created, updated and deleted',
  webhook_sources_has_one_tenant: 'a source has either a tenant column or one fixed tenant',
  webhook_sources_max_payload_in_range: 'max_payload_bytes is 1024 to 134217728',
  webhook_sources_prefix_is_a_name:
    'prefix is made of letters, digits, "_", "-" and ".", up to 80 characters, as in deal',

  webhook_tenants_id_is_not_empty: 'id is 1 to 512 bytes long',
  webhook_tenants_max_in_flight_in_range: 'max_in_flight is 1 to 10000 requests',
  webhook_tenants_rate_limit_in_range: 'rate_limit_per_second is 0.00001 (one request in 28 hours) to 100000, or null',
};
