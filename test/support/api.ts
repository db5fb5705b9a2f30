// `rowhook serve` under test, in this process, and a client of it.

import { type Api, startApi } from '../../src/api/server.ts';
import { readServeSettings, type ServeSettings } from '../../src/config/settings.ts';
import { createLogger } from '../../src/observe/log.ts';
import type { TestDatabase } from './database.ts';

export interface Answer {
  status: number;
  headers: Headers;
  /** Parsed, if it is JSON. */
  body: Record<string, unknown> & { data?: Record<string, unknown>[]; errors?: { field: string; message: string }[] };
  text: string;
}

export interface Ask {
  token?: string | undefined;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface TestApi {
  api: Api;
  url: string;
  /** `path` begins after /api. */
  ask(method: string, path: string, options?: Ask): Promise<Answer>;
  stop(): Promise<void>;
}

export function apiSettings(databaseUrl: string, more: Partial<ServeSettings> = {}): ServeSettings {
  const logLevel = process.env.ROWHOOK_TEST_LOG || 'silent';
  const flags = { databaseUrl, apiPort: '0', apiMetricsPort: '0', apiRateLimit: '100000', logLevel };
  return { ...readServeSettings(flags, {}), ...more };
}

export async function startTestApi(database: TestDatabase, more: Partial<ServeSettings> = {}): Promise<TestApi> {
  const settings = apiSettings(database.apiUrl, more);
  const api = await startApi(settings, createLogger(settings.logLevel));
  const url = `http://127.0.0.1:${api.port}`;
  return { api, url, ask: (method, path, options) => ask(`${url}/api${path}`, method, options), stop: api.stop };
}

async function ask(url: string, method: string, { token, body, headers = {} }: Ask = {}): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  return { status: response.status, headers: response.headers, text, body: isJson && text ? JSON.parse(text) : {} };
}

/** A key of one organization, or of the operator (null). */
export async function createKey(
  database: TestDatabase,
  tenantId: string | null,
  scopes = tenantId === null ? ['operator', 'read', 'write', 'inbound', 'keys'] : ['read', 'write'],
  expiresAt: Date | null = null,
): Promise<string> {
  const [row] = await database.query<{ token: string }>('select rowhook.create_api_key($1, $2, $3, $4) as token', [
    'a key',
    scopes,
    tenantId,
    expiresAt,
  ]);
  return row?.token as string;
}
