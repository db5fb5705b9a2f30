/**
 * A small CRM of two organizations, as an application that embeds the console of rowhook: it
 * writes its rows with plain SQL, and its settings page shows the console through a portal link.
 *
 * It takes one key of rowhook, with the scope operator, and keeps it on the server. A visitor gets
 * a link for its own organization only. The README beside this file says how to start it.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { dealsPage, type Organization, page, settingsPage, signInPage } from './pages.ts';

export interface CrmOptions {
  /** A login that may write the tables of the CRM. */
  databaseUrl: string;
  /** Where rowhook serve answers. Visitors' browsers reach it there, too. */
  rowhookUrl: string;
  /** A key of rowhook with the scope operator. */
  rowhookKey: string;
  /** 0: a free one. */
  port: number;
}

export interface Crm {
  url: string;
  close(): Promise<void>;
}

export const ORGANIZATIONS: readonly Organization[] = [
  { id: 'ac3e0000-0000-4000-8000-000000000001', name: 'Acme' },
  { id: '61be0000-0000-4000-8000-000000000002', name: 'Globex' },
];

/** A real application has its own accounts. Here, whoever names an organization is signed in. */
const sessions = new Map<string, Organization>();

export async function startCrm({ databaseUrl, rowhookUrl, rowhookKey, port }: CrmOptions): Promise<Crm> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4 });
  const server = createServer((request, response) => {
    handle(request, response).catch((error: Error) => {
      console.error(error);
      if (!response.headersSent) send(response, 500, page('Error', '<p>Something failed. See the log.</p>'));
    });
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const organization = sessions.get(/(?:^|; )crm=(\w+)/.exec(request.headers.cookie ?? '')?.[1] ?? '');
    const route = `${request.method} ${request.url?.split('?')[0]}`;
    if (route === 'POST /sign-in') return signIn(response, (await form(request)).get('organization'));
    if (organization === undefined) return send(response, 200, signInPage(ORGANIZATIONS));
    if (route === 'GET /') return showDeals(response, organization);
    if (route === 'POST /deals') return writeDeal(response, organization, await form(request));
    if (route === 'GET /settings/webhooks') return showSettings(response, organization);
    return send(response, 404, page('Not found', '<p>There is no such page.</p>'));
  }

  async function showDeals(response: ServerResponse, organization: Organization): Promise<void> {
    const { rows } = await pool.query(
      'select id, title, value, stage from deals where organization_id = $1 order by created_at desc limit 50',
      [organization.id],
    );
    send(response, 200, dealsPage(organization, rows));
  }

  /** Plain SQL: triggers of rowhook turn it into events, in the same transaction. */
  async function writeDeal(response: ServerResponse, { id }: Organization, values: URLSearchParams): Promise<void> {
    const won = values.get('won');
    if (won === null) {
      await pool.query('insert into deals (organization_id, title, value) values ($1, $2, $3)', [
        id,
        values.get('title'),
        values.get('value'),
      ]);
    } else {
      await pool.query("update deals set stage = 'won' where organization_id = $1 and id = $2", [id, won]);
    }
    redirect(response, '/');
  }

  /** A new link for each view of the page: it works once, and within 5 minutes. */
  async function showSettings(response: ServerResponse, organization: Organization): Promise<void> {
    const answer = await fetch(`${rowhookUrl}/api/v1/${encodeURIComponent(organization.id)}/portal-links`, {
      method: 'POST',
      headers: { authorization: `Bearer ${rowhookKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ expires_in: 3_600 }),
    });
    if (!answer.ok) throw new Error(`rowhook answered ${answer.status} to a portal link: ${await answer.text()}`);
    const { url } = (await answer.json()) as { url: string };
    send(response, 200, settingsPage(organization, url));
  }

  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await pool.end();
    },
  };
}

function signIn(response: ServerResponse, id: string | null): void {
  const organization = ORGANIZATIONS.find((one) => one.id === id);
  if (organization === undefined) {
    send(response, 400, signInPage(ORGANIZATIONS));
    return;
  }
  const session = randomBytes(16).toString('hex');
  sessions.set(session, organization);
  response.setHeader('set-cookie', `crm=${session}; Path=/; HttpOnly; SameSite=Lax`);
  redirect(response, '/');
}

const BODY_BYTES_MAX = 65_536;

async function form(request: IncomingMessage): Promise<URLSearchParams> {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > BODY_BYTES_MAX) throw new Error('The form is too large.');
  }
  return new URLSearchParams(text);
}

function send(response: ServerResponse, status: number, html: string): void {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(html);
}

function redirect(response: ServerResponse, to: string): void {
  response.writeHead(303, { location: to }).end();
}

if (import.meta.main) {
  const { DATABASE_URL, ROWHOOK_URL = 'http://127.0.0.1:8080', ROWHOOK_KEY, PORT = '4000' } = process.env;
  if (!DATABASE_URL || !ROWHOOK_KEY) {
    console.error('Set DATABASE_URL, and ROWHOOK_KEY to a key with the scope operator. README.md says how.');
    process.exit(2);
  }
  const { url } = await startCrm({
    databaseUrl: DATABASE_URL,
    rowhookUrl: ROWHOOK_URL,
    rowhookKey: ROWHOOK_KEY,
    port: Number(PORT),
  });
  console.log(`The CRM runs: ${url}`);
}
