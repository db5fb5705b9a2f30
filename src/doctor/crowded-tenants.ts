/** Finds tenants whose webhooks take more memory of the daemon than they may. */
import { printable } from '../shared/terminal.ts';
import { type CheckResult, type Examination, fine } from './finding.ts';

/** Limit on findings. */
const LISTED_MAX = 5;

const MIB = 1024 * 1024;

interface Tenant {
  id: string;
  webhooks: number;
  bytes: number;
  bytesMax: number;
  /** Its bound in bytes for SQL: a round number with room for more. */
  statement: string;
}

/** What match/configuration-statements.ts counts: texts, and 512 bytes for each webhook. */
const TENANTS = `
  select c.tenant_id as id, count(*)::int as webhooks, max(b.bytes_max)::float8 as "bytesMax",
         sum(512 + octet_length(c.name) + octet_length(c.url) + octet_length(c.secret)
             + coalesce(octet_length(c.previous_secret), 0) + octet_length(to_json(c.event_types)::text)
             + coalesce(octet_length(c.filter::text), 0) + octet_length(c.headers::text)
             + octet_length(c.auth_config::text))::float8 as bytes
    from rowhook.webhook_configurations c
    left join rowhook.webhook_tenants t on t.id = c.tenant_id
   cross join rowhook.webhook_installation i
   cross join lateral (select coalesce(t.max_configuration_bytes, i.max_configuration_bytes) as bytes_max) as b
   group by c.tenant_id`;

export async function crowdedTenants({ client }: Examination): Promise<CheckResult[]> {
  const { rows } = await client.query<Tenant>(
    `select *, format('insert into rowhook.webhook_tenants (id, max_configuration_bytes) values (%L, %s) '
                      'on conflict (id) do update set max_configuration_bytes = excluded.max_configuration_bytes',
                      id, least(1073741824, (ceil(bytes / ${MIB}) + 1) * ${MIB})::int) as statement
       from (${TENANTS}) as t
      where bytes > "bytesMax"
      order by bytes desc, id
      limit ${LISTED_MAX}`,
  );
  const results = rows.map(resultOf);
  return results.length > 0 ? results : [fine('the webhooks of every tenant fit into the memory that it may use')];
}

function resultOf({ id, webhooks, bytes, bytesMax, statement }: Tenant): CheckResult {
  return {
    kind: 'warning',
    what: `the ${webhooks} webhooks of tenant ${printable(id)} take ${bytes} bytes of memory, and may take ${bytesMax}`,
    why: 'Its newest webhooks are not used. Their events are logged as skipped, webhook_unusable.',
    fix: printable(statement),
  };
}
