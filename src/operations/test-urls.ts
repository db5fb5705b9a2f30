/** Test URLs: addresses of the API that show what is sent to them. Returns values only. */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { UserError } from '../shared/user-error.ts';

export interface TestUrl {
  id: string;
  expires_at: Date;
}

export interface TestRequest {
  id: string;
  received_at: Date;
  method: string;
  headers: Record<string, string>;
  body: string;
  body_bytes: number;
  remote_ip: string | null;
}

const OPEN_MAX = 10;

/** 24 letters and digits. What is no letter or digit in base64 is left out. */
function newId(): string {
  let id = '';
  while (id.length < 24)
    id += randomBytes(24)
      .toString('base64')
      .replace(/[^A-Za-z0-9]/g, '');
  return `tst_${id.slice(0, 24)}`;
}

/** For the tenant of the transaction. */
export async function createTestUrl(client: pg.ClientBase, tenantId: string): Promise<TestUrl> {
  const { rows } = await client.query<TestUrl>(
    `insert into rowhook.test_urls (id, tenant_id)
     select $1, $2::text
      where (select count(*) from rowhook.test_urls u where u.tenant_id = $2 and u.expires_at > now()) < ${OPEN_MAX}
     returning id, expires_at`,
    [newId(), tenantId],
  );
  if (rows[0] === undefined)
    throw new UserError(`There are ${OPEN_MAX} test URLs already. Use one of them, or wait until one has ended.`);
  return rows[0];
}

/** With what arrived, newest first. Undefined: there is no such URL, or it has ended. */
export async function readTestUrl(
  client: pg.ClientBase,
  id: string,
): Promise<(TestUrl & { requests: TestRequest[] }) | undefined> {
  const found = await client.query<TestUrl>(
    'select id, expires_at from rowhook.test_urls where id = $1 and expires_at > now()',
    [id],
  );
  if (found.rows[0] === undefined) return undefined;
  const { rows } = await client.query<TestRequest>(
    `select id, received_at, method, headers, body, body_bytes, host(remote_ip) as remote_ip
       from rowhook.test_requests where test_url_id = $1 order by id desc`,
    [id],
  );
  return { ...found.rows[0], requests: rows };
}

/** Resolves to whether there is such a URL. */
export async function keepTestRequest(
  client: pg.Pool | pg.ClientBase,
  urlId: string,
  { method, headers, body, body_bytes, remote_ip }: Omit<TestRequest, 'id' | 'received_at'>,
): Promise<boolean> {
  const { rows } = await client.query<{ kept: boolean }>(
    'select rowhook._keep_test_request($1, $2, $3, $4, $5, $6) as kept',
    [urlId, method, headers, body, body_bytes, remote_ip],
  );
  return rows[0]?.kept === true;
}
