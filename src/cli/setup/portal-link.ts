/** `rowhook portal-link`. */
import type { Command } from 'commander';
import type pg from 'pg';
import { OWN_SETTINGS } from '../../config/serve-settings.ts';
import { readServeSettings } from '../../config/settings.ts';
import { printPairs } from '../../shared/terminal.ts';
import { type Cli, flagsOf, help, onDatabase, parsed } from '../define.ts';

interface Flags {
  tenant: string;
  readOnly?: boolean;
  expiresIn?: number;
  json?: boolean;
}

export function addPortalLink(program: Command, cli: Cli): void {
  const command = program
    .command('portal-link')
    .description('print a link that opens the console for one tenant')
    .requiredOption('--tenant <tenant>', 'tenant whose webhooks the visitor sees (required)')
    .option('--read-only', 'the visitor changes nothing')
    .option('--expires-in <time>', 'how long the visitor may stay, 24h at most (default: 1h)', span);
  flagsOf(
    command,
    OWN_SETTINGS.filter(({ name }) => name === 'publicUrl' || name === 'apiPort'),
  );
  onDatabase(cli, command, (client, flags: Flags) => printLink(client, flags, cli));
  help(
    command,
    ['rowhook portal-link --tenant acme', 'rowhook portal-link --tenant acme --read-only --expires-in 15m'],
    'The link can be opened once, within 5 minutes. "rowhook serve" answers it.',
  );
}

const span = parsed('--expires-in', secondsOf);

function secondsOf(text: string): number {
  const [, count, unit = 's'] = /^(\d{1,5})([smh])$/.exec(text) ?? [];
  const value = Number(count) * ({ s: 1, m: 60, h: 3_600 }[unit] ?? Number.NaN);
  if (value >= 1 && value <= 86_400) return value;
  throw new Error('is not a time span of 1s to 24h. Write it as 1h, 30m or 60s');
}

async function printLink(client: pg.Client, flags: Flags, { process, out }: Cli): Promise<void> {
  const { publicUrl, apiPort } = readServeSettings({ ...flags }, process.env);
  const { makePortalLink, newToken, portalUrl } = await import('../../operations/sessions.ts');
  const token = newToken('rhl_');
  const scopes = flags.readOnly ? ['read'] : ['read', 'write', 'inbound'];
  const at = await makePortalLink(client, flags.tenant, token, { scopes, seconds: flags.expiresIn ?? 3_600 });
  const url = portalUrl(publicUrl ?? `http://127.0.0.1:${apiPort}`, token);
  if (flags.json) {
    out.print(JSON.stringify({ url, expires_at: at.toISOString() }));
    return;
  }
  printPairs(out, [
    ['link', { text: url, style: 'bold' }],
    ['until', at.toISOString()],
  ]);
  out.print('\nOpen it within 5 minutes. It works once.');
  if (publicUrl === undefined) out.print('It leads to this machine. For others, use --public-url <url>.');
}
