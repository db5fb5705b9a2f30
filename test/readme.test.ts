// What the README says of settings and commands is what the code says. When it does not, the failing test prints what to
// paste between the markers.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SETTINGS } from '../src/config.ts';
import { signingKey, standardSignature } from '../src/sign.ts';
import { rowhook } from './support/cli.ts';
import { waitUntil } from './support/wait.ts';

const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');

function section(name: string): string | undefined {
  return new RegExp(`<!-- ${name}:[^\\n]*-->\\n([\\s\\S]*?)<!-- /${name} -->`).exec(readme)?.[1];
}

test("the README's settings are those of src/config.ts", () => {
  const rows = SETTINGS.map(({ env, flag, fallback, help }) => {
    const value = fallback === '' ? '' : `\`${fallback}\``;
    return `| \`${env}\` | \`${flag}\` | ${value} | ${help} |`;
  });
  const table = ['| variable | flag | default | meaning |', '|---|---|---|---|', ...rows, ''].join('\n');
  expect(section('settings')).toBe(table);
});

test("the README's commands are those of rowhook --help", async () => {
  const { stdout } = await rowhook(['--help']);
  expect(section('help')).toBe(`\n${stdout.trim().replaceAll(/^(?=.)/gm, '    ')}\n\n`);
});

test('its receiver takes a signed request, once, and refuses others', async () => {
  const [, code = ''] = /```js\n([\s\S]*?)```/.exec(readme) ?? [];
  const secret = `whsec_${randomBytes(32).toString('base64')}`;
  const script = code.replace('.listen(3000)', '.listen(0, function () { console.log(this.address().port) })');
  const receiver = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    env: { PATH: process.env.PATH, WEBHOOK_SECRET: secret },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let printed = '';
  receiver.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  try {
    const port = await waitUntil('it listens', () => /^\d+/.exec(printed)?.[0]);
    const body = JSON.stringify({ event: 'deal.created', data: { title: 'A' } });
    const now = Math.floor(Date.now() / 1000);
    const send = async (id: string, time: number, signature: string) => {
      const headers = { 'webhook-id': id, 'webhook-timestamp': String(time), 'webhook-signature': signature };
      return (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body })).status;
    };
    const sign = (id: string, time: number) => standardSignature(signingKey(secret), id, time, body);
    expect(await send('evt_1', now, sign('evt_1', now))).toBe(204);
    expect(await send('evt_1', now, `v1,AAAA ${sign('evt_1', now)}`)).toBe(204);
    expect(await send('evt_2', now, sign('evt_1', now))).toBe(401);
    expect(await send('evt_3', now - 600, sign('evt_3', now - 600))).toBe(401);
    await waitUntil('it prints the event', () => printed.includes('deal.created'));
    expect(printed.match(/deal\.created/g)).toHaveLength(1);
  } finally {
    receiver.kill();
  }
});

test('what it links to is there', () => {
  for (const [, target = ''] of readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
    expect(() => readFileSync(join(import.meta.dirname, '..', target)), target).not.toThrow();
  }
});
