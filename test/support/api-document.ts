// The OpenAPI document as `rowhook serve` answers it, without a database.

import pg from 'pg';
import { buildApp } from '../../src/api/app.ts';
import { Authenticator } from '../../src/api/auth.ts';
import { Groups } from '../../src/api/inbound/groups.ts';
import { Service } from '../../src/api/service.ts';
import { Turnstile } from '../../src/api/turnstile.ts';
import { readServeSettings } from '../../src/config/settings.ts';
import { ApiMetrics } from '../../src/observe/api-metrics.ts';
import { createLogger } from '../../src/observe/log.ts';

export interface Schema {
  $ref?: string;
  type?: string;
  title?: string;
  description?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  patternProperties?: Record<string, Schema>;
}

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  description?: string;
  schema: Schema;
}

export type Content = Record<string, { schema: Schema }>;

export interface Operation {
  operationId: string;
  summary: string;
  description?: string;
  tags: string[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Content };
  responses: Record<string, { content?: Content }>;
}

export interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  webhooks: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

/** A schema in which each reference is replaced by what it stands for. */
export function withoutNames(schema: unknown, { components: { schemas } }: Pick<Document, 'components'>): unknown {
  const within = (each: unknown): unknown => {
    if (typeof each !== 'object' || each === null) return each;
    if (Array.isArray(each)) return each.map(within);
    if ('$ref' in each) return within(schemas[String(each.$ref).replace('#/components/schemas/', '')]);
    return Object.fromEntries(Object.entries(each).map(([key, value]) => [key, within(value)]));
  };
  return within(schema);
}

export async function readDocument(): Promise<Document> {
  const settings = readServeSettings({ databaseUrl: 'postgres://nobody@127.0.0.1/none' }, {});
  // It connects when it is asked, and nobody asks.
  const pool = new pg.Pool();
  const turnstile = new Turnstile(1, 1);
  const service = new Service({
    settings,
    pool,
    turnstile,
    groups: new Groups(pool, turnstile, 1),
    authenticator: new Authenticator(settings),
    log: createLogger('silent'),
    used: () => {},
  });
  const app = await buildApp(service, new ApiMetrics(() => 0));
  const document = app.swagger() as unknown as Document;
  await app.close();
  return document;
}
