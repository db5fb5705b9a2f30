// `rowhook types`: what a receiver compiles accepts every body that the demo sends.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Daemon } from '../../src/daemon/daemon.ts';
import { SCRIPT, TENANT } from '../../src/demo/script.ts';
import { rowhook } from '../support/cli.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { createWebhook } from '../support/webhook.ts';

let database: TestDatabase;
let receiver: Receiver;
let daemon: Daemon;
/** Each body that was sent, as JSON. */
let bodies: string[];

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
  daemon = await startTestDaemon(database);
  await database.query("insert into rowhook.webhook_tenants (id, name, slug) values ($1, 'Acme', 'acme')", [TENANT.id]);
  const webhook = await createWebhook(database, { tenant_id: TENANT.id, url: receiver.url('/in'), event_types: '{*}' });
  for (const { sql } of SCRIPT) await database.query(sql);
  await database.query("insert into notes (organization_id, body) values ($1, repeat('x', 2000000))", [TENANT.id]);
  const [{ count } = { count: 0 }] = await database.query<{ count: number }>('select rowhook.test($1)::int as count', [
    webhook.id,
  ]);
  const sent = SCRIPT.flatMap(({ events }) => events).length + 1 + count;
  bodies = (await receiver.waitFor(sent)).map(({ body }) => body.toString());
});

afterAll(async () => {
  await daemon?.stop();
  await receiver?.close();
  await database?.drop();
});

async function types(language: string): Promise<string> {
  const { stdout, stderr, code } = await rowhook(['types', '--lang', language], {
    env: { DATABASE_URL: database.url },
  });
  expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
  return stdout;
}

test('the JSON Schema accepts every body of the demo, and none with another event or type', async () => {
  const ajv = new Ajv2020({ allowUnionTypes: true, allErrors: false, strict: false });
  (formats as unknown as (to: Ajv2020) => void)(ajv);
  const { $schema: _, ...schema } = JSON.parse(await types('json-schema'));
  const validate = ajv.compile(schema);
  for (const body of bodies) {
    const valid = validate(JSON.parse(body));
    expect([JSON.parse(body).event, valid ? [] : validate.errors]).toEqual([JSON.parse(body).event, []]);
  }
  expect(bodies.some((body) => body.includes('"truncated":true'))).toBe(true);
  const deal = JSON.parse(bodies.find((body) => body.includes('"deal.created"')) ?? '');
  expect(validate({ ...deal, event: 'deal.unknown' })).toBe(false);
  expect(validate({ ...deal, data: { ...deal.data, value: 'a text' } })).toBe(false);
});

test('the TypeScript compiles under strict, accepts every body, and tells them apart by event', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'rowhook-types-'));
  try {
    await writeFile(join(folder, 'webhooks.ts'), await types('typescript'));
    const use = `import type { EventType, WebhookPayload } from './webhooks.ts';
export const payloads: WebhookPayload[] = [${bodies
      .map((body) => (body.slice(0, 20_000).length < body.length ? '' : body))
      .filter(Boolean)
      .join(',\n')}];
export function titleOf(payload: WebhookPayload): string | undefined {
  return payload.event === 'deal.created' ? payload.data.title : undefined;
}
export const known: EventType = 'contact.assigned';
// @ts-expect-error no such event
export const unknown: EventType = 'contact.unknown';
export function wrong(payload: WebhookPayload): unknown {
  // @ts-expect-error a deal has no such column
  return payload.event === 'deal.created' ? payload.data.first_name : undefined;
}
`;
    await writeFile(join(folder, 'use.ts'), use);
    const tsc = join(import.meta.dirname, '../../node_modules/typescript/bin/tsc');
    const compilerOptions = {
      ...{ strict: true, noEmit: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true },
      ...{ target: 'es2022', module: 'nodenext', allowImportingTsExtensions: true, types: [] },
    };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
    const run = promisify(execFile)(process.execPath, [tsc, '-p', folder]);
    await expect(
      run.then(
        () => '',
        (error: { stdout: string }) => error.stdout,
      ),
    ).resolves.toBe('');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the OpenAPI document is valid and has each event type', async () => {
  const document = JSON.parse(await types('openapi'));
  const { errors } = await new Validator().validate(document);
  expect(errors ?? []).toEqual([]);
  expect(Object.keys(document.webhooks)).toEqual(expect.arrayContaining(['deal.stage.changed', 'webhook.test']));
});

test('event-types prints a line for each', async () => {
  const env = { DATABASE_URL: database.url };
  const { stdout } = await rowhook(['event-types', '--json'], { env });
  const entries = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(entries.find(({ event_type }) => event_type === 'deal.created')).toMatchObject({
    description: 'A row of deals was created.',
    schema: { properties: { value: { anyOf: [{ type: 'number' }, { enum: ['NaN'] }] } } },
    sample: { currency: 'EUR' },
  });
  expect((await rowhook(['event-types'], { env })).stdout).toMatch(/deal\.created +A row of deals was created\./);
});
