/**
 * The console of a checkout. The package of npm contains it built. In a checkout it is built on
 * the way, which takes 3 s on two cores, and only if a source is newer than what was built.
 */
import { execFile } from 'node:child_process';
import { existsSync, globSync, statSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { findPackageJSON } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { CONSOLE_FOLDER } from '../api/sessions/console.ts';

const run = promisify(execFile);

/** Resolves to whether there is a console to serve. */
export async function buildConsole(): Promise<boolean> {
  const sources = dirname(CONSOLE_FOLDER);
  const built = join(CONSOLE_FOLDER, 'index.html');
  const isCheckout = existsSync(join(sources, 'vite.config.ts'));
  if (!isCheckout || isNewer(built, sources)) return existsSync(built);
  const vite = findPackageJSON('vite', join(sources, 'package.json'));
  // Without development dependencies there is no Vite.
  if (vite === undefined) return existsSync(built);
  // Two processes may build at the same time, and a third one may serve. Each sees all or nothing.
  const [fresh, old] = [`${CONSOLE_FOLDER}.${process.pid}`, `${CONSOLE_FOLDER}.${process.pid}.old`];
  const program = join(dirname(vite), 'bin/vite.js');
  // A mode of tests would make a build for development.
  const env = { ...process.env, NODE_ENV: 'production' };
  await run(process.execPath, [program, 'build', sources, '--outDir', resolve(fresh)], { cwd: sources, env });
  await rename(CONSOLE_FOLDER, old).catch(() => {});
  await rename(fresh, CONSOLE_FOLDER).catch(() => rm(fresh, { recursive: true, force: true }));
  await rm(old, { recursive: true, force: true });
  return existsSync(built);
}

function isNewer(built: string, sources: string): boolean {
  if (!existsSync(built)) return false;
  const at = statSync(built).mtimeMs;
  const outside = ['../src/{client,shared/json}/*', '../docs/use/receivers.md', '../package-lock.json'];
  const files = globSync(['{src,public}/**/*', '*.{json,ts,html}', ...outside], { cwd: sources });
  return files.every((file) => statSync(join(sources, file)).mtimeMs < at);
}
