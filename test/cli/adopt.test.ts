import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rowhook } from '../support/cli.ts';
import { startTestDaemon } from '../support/daemon.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';

const tenant = '11111111-1111-4111-8111-111111111111';
let database: TestDatabase;
let receiver: Receiver;

beforeAll(async () => {
  database = await createDatabase({ crm: true });
  receiver = await startReceiver();
  await database.query(
    "insert into rowhook.webhook_configurations (tenant_id, name, url, event_types) values ($1, 'all', $2, '{*}')",
    [tenant, receiver.url('/')],
  );
});

afterAll(async () => {
  await receiver.close();
  await database.drop();
});

const insert = (name: string) =>
  database.query('insert into clients (organization_id, name) values ($1, $2)', [tenant, name]);
const received = () => receiver.requests.map((request) => JSON.parse(request.body.toString()).data.name as string);

test('a copy of production delivers nothing until it is adopted, and then not what production had left', async () => {
  const production = await startTestDaemon(database, { environment: 'production' });
  await insert('delivered');
  await receiver.waitFor(1);
  await expect(
    rowhook(['adopt', '--environment', 'x', '--undelivered', 'discard'], { env: { DATABASE_URL: database.url } }),
  ).resolves.toMatchObject({
    code: 1,
    stderr: expect.stringContaining('Stop it first'),
  });
  await production.stop();
  await insert('left by production');

  await expect(startTestDaemon(database, { environment: 'staging' })).rejects.toThrow(
    'This database belongs to the environment "production", and ROWHOOK_ENVIRONMENT is "staging". Nothing is delivered.',
  );
  await expect(startTestDaemon(database)).rejects.toThrow('ROWHOOK_ENVIRONMENT is not set');

  const adopted = await rowhook(['adopt', '--environment', 'staging', '--undelivered', 'discard'], {
    env: { DATABASE_URL: database.url },
  });
  expect(adopted).toMatchObject({ code: 0, stdout: expect.stringContaining('"staging"') });
  const staging = await startTestDaemon(database, { environment: 'staging' });
  await insert('new in staging');
  await receiver.waitFor(2);
  await staging.stop();
  expect(received()).toEqual(['delivered', 'new in staging']);
  const [first, last] = receiver.requests.map((request) => request.headers['webhook-id']?.split('_')[1]);
  expect(first).not.toBe(last);
});

test('adopt asks what becomes of undelivered events', async () => {
  const result = await rowhook(['adopt', '--environment', 'staging'], { env: { DATABASE_URL: database.url } });
  expect(result.code).toBe(2);
  expect(result.stderr).toContain('--undelivered');
});

describe('start and the doctor agree, and the first remedy is the variable', () => {
  const doctor = async (env: Record<string, string>) => {
    const { stdout } = await rowhook(['doctor', '--json'], { env: { DATABASE_URL: database.url, ...env } });
    const results = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, string>);
    return results.filter(({ what }) => what?.includes('environment'));
  };

  test.each([
    [null, undefined],
    [null, 'prod'],
    ['production', undefined],
    ['production', 'prod'],
    ['production', 'Production'],
    ['production', 'production'],
  ])('recorded %j, the variable %j', async (recorded, given) => {
    await database.query('update rowhook.webhook_installation set environment = $1', [recorded]);
    const starts = async (environment: string | undefined) => {
      const daemon = await startTestDaemon(database, { environment });
      await daemon.stop();
    };
    const refused = recorded !== null && recorded !== given;
    const [result] = await doctor(given === undefined ? {} : { ROWHOOK_ENVIRONMENT: given });
    expect(result?.kind).toBe(refused ? 'error' : 'fine');
    if (!refused) return await starts(given);

    await expect(starts(given)).rejects.toThrow(
      `set ROWHOOK_ENVIRONMENT=production. Only in a clone that may deliver: rowhook adopt `,
    );
    const [variable = '', name = ''] =
      /^if it is not a copy, set (\w+)=(\S+)\. Only in a clone /.exec(result?.fix ?? '')?.slice(1) ?? [];
    await starts(name);
    expect(await doctor({ [variable]: name })).toMatchObject([{ kind: 'fine' }]);
    // the other remedy, in a clone; pasted, it discards nothing
    const adopt = /rowhook (adopt .*)$/.exec(result?.fix ?? '')?.[1]?.split(' ') ?? [];
    const env = { DATABASE_URL: database.url };
    expect(await rowhook(adopt, { env })).toMatchObject({ code: 2, stderr: expect.stringContaining('--undelivered') });
    expect(await rowhook([...adopt, '--undelivered', 'discard'], { env })).toMatchObject({ code: 0 });
    await starts(adopt[adopt.indexOf('--environment') + 1]);
  });
});
